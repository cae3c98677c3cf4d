"""Is a refused program rightly refused: does some input take one of its 32-bit sums out of 32 bits?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import reduce
from itertools import product
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.soundness.laws import Ints, Plain, Step, modulo
from benchmarks.soundness.oracle import steps_of
from benchmarks.soundness.registers import S32
from benchmarks.soundness.windows import window_axes

Judgement = Literal["an input leaves 32 bits", "no input of one window does", "reads computed integers", "a pool"]
KINDS: Final = ("its bias folded with the zero point", "a partial sum with bias", "a partial sum")
LARGEST_TERM: Final = 2.0**119
PLACE: Final = re.compile(r"^(?P<node>\S+), output (?P<output>\d+):")


def kind_of(message: str) -> str:
    """Which 32-bit number a refusal is about."""
    return next((kind for kind in KINDS if kind in message), "a window of a pool" if "a window of" in message else "?")


def judged(header: Plain, arrays: Mapping[str, NDArray[Any]], message: str) -> Judgement | None:
    """What an enumeration of windows says of a refusal; None if none is possible, or the message names no node.

    A partial sum is any subset of the products, in any order, from zero or from the folded bias: its extremes take
    every product of one sign at its largest. "No input of one window does" means that the refusal needs taps that no
    single window has both on the image: oaq takes operands as independent of one another, and says so.
    """
    place = PLACE.match(message)
    if place is None:
        return "a pool" if "a window of" in message else None
    step = next(step for step in steps_of(header, arrays) if step.node["name"] == place["node"])
    if modulo(step) is not None:
        return None  # no sum of it has to fit 32 bits
    if step.node["inputs"][0] not in header["inputs"]:
        return "reads computed integers"
    output = int(place["output"])
    weight = step.arrays["weight"][output].astype(np.int64)
    folded = int(step.arrays["bias"][output]) - step.inputs[0]["zero_point"] * int(weight.sum())
    if not S32[0] <= folded <= S32[1]:
        return "an input leaves 32 bits"
    for least, most in _partial_sums(step, weight):
        for start in (0, folded):
            if start + least < S32[0] or start + most > S32[1]:
                return "an input leaves 32 bits"
    return "no input of one window does"


def may_leave(header: Plain, arrays: Mapping[str, NDArray[Any]], name: str, shift: int) -> bool:
    """A 32-bit sum of some output of a node can leave 32 bits where operands are u8 - shift.

    Operands are free inside the range that the input tensor declares, which holds whatever is proved of it, and
    independent of one another, as oaq takes them: two taps may be on the image that no single window has both there.
    """
    step = next(step for step in steps_of(header, arrays) if step.node["name"] == name)
    if modulo(step) is not None:
        return False
    for weight, bias in zip(step.arrays["weight"].astype(np.int64), step.arrays["bias"].tolist(), strict=True):
        folded = bias - (step.inputs[0]["zero_point"] - shift) * int(weight.sum())
        least, most = _extremes(weight, *_independent(_operands(step, weight, shift)))
        if any(start + least < S32[0] or start + most > S32[1] for start in (0, folded)):
            return True
        if not S32[0] <= folded <= S32[1]:
            return True
    return False


def _partial_sums(step: Step, weight: Ints, shift: int = 0) -> list[tuple[int, int]]:
    """Least and most partial sum of every window, the image free inside its range, operands less ``shift``."""
    return [_extremes(weight, lo, hi) for lo, hi in _operands(step, weight, shift)]


def _operands(step: Step, weight: Ints, shift: int) -> list[tuple[int | Ints, int | Ints]]:
    """Least and most of every operand, for each window that differs from the others."""
    lo, hi = (end - shift for end in step.inputs[0]["range"])
    if step.node["op"] == "Linear":
        return [(lo, hi)]
    zero, size = step.inputs[0]["zero_point"] - shift, step.inputs[0]["shape"]
    axes = window_axes(step.node, weight.shape[:-1], size[:-1])
    windows: list[tuple[int | Ints, int | Ints]] = []
    for along in product(*(np.unique(axis.inside, axis=0) for axis in axes)):
        on_tensor = reduce(np.logical_and.outer, along)[..., None]
        windows.append((np.where(on_tensor, lo, zero), np.where(on_tensor, hi, zero)))
    return windows


def _independent(windows: list[tuple[int | Ints, int | Ints]]) -> tuple[Ints, Ints]:
    """Least and most of every operand over all windows."""
    return (
        np.minimum.reduce([np.asarray(lo, np.int64) for lo, _ in windows]),
        np.maximum.reduce([np.asarray(hi, np.int64) for _, hi in windows]),
    )


def _extremes(weight: Ints, lo: int | Ints, hi: int | Ints) -> tuple[int, int]:
    ends = np.stack(np.broadcast_arrays(weight * lo, weight * hi))
    return int(np.minimum(ends.min(axis=0), 0).sum()), int(np.maximum(ends.max(axis=0), 0).sum())


def lawless(header: Plain, arrays: Mapping[str, NDArray[Any]]) -> bool:
    """An Add whose terms, or whose sum, can be infinite in float32: it has to be refused.

    255 * 2**119 twice is below 2**128, and a larger multiplier need not be.
    """
    return header["requantize"] == "float32_half_even" and any(
        node["op"] == "Add" and float(arrays[f"nodes/{index}/requantize.multiplier"].max()) > LARGEST_TERM
        for index, node in enumerate(header["nodes"])
    )
