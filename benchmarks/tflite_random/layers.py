"""Operators with weights and windows, and those that move integers; each returns None where it does not apply."""

from __future__ import annotations

from math import prod
from typing import Any, Final

import numpy as np

from benchmarks.tflite_random.draft import ACTIVATIONS, ELEMENTS, Activation, Draft, Shape

SAME, VALID = 0, 1


def convolution(draft: Draft, x: Activation) -> Activation | None:
    """CONV_2D, sometimes of groups."""
    if len(x.shape) != 4:
        return None
    channels, outputs, kernel = x.shape[3], draft.whole(1, 9), (draft.whole(1, 3), draft.whole(1, 3))
    groups = draft.choose(1, 1, 1, channels, 2)
    if channels % groups:
        groups = 1
    outputs = groups * max(1, outputs // groups)
    geometry = _geometry(draft, x.shape, kernel)
    if geometry is None:
        return None
    options, size = geometry
    weights, steps = _weights(draft, (outputs, *kernel, channels // groups), 0)
    terms = prod(kernel) * channels // groups
    inputs, y = _summed(draft, x, (1, *size, outputs), (weights, steps), terms)
    return draft.append("CONV_2D", inputs, y, "Conv2DOptions", **options)


def depthwise(draft: Draft, x: Activation) -> Activation | None:
    """DEPTHWISE_CONV_2D with 1 to 3 outputs per channel."""
    if len(x.shape) != 4:
        return None
    times, kernel = draft.choose(1, 1, 2, 3), (draft.whole(1, 3), draft.whole(1, 3))
    geometry = _geometry(draft, x.shape, kernel)
    if geometry is None:
        return None
    options, size = geometry
    outputs = times * x.shape[3]
    inputs, y = _summed(draft, x, (1, *size, outputs), _weights(draft, (1, *kernel, outputs), 3), prod(kernel))
    return draft.append("DEPTHWISE_CONV_2D", inputs, y, "DepthwiseConv2DOptions", **options, depthMultiplier=times)


def transposed(draft: Draft, x: Activation) -> Activation | None:
    """TRANSPOSE_CONV of any strides, as many results as the padding allows, with a bias or none."""
    if len(x.shape) != 4:
        return None
    kernel, stride = (draft.whole(1, 4), draft.whole(1, 4)), (draft.whole(1, 3), draft.whole(1, 3))
    padding, outputs = draft.choose(SAME, VALID), draft.whole(1, 6)
    more = [0 if padding == SAME else k - 1 for k in kernel]
    sizes = [
        (length - 1) * step + 1 + extra + draft.whole(0, step - 1)
        for length, step, extra in zip(x.shape[1:3], stride, more, strict=True)
    ]
    if draft.chance(0.6):  # as most files have it
        sizes = [
            length * step + max(extra + 1 - step, 0)
            for length, step, extra in zip(x.shape[1:3], stride, more, strict=True)
        ]
    weights, steps = _weights(draft, (outputs, *kernel, x.shape[3]), 0)
    shape = (1, *sizes, outputs)
    inputs, y = _summed(draft, x, shape, (weights, steps), prod(kernel) * x.shape[3] // prod(stride) + 1)
    inputs = [draft.constant(list(shape)), inputs[1], inputs[0], *(inputs[2:] if draft.chance(0.7) else [])]
    options = {"padding": padding, "strideH": stride[0], "strideW": stride[1]}
    fused = {"fusedActivationFunction": draft.choose(*ACTIVATIONS)} if draft.chance(0.3) else {}
    result = draft.append("TRANSPOSE_CONV", inputs, y, "TransposeConvOptions", **options, **fused)
    draft.net.model.operatorCodes[-1].version = 4 if fused else 3 if len(inputs) == 4 else 2
    return result


def fully_connected(draft: Draft, x: Activation) -> Activation | None:
    """FULLY_CONNECTED on a whole sample, or at every position; the bias may be missing."""
    outputs, keeps = draft.whole(1, 12), draft.chance(0.5) and len(x.shape) > 2
    terms = prod(x.shape[-1:] if keeps else x.shape)
    if terms > ELEMENTS // 8:
        return None
    shape = (*x.shape[:-1], outputs) if keeps else (1, outputs)
    inputs, y = _summed(draft, x, shape, _weights(draft, (outputs, terms), 0), terms)
    if draft.chance(0.2):
        inputs = inputs[:2]
    options = {"fusedActivationFunction": draft.choose(*ACTIVATIONS), "keepNumDims": keeps}
    return draft.append("FULLY_CONNECTED", inputs, y, "FullyConnectedOptions", **options)


def pool(draft: Draft, x: Activation) -> Activation | None:
    """AVERAGE_POOL_2D or MAX_POOL_2D, windows up to the whole image; both keep the scale."""
    if len(x.shape) != 4:
        return None
    kernel = tuple(draft.choose(1, 2, 2, 3, size) for size in x.shape[1:3])
    geometry = _geometry(draft, x.shape, kernel, dilated=False)
    if geometry is None:
        return None
    options, size = geometry
    y = draft.activation((1, *size, x.shape[3]), x.scale, x.zero)
    window = {"filterHeight": kernel[0], "filterWidth": kernel[1]}
    return draft.append(
        draft.choose("AVERAGE_POOL_2D", "MAX_POOL_2D"), [x.index], y, "Pool2DOptions", **options, **window
    )


def mean(draft: Draft, x: Activation) -> Activation | None:
    """MEAN over rows and columns, now and then over other axes."""
    if len(x.shape) not in (3, 4):
        return None
    axes = list(range(1, len(x.shape) - 1)) if draft.chance(0.8) else [draft.whole(1, len(x.shape) - 1)]
    keeps = draft.chance(0.5)
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape) if keeps or axis not in axes)
    y = draft.activation(shape, draft.scale_from(x.scale))
    return draft.append("MEAN", [x.index, draft.constant(axes)], y, "ReducerOptions", keepDims=keeps)


def pad(draft: Draft, x: Activation) -> Activation | None:
    """PAD or PADV2 around an image or line."""
    if len(x.shape) not in (3, 4):
        return None
    amounts = [[0, 0], *([draft.whole(0, 2), draft.whole(0, 2)] for _ in x.shape[1:-1]), [0, 0]]
    shape = tuple(size + sum(around) for size, around in zip(x.shape, amounts, strict=True))
    inputs = [x.index, draft.constant(amounts)]
    if draft.chance(0.4):
        value = x.zero if draft.chance(0.7) else draft.zero()
        inputs.append(draft.constant([value], draft.kind, scale=[x.scale], zero=[x.zero]))
        return draft.append("PADV2", inputs, draft.activation(shape, x.scale, x.zero), "PadV2Options")
    return draft.append("PAD", inputs, draft.activation(shape, x.scale, x.zero), "PadOptions")


def reshape(draft: Draft, x: Activation) -> Activation | None:
    """RESHAPE to another shape of as many elements."""
    size = prod(x.shape)
    divisors = [n for n in range(1, size + 1) if size % n == 0]
    rows = draft.choose(*divisors)
    columns = draft.choose(*(n for n in divisors if size // rows % n == 0))
    shape = draft.choose((1, size), (1, rows, size // rows), (1, rows, columns, size // rows // columns), x.shape)
    y = draft.activation(shape, x.scale, x.zero)
    return draft.append("RESHAPE", [x.index, draft.constant(list(shape))], y, "ReshapeOptions", newShape=list(shape))


def slice_(draft: Draft, x: Activation) -> Activation | None:
    """SLICE or STRIDED_SLICE, with masks."""
    begin = [0, *(draft.whole(0, size - 1) for size in x.shape[1:])]
    end = [1, *(draft.whole(first + 1, size) for first, size in zip(begin[1:], x.shape[1:], strict=True))]
    shape = tuple(last - first for first, last in zip(begin, end, strict=True))
    y = draft.activation(shape, x.scale, x.zero)
    if draft.chance(0.5):
        return draft.append("SLICE", [x.index, draft.constant(begin), draft.constant(list(shape))], y, "SliceOptions")
    begin_mask = sum(1 << axis for axis, first in enumerate(begin) if first == 0 and draft.chance(0.5))
    end_mask = sum(1 << axis for axis, last in enumerate(end) if last == x.shape[axis] and draft.chance(0.5))
    stored = [
        last - x.shape[axis] if last < x.shape[axis] and draft.chance(0.3) else last for axis, last in enumerate(end)
    ]
    inputs = [x.index, draft.constant(begin), draft.constant(stored), draft.constant([1] * len(begin))]
    return draft.append("STRIDED_SLICE", inputs, y, "StridedSliceOptions", beginMask=begin_mask, endMask=end_mask)


def split(draft: Draft, x: Activation) -> Activation | None:
    """SPLIT of the channels in two; the second half goes on."""
    if x.shape[-1] % 2:
        return None
    halves = [draft.activation((*x.shape[:-1], x.shape[-1] // 2), x.scale, x.zero) for _ in range(2)]
    draft.write(
        "SPLIT", [draft.constant(np.array(len(x.shape) - 1, np.int32)), x.index], halves, "SplitOptions", numSplits=2
    )
    return halves[1]


def resize(draft: Draft, x: Activation) -> Activation | None:
    """RESIZE_BILINEAR or RESIZE_NEAREST_NEIGHBOR, larger or smaller, every kind of coordinates."""
    if len(x.shape) != 4:
        return None
    size = [draft.choose(length, 2 * length, 3 * length, draft.whole(1, 12)) for length in x.shape[1:3]]
    if prod(size) * x.shape[3] > ELEMENTS:
        return None
    corners, half = draft.choose((False, False), (False, True), (True, False), (True, False))
    code, table = draft.choose(
        ("RESIZE_BILINEAR", "ResizeBilinearOptions"), ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions")
    )
    y = draft.activation((1, *size, x.shape[3]), x.scale, x.zero)
    return draft.append(code, [x.index, draft.constant(size)], y, table, alignCorners=corners, halfPixelCenters=half)


def mirror_pad(draft: Draft, x: Activation) -> Activation | None:
    """MIRROR_PAD of any axis but the batch, with the border or without."""
    symmetric = draft.chance(0.5)
    most = [size if symmetric else size - 1 for size in x.shape[1:]]
    amounts = [[0, 0], *([draft.whole(0, min(2, n)), draft.whole(0, min(2, n))] for n in most)]
    shape = tuple(size + sum(around) for size, around in zip(x.shape, amounts, strict=True))
    y = draft.activation(shape, x.scale, x.zero)
    return draft.append("MIRROR_PAD", [x.index, draft.constant(amounts)], y, "MirrorPadOptions", mode=int(symmetric))


def gather(draft: Draft, x: Activation) -> Activation | None:
    """GATHER of some entries of an axis."""
    axis = draft.whole(1, len(x.shape) - 1)
    index = [draft.whole(0, x.shape[axis] - 1) for _ in range(draft.whole(1, 5))]
    y = draft.activation((*x.shape[:axis], len(index), *x.shape[axis + 1 :]), x.scale, x.zero)
    shown = draft.choose(axis, axis - len(x.shape))
    return draft.append("GATHER", [x.index, draft.constant(index)], y, "GatherOptions", axis=shown, batchDims=0)


def strided(draft: Draft, x: Activation) -> Activation | None:
    """STRIDED_SLICE by steps of 1 to 3, or backwards."""
    ways = [draft.choose((0, size, draft.whole(1, 3)), (size - 1, -size - 1, -1)) for size in x.shape[1:]]
    spans = [(0, 1, 1), *ways]
    shape = tuple(len(range(*slice(*span).indices(size))) for span, size in zip(spans, x.shape, strict=True))
    inputs = [x.index, *(draft.constant(list(numbers)) for numbers in zip(*spans, strict=True))]
    masks = {"beginMask": draft.choose(0, 1), "endMask": draft.choose(0, 1)}
    return draft.append(
        "STRIDED_SLICE", inputs, draft.activation(shape, x.scale, x.zero), "StridedSliceOptions", **masks
    )


def depth_to_space(draft: Draft, x: Activation) -> Activation | None:
    """DEPTH_TO_SPACE by blocks of 2."""
    if len(x.shape) != 4 or x.shape[3] % 4:
        return None
    y = draft.activation((1, 2 * x.shape[1], 2 * x.shape[2], x.shape[3] // 4), x.scale, x.zero)
    return draft.append("DEPTH_TO_SPACE", [x.index], y, "DepthToSpaceOptions", blockSize=2)


def transpose(draft: Draft, x: Activation) -> Activation | None:
    """TRANSPOSE to any order of the axes behind the batch."""
    order = [0, *(1 + int(axis) for axis in draft.rng.permutation(len(x.shape) - 1))]
    y = draft.activation(tuple(x.shape[axis] for axis in order), x.scale, x.zero)
    return draft.append("TRANSPOSE", [x.index, draft.constant(order)], y, "TransposeOptions")


def _geometry(
    draft: Draft, x: Shape, kernel: tuple[int, ...], *, dilated: bool = True
) -> tuple[dict[str, Any], tuple[int, int]] | None:
    """Options of a window and the size of its result; None if no window fits."""
    stride = (draft.whole(1, 3), draft.whole(1, 3))
    dilation = (draft.whole(1, 2), draft.whole(1, 2)) if dilated and draft.chance(0.3) else (1, 1)
    padding = draft.choose(SAME, VALID)
    reach = [(k - 1) * gap + 1 for k, gap in zip(kernel, dilation, strict=True)]
    if padding == SAME:
        size = [-(-length // step) for length, step in zip(x[1:3], stride, strict=True)]
    else:
        size = [(length - r) // step + 1 for length, r, step in zip(x[1:3], reach, stride, strict=True)]
    if min(size) < 1:
        return None
    options: dict[str, Any] = {
        "padding": padding,
        "strideH": stride[0],
        "strideW": stride[1],
        "fusedActivationFunction": draft.choose(*ACTIVATIONS),
    }
    if dilated:
        options |= {"dilationHFactor": dilation[0], "dilationWFactor": dilation[1]}
    return options, (size[0], size[1])


def _weights(draft: Draft, shape: Shape, axis: int) -> tuple[int, list[float]]:
    """Weights, and the scale of each output."""
    outputs = shape[axis]
    typical = 10.0 ** draft.rng.uniform(-3, -1)
    if draft.kind is np.uint8:
        zero = draft.choose(128, 128, draft.whole(0, 255))
        scale = float(np.float32(typical))
        said = draft.choose(0, axis)  # which decides, of depthwise filters, which kernels LiteRT takes
        data = draft.integers(shape)
        return draft.constant(data, np.uint8, scale=[scale], zero=[zero], axis=said), [scale] * outputs
    data = np.maximum(draft.integers(shape), -127)
    if draft.chance(0.3):  # one scale for all
        scale = float(np.float32(typical))
        return draft.constant(data, np.int8, scale=[scale], zero=[0]), [scale] * outputs
    scales = [float(np.float32(typical * ratio)) for ratio in draft.rng.uniform(0.2, 1.0, outputs)]
    if draft.chance(0.3):
        scales = [float(np.float32(2.0 ** round(np.log2(scale)))) for scale in scales]
    return draft.constant(data, np.int8, scale=scales, zero=[0] * outputs, axis=axis), scales


def _summed(
    draft: Draft, x: Activation, shape: Shape, weights: tuple[int, list[float]], terms: int
) -> tuple[list[int], Activation]:
    """Inputs of a layer of sums (activation, weights, bias) and the tensor it writes."""
    index, scales = weights
    steps = [float(np.float32(x.scale) * np.float32(scale)) for scale in scales]
    per_tensor = len(draft.net.graph.tensors[index].quantization.scale) == 1
    spread = draft.choose(0, 100, 5000)
    bias = draft.constant(
        draft.rng.integers(-spread, spread + 1, len(scales)),
        scale=steps[:1] if per_tensor else steps,
        zero=[0] if per_tensor else [0] * len(steps),
    )
    typical = max(steps) * 60 * terms**0.5
    return [x.index, index, bias], draft.activation(shape, draft.scale_from(typical))


DRAWS: Final = (
    *(convolution,) * 4, *(depthwise,) * 3, *(transposed,) * 3, *(fully_connected,) * 3, *(pool,) * 4, mean, mean,
    pad, pad, reshape, slice_, strided, gather, mirror_pad, split, resize, resize, depth_to_space, transpose,
)  # fmt: skip
"""What operators are drawn from, as often as they stand here."""
