"""Between the caller's arrays and the program's integers: layout, types, NaN."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.operators import TensorSpec
from oaq.program.inputs import Arrays, checked, describe, in_order, refuse_mask, show
from oaq.program.int_program import IntProgram

Quantizer = Callable[[TensorSpec, NDArray[np.float32], bool], NDArray[np.uint8] | None]
"""(spec, contiguous floats of whole samples, channels first) to NHWC integers; None if a value is NaN."""
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


def by_affine(spec: TensorSpec, real: NDArray[np.float32], channels_first: bool) -> NDArray[np.uint8] | None:
    """``Affine.quantize``: the law, and what there is without native code."""
    if np.isnan(real).any():
        return None
    return spec.affine.quantize(real.transpose(0, 2, 3, 1) if channels_first else real, spec.range)


def by_native(spec: TensorSpec, real: NDArray[np.float32], channels_first: bool) -> NDArray[np.uint8] | None:
    """What ``by_affine`` returns, from native code and in a tenth of the time."""
    q = np.empty((len(real), *spec.shape), np.uint8)
    channels = spec.shape[-1] if channels_first else 1
    shape = (len(real), channels, prod(spec.shape) // channels)
    form = (spec.affine.scale, spec.affine.zero_point, (spec.range.lo, spec.range.hi))
    native = importlib.import_module("oaq.kernels._native")
    if not native.quantize(real.reshape(shape), q.reshape(shape[0], shape[2], shape[1]), *form):
        return None
    return q


def to_integers(program: IntProgram, x: Arrays, quantizer: Quantizer = by_affine) -> tuple[NDArray[np.uint8], ...]:
    """The program's inputs from float32 in the caller's layout, or from u8 NHWC taken as the integers themselves.

    Args:
        program: whose inputs they are.
        x: one array, or one per input in order or by name.
        quantizer: who rounds floats.

    Raises:
        ProgramError: names, number, shape, type or batch do not fit, or a float is NaN.
    """
    layout = caller_layout(program)
    arrays = in_order(program, x)
    return checked(
        program,
        tuple(
            array
            if getattr(array, "dtype", None) == np.uint8
            else _quantize(program.tensors[name], array, layout, quantizer)
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


def _quantize(spec: TensorSpec, real: NDArray[Any], layout: str, quantizer: Quantizer) -> NDArray[np.uint8]:
    channels_first = len(spec.shape) == 3 and layout == "NCHW"
    shape = (spec.shape[2], *spec.shape[:2]) if channels_first else spec.shape
    refuse_mask(spec.name, real)
    if not isinstance(real, np.ndarray) or real.dtype != np.float32 or real.shape[1:] != shape:
        kind = f" in {layout} order" if len(spec.shape) == 3 else ""
        raise ProgramError(
            f"input {spec.name!r}: takes float32 (batch, {show(shape)}){kind} or uint8 (batch, {show(spec.shape)}), "
            f"got {describe(real)}"
        )
    integers = quantizer(spec, np.ascontiguousarray(real), channels_first)
    if integers is None:
        where = np.argwhere(np.isnan(real))
        raise ProgramError(
            f"input {spec.name!r}: {len(where)} of {real.size} values are NaN, the first at {where[0].tolist()}; "
            "a NaN has no integer"
        )
    return integers
