"""Units that no result depends on: channels that nothing reads, and channels that hold one integer whatever comes in.

Pruning leaves such channels: an output whose weights are all zero is its bias, a column of zeros reads nothing. A
constant goes into the biases of the layers that read it, then the channel is left out everywhere. Both are exact: every
output of the program keeps its integers, for every input.

A padded position of a window holds the zero point, not the constant, so what a constant adds to a sum depends on the
position there: a channel is folded into a window with padding only if it holds the zero point itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.numerics.formats import S32
from oaq.numerics.modular import Modular
from oaq.numerics.requantize import Requantize
from oaq.overflow.analyze import analyze
from oaq.overflow.proof import Proof
from oaq.program.int_program import IntProgram, Node

Mask = NDArray[np.bool_]
BY_CHANNEL = (ops.MaxPool, ops.AvgPool, ops.GlobalAvgPool, ops.Lookup)
"""Operators whose channels do not meet, and that know nothing of any one channel."""


@dataclass(frozen=True, eq=False)
class Trimmed:
    """A program and what was left out of it.

    Attributes:
        program: gives the same integers at every output, for every input.
        removed: by layer, how many of its outputs are gone; empty if none is.
    """

    program: IntProgram
    removed: Mapping[str, int]


@dataclass
class _Region:
    """Where the channels of one layer's outputs go before they are summed.

    Attributes:
        tensors: that have these channels, the layer's output first.
        passing: nodes that pass them on.
        readers: layers that sum over them.
    """

    tensors: list[str] = field(default_factory=list)
    passing: list[Node] = field(default_factory=list)
    readers: list[Node] = field(default_factory=list)


def without_dead_units(program: IntProgram) -> Trimmed:
    """Leave out channels that no result depends on, until none is left.

    Looked at are outputs of layers that reach other layers through pooling, lookups, depthwise layers and flattening
    only. A layer keeps at least one output.

    Args:
        program: any; it is not changed.

    Raises:
        AccumulatorOverflow: its sums cannot be proved.
    """
    removed: dict[str, int] = {}
    goes_on = True
    while goes_on:
        goes_on, proof = False, analyze(program)
        for node in list(program.summing_nodes()):
            region = _region(program, node)
            if region is None:
                continue
            dead, biases = _dead(program, proof, node, region)
            if dead.any():
                removed[node.name] = removed.get(node.name, 0) + int(dead.sum())
                program = _without(program, node, region, ~dead, biases)
                goes_on = True
                break
    return Trimmed(program, removed)


def _region(program: IntProgram, writer: Node) -> _Region | None:
    """Where the outputs of ``writer`` go; None if something but a layer needs them."""
    if writer.products.channel_groups != 1:
        return None
    region = _Region([writer.output])
    channels = program.tensors[writer.output].channels
    for tensor in region.tensors:
        if tensor in program.outputs:
            return None
        for node in program.nodes:
            if tensor not in node.inputs:
                continue
            if isinstance(node.op, ops.Products) and node.op.channel_groups == 1:
                region.readers.append(node)
            elif _passes_on(node, program, channels):
                region.passing.append(node)
                region.tensors.append(node.output)
            else:
                return None
    return region


def _passes_on(node: Node, program: IntProgram, channels: int) -> bool:
    """Whether each channel of the result comes from one channel, or at each place from that of a flattened image."""
    if isinstance(node.op, ops.Reshape):
        x = program.tensors[node.inputs[0]].shape
        return x[-1] == channels and node.op.shape == (prod(x),)
    if isinstance(node.op, ops.Conv2d):
        return node.op.channel_groups == node.op.outputs == channels
    return isinstance(node.op, BY_CHANNEL)


def _dead(
    program: IntProgram, proof: Proof, writer: Node, region: _Region
) -> tuple[Mask, dict[str, NDArray[np.int64]]]:
    """(N,) which outputs of ``writer`` nothing depends on, and what biases become without them."""
    channels = writer.products.outputs
    dead = np.ones(channels, np.bool_)
    constants: dict[str, NDArray[np.int64]] = {}
    for node in region.readers:
        op, spec = node.products, program.tensors[node.inputs[0]]
        weight = op.rows.reshape(op.outputs, -1, channels).astype(np.int64)
        ends = proof.ranges[node.inputs[0]]
        lo, hi = (end.reshape(-1, channels).astype(np.int64) for end in (ends.lo, ends.hi))
        above = lo - spec.affine.zero_point
        pads = op.window is not None and any(op.window.padding)
        folds = np.all((lo == hi) & ((above == 0) | (not pads and op.wrap_bits is None)), axis=0)
        dead &= folds | ~weight.any(axis=(0, 1))
        constants[node.name] = (weight * above).sum(axis=1)
    if dead.all():
        dead[-1] = False
    biases = {
        node.name: node.products.bias + constants[node.name][:, dead].sum(axis=1, dtype=np.int64)
        for node in region.readers
    }
    if all(S32.lo <= int(bias.min()) and int(bias.max()) <= S32.hi for bias in biases.values()):
        return dead, biases
    return np.zeros(channels, np.bool_), {}


def _without(
    program: IntProgram, writer: Node, region: _Region, mask: Mask, biases: Mapping[str, NDArray[np.int64]]
) -> IntProgram:
    """The program with some outputs of ``writer`` only."""
    tensors = dict(program.tensors)
    for name in region.tensors:
        spec = tensors[name]
        last = spec.shape[-1] // len(mask) * int(mask.sum())
        tensors[name] = replace(spec, shape=(*spec.shape[:-1], last))
    passed, read = {node.name for node in region.passing}, {node.name for node in region.readers}
    nodes = []
    for node in program.nodes:
        op = node.op
        if node.name in read:
            assert isinstance(op, ops.Products)
            op = _reads_less(op, mask, biases[node.name])
        if node.name == writer.name or (node.name in passed and isinstance(op, ops.Conv2d)):
            assert isinstance(op, ops.Products)
            op = _gives_less(op, mask, depthwise=node.name != writer.name)
        elif isinstance(op, ops.Reshape) and node.name in passed:
            op = replace(op, shape=tensors[node.output].shape)
        nodes.append(replace(node, op=op))
    return replace(program, tensors=tensors, nodes=tuple(nodes))


def _reads_less(op: ops.Products, mask: Mask, bias: NDArray[np.int64]) -> ops.Products:
    weight = op.weight.reshape(*op.weight.shape[:-1], -1, len(mask))[..., mask]
    return replace(op, weight=_narrowest(weight.reshape(*op.weight.shape[:-1], -1)), bias=bias.astype(np.int32))


def _gives_less(op: ops.Products, mask: Mask, *, depthwise: bool) -> ops.Products:
    changes = {"groups": int(mask.sum())} if depthwise else {}
    weight, requantize = _narrowest(op.weight[mask]), _of_outputs(op.requantize, mask)
    return replace(op, weight=weight, bias=op.bias[mask], requantize=requantize, **changes)


def _of_outputs(requantize: Requantize | Modular, mask: Mask) -> Requantize | Modular:
    if isinstance(requantize, Modular):
        return requantize if len(requantize.table) == 1 else Modular(requantize.table[mask])
    shift, then = (None if part is None else part[mask] for part in (requantize.shift, requantize.then))
    return Requantize(requantize.multiplier[mask], shift, then)


def _narrowest(weight: ops.Weights) -> ops.Weights:
    """Int8 where no weight is left that needs more."""
    fits = int(weight.min()) >= -128 and int(weight.max()) <= 127
    return np.ascontiguousarray(weight, np.int8 if fits else np.int16)
