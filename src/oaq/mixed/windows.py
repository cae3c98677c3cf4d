"""Dynamic convolutions as products of matrices: quantized as a whole, then every window laid out as a row."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from oaq.capture.from_dynamic_onnx.chains import Windows
from oaq.dynamic import DynamicSession, QuantizedRows
from oaq.errors import ProgramError
from oaq.program.memory import memory_limit, require_memory

Floats = NDArray[np.float32]


def convolved(session: DynamicSession, x: Floats, windows: Windows, limit: int | None = None) -> tuple[Floats, ...]:
    """(B, C, ...) reals to (B, N, ...) of each layer; one scale for the whole batch, as the file has it.

    Args:
        session: of the layers.
        x: in the file's order.
        windows: over it.
        limit: bytes that padded inputs and laid out windows may take; see ``memory_limit``.

    Raises:
        ProgramError: the shape does not fit, or ``x`` holds NaN or infinity.
        MemoryLimit: padding or windows make more of it than is allowed.
    """
    rank = len(windows.kernel)
    if x.ndim != rank + 2 or x.dtype != np.float32:
        raise ProgramError(f"takes float32 of {rank + 2} axes, not {x.dtype} of shape {x.shape}")
    _require_room(x.shape, windows, memory_limit(limit))
    rows = session.quantize(x)
    q = np.moveaxis(rows.q.reshape(x.shape), 1, -1)
    sides = [(0, 0), *zip(windows.before, windows.after, strict=True), (0, 0)]
    padded = np.pad(q, sides, constant_values=np.uint8(rows.zero_point[0]))
    reach, axes = _reach(windows), tuple(range(1, rank + 1))
    views = sliding_window_view(padded, reach, axis=axes)  # (B, positions, C, window)
    strided = views[(slice(None), *(slice(None, None, step) for step in windows.stride))]
    thinned = strided[(..., *(slice(None, None, step) for step in windows.dilation))]
    laid_out = np.moveaxis(thinned, rank + 1, -1)
    positions = laid_out.shape[: rank + 1]
    matrix = np.ascontiguousarray(laid_out).reshape(int(np.prod(positions)), -1)
    scale, zero = np.repeat(rows.scale, len(matrix)), np.repeat(rows.zero_point, len(matrix))
    results = session.run_quantized(QuantizedRows(matrix, scale, zero))
    return tuple(np.ascontiguousarray(np.moveaxis(y.reshape(*positions, -1), -1, 1)) for y in results)


def _reach(windows: Windows) -> list[int]:
    return [(size - 1) * step + 1 for size, step in zip(windows.kernel, windows.dilation, strict=True)]


def _require_room(shape: tuple[int, ...], windows: Windows, limit: int) -> None:
    """Compare what is about to be laid out with the limit, in Python's integers: the file says the padding.

    Raises:
        ProgramError: no window fits.
        MemoryLimit: it is too much.
    """
    padded = [
        size + before + after for size, before, after in zip(shape[2:], windows.before, windows.after, strict=True)
    ]
    if any(size < reach for size, reach in zip(padded, _reach(windows), strict=True)):
        raise ProgramError(f"windows of {windows.kernel} do not fit an input of shape {shape}")
    places = [
        (size - reach) // step + 1 for size, reach, step in zip(padded, _reach(windows), windows.stride, strict=True)
    ]
    needed = shape[0] * shape[1] * (prod(padded) + prod(places) * prod(windows.kernel))
    require_memory(needed, limit, f"a convolution of {shape} padded to {tuple(padded)}, every window laid out,")
