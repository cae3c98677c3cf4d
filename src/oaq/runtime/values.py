"""Between the caller's arrays and the program's integers: names, order of axes, types, NaN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.kernels.table import native_module
from oaq.operators import TensorSpec
from oaq.program.edges import (
    INTEGERS,
    Edge,
    channel_blocks,
    input_edges,
    output_edges,
    plain_edge,
    to_caller,
    to_program,
)
from oaq.program.inputs import ProgramInputs, checked, describe, in_order, refuse_mask, show
from oaq.program.int_program import IntProgram
from oaq.program.layout import Layout, layout_of

Blocks = tuple[int, int]
"""(A, B): reals come as (batch, A, B) of what the program holds as (batch, B, A); A is 1 where the orders agree."""
Quantizer = Callable[[TensorSpec, NDArray[np.float32], Blocks], NDArray[np.uint8] | None]
"""(spec, contiguous floats of whole samples, their order) to the program's integers; None if a value is NaN."""
AXES: Final = {("NCHW", 2): "NCL", ("NHWC", 2): "NLC", ("NCHW", 4): "NCDHW", ("NHWC", 4): "NDHWC"}
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


def caller_edge(program: IntProgram, tensor: str) -> Edge:
    """How the caller sees ``tensor``: as the file says if it is at an end of the program and the file says anything."""
    caller_layout(program, tensor)
    ends = (*input_edges(program), *output_edges(program))
    return next((edge for edge in ends if edge.tensor == tensor), None) or plain_edge(program, tensor)


def caller_shape(program: IntProgram, tensor: str) -> tuple[int, ...]:
    """One sample of ``tensor`` as the caller lays it out."""
    return caller_edge(program, tensor).shape


