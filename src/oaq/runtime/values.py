"""Between the caller's arrays and the program's integers: layout, types, NaN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.program.inputs import Arrays, checked, describe, named, show
from oaq.program.int_program import IntProgram, TensorSpec

LAYOUT: Final = "input_layout"
"""Key of ``program.metadata``: how the caller lays out images, "NCHW" or "NHWC" (also if absent)."""


def caller_layout(program: IntProgram) -> str:
    """How float images come and go.

    Raises:
        ProgramError: the program declares something else than NCHW or NHWC.
    """
    layout = program.metadata.get(LAYOUT, "NHWC")
    if layout not in ("NCHW", "NHWC"):
        raise ProgramError(f"{program.name}: metadata {LAYOUT!r} is {layout!r}; it is NCHW or NHWC")
    return layout


def to_integers(program: IntProgram, x: Arrays) -> tuple[NDArray[np.uint8], ...]:
    """The program's inputs from float32 in the caller's layout, or from u8 NHWC taken as the integers themselves.

    Raises:
        ProgramError: names, number, shape, type or batch do not fit, or a float is NaN.
    """
    layout = caller_layout(program)
    arrays = named(program, x)
    return checked(
        program,
        tuple(
            array if getattr(array, "dtype", None) == np.uint8 else _quantize(program.tensors[name], array, layout)
            for name, array in zip(program.inputs, arrays, strict=True)
        ),
    )


def to_floats(program: IntProgram, outputs: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], ...]:
    """Real values of the program's outputs, images in the caller's layout."""
    nchw = caller_layout(program) == "NCHW"
    floats = []
    for name, q in zip(program.outputs, outputs, strict=True):
        real = program.tensors[name].affine.dequantize(q)
        floats.append(np.ascontiguousarray(real.transpose(0, 3, 1, 2)) if nchw and real.ndim == 4 else real)
    return tuple(floats)


def _quantize(spec: TensorSpec, real: NDArray[Any], layout: str) -> NDArray[np.uint8]:
    image = len(spec.shape) == 3
    wanted = (spec.shape[2], *spec.shape[:2]) if image and layout == "NCHW" else spec.shape
    if not isinstance(real, np.ndarray) or real.dtype != np.float32 or real.shape[1:] != wanted:
        kind = f" in {layout} order" if image else ""
        raise ProgramError(
            f"input {spec.name!r}: takes float32 (batch, {show(wanted)}){kind} or uint8 (batch, {show(spec.shape)}), "
            f"got {describe(real)}"
        )
    if np.isnan(real).any():
        where = np.argwhere(np.isnan(real))
        raise ProgramError(
            f"input {spec.name!r}: {len(where)} of {real.size} values are NaN, the first at {where[0].tolist()}; "
            "a NaN has no integer"
        )
    return spec.affine.quantize(real.transpose(0, 2, 3, 1) if image and layout == "NCHW" else real, spec.range)
