"""The demo networks as programs whose integers follow from their weights by IEEE arithmetic alone.

Calibration and torch's own kernels round differently on different CPUs, so a golden file cannot rest on them. Here
batch norms are left out, scales are fixed, and NumPy rounds the weights: the same program on every machine.
"""

from __future__ import annotations

import zlib
from typing import Final

import numpy as np
import torch
from torch import nn

from oaq.capture.from_torch import normalize
from oaq.capture.graph import FloatGraph, FloatNode, LayerParams, TensorParams
from oaq.capture.lower import lower, same_affine_groups
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.program.int_program import IntProgram
from recipes.networks import NETWORKS

NAMES: Final = ("efficientnet-lite0", "mobilenet-v2", "resnet18")
WEIGHT_LIMITS: Final = (127, 63, 31)
"""Largest weights, taken in turn by the layers: plans then hold rows with few, many and no spills."""
BIAS_LIMIT: Final = 1 << 15


def golden_program(name: str) -> IntProgram:
    """The network ``name`` of ``recipes.networks`` in integers, without its batch norms.

    A network without published weights gets weights drawn by NumPy.
    """
    network = NETWORKS[name]
    module = network.load()
    if not network.trained:
        _draw_weights(module)
    _drop_batch_norms(module)
    graph = normalize(module, torch.zeros(1, 3, 224, 224), name)
    tensors = {tensor: _tensor(graph, group) for group in same_affine_groups(graph) for tensor in group}
    summing = [node for node in graph.nodes if hasattr(node.op, "weight")]
    limits = {node.name: WEIGHT_LIMITS[place % len(WEIGHT_LIMITS)] for place, node in enumerate(summing)}
    layers = {node.name: _layer(node, limits[node.name]) for node in summing}
    return lower(graph, tensors, layers)


def golden_input(program: IntProgram) -> np.ndarray:
    """(2, H, W, 3) uint8: one sample of every integer in turn, one drawn sample."""
    shape = program.tensors[program.inputs[0]].shape
    ramp = np.arange(np.prod(shape)).reshape(shape) % 256
    drawn = np.random.default_rng(5).integers(0, 256, shape)
    return np.stack([ramp, drawn]).astype(np.uint8)


def _draw_weights(module: nn.Module) -> None:
    rng = np.random.default_rng(20)
    with torch.no_grad():
        for parameter in module.parameters():
            integers = rng.integers(-127, 128, tuple(parameter.shape)).astype(np.float32)
            parameter.copy_(torch.from_numpy(integers / np.float32(127)))


def _drop_batch_norms(module: nn.Module) -> None:
    for parent in list(module.modules()):
        for attribute, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, attribute, nn.Identity())


def _tensor(graph: FloatGraph, group: frozenset[str]) -> TensorParams:
    """[0, 6] in 7 or 8 bits where some writer clamps below at zero, else a symmetric range; chosen by the name."""
    clamps = [node.clamp for node in graph.nodes if node.output in group and node.clamp is not None]
    first = min(group)
    if clamps:
        top = 127 if zlib.crc32(first.encode()) % 2 else 255
        return TensorParams(Affine(6.0 / top, 0), IntRange(0, top))
    return TensorParams(Affine(1.0 / 32, 128), IntRange(0, 255))


def _layer(node: FloatNode, limit: int) -> LayerParams:
    weight = np.asarray(node.op.weight, np.float64)
    rows = weight.reshape(len(weight), -1)
    largest = np.maximum(np.abs(rows).max(axis=1), 2.0**-20)
    scale = (largest / limit).astype(np.float32)
    integers = np.rint(rows / scale[:, None].astype(np.float64)).clip(-limit, limit).astype(np.int8)
    bias = np.zeros(len(weight)) if node.op.bias is None else np.asarray(node.op.bias, np.float64)
    folded = np.rint(bias * 1024).clip(-BIAS_LIMIT, BIAS_LIMIT).astype(np.int32)
    return LayerParams(integers.reshape(weight.shape), scale, folded)
