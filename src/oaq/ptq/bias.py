"""Bias correction: what rounding does to the mean of each channel is taken back by its bias.

Nagel et al. (1906.04721), the empirical kind: the float network and the integer network (simulated on its own inputs,
earlier corrections included) run side by side, and layer after layer the difference of the means goes into the bias.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np
import torch

from oaq.capture.graph import FloatConv2d, FloatGraph, FloatLinear, FloatNode, LayerParams, TensorParams
from oaq.numerics.formats import S32
from oaq.ptq.execute import apply_op, clamped, named_inputs
from oaq.ptq.samples import Chunk

Chunks = list[torch.Tensor]


def correct_biases(
    graph: FloatGraph,
    samples: Iterable[Chunk],
    tensors: Mapping[str, TensorParams],
    layers: Mapping[str, LayerParams],
    progress: Callable[[], None] | None = None,
) -> dict[str, LayerParams]:
    """The same layers with corrected biases.

    Args:
        graph: the float network.
        samples: chunks; all are held at once, one layer's tensors at a time.
        tensors: integers of every tensor.
        layers: integers of every layer.
        progress: called after every node.
    """
    given = [named_inputs(graph, chunk) for chunk in samples]
    exact: dict[str, Chunks] = {name: [chunk[name] for chunk in given] for name in graph.inputs}
    rough = {name: [fake_quantize(x, tensors[name]) for x in chunks] for name, chunks in exact.items()}
    last = {name: node.name for node in graph.nodes for name in node.inputs}
    corrected = dict(layers)
    with torch.inference_mode():
        for node in graph.nodes:
            wanted = _apply(node, exact, None)
            if isinstance(node.op, FloatConv2d | FloatLinear):
                layer, step = corrected[node.name], tensors[node.inputs[0]].affine.scale
                got = _apply(node, rough, dequantized(layer, step))
                error = _means(wanted) - _means(got)
                layer = _with_bias(layer, error, step)
                corrected[node.name] = layer
                moved = (layer.bias - layers[node.name].bias).astype(np.float64) * layer.weight_scale * step
                shift = torch.from_numpy(moved.astype(np.float32)).reshape(-1, *[1] * (got[0].ndim - 2))
                got = [y + shift for y in got]
            else:
                got = _apply(node, rough, None)
            exact[node.output] = [clamped(node, y) for y in wanted]
            rough[node.output] = [fake_quantize(clamped(node, y), tensors[node.output]) for y in got]
            for name in set(node.inputs):
                if last[name] == node.name:
                    del exact[name], rough[name]
            if progress is not None:
                progress()
    return corrected


def fake_quantize(x: torch.Tensor, params: TensorParams) -> torch.Tensor:
    """Round to the tensor's integers and back, in float."""
    scale, zero = params.affine.scale, params.affine.zero_point
    return torch.clamp(torch.round(x / scale), params.range.lo - zero, params.range.hi - zero) * scale


def dequantized(layer: LayerParams, x_scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The real weights and biases that a layer's integers mean."""
    scale = torch.from_numpy(layer.weight_scale)
    weight = torch.from_numpy(layer.weight.astype(np.float32)) * scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
    return weight, torch.from_numpy(layer.bias.astype(np.float32)) * scale * x_scale


def _apply(
    node: FloatNode, tensors: Mapping[str, Chunks], parameters: tuple[torch.Tensor, torch.Tensor] | None
) -> Chunks:
    inputs = [tensors[name] for name in node.inputs]
    return [apply_op(node, list(parts), parameters) for parts in zip(*inputs, strict=True)]


def _means(chunks: Chunks) -> np.ndarray:
    """(N,) over samples and positions."""
    total = sum(y.transpose(0, 1).flatten(1).sum(dim=1, dtype=torch.float64) for y in chunks)
    count = sum(y.numel() // y.shape[1] for y in chunks)
    return (torch.as_tensor(total) / count).numpy()


def _with_bias(layer: LayerParams, error: np.ndarray, x_scale: float) -> LayerParams:
    """Add ``error``, in real values, to the bias; a quarter of what s32 holds is the limit."""
    steps = np.rint(error / (layer.weight_scale.astype(np.float64) * x_scale))
    bias = np.clip(layer.bias + steps, S32.lo // 4, S32.hi // 4)
    return replace(layer, bias=bias.astype(np.int32))
