"""How rows of reals become u8 as they come: the laws, in float32, operation by operation.

``tensor`` is ONNX's DynamicQuantizeLinear, which ONNX Runtime computes so:

    lo = min(0, min x), hi = max(0, max x), scale = (hi - lo) / 255 (1 if that is 0)
    zero_point = half_even(clamp(0 - lo / scale, 0, 255)),  q = clamp(half_even(x / scale) + zero_point, 0, 255)

``row`` is the same for every row by itself. ``row_s8`` is symmetric: scale = max |x| / 127, zero_point = 128, and q
lies in [1, 255]: what hardware for s8 multiplies is q - 128. A NaN, an infinity, or reals whose distance leaves float32
have no scale. ``constant`` takes a scale and a zero point that calibration chose: what leaves their range is clamped,
infinities included; only NaN is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.affine import Affine
from oaq.numerics.formats import U8
from oaq.numerics.ranges import IntRange

Law = Literal["tensor", "row", "row_s8", "constant"]
LAWS: Final[tuple[Law, ...]] = ("tensor", "row", "row_s8", "constant")
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class QuantizedRows:
    """Rows of operands: real = scale[m] * (q[m] - zero_point[m]).

    Attributes:
        q: (M, K) uint8.
        scale: (M,) float32.
        zero_point: (M,) int32 in [0, 255].
    """

    q: NDArray[np.uint8]
    scale: Floats
    zero_point: NDArray[np.int32]


def check_law(law: Law, constant: Affine | None) -> None:
    """Refuse what is not a law.

    Raises:
        ProgramError: there is none of that name, or a constant is there without its law, or the law without one.
    """
    if law not in LAWS:
        raise ProgramError(f"there is no law of quantization {law!r}; there are {', '.join(LAWS)}")
    if (law == "constant") != (constant is not None):
        raise ProgramError("the law 'constant' needs a scale and a zero point, and no other law has them")
    if constant is not None and constant.zero_point not in U8:
        raise ProgramError(f"the zero point of u8 operands lies in [0, 255], not at {constant.zero_point}")


def operand_range(law: Law) -> IntRange:
    """What the integers of an operand cover: all of it, for some input of any scale."""
    return IntRange(1, 255) if law == "row_s8" else U8


def zero_points(law: Law, constant: Affine | None = None) -> IntRange:
    """Which zero points may come."""
    if constant is not None:
        return IntRange(constant.zero_point, constant.zero_point)
    return IntRange(128, 128) if law == "row_s8" else U8


def quantize_rows(x: Floats, law: Law, constant: Affine | None = None) -> QuantizedRows:
    """Quantize (M, K) reals.

    Args:
        x: the reals.
        law: one of ``LAWS``.
        constant: scale and zero point of the law of that name.

    Raises:
        ProgramError: a row has no scale; or there is no such law.
    """
    check_law(law, constant)
    x = np.asarray(x, np.float32)
    rows = len(x)
    if constant is not None:
        require_scales(x, np.zeros(rows, np.float32))
        zeros = np.full(rows, constant.zero_point, np.int32)
        return QuantizedRows(constant.quantize(x, U8), np.full(rows, constant.scale, np.float32), zeros)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        lo, hi = _extremes(x, law)
        if law == "row_s8":
            scale, zero = (
                _positive(np.divide(np.maximum(-lo, hi), np.float32(127), dtype=np.float32)),
                np.full(len(lo), 128, np.int32),
            )
        else:
            scale = _positive(np.divide(hi - lo, np.float32(255), dtype=np.float32))
            zero = np.clip(np.rint(np.clip(np.float32(0) - lo / scale, 0, 255)), 0, 255)
            zero = np.nan_to_num(zero).astype(np.int32)
    require_scales(x, np.broadcast_to(scale, (rows,)))
    ends = operand_range(law)
    steps = np.rint(x / scale[:, None])
    q = np.clip(steps, (ends.lo - zero)[:, None], (ends.hi - zero)[:, None]).astype(np.int32) + zero[:, None]
    return QuantizedRows(
        q.astype(np.uint8),
        np.broadcast_to(scale, (rows,)).astype(np.float32),
        np.broadcast_to(zero, (rows,)).astype(np.int32),
    )


def require_scales(x: Floats, scale: Floats) -> None:
    """Refuse rows that no scale serves.

    Raises:
        ProgramError: naming the first such row.
    """
    wrong = ~np.isfinite(scale)
    if len(x):
        wrong |= np.isnan(x).any(axis=1)
    if wrong.any():
        refuse_row(x, int(np.argmax(wrong)))


def refuse_row(x: Floats, row: int) -> None:
    """Say why ``row`` has no scale; under ``tensor`` another row may be the reason.

    Raises:
        ProgramError: always.
    """
    infinite: NDArray[np.bool_] = np.any(~np.isfinite(x), axis=1)
    if infinite.any() and not infinite[row]:
        row = int(np.argmax(infinite))
    kinds = [name for name, at in (("NaN", np.isnan(x[row])), ("infinity", np.isinf(x[row]))) if at.any()]
    reason = f"holds {' and '.join(kinds)}" if kinds else "spans more than float32 can hold"
    raise ProgramError(
        f"row {row} of a dynamic layer's input {reason}: it has no scale. Look at what computes it; ONNX Runtime gives "
        "an undefined result there"
    )


def _extremes(x: Floats, law: Law) -> tuple[Floats, Floats]:
    """Least and greatest of every row, or of all rows as one, with 0."""
    zero = np.float32(0)
    if law == "tensor":
        return np.fmin(zero, x.min(initial=0))[None], np.fmax(zero, x.max(initial=0))[None]
    return np.fmin(zero, x.min(axis=1, initial=0)), np.fmax(zero, x.max(axis=1, initial=0))


def _positive(scale: Floats) -> Floats:
    return np.where(scale == 0, np.float32(1), scale).astype(np.float32)
