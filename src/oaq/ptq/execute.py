"""Run a ``FloatGraph`` with torch: in float, with any weights, and with any function applied to its tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.capture import graph as fg
from oaq.capture.graph import FloatConv2d, FloatGraph, FloatLinear, FloatNode, FloatProducts
from oaq.errors import ProgramError, UnsupportedOp
from oaq.program.layout import channels_last
from oaq.ptq import windows
from oaq.ptq.functions import channel_function, function

Value = TypeVar("Value")
Tensors = dict[str, torch.Tensor]
Weights = tuple[torch.Tensor, torch.Tensor]
Parameters = Mapping[str, Weights]
"""(weight, bias) to use instead of the graph's, by node name."""
Forward = Callable[[Any, list[torch.Tensor], Weights | None], torch.Tensor]
"""(operator, its inputs, weight and bias to use instead of its own) to its result."""
After = Callable[[str, torch.Tensor], torch.Tensor]
"""Applied to every tensor, by name, before anything reads it: a quantizer, or something that only watches."""


def run_graph(
    graph: FloatGraph,
    inputs: torch.Tensor | NDArray[np.float32] | Mapping[str, torch.Tensor],
    *,
    parameters: Parameters | None = None,
    after: After | None = None,
    keep: Iterable[str] | None = None,
) -> Tensors:
    """Run samples through the network.

    Args:
        graph: the network.
        inputs: (batch, ...) float32 in the graph's own order, by name or for the only input.
        parameters: weights and biases to use instead, by node name.
        after: applied to every tensor as soon as it is there.
        keep: tensors to return; None is all. Others are freed after their last reader.

    Returns:
        The tensors in ``keep``, (batch, ...) each. Gradients flow iff the caller has not switched them off.

    Raises:
        ProgramError: inputs that the graph does not have, or of other shapes.
    """
    names = set(graph.shapes if keep is None else keep)
    last = {name: node.name for node in graph.nodes for name in node.inputs}
    tensors: Tensors = {}
    for name, value in named_inputs(graph, inputs).items():
        tensors[name] = value if after is None else after(name, value)
    for node in graph.nodes:
        override = None if parameters is None else parameters.get(node.name)
        result = apply_node(node, [tensors[name] for name in node.inputs], override)
        tensors[node.output] = result if after is None else after(node.output, result)
        for name in set(node.inputs) - names:
            if last[name] == node.name:
                del tensors[name]
    return {name: value for name, value in tensors.items() if name in names}


def float_values(
    graph: FloatGraph, x: NDArray[np.float32], keep: Iterable[str] | None = None
) -> dict[str, NDArray[np.float32]]:
    """The float network's tensors as an ``IntProgram`` lays them out: (batch, ..., C).

    Args:
        graph: the network; after equalisation (``QuantizeReport.graph``), so that values mean what the program's do.
        x: (batch, ...) in the graph's own order.
        keep: tensors to return; None is all.
    """
    with torch.inference_mode():
        tensors = run_graph(graph, x, keep=keep)
    return {name: np.ascontiguousarray(np.moveaxis(value.numpy(), 1, -1)) for name, value in tensors.items()}


