"""Fused float nodes by native loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.dynamic.session import Allocate
from oaq.errors import ProgramError
from oaq.kernels.table import isas_of, native_module, native_rows, rows_for
from oaq.mixed.fused.steps import Attention, Floats, Fused, Gelu, Normalize

WIDEST_FIRST: Final = ("avx512bw", "avx2", "neon", "scalar")
"""Instruction sets that have loops of their own."""
Values = NDArray[Any]
Call = Callable[[dict[str, Values]], None]


def widest(isa: str | None) -> str:
    """The set whose loops run where plans are made for ``isa``.

    Raises:
        NoKernel: there is no such set, or this CPU lacks it.
    """
    usable = isas_of(rows_for(isa, native_rows()))
    return next((name for name in WIDEST_FIRST if name in usable), "scalar")


def call_of(step: Fused, isa: str, threads: int, empty: Allocate) -> Call:
    """A step as a function that reads and writes the tensors of a file.

    Args:
        step: what is computed.
        isa: one of ``WIDEST_FIRST``.
        threads: that share it.
        empty: makes arrays of results.
    """
    if isinstance(step, Normalize):
        return _normalize(step, isa, threads, empty)
    if isinstance(step, Attention):
        return _attention(step, isa, threads, empty)
    assert isinstance(step, Gelu)
    return _gelu(step, isa, threads, empty)


def _normalize(step: Normalize, isa: str, threads: int, empty: Allocate) -> Call:
    native, name = native_module(), step.nodes[0][0]
    gain, bias, epsilon, width = step.gain, step.bias, step.epsilon, step.gain.size
    scaled_gain, scaled_bias = step.scale, bias
    if step.scale is not None:
        scaled_gain = (gain * step.scale).astype(np.float32)
        scaled_bias = None if bias is None else (bias * step.scale).astype(np.float32)

    def call(tensors: dict[str, Values]) -> None:
        x = tensors[step.reads[0]]
        other = tensors[step.reads[1]] if len(step.reads) > 1 else None
        total = None
        if other is not None and (x.shape != other.shape or x.dtype != np.float32 or other.dtype != np.float32):
            x, other = _sum(name, x, other), None
            if step.total:
                tensors[step.total] = x
        if x.ndim < 1 or x.shape[-1] != width or x.dtype != np.float32:
            raise ProgramError(f"{name}: takes float32 of shape (..., {width}), not {x.dtype} of shape {x.shape}")
        rows = np.ascontiguousarray(x).reshape(-1, width)
        if other is not None:
            other = np.ascontiguousarray(other).reshape(-1, width)
            total = _result(tensors, step.total, empty(x.shape)) if step.total else None
        y = _result(tensors, step.result, empty(x.shape)) if step.result else empty(rows.shape)
        scaled = _result(tensors, step.scaled, empty(x.shape)) if step.scaled else None
        native.normalize_rows(
            rows, other, gain, bias, epsilon, total, y, scaled_gain, scaled_bias, scaled, isa, threads
        )

    return call


def _result(tensors: dict[str, Values], name: str, array: Floats) -> Floats:
    """A tensor that is to be computed, as rows."""
    tensors[name] = array
    return array.reshape(-1, array.shape[-1])


def _sum(name: str, x: Values, other: Values) -> Values:
    try:
        return np.asarray(x + other)
    except ValueError as error:
        raise ProgramError(f"{name}: adds tensors of {x.shape} and {other.shape}, which do not meet") from error


def _gelu(step: Gelu, isa: str, threads: int, empty: Allocate) -> Call:
    native, name, source, result = native_module(), step.nodes[0][0], step.reads[0], step.writes[0]

    def call(tensors: dict[str, Values]) -> None:
        x = tensors[source]
        if x.dtype != np.float32:
            raise ProgramError(f"{name}: takes float32, not {x.dtype}")
        shape = x.shape or (1,)
        rows = np.ascontiguousarray(x).reshape(-1, shape[-1]) if x.size else np.empty((0, shape[-1]), np.float32)
        native.gelu(rows, step.factor, _result(tensors, result, empty(shape)), isa, threads)
        tensors[result] = tensors[result].reshape(x.shape)

    return call


def _attention(step: Attention, isa: str, threads: int, empty: Allocate) -> Call:
    native, name, heads, scale, result = native_module(), step.nodes[0][0], step.heads, step.scale, step.writes[0]
    q_name, k_name, v_name, *shift_name = step.reads

    def call(tensors: dict[str, Values]) -> None:
        q, k, v = tensors[q_name], tensors[k_name], tensors[v_name]
        if q.ndim != 3 or not q.size:
            tensors[result] = _nothing(name, q, v)
            return
        shift = tensors[shift_name[0]] if shift_name else step.shift
        if shift is not None:
            shift = shift_of(name, shift, (q.shape[0], heads, q.shape[1], k.shape[1]))
        y = empty((*q.shape[:2], v.shape[2]))
        native.attention(q, k, v, heads, scale, shift, step.factor, y, isa, threads)
        tensors[result] = y

    return call


def _nothing(name: str, q: Values, v: Values) -> Floats:
    if q.ndim != 3:
        raise ProgramError(f"{name}: its heads are split from (batch, tokens, columns), not from shape {q.shape}")
    return np.empty((*q.shape[:2], v.shape[-1]), np.float32)


def shift_of(name: str, shift: Values, shape: Sequence[int]) -> Floats:
    """What is added to scores of ``shape``, with four axes, each of that size or of 1.

    Raises:
        ProgramError: it would make the scores larger, or is not float32.
    """
    sizes = (1,) * (4 - shift.ndim) + shift.shape
    fits = len(sizes) == 4 and all(size in (1, whole) for size, whole in zip(sizes, shape, strict=True))
    if not fits or shift.dtype != np.float32:
        raise ProgramError(
            f"{name}: {shift.dtype} of shape {shift.shape} is added to scores of shape {tuple(shape)}; it has to be "
            "float32 and no larger along any axis"
        )
    return np.ascontiguousarray(shift).reshape(sizes)
