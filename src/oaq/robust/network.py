"""A program as the search sees it: flat tensors of centred integers, linear maps, and relations of one element each.

Every tensor is a row of integers less their zero point, so padding is 0. A layer is one of

* ``Sums``: acc = sum of linear maps + bias, y related to acc element by element (Conv2d, Linear, pools of averages,
  bilinear Resize, Concat, Add);
* ``Lookups``: y = table[x], one table or one per channel;
* ``Moves``: y[k] = x[index[k]] or 0 (Reshape, Slice, Pad, DepthToSpace, Transpose, Gather, nearest Resize);
* ``Maxima``: y[k] = the greatest of x[index[k, :]];
* ``Products``: y anywhere in the image of its operands' ranges (Mul).

The image of a range comes from the operator's own law at the ends wherever it is monotone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from oaq.program.int_program import IntProgram, Node
from oaq.reference.run import compute
from oaq.robust.linear import LinearMap
from oaq.robust.staircase import Ints, Reals, Staircase
from oaq.robust.table import Table

Range = tuple[Ints, Ints]
"""(lo, hi), each (B, K)."""


@dataclass(frozen=True, eq=False)
class Sums:
    """acc = sum_i maps[i](x_i) + bias; staircase relates acc to y.

    Attributes:
        inputs: tensors, by index.
        output: likewise.
        maps: one per input.
        bias: (K,).
        steps: the relation.
        law: recomputes y from the operands where acc does not decide it (Add in float32); else None.
    """

    inputs: tuple[int, ...]
    output: int
    maps: tuple[LinearMap, ...]
    bias: Reals
    steps: Staircase
    law: Law | None = None


@dataclass(frozen=True, eq=False)
class Lookups:
    """y = table[x]."""

    inputs: tuple[int, ...]
    output: int
    steps: Table


@dataclass(frozen=True, eq=False)
class Moves:
    """y[k] = x[index[k]]; 0 where the index is negative."""

    inputs: tuple[int, ...]
    output: int
    index: Ints


@dataclass(frozen=True, eq=False)
class Maxima:
    """y[k] = the greatest of x[index[k, :]], negative indices left out.

    Attributes:
        least: the centred value of a window that holds nothing: the least integer of the output.
    """

    inputs: tuple[int, ...]
    output: int
    index: Ints
    least: int


@dataclass(frozen=True, eq=False)
class Products:
    """y anywhere in the image of the operands' ranges."""

    inputs: tuple[int, ...]
    output: int
    law: Law


Operation = Sums | Lookups | Moves | Maxima | Products


@dataclass(frozen=True, eq=False)
class Law:
    """An operator of a program on flat centred rows."""

    program: IntProgram
    node: Node

    def __call__(self, operands: Sequence[Ints]) -> Ints:
        """(B, inputs) each to (B, outputs)."""
        specs, y = self.program.specs(self.node), self.program.tensors[self.node.output]
        images = [
            (rows + spec.affine.zero_point).astype(np.uint8).reshape(-1, *spec.shape)
            for rows, spec in zip(operands, specs, strict=True)
        ]
        values, _ = compute(self.node, images, specs, y)
        return values.reshape(len(values), flat_size(y.shape)).astype(np.int64) - y.affine.zero_point


@dataclass(frozen=True, eq=False)
class Network:
    """Layers in order of execution.

    Attributes:
        layers: each writes one tensor.
        sizes: elements of each tensor; tensor 0 is the input.
        zeros: zero point of each tensor.
        outputs: tensor of each program's output (several where programs are compared).
        names: of the node behind each layer.
        limits: least and greatest integer of the input.
    """

    layers: tuple[Operation, ...]
    sizes: tuple[int, ...]
    zeros: tuple[int, ...]
    outputs: tuple[int, ...]
    names: tuple[str, ...]
    limits: tuple[int, int]

    def writer(self, tensor: int) -> int:
        """The layer that writes ``tensor``; -1 for the input."""
        return next((at for at, layer in enumerate(self.layers) if layer.output == tensor), -1)

    def needed(self, tensors: Sequence[int]) -> frozenset[int]:
        """Layers on which ``tensors`` depend."""
        needed, open_tensors = set(), set(tensors)
        for at in range(len(self.layers) - 1, -1, -1):
            if self.layers[at].output in open_tensors:
                needed.add(at)
                open_tensors.update(self.layers[at].inputs)
        return frozenset(needed)


def sums(layer: Sums, tensors: Sequence[NDArray]) -> Reals:
    """Accumulators of a layer: (B, K)."""
    total = layer.bias[None, :]
    for tensor, linear in zip(layer.inputs, layer.maps, strict=True):
        total = total + linear.forward(tensors[tensor].astype(np.float64))
    return total


@dataclass(frozen=True, eq=False)
class Trace:
    """Exact integers of a run: every tensor, and the accumulators (or table inputs) of every layer that has them."""

    tensors: list[Ints]
    accumulators: list[Ints | None]


def trace(network: Network, x: Ints) -> Trace:
    """Run the network on centred inputs (B, inputs)."""
    tensors: list[Ints] = [x]
    accumulators: list[Ints | None] = []
    for layer in network.layers:
        acc: Ints | None = None
        match layer:
            case Sums():
                acc = sums(layer, tensors).astype(np.int64)
                y = layer.steps.largest(acc) if layer.law is None else layer.law([tensors[t] for t in layer.inputs])
            case Lookups():
                acc = tensors[layer.inputs[0]]
                y = layer.steps.largest(acc)
            case Moves():
                y = moved(tensors[layer.inputs[0]], layer.index)
            case Maxima():
                y = greatest(tensors[layer.inputs[0]], layer)
            case Products():
                y = layer.law([tensors[t] for t in layer.inputs])
        tensors.append(y)
        accumulators.append(acc)
    return Trace(tensors, accumulators)


def moved(x: NDArray, index: Ints) -> NDArray:
    """(B, inputs) to (B, len(index)); 0 where the index is negative."""
    return np.where(index >= 0, x[:, index], 0)


def greatest(x: Ints, layer: Maxima) -> Ints:
    """(B, inputs) to (B, windows)."""
    windows = np.where(layer.index >= 0, x[:, layer.index], layer.least)
    return windows.max(axis=2)


def elements(network: Network, tensor: int) -> tuple[int, Ints]:
    """The layer whose element decides each element of ``tensor``, moves looked through, and which element.

    Returns:
        (layer, (K,) element); the layer is -1, and the elements those of ``tensor``, where it is no ``Sums``, or where
        a move puts in a constant.
    """
    index = np.arange(network.sizes[tensor])
    start = tensor
    while (at := network.writer(tensor)) >= 0:
        layer = network.layers[at]
        if isinstance(layer, Sums) and layer.law is None:
            return at, index
        if not isinstance(layer, Moves) or (layer.index[index] < 0).any():
            break
        index, tensor = layer.index[index], layer.inputs[0]
    return -1, np.arange(network.sizes[start])


def flat_size(shape: tuple[int, ...]) -> int:
    """Elements of one sample."""
    return prod(shape)