def caller_reals(program: IntProgram, tensor: str, q: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Integers (batch, ..., C) of ``tensor`` as reals, as the caller lays them out."""
    return to_caller(caller_edge(program, tensor), program.tensors[tensor].affine.dequantize(q))


def by_affine(spec: TensorSpec, real: NDArray[np.float32], blocks: Blocks) -> NDArray[np.uint8] | None:
    """``Affine.quantize``: the law, and what there is without native code."""
    if np.isnan(real).any():
        return None
    moved = real.reshape(len(real), *blocks).transpose(0, 2, 1)
    return spec.affine.quantize(moved, spec.range).reshape(len(real), *spec.shape)


def by_native(spec: TensorSpec, real: NDArray[np.float32], blocks: Blocks) -> NDArray[np.uint8] | None:
    """What ``by_affine`` returns, from native code and in a tenth of the time."""
    channels, positions = blocks
    q = np.empty((len(real), *spec.shape), np.uint8)
    form = (spec.affine.scale, spec.affine.zero_point, (spec.range.lo, spec.range.hi))
    native = native_module()
    if not native.quantize(
        real.reshape(len(real), channels, positions), q.reshape(len(real), positions, channels), *form
    ):
        return None
    return q


Dequantizer = Callable[[TensorSpec, NDArray[np.uint8], Blocks], NDArray[np.float32]]
"""(spec, the program's integers, the order of the reals) to (batch, A, B) reals."""


def reals_by_affine(spec: TensorSpec, q: NDArray[np.uint8], blocks: Blocks) -> NDArray[np.float32]:
    """``Affine.dequantize``: the law, and what there is without native code."""
    channels, positions = blocks
    real = spec.affine.dequantize(q).reshape(len(q), positions, channels)
    return np.ascontiguousarray(real.transpose(0, 2, 1))


def reals_by_native(spec: TensorSpec, q: NDArray[np.uint8], blocks: Blocks) -> NDArray[np.float32]:
    """What ``reals_by_affine`` returns, from native code, in one pass over the reals."""
    channels, positions = blocks
    real = np.empty((len(q), channels, positions), np.float32)
    native = native_module()
    native.dequantize(q.reshape(len(q), positions, channels), real, spec.affine.scale, spec.affine.zero_point)
    return real


def to_integers(
    program: IntProgram, x: ProgramInputs, quantizer: Quantizer = by_affine
) -> tuple[NDArray[np.uint8], ...]:
    """The program's inputs from what the caller has: reals, or integers where the file takes integers.

    Where the file takes reals, u8 arrays of the program's own shape are taken as the integers themselves.

    Args:
        program: whose inputs they are.
        x: one array, or one per input of the file, in its order or by its names.
        quantizer: who rounds floats.

    Raises:
        ProgramError: names, number, shape, type or batch do not fit, or a float is NaN.
    """
    for name in program.inputs:
        caller_layout(program, name)
    edges = input_edges(program)
    names = tuple(dict.fromkeys(edge.name for edge in edges))
    arrays = dict(zip(names, in_order(program, x, names), strict=True))
    return checked(program, tuple(edge_integers(program, edge, arrays[edge.name], quantizer) for edge in edges))


def edge_integers(program: IntProgram, edge: Edge, array: NDArray[Any], quantizer: Quantizer) -> NDArray[np.uint8]:
    """The program's integers of one input.

    Args:
        program: whose input it is.
        edge: of the input.
        array: the caller's.
        quantizer: who rounds floats.

    Raises:
        ProgramError: shape or type do not fit, or a float is NaN.
    """
    spec = program.tensors[edge.tensor]
    dtype = getattr(array, "dtype", None)
    refuse_mask(edge.name, array)
    if edge.is_integer and dtype == edge.dtype and array.shape[1:] == edge.shape:
        return to_program(edge, file_integers(edge, array), spec.shape)
    if not edge.is_integer and dtype == np.uint8 and array.shape[1:] == spec.shape:
        return array
    reals = ("float32",) if edge.is_integer else ("float32", edge.dtype)
    if not isinstance(array, np.ndarray) or dtype not in reals or array.shape[1:] != edge.shape:
        raise ProgramError(_refusal(program, edge, array))
    return _quantize(spec, edge, np.ascontiguousarray(array, np.float32), quantizer)


def file_integers(edge: Edge, array: NDArray[Any]) -> NDArray[np.uint8]:
    """Integers of the file's type as the program's, or back; in whatever order they are.

    >>> file_integers(Edge("x", "x", "int8", (3,), ((0,),)), np.array([-128, 0, 127], np.int8)).tolist()
    [0, 128, 255]
    """
    return np.ascontiguousarray(array).view(np.uint8) ^ np.uint8(INTEGERS[edge.dtype])


def to_floats(
    program: IntProgram, outputs: Sequence[NDArray[np.uint8]], dequantizer: Dequantizer = reals_by_affine
) -> tuple[NDArray[Any], ...]:
    """What the caller gets, in the file's order, shapes and types: reals, or integers where the file gives integers."""
    by_name = dict(zip(program.outputs, outputs, strict=True))
    return tuple(edge_values(program, edge, by_name[edge.tensor], dequantizer) for edge in output_edges(program))


def edge_values(
    program: IntProgram, edge: Edge, q: NDArray[np.uint8], dequantizer: Dequantizer = reals_by_affine
) -> NDArray[Any]:
    """What the caller gets of one output, from the program's integers (batch, ..., C)."""
    if edge.is_integer:
        return file_integers(edge, to_caller(edge, q)).view(edge.dtype)
    spec, blocks = program.tensors[edge.tensor], channel_blocks(edge)
    if blocks is None:  # integers are moved, which are a quarter of the bytes
        q, blocks = to_caller(edge, q), (1, prod(edge.shape))
    real = dequantizer(spec, np.ascontiguousarray(q), blocks).reshape(len(q), *edge.shape)
    return real.astype(edge.dtype, copy=False)


def _quantize(spec: TensorSpec, edge: Edge, real: NDArray[np.float32], quantizer: Quantizer) -> NDArray[np.uint8]:
    blocks = channel_blocks(edge)
    if blocks is None or not real.size:
        integers = quantizer(spec, to_program(edge, real, spec.shape), (1, int(np.prod(spec.shape))))
    else:
        integers = quantizer(spec, real, blocks)
    if integers is None:
        where = np.argwhere(np.isnan(real))
        raise ProgramError(
            f"input {edge.name!r}: {len(where)} of {real.size} values are NaN, the first at {where[0].tolist()}; "
            "a NaN has no integer"
        )
    return integers


def _refusal(program: IntProgram, edge: Edge, array: object) -> str:
    spec = program.tensors[edge.tensor]
    if edge.is_integer:
        takes = f"{edge.dtype} (batch, {show(edge.shape)}), the file's own integers, or float32 of that shape"
    elif edge == plain_edge(program, edge.tensor):
        layout = caller_layout(program, edge.tensor)
        kind = f" in {AXES.get((layout, len(spec.shape)), layout)} order" if len(spec.shape) > 1 else ""
        takes = f"float32 (batch, {show(edge.shape)}){kind} or uint8 (batch, {show(spec.shape)})"
    else:
        takes = f"{edge.dtype} (batch, {show(edge.shape)}), as the file has it"
    return f"input {edge.name!r}: takes {takes}, got {describe(array)}"
