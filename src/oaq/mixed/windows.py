"""Dynamic convolutions as products of matrices: quantized as a whole, then every window laid out as a row."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from oaq.capture.from_dynamic_onnx.chains import Windows
from oaq.dynamic import DynamicSession, QuantizedRows
from oaq.errors import ProgramError

Floats = NDArray[np.float32]


def convolved(session: DynamicSession, x: Floats, windows: Windows) -> tuple[Floats, ...]:
    """(B, C, ...) reals to (B, N, ...) of each layer; one scale for the whole batch, as the file has it.

    Raises:
        ProgramError: the shape does not fit, or ``x`` holds NaN or infinity.
    """
    rank = len(windows.kernel)
    if x.ndim != rank + 2 or x.dtype != np.float32:
        raise ProgramError(f"takes float32 of {rank + 2} axes, not {x.dtype} of shape {x.shape}")
    rows = session.quantize(x)
    q = np.moveaxis(rows.q.reshape(x.shape), 1, -1)
    sides = [(0, 0), *zip(windows.before, windows.after, strict=True), (0, 0)]
    padded = np.pad(q, sides, constant_values=np.uint8(rows.zero_point[0]))
    reach = [(size - 1) * step + 1 for size, step in zip(windows.kernel, windows.dilation, strict=True)]
    axes = tuple(range(1, rank + 1))
    if any(padded.shape[axis] < size for axis, size in zip(axes, reach, strict=True)):
        raise ProgramError(f"windows of {windows.kernel} do not fit an input of shape {x.shape}")
    views = sliding_window_view(padded, reach, axis=axes)  # (B, positions, C, window)
    strided = views[(slice(None), *(slice(None, None, step) for step in windows.stride))]
    thinned = strided[(..., *(slice(None, None, step) for step in windows.dilation))]
    laid_out = np.moveaxis(thinned, rank + 1, -1)
    positions = laid_out.shape[: rank + 1]
    matrix = np.ascontiguousarray(laid_out).reshape(int(np.prod(positions)), -1)
    scale, zero = np.repeat(rows.scale, len(matrix)), np.repeat(rows.zero_point, len(matrix))
    results = session.run_quantized(QuantizedRows(matrix, scale, zero))
    return tuple(np.ascontiguousarray(np.moveaxis(y.reshape(*positions, -1), -1, 1)) for y in results)
