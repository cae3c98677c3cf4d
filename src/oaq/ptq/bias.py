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

from oaq.capture.graph import FloatGraph, FloatNode, FloatProducts, LayerParams, TensorParams
from oaq.numerics.formats import S32
from oaq.ptq.execute import apply_node, apply_op, layers, named_inputs, tensors_of
from oaq.ptq.samples import Chunk

Reals = NDArray[np.float64]
Parameters = tuple[torch.Tensor, torch.Tensor]


def correct_biases(
    graph: FloatGraph,
    samples: Iterable[Chunk],
    tensors: Mapping[str, TensorParams],
    layer_params: Mapping[str, LayerParams],
    progress: Callable[[], None] | None = None,
) -> dict[str, LayerParams]:
    """Layers whose biases make up for what rounding takes from the mean of their outputs.

    Args:
        graph: the float network.
        samples: chunks, read one at a time; none leave every bias as it is.
        tensors: integers of every tensor; a layer's bias is in steps of its input's scale times its weights'.
        layer_params: integers of every layer.
        progress: called after every chunk.
    """
    steps = {node.name: tensors[node.inputs[0]].affine.scale for node, _ in layers(graph)}
    errors = {node.name: _rounding_error(op, layer_params[node.name], steps[node.name]) for node, op in layers(graph)}
    means = {name: _Mean() for name in steps}
    with torch.inference_mode():
        for chunk in samples:
            _add_chunk(graph, chunk, errors, means)
            if progress is not None:
                progress()
    return {name: _with_bias(layer, means[name].value, steps[name]) for name, layer in layer_params.items()}


def dequantized(layer: LayerParams, x_scale: float) -> Parameters:
    """The real weights and biases that a layer's integers mean."""
    scale = torch.from_numpy(layer.weight_scale)
    weight = torch.from_numpy(layer.weight.astype(np.float32)) * scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
    return weight, torch.from_numpy(layer.bias.astype(np.float32)) * scale * x_scale


class _Mean:
    """Mean of an output over samples and positions, added up in float64."""

    def __init__(self) -> None:
        self._total: torch.Tensor | None = None
        self._count = 0

    def add(self, y: torch.Tensor) -> None:
        """``y`` is (batch, N, ...)."""
        total = y.transpose(0, 1).flatten(1).sum(dim=1, dtype=torch.float64)
        self._total = total if self._total is None else self._total + total
        self._count += y.numel() // y.shape[1]

    @property
    def value(self) -> Reals | None:
        """(N,), or None before anything was added."""
        return None if self._total is None else (self._total / self._count).numpy()


def _rounding_error(op: FloatProducts, layer: LayerParams, x_scale: float) -> Parameters:
    """Weight and bias that rounding took away; sums are linear in them, so they give the error when applied."""
    weight, bias = tensors_of(op)
    rough_weight, rough_bias = dequantized(layer, x_scale)
    return weight - rough_weight, bias - rough_bias


def _add_chunk(graph: FloatGraph, chunk: Chunk, errors: Mapping[str, Parameters], means: Mapping[str, _Mean]) -> None:
    values = named_inputs(graph, chunk)
    last: dict[str, FloatNode] = {name: node for node in graph.nodes for name in node.inputs}
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        if node.name in errors:
            means[node.name].add(apply_op(node, inputs, errors[node.name]))
        values[node.output] = apply_node(node, inputs)
        for name in set(node.inputs):
            if last[name] is node:
                del values[name]


def _with_bias(layer: LayerParams, error: Reals | None, x_scale: float) -> LayerParams:
    """Add ``error``, in real values, to the bias; a quarter of what s32 holds is the limit."""
    if error is None:
        return layer
    steps = np.rint(error / (layer.weight_scale.astype(np.float64) * x_scale))
    bias = np.clip(layer.bias + steps, S32.lo // 4, S32.hi // 4)
    return replace(layer, bias=bias.astype(np.int32))
