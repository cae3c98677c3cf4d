"""Which max pools have integers: what every front end asks before it accepts one."""

from __future__ import annotations

from oaq.operators import Padding, Pair
from oaq.operators.windows import inputs_per_window

Windows = tuple[Pair, Pair, Padding, Pair]
"""Kernel, stride, padding and dilation of a pool."""


def wider_than_padding(kernel: Pair, padding: Padding) -> bool:
    """Less padding than kernel on every side, which ``ops.MaxPool`` demands, as ONNX Runtime and torch do."""
    return max(padding[:2]) < kernel[0] and max(padding[2:]) < kernel[1]


def why_no_integers(windows: Windows, size: Pair, count: Pair) -> str | None:
    """Why a max pool of floats cannot be quantized, if it cannot.

    Args:
        windows: of the pool.
        size: rows and columns of its input.
        count: rows and columns of its result.
    """
    kernel, stride, padding, dilation = windows
    if not wider_than_padding(kernel, padding):
        return f"padding {padding} that reaches the size of the kernel {kernel}; pad first, then pool"
    for axis, before in ((0, padding[0]), (1, padding[2])):
        inputs = inputs_per_window(size[axis], count[axis], (kernel[axis], stride[axis], dilation[axis], before))
        if min(inputs) == 0:
            return (
                f"windows that step over the whole image of {size}: their result is minus infinity, no integer's value"
            )
    return None
