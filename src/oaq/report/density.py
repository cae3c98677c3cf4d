"""What zeros are worth: sparsity, bit operations and steps left out of each layer; what layers say of their input.

Bit operations of a layer with n products per output and m outputs (2102.11289 counts so; a convolution at every
position), p the part of weights and biases that is not zero, b_a bits of operands, b_w of weights:

    m n (p b_a b_w + b_a + b_w + log2 n)

Zeros shrink the first term only: a network of few weights keeps the rest, so products that are not zero stand beside.

Neural efficiency: the state of a layer on one sample is which of its neurons are above zero; E bits is the entropy of
the states seen, E / N that of a layer of N neurons, and that of a network the geometric mean over layers. The state of
an image's layer is that of each position. It is at most log2(states seen) / N: compare it on one set of samples only.
aIQ = (score^2 efficiency)^(1/3).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, log2, prod

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq import reference
from oaq.errors import ProgramError
from oaq.numerics.ranges import IntRange
from oaq.overflow.spill import Schedule
from oaq.program.int_program import IntProgram
from oaq.report.density_facts import Density, LayerEntropy, NeuralEfficiency

Images = NDArray[np.uint8]
SCORE_WEIGHT = 2
"""beta of aIQ: how much more the score counts than the efficiency."""


def density(op: ops.Products, x: IntRange, y_shape: tuple[int, ...], schedule: Schedule | None = None) -> Density:
    """Count the zeros of one layer.

    Args:
        op: the layer.
        x: effective range of its input.
        y_shape: of its output, of one sample.
        schedule: as planned; None: steps are not counted.
    """
    rows, positions = op.rows, prod(y_shape[:-1])
    channels = rows.reshape(len(rows), -1, op.group_channels)
    parameters = rows.size + len(op.bias)
    present = (int(np.count_nonzero(rows)) + int(np.count_nonzero(op.bias))) / parameters
    b_w, b_a = bits_of(IntRange(min(int(rows.min()), -1), int(rows.max()))), bits_of(x)
    return Density(
        weights=rows.size,
        zeros=rows.size - int(np.count_nonzero(rows)),
        products=positions * int(np.count_nonzero(rows)),
        bit_operations=positions * bit_operations((rows.shape[1], len(rows)), present, b_a, b_w),
        unread=int((~channels.any(axis=(0, 1))).sum()) if op.channel_groups == 1 else 0,
        silent=int((~rows.any(axis=1)).sum()),
        steps=None if schedule is None else schedule.tiles * schedule.steps,
        skipped=None if schedule is None else schedule.skipped,
    )


def bit_operations(size: tuple[int, int], present: float, b_a: int, b_w: int) -> float:
    """Bit operations of n products for each of m outputs.

    Args:
        size: n, m.
        present: part of the parameters that is not zero.
        b_a: bits of operands.
        b_w: bits of weights.

    >>> layers = [(16, 64), (64, 32), (32, 32), (32, 5)]  # the jet tagger, dense
    >>> round(sum(bit_operations(size, 1.0, 6 if at else 32, 6) for at, size in enumerate(layers)))
    412960
    """
    terms, outputs = size
    return outputs * terms * (present * b_a * b_w + b_a + b_w + log2(terms))


def bits_of(interval: IntRange) -> int:
    """Bits that the integers of a range take, a sign included where there is one.

    >>> [bits_of(interval) for interval in (IntRange(0, 255), IntRange(0, 16), IntRange(-7, 7), IntRange(-128, 3))]
    [8, 5, 4, 8]
    """
    return interval.signed_bits if interval.lo < 0 else max(1, ceil(log2(interval.hi + 1)))


def neural_efficiency(
    program: IntProgram, batches: Iterable[Images | tuple[Images, ...]], score: float | None = None
) -> NeuralEfficiency:
    """Entropy of the states of every summing layer, on data.

    Args:
        program: what to run, on the reference.
        batches: (n, ...) uint8 inputs, one array, or one per input in the program's order.
        score: of the network, 0 to 1: accuracy, or area under the curve; for aIQ.

    Raises:
        ProgramError: there is no sample, or the score is outside 0..1.
    """
    if score is not None and not 0.0 <= score <= 1.0:
        raise ProgramError(f"the score of a network lies between 0 and 1, not {score!r}")
    nodes = list(program.summing_nodes())
    states_by_layer: dict[str, dict[bytes, int]] = {node.name: {} for node in nodes}
    samples = 0
    for x in batches:
        run = reference.run(program, x)
        samples += len(x[0] if isinstance(x, tuple) else x)
        for node in nodes:
            zero = program.tensors[node.output].affine.zero_point
            _count(run.tensors[node.output] > zero, states_by_layer[node.name])
    if not samples or not nodes:
        raise ProgramError(f"{program.name}: neural efficiency is observed on samples; none was given")
    layers = tuple(
        LayerEntropy(
            node.name, program.tensors[node.output].channels, entropy(list(states_by_layer[node.name].values()))
        )
        for node in nodes
    )
    return NeuralEfficiency(samples, layers, score)


def entropy(counts: Sequence[int]) -> float:
    """Bits of the distribution that counts stand for.

    >>> entropy([1, 1, 2])
    1.5
    """
    part = np.asarray(counts, np.float64) / sum(counts)
    return float(-(part * np.log2(part)).sum()) + 0.0


def _count(above: NDArray[np.bool_], states: dict[bytes, int]) -> None:
    """Count the states of a batch, whose last axis is a layer's neurons."""
    packed = np.packbits(above.reshape(-1, above.shape[-1]), axis=1)
    kinds, counts = np.unique(packed, axis=0, return_counts=True)
    for kind, count in zip(kinds, counts.tolist(), strict=True):
        states[kind.tobytes()] = states.get(kind.tobytes(), 0) + count


@dataclass(frozen=True)
class Totals:
    """``Density`` over layers."""

    weights: int
    zeros: int
    products: int
    bit_operations: float

    @property
    def sparsity(self) -> float:
        """Part of the weights that is zero."""
        return self.zeros / self.weights


def totals(layers: Iterable[Density]) -> Totals | None:
    """Sums over layers; None of none."""
    counted = list(layers)
    if not counted:
        return None
    return Totals(
        sum(layer.weights for layer in counted),
        sum(layer.zeros for layer in counted),
        sum(layer.products for layer in counted),
        sum(layer.bit_operations for layer in counted),
    )
