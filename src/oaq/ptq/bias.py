"""Bias correction: what rounding a layer's weights does to the mean of each output is taken back by its bias.

After Nagel et al. (1906.04721), the empirical kind, but measured layer by layer on the float network's own activations
and for the parameters alone: docs/decisions/0013 says what the sequential kind costs where activations are coarse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from oaq.capture.graph import FloatGraph, FloatProducts, LayerParams, TensorParams
from oaq.numerics.formats import S32
from oaq.ptq.execute import Tensors, apply_op, layers, run_graph, tensors_of
from oaq.ptq.samples import Chunk

Reals = NDArray[np.float64]
Parameters = tuple[torch.Tensor, torch.Tensor]


class MeanInputs:
    """Mean, over samples, of what every layer of a network reads.

    A layer's sums are linear in what it reads, so the mean of its sums is the sum over the mean of its inputs: one
    image stands for all samples.
    """

    def __init__(self, graph: FloatGraph) -> None:
        self._names = {node.inputs[0] for node, _ in layers(graph)}
        self._totals: Tensors = {}
        self._count = 0

    def add(self, values: Mapping[str, torch.Tensor]) -> None:
        """Add a batch; ``values`` holds, by name, what every layer reads."""
        self._count += len(next(iter(values.values())))
        for name in self._names:
            total = values[name].sum(dim=0, keepdim=True)
            self._totals[name] = total if name not in self._totals else self._totals[name] + total

    def value(self) -> Tensors:
        """(1, ...) by name of the tensor; nothing before anything was added."""
        return {name: total / self._count for name, total in self._totals.items()}


def mean_inputs(graph: FloatGraph, samples: Iterable[Chunk], progress: Callable[[], None] | None = None) -> Tensors:
    """(1, ...) mean of every tensor that a layer reads, by name; nothing if there are no samples.

    Args:
        graph: the float network.
        samples: chunks, read one at a time.
        progress: called after every chunk.
    """
    means = MeanInputs(graph)
    read = {node.inputs[0] for node, _ in layers(graph)}
    with torch.inference_mode():
        for chunk in samples:
            means.add(run_graph(graph, chunk, keep=read))
            if progress is not None:
                progress()
        return means.value()


def correct_biases(
    graph: FloatGraph,
    means: Tensors,
    tensors: Mapping[str, TensorParams],
    layer_params: Mapping[str, LayerParams],
) -> dict[str, LayerParams]:
    """Layers whose biases make up for what rounding takes from the mean of their outputs.

    Args:
        graph: the float network.
        means: of what layers read (``mean_inputs``); none leave every bias as it is.
        tensors: integers of every tensor; a layer's bias is in steps of its input's scale times its weights'.
        layer_params: integers of every layer.
    """
    result = dict(layer_params)
    with torch.inference_mode():
        for node, op in layers(graph):
            if (mean := means.get(node.inputs[0])) is None:
                continue
            step = tensors[node.inputs[0]].affine.scale
            error = apply_op(node, [mean], _rounding_error(op, layer_params[node.name], step))
            by_output = error.transpose(0, 1).flatten(1).mean(dim=1, dtype=torch.float64).numpy()
            result[node.name] = _with_bias(layer_params[node.name], by_output, step)
    return result


def dequantized(layer: LayerParams, x_scale: float) -> Parameters:
    """The real weights and biases that a layer's integers mean."""
    scale = torch.from_numpy(layer.weight_scale)
    weight = torch.from_numpy(layer.weight.astype(np.float32)) * scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
    return weight, torch.from_numpy(layer.bias.astype(np.float32)) * scale * x_scale


def _rounding_error(op: FloatProducts, layer: LayerParams, x_scale: float) -> Parameters:
    """Weight and bias that rounding took away; sums are linear in them, so they give the error when applied."""
    weight, bias = tensors_of(op)
    rough_weight, rough_bias = dequantized(layer, x_scale)
    return weight - rough_weight, bias - rough_bias


def _with_bias(layer: LayerParams, error: Reals, x_scale: float) -> LayerParams:
    """Add ``error``, in real values, to the bias; a quarter of what s32 holds is the limit."""
    steps = np.rint(error / (layer.weight_scale.astype(np.float64) * x_scale))
    bias = np.clip(layer.bias + steps, S32.lo // 4, S32.hi // 4)
    return replace(layer, bias=bias.astype(np.int32))
