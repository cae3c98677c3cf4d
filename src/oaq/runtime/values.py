"""Between the caller's arrays and the program's integers: layout, types, NaN."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.operators import TensorSpec
from oaq.program.inputs import ProgramInputs, checked, describe, in_order, refuse_mask, show
from oaq.program.int_program import IntProgram
from oaq.program.layout import Layout, channels_first, layout_of

Quantizer = Callable[[TensorSpec, NDArray[np.float32], bool], NDArray[np.uint8] | None]
"""(spec, contiguous floats of whole samples, channels first) to integers, channels last; None if a value is NaN."""
AXES = {("NCHW", 2): "NCL", ("NHWC", 2): "NLC", ("NCHW", 4): "NCDHW", ("NHWC", 4): "NDHWC"}
"""What a layout is called for other numbers of axes than an image's."""


def caller_layout(program: IntProgram, tensor: str) -> Layout:
    """How floats of ``tensor`` come and go.

    Raises:
        ProgramError: the program declares something else than NCHW or NHWC.
    """
    try:
        return layout_of(program.metadata, tensor)
    except ProgramError as error:
        raise ProgramError(f"{program.name}: {error}") from error


def caller_shape(program: IntProgram, tensor: str) -> tuple[int, ...]:
    """One sample of ``tensor`` as the caller lays it out."""
    shape = program.tensors[tensor].shape
    return channels_first(shape) if caller_layout(program, tensor) == "NCHW" else shape


def caller_reals(program: IntProgram, tensor: str, q: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Integers (batch, ..., C) of ``tensor`` as reals, as the caller lays them out."""
    real = program.tensors[tensor].affine.dequantize(q)
    return np.ascontiguousarray(np.moveaxis(real, -1, 1)) if caller_layout(program, tensor) == "NCHW" else real


def by_affine(spec: TensorSpec, real: NDArray[np.float32], first: bool) -> NDArray[np.uint8] | None:
    """``Affine.quantize``: the law, and what there is without native code."""
    if np.isnan(real).any():
        return None
    return spec.affine.quantize(np.moveaxis(real, 1, -1) if first else real, spec.range)


def by_native(spec: TensorSpec, real: NDArray[np.float32], first: bool) -> NDArray[np.uint8] | None:
    """What ``by_affine`` returns, from native code and in a tenth of the time."""
    q = np.empty((len(real), *spec.shape), np.uint8)
    channels = spec.shape[-1] if first else 1
    shape = (len(real), channels, prod(spec.shape) // channels)
    form = (spec.affine.scale, spec.affine.zero_point, (spec.range.lo, spec.range.hi))
    native = importlib.import_module("oaq.kernels._native")
    if not native.quantize(real.reshape(shape), q.reshape(shape[0], shape[2], shape[1]), *form):
        return None
    return q


def to_integers(
    program: IntProgram, x: ProgramInputs, quantizer: Quantizer = by_affine
) -> tuple[NDArray[np.uint8], ...]:
    """The program's inputs from float32 in the caller's layout, or from u8 NHWC taken as the integers themselves.

    Args:
        program: whose inputs they are.
        x: one array, or one per input in order or by name.
        quantizer: who rounds floats.

    Raises:
        ProgramError: names, number, shape, type or batch do not fit, or a float is NaN.
    """
    for name in program.inputs:
        caller_layout(program, name)
    arrays = in_order(program, x)
    return checked(
        program,
        tuple(
            array if getattr(array, "dtype", None) == np.uint8 else _quantize(program, name, array, quantizer)
            for name, array in zip(program.inputs, arrays, strict=True)
        ),
    )


def to_floats(program: IntProgram, outputs: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], ...]:
    """Real values of the program's outputs in the caller's layout."""
    return tuple(caller_reals(program, name, q) for name, q in zip(program.outputs, outputs, strict=True))


def _quantize(program: IntProgram, name: str, real: NDArray[Any], quantizer: Quantizer) -> NDArray[np.uint8]:
    spec, layout, shape = program.tensors[name], caller_layout(program, name), caller_shape(program, name)
    refuse_mask(spec.name, real)
    if not isinstance(real, np.ndarray) or real.dtype != np.float32 or real.shape[1:] != shape:
        kind = f" in {AXES.get((layout, len(spec.shape)), layout)} order" if len(spec.shape) > 1 else ""
        raise ProgramError(
            f"input {spec.name!r}: takes float32 (batch, {show(shape)}){kind} or uint8 (batch, {show(spec.shape)}), "
            f"got {describe(real)}"
        )
    integers = quantizer(spec, np.ascontiguousarray(real), layout == "NCHW" and len(spec.shape) > 1)
    if integers is None:
        where = np.argwhere(np.isnan(real))
        raise ProgramError(
            f"input {spec.name!r}: {len(where)} of {real.size} values are NaN, the first at {where[0].tolist()}; "
            "a NaN has no integer"
        )
    return integers