def float_outputs(graph: FloatGraph, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """What the float network makes of (batch, ...), coming and going as the graph's callers lay it out."""
    samples = torch.from_numpy(x)
    with torch.inference_mode():
        tensors = run_graph(
            graph, samples.movedim(-1, 1) if graph.is_channels_last(graph.inputs[0]) else samples, keep=graph.outputs
        )
    return [
        (tensors[name].movedim(1, -1) if graph.is_channels_last(name) else tensors[name]).numpy()
        for name in graph.outputs
    ]


def named_inputs(graph: FloatGraph, inputs: torch.Tensor | NDArray[np.float32] | Mapping[str, torch.Tensor]) -> Tensors:
    """Inputs by name, their shapes checked.

    Raises:
        ProgramError: a name or a shape does not fit.
    """
    if isinstance(inputs, Mapping):
        tensors = dict(inputs)
    elif len(graph.inputs) == 1:
        tensors = {graph.inputs[0]: torch.as_tensor(inputs)}
    else:
        raise ProgramError(f"{graph.name} reads {', '.join(graph.inputs)}: give its inputs by name")
    if set(tensors) != set(graph.inputs):
        raise ProgramError(f"{graph.name} reads {', '.join(graph.inputs)}, not {', '.join(tensors)}")
    for name, value in tensors.items():
        if tuple(value.shape[1:]) != tuple(graph.shapes[name]):
            raise ProgramError(f"{name} is (batch, {_csv(graph.shapes[name])}), not {tuple(value.shape)}")
    return tensors


def apply_node(
    node: FloatNode, inputs: list[torch.Tensor], parameters: tuple[torch.Tensor, torch.Tensor] | None = None
) -> torch.Tensor:
    """One node: its operator, then its clamp."""
    return clamped(node, apply_op(node, inputs, parameters))


def clamped(node: FloatNode, y: torch.Tensor) -> torch.Tensor:
    """Apply the node's clamp."""
    return y if node.clamp is None or node.clamp == (None, None) else torch.clamp(y, *node.clamp)


def apply_op(
    node: FloatNode, inputs: list[torch.Tensor], parameters: tuple[torch.Tensor, torch.Tensor] | None = None
) -> torch.Tensor:
    """One node's operator, before its clamp.

    Raises:
        UnsupportedOp: no rule for it.
    """
    name = fg.rules_of(node.op).name
    if name not in FORWARD:
        raise UnsupportedOp(f"{node.name}: {name} cannot be run in float")
    return FORWARD[name](node.op, inputs, parameters)


def tensors_of(op: FloatProducts) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias as torch tensors of their own."""
    return torch.tensor(op.weight), torch.tensor(op.bias)


def layers(graph: FloatGraph) -> Iterator[tuple[FloatNode, FloatProducts]]:
    """The nodes that sum products, in order."""
    for node in graph.nodes:
        if isinstance(node.op, FloatProducts):
            yield node, node.op


def _conv2d(op: FloatConv2d, inputs: list[torch.Tensor], parameters: Weights | None) -> torch.Tensor:
    weight, bias = parameters if parameters is not None else tensors_of(op)
    return windows.convolution(inputs[0], weight, bias, op)


def _linear(op: FloatLinear, inputs: list[torch.Tensor], parameters: Weights | None) -> torch.Tensor:
    weight, bias = parameters if parameters is not None else tensors_of(op)
    return windows.linear(inputs[0], weight, bias)


def _reshape(op: fg.FloatReshape, x: torch.Tensor) -> torch.Tensor:
    if op.channels_last:
        return x.movedim(1, -1).reshape(x.shape[0], *channels_last(op.shape)).movedim(-1, 1)
    return x.reshape(x.shape[0], *op.shape)


def _slice(op: fg.FloatSlice, x: torch.Tensor) -> torch.Tensor:
    return x[(slice(None), *(slice(lo, hi) for lo, hi in zip(op.begin, op.end, strict=True)))]


def _resize(op: ops.Resize, x: torch.Tensor) -> torch.Tensor:
    if op.mode == "bilinear_asymmetric":
        return _by_first_pixels(_by_first_pixels(x, 2, op.height), 3, op.width)
    if op.mode != "nearest":
        corners = op.mode == "bilinear_corners"
        return F.interpolate(x, (op.height, op.width), mode="bilinear", align_corners=corners)
    rows, columns = (
        torch.arange(results) * size // results for results, size in ((op.height, x.shape[2]), (op.width, x.shape[3]))
    )
    return x[:, :, rows][..., columns]


def _by_first_pixels(x: torch.Tensor, axis: int, results: int) -> torch.Tensor:
    """One axis of a bilinear resize whose result i lies at i * size / results."""
    size = x.shape[axis]
    places = torch.arange(results, dtype=torch.float64, device=x.device) * size / results
    first = places.long().clamp_max(size - 1)
    part = (places - first).to(x.dtype).reshape([-1 if index == axis else 1 for index in range(x.ndim)])
    second = (first + 1).clamp_max(size - 1)
    return x.index_select(axis, first) * (1 - part) + x.index_select(axis, second) * part


def _gather(op: ops.Gather, x: torch.Tensor) -> torch.Tensor:
    return x.index_select(op.axis + 1, torch.tensor(op.index, device=x.device))


def _avg_pool(op: fg.FloatAvgPool, x: torch.Tensor) -> torch.Tensor:
    mean = windows.mean_under(windows.padded(x, op.padding), op)
    if op.count_include_pad or not any(op.padding):
        return mean
    inside = windows.mean_under(windows.padded(torch.ones_like(x[:1, :1]), op.padding), op)
    return mean / inside


def _depth_to_space(op: ops.DepthToSpace, x: torch.Tensor) -> torch.Tensor:
    if op.mode == "CRD":
        return F.pixel_shuffle(x, op.block)
    batch, channels, height, width = x.shape
    b, c = op.block, channels // op.block**2
    split = x.reshape(batch, b, b, c, height, width).permute(0, 3, 4, 1, 5, 2)
    return split.reshape(batch, c, height * b, width * b)


def _transpose(op: ops.Transpose, x: torch.Tensor) -> torch.Tensor:
    parts = x.movedim(1, -1).reshape(len(x), *op.split).permute(0, *(1 + place for place in op.order))
    return parts.reshape(len(x), *op.shape).movedim(-1, 1)


def _alone(rule: Callable[[Any, torch.Tensor], torch.Tensor]) -> Forward:
    """The rule of an operator that reads one tensor and has no weights."""
    return lambda op, inputs, _parameters: rule(op, inputs[0])


FORWARD: Final[Mapping[str, Forward]] = {
    "Conv2d": _conv2d,
    "Linear": _linear,
    "Add": lambda _op, inputs, _parameters: inputs[0] + inputs[1],
    "Mul": lambda _op, inputs, _parameters: inputs[0] * windows.by_channel(inputs[1], inputs[0]),
    "Concat": lambda _op, inputs, _parameters: torch.cat(inputs, dim=1),
    "MaxPool": _alone(windows.max_pool),
    "AvgPool": _alone(_avg_pool),
    "GlobalAvgPool": _alone(lambda _op, x: x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)),
    "Resize": _alone(_resize),
    "DepthToSpace": _alone(_depth_to_space),
    "Lookup": _alone(function),
    "ChannelLookup": _alone(channel_function),
    "Reshape": _alone(_reshape),
    "Pad": _alone(lambda op, x: windows.padded(x, op.padding)),
    "Slice": _alone(_slice),
    "Transpose": _alone(_transpose),
    "Gather": _alone(_gather),
    "Coarsen": _alone(lambda _op, x: x),  # its levels are of integers: of real values it is a rounding
}
"""What each operator, by the name of its rules, computes of real tensors, (batch, C, ...), before its clamp."""


def _csv(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
