"""Which pools have integers: what every front end asks before it accepts one."""

from __future__ import annotations

from oaq.operators.windows import LARGEST_WINDOW, Window, inputs_per_window

Numbers = tuple[int, ...]


def why_too_large(kernel: Numbers, stride: Numbers, dilation: Numbers = ()) -> str | None:
    """Why no pool has this window, if none has."""
    if max(*kernel, *stride, *dilation) <= LARGEST_WINDOW:
        return None
    steps = "" if stride == kernel else f" or stride {stride}"
    return f"a window {kernel}{steps} beyond {LARGEST_WINDOW}"


def wider_than_padding(kernel: tuple[int, ...], padding: tuple[int, ...]) -> bool:
    """Less padding than kernel on every side, which ``ops.MaxPool`` demands, as ONNX Runtime and torch do."""
    return all(max(padding[2 * axis : 2 * axis + 2]) < size for axis, size in enumerate(kernel))


def why_no_integers(window: Window, size: tuple[int, ...], count: tuple[int, ...]) -> str | None:
    """Why a max pool of floats cannot be quantized, if it cannot.

    Args:
        window: of the pool.
        size: of its input, along the axes it slides over.
        count: of its result, likewise.
    """
    kernel, padding = window.kernel, window.padding
    if flaw := why_too_large(kernel, window.stride, window.dilation):
        return flaw
    if not wider_than_padding(kernel, padding):
        return f"padding {padding} that reaches the size of the kernel {kernel}; pad first, then pool"
    for axis in range(window.rank):
        taps = (kernel[axis], window.stride[axis], window.dilation[axis], padding[2 * axis])
        if min(inputs_per_window(size[axis], count[axis], taps)) == 0:
            return (
                f"windows that step over the whole image of {size}: their result is minus infinity, no integer's value"
            )
    return None
