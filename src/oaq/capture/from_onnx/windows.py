"""Where the windows of convolutions and pools lie, all the ways ONNX has of saying so."""

from __future__ import annotations

from dataclasses import dataclass

from oaq.capture.from_onnx.attributes import described, integer, integers, text
from oaq.capture.from_onnx.graph import OnnxNode
from oaq.errors import FormatError, UnsupportedOp

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """One number per spatial axis in each field.

    Attributes:
        kernel: elements of the window.
        stride: >= 1.
        dilation: >= 1.
        before: positions of padding in front, >= 0.
        after: positions of padding behind; those that ``ceil_mode`` adds for a last incomplete window included.
        added: of ``after``: what ``ceil_mode`` added.
        count: how many windows.
    """

    kernel: Sizes
    stride: Sizes
    dilation: Sizes
    before: Sizes
    after: Sizes
    added: Sizes
    count: Sizes

    @property
    def padding(self) -> Sizes:
        """Positions before and after each axis, axis by axis, as programs count them."""
        return tuple(side for pair in zip(self.before, self.after, strict=True) for side in pair)


def window(node: OnnxNode, size: Sizes, kernel: Sizes | None = None) -> Window:
    """The windows of a node over an image.

    Args:
        node: with the attributes of Conv or of a pool.
        size: of the image's spatial axes.
        kernel: of the weights; None for pools, whose attribute says it.

    Raises:
        FormatError: attributes are missing, out of range, or leave no window.
    """
    rank = len(size)
    declared = integers(node, "kernel_shape", rank)
    if declared is None and kernel is None:
        raise FormatError(f"{described(node)}: the attribute 'kernel_shape' is missing")
    kernel = kernel or declared or ()
    if declared not in (None, kernel):
        raise FormatError(f"{described(node)}: 'kernel_shape' is {declared}, its weights are {kernel}")
    stride = integers(node, "strides", rank) or (1,) * rank
    dilation = integers(node, "dilations", rank) or (1,) * rank
    if min(*kernel, *stride, *dilation, 1) < 1:
        raise FormatError(
            f"{described(node)}: kernel {kernel}, strides {stride}, dilations {dilation}: at least 1 each"
        )
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    before, after = _padding(node, size, stride, reach)
    room = [s + b + a - r for s, b, a, r in zip(size, before, after, reach, strict=True)]
    if min(*before, *after, 0) < 0 or min(room, default=0) < 0:
        raise FormatError(
            f"{described(node)}: no window of {reach} fits an image of {size} padded by {before}, {after}"
        )
    added = (0,) * rank
    if integer(node, "ceil_mode", 0):
        # A window that would begin in the padding behind is not taken.
        added = tuple(
            -r % st if (r + st - 1) // st * st < s + b else 0
            for r, st, s, b in zip(room, stride, size, before, strict=True)
        )
    count = tuple((r + more) // st + 1 for r, more, st in zip(room, added, stride, strict=True))
    after = tuple(a + more for a, more in zip(after, added, strict=True))
    return Window(kernel, stride, dilation, before, after, added, count)


@dataclass(frozen=True)
class TransposedWindow:
    """Where the results of a ConvTranspose lie, a number per spatial axis in each field.

    Attributes:
        stride, dilation: >= 1.
        begin: results that are cut off in front.
        count: results.
    """

    stride: Sizes
    dilation: Sizes
    begin: Sizes
    count: Sizes


def transposed_window(node: OnnxNode, size: Sizes, kernel: Sizes) -> TransposedWindow:
    """The results of a ConvTranspose.

    Args:
        node: with its attributes.
        size: of the image's spatial axes.
        kernel: of the weights.

    Raises:
        FormatError: attributes are out of range, or leave no result.
        UnsupportedOp: they leave open where the results begin: "SAME_UPPER" and an odd number of results too many are
            read in different ways by ONNX and its runtimes.
    """
    rank = len(size)
    if integers(node, "kernel_shape", rank) not in (None, kernel):
        raise FormatError(f"{described(node)}: 'kernel_shape' is not that of its weights, {kernel}")
    stride = integers(node, "strides", rank) or (1,) * rank
    dilation = integers(node, "dilations", rank) or (1,) * rank
    added = integers(node, "output_padding", rank) or (0,) * rank
    if min(*stride, *dilation) < 1 or min(added) < 0:
        raise FormatError(f"{described(node)}: strides {stride}, dilations {dilation}, output_padding {added}")
    fields = zip(size, stride, kernel, dilation, added, strict=True)
    full = [(length - 1) * step + (taps - 1) * apart + 1 + more for length, step, taps, apart, more in fields]
    rule, result = text(node, "auto_pad", "NOTSET"), integers(node, "output_shape", rank)
    pads = integers(node, "pads", 2 * rank) or (0,) * (2 * rank)
    if result is not None:
        over = [whole - wanted for whole, wanted in zip(full, result, strict=True)]
        if any(number < 0 or number % 2 for number in over):
            raise UnsupportedOp(
                f"{described(node)}: output_shape {result} of {tuple(full)}: where the cut begins is read in different "
                "ways; export it with pads"
            )
        pads = tuple(number // 2 for number in over) * 2
    elif rule == "VALID":
        pads = (0,) * (2 * rank)
    elif rule != "NOTSET":
        raise UnsupportedOp(f"{described(node)}: auto_pad {rule[:40]!r} is read in different ways; export it with pads")
    begin, end = pads[:rank], pads[rank:]
    count = tuple(whole - b - e for whole, b, e in zip(full, begin, end, strict=True))
    if min(*begin, *end, 0) < 0 or min(count) < 1:
        raise FormatError(f"{described(node)}: pads {pads} of {tuple(full)} leave no result")
    return TransposedWindow(stride, dilation, begin, count)


def _padding(node: OnnxNode, size: Sizes, stride: Sizes, reach: Sizes) -> tuple[Sizes, Sizes]:
    rank = len(size)
    pads = integers(node, "pads", 2 * rank) or (0,) * (2 * rank)
    rule = text(node, "auto_pad", "NOTSET")
    if rule == "NOTSET":
        return pads[:rank], pads[rank:]
    if rule == "VALID":
        return (0,) * rank, (0,) * rank
    if rule not in ("SAME_UPPER", "SAME_LOWER"):
        raise FormatError(f"{described(node)}: 'auto_pad' is {rule[:40]!r}, which ONNX does not have")
    total = [max((-(-s // st) - 1) * st + r - s, 0) for s, st, r in zip(size, stride, reach, strict=True)]
    small, large = tuple(p // 2 for p in total), tuple(p - p // 2 for p in total)
    return (small, large) if rule == "SAME_UPPER" else (large, small)
