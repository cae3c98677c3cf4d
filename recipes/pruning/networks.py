"""The jet tagger's perceptron, pruned in rounds: in float, in 12 bits that are only rounded to, and as oaq's integers.

What differs from the published code is named in docs/how-to/prune.md: softmax over classes, a mask set per network,
first weights that are copied, masks in the graph, L1 of weights only, statistics of the training rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from math import log2
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import nn

import oaq
from oaq.overflow.dead import without_dead_units
from oaq.program.int_program import IntProgram
from oaq.qat import (
    Config,
    LayerRule,
    Prune,
    convert,
    parameter_groups,
    prepare,
    prune_to,
    rewind,
    snapshot,
)
from oaq.qat.prune import keep
from oaq.report.density import bit_operations, density, neural_efficiency
from oaq.runtime.values import to_integers
from recipes.pruning.tables import Rows, Split

WIDTHS = (64, 32, 32)
"""Hidden layers of the tagger."""
INPUT_BITS = 8
"""Bits of the input in bit operations, whatever the network's."""
RATE, BATCH, L1 = 1e-3, 256, 1e-5


@dataclass(frozen=True)
class Point:
    """What one network is, and costs.

    Attributes:
        accuracy: on the test rows.
        zeros: part of its weights.
        bit_operations: of one row of the table.
        products: that are not with a weight of zero.
        run: average proved run in 16-bit lanes of AVX2, steps; None for a network that is no program.
        dead: channels that no output depends on; likewise.
        efficiency: neural, on the test rows; likewise.
    """

    accuracy: float
    zeros: float
    bit_operations: float
    products: int
    run: float | None = None
    dead: int | None = None
    efficiency: float | None = None


class Pruned(Protocol):
    """A network that is trained and pruned in turns."""

    def train(self, rows: Rows, epochs: int, seed: int) -> None:
        """So many passes, with an optimizer that knows nothing of earlier ones."""
        ...

    def prune(self, share: float, *, rewinds: bool) -> None:
        """Make ``share`` of the weights zero; ``rewinds``: go back to the first weights under the new masks."""
        ...

    def point(self, split: Split) -> Point:
        """What it is now."""
        ...


def perceptron(inputs: int, classes: int, widths: Sequence[int], seed: int) -> nn.Sequential:
    """Linear layers with ReLU between, fresh."""
    torch.manual_seed(seed)
    sizes, layers = [inputs, *widths, classes], list[nn.Module]()
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class FloatPruned:
    """The perceptron in float; with ``bits`` below 32 its weights and activations are rounded in the forward pass."""

    def __init__(self, split: Split, bits: int, seed: int, widths: Sequence[int] = WIDTHS) -> None:
        self.net, self.bits = perceptron(split.train.x.shape[1], split.classes, widths, seed), bits
        self.layers = [layer for layer in self.net if isinstance(layer, nn.Linear)]
        self.masks = [torch.ones_like(layer.weight, dtype=torch.bool) for layer in self.layers]
        self.first = deepcopy(self.net.state_dict())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        for at, (layer, mask) in enumerate(zip(self.layers, self.masks, strict=True)):
            x = F.relu(x) if at else x
            x = F.linear(self._rounded(x), self._rounded(layer.weight * mask), layer.bias)
        return x

    def _rounded(self, x: torch.Tensor) -> torch.Tensor:
        if self.bits >= 32:
            return x
        scale = x.detach().abs().max().clamp_min(1e-12) / ((1 << (self.bits - 1)) - 1)
        return x + (torch.round(x / scale) * scale - x).detach()

    def train(self, rows: Rows, epochs: int, seed: int) -> None:
        """See ``Pruned``."""
        optimizer = torch.optim.Adam(self.net.parameters(), RATE)
        for number in range(epochs):
            for x, y in rows.epoch(BATCH, seed, number):
                size = sum(
                    (layer.weight * mask).abs().sum() for layer, mask in zip(self.layers, self.masks, strict=True)
                )
                optimizer.zero_grad()
                (F.cross_entropy(self.forward(x), y) + L1 * size).backward()
                optimizer.step()

    @torch.no_grad()
    def prune(self, share: float, *, rewinds: bool) -> None:
        """See ``Pruned``."""
        sizes = [mask.numel() for mask in self.masks]
        scores = torch.cat([layer.weight.abs().flatten() for layer in self.layers])
        first = ~torch.cat([mask.flatten() for mask in self.masks])
        remaining = keep(scores, torch.ones(len(scores)), first, share).split(sizes)
        self.masks = [part.reshape(mask.shape) for part, mask in zip(remaining, self.masks, strict=True)]
        if rewinds:
            self.net.load_state_dict(self.first)

    @torch.no_grad()
    def point(self, split: Split) -> Point:
        """See ``Pruned``."""
        right = (self.forward(split.test.x).argmax(1) == split.test.y).float().mean()
        present_weights = [int(mask.sum()) for mask in self.masks]
        operations = 0.0
        for at, (mask, count) in enumerate(zip(self.masks, present_weights, strict=True)):
            outputs, terms = mask.shape
            present = (count + outputs) / (mask.numel() + outputs)
            b_a = self.bits if at else INPUT_BITS
            operations += bit_operations((terms, outputs), present, b_a, self.bits)
        return Point(
            float(right),
            1 - sum(present_weights) / sum(mask.numel() for mask in self.masks),
            operations,
            sum(present_weights),
        )


class IntegerPruned:
    """The perceptron as oaq's integers: what is trained is the program."""

    def __init__(
        self,
        split: Split,
        bits: int,
        seed: int,
        widths: Sequence[int] = WIDTHS,
        prune: Prune = Prune(l1=L1),  # noqa: B008 (a frozen value)
    ) -> None:
        net = perceptron(split.train.x.shape[1], split.classes, widths, seed).eval()
        first = LayerRule("0", activation_bits=INPUT_BITS)
        config = Config("none", bits, bits, layers=(first,), first_last_bits=None, prune=prune)
        self.net = prepare(net, split.train.x[:1], config, calibration=list(split.train.x[:1024].split(256)))
        self.first = snapshot(self.net)

    def train(self, rows: Rows, epochs: int, seed: int) -> None:
        """See ``Pruned``."""
        optimizer = torch.optim.Adam(parameter_groups(self.net, RATE), RATE)
        self.net.train()
        for number in range(epochs):
            for x, y in rows.epoch(BATCH, seed, number):
                optimizer.zero_grad()
                (F.cross_entropy(self.net(x), y) + self.net.penalty()).backward()
                optimizer.step()
        self.net.eval()

    def prune(self, share: float, *, rewinds: bool) -> None:
        """See ``Pruned``."""
        prune_to(self.net, share)
        if rewinds:
            rewind(self.net, self.first)

    def point(self, split: Split) -> Point:
        """See ``Pruned``; the native session classifies."""
        program = convert(self.net)
        session = oaq.Session(oaq.plan(program))
        answers = session.run(split.test.x.numpy())
        right = (torch.from_numpy(answers).argmax(1) == split.test.y).float().mean()
        batches = [to_integers(program, part.numpy()) for part in split.test.x.split(1024)]
        return integer_point(program, float(right), batches)


def integer_point(program: IntProgram, accuracy: float, batches: Iterable[tuple] | None = None) -> Point:
    """What a program is and costs."""
    zeros = [
        density(node.products, program.tensors[node.inputs[0]].range, program.tensors[node.output].shape)
        for node in program.summing_nodes()
    ]
    narrow = oaq.plan(program, isa="avx2", rows="gemm_u8s8_avx2_acc16")
    weights = sum(layer.weights for layer in zeros)
    return Point(
        accuracy,
        sum(layer.zeros for layer in zeros) / weights,
        sum(layer.bit_operations for layer in zeros),
        sum(layer.products for layer in zeros),
        narrow.average_run,
        sum(without_dead_units(program).removed.values()),
        None if batches is None else neural_efficiency(program, batches).efficiency,
    )


def make(split: Split, bits: int, seed: int, widths: Sequence[int] = WIDTHS) -> Pruned:
    """A fresh network of so many bits."""
    return IntegerPruned(split, bits, seed, widths) if bits <= 8 else FloatPruned(split, bits, seed, widths)


def log_width(low: int, high: int, draw: float) -> int:
    """A width between two, evenly on a scale of octaves.

    >>> log_width(8, 128, 0.0), log_width(8, 128, 0.5), log_width(8, 128, 1.0)
    (8, 32, 128)
    """
    return round(2 ** (log2(low) + draw * (log2(high) - log2(low))))
