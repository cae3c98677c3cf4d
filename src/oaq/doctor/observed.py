"""What data really does to the registers that are not proved: exact sums, watched one by one. Evidence, never a proof.

Operands are the integers of the program, the zero point at padded positions; where a runtime rounds otherwise, its
integers may differ by a step and its sums with them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq import reference
from oaq.doctor.diagnosis import Seen
from oaq.doctor.registers import RegisterModel
from oaq.doctor.sums import CellBounds, OrderedLayer, reach, registers_of
from oaq.errors import AccumulatorOverflow
from oaq.numerics.matmul import matmul
from oaq.program.inputs import ProgramInputs, checked, in_order
from oaq.program.int_program import IntProgram, Node

Ints = NDArray[np.int64]
Samples = Iterable[ProgramInputs]
"""Raw u8 inputs of a program, in batches."""
AT_ONCE: Final = 1 << 21
"""Products held at once: bounds memory, changes no count."""
NARROW: Final = 32
"""Registers of at most so many products are watched one by one, wider ones in a matrix product."""


@dataclass(frozen=True, eq=False)
class Watch:
    """Registers of one layer that are not proved.

    Attributes:
        layer: the layer in the order of a kernel.
        bounds: registers of one kind.
        outputs: (U,) the output of each watched register.
        cell: (U,) its row of ``members``.
    """

    layer: OrderedLayer
    bounds: CellBounds
    outputs: NDArray[np.intp]
    cell: NDArray[np.intp]

    @property
    def members(self) -> NDArray[np.intp]:
        """(Q, width) places of the layer that each register of the kind sums; -1 is none."""
        return self.bounds.cells.members

    def k(self, cell: NDArray[np.intp]) -> NDArray[np.intp]:
        """(..., width) which products of (row, column, channel) meet in these registers; -1 is none."""
        members = self.members[cell]
        return np.where(members >= 0, self.layer.place[members], -1)


def watches(layers: Sequence[OrderedLayer]) -> tuple[Watch, ...]:
    """Every register of a layer that some input can leave; one that two orders share once."""
    result, shared = [], set[tuple[int, int, bytes]]()
    for layer in layers:
        for bounds in reach(layer).registers:
            outputs, cell = np.nonzero(bounds.outside)
            watch = Watch(layer, bounds, outputs, cell)
            if len(layers) > 1 and len(outputs):
                products = np.sort(watch.k(cell), axis=1)
                keys = [
                    (layer.accumulator.bits, n, k.tobytes()) for n, k in zip(outputs.tolist(), products, strict=True)
                ]
                new = np.array([key not in shared for key in keys])
                shared.update(keys)
                watch = Watch(layer, bounds, outputs[new], cell[new])
            if len(watch.outputs):
                result.append(watch)
    return tuple(result)


def true_sums(
    watch: Watch, op: ops.Products, x: NDArray[np.uint8], zero_point: int
) -> Iterator[tuple[NDArray[np.intp], Ints, Ints]]:
    """What each watched register is really asked to hold at every position.

    Args:
        watch: the registers.
        op: the layer.
        x: (1, H, W, C) or (1, K) integers.
        zero_point: of ``x``.

    Yields:
        (which of the watched, (U', M) least, (U', M) most), M output positions. Least and most differ only where a
        register must hold partial sums: over all orders of its groups, or before and after the bias.
    """
    operands = np.ascontiguousarray(reference.packed_operands(op, x, zero_point, 1).swapaxes(1, 2), np.uint8)
    wide = watch.members.shape[1] > NARROW and watch.layer.accumulator.overflow != "saturates"
    yield from _in_products(watch, operands) if wide else _one_by_one(watch, operands)


class Observer:
    """Watches every register of a program that is not proved, sample by sample.

    Attributes:
        samples: how many were run.
    """

    def __init__(self, program: IntProgram, models: Sequence[RegisterModel], unsigned: Collection[str] = ()) -> None:
        self._program = program
        self._tallies: dict[tuple[str, str], _Tally] = {}
        for node in program.summing_nodes():
            op, spec = node.products, program.specs(node)[0]
            for model in models:
                layers = registers_of(op, spec, model, unsigned=node.name in unsigned)
                self._tallies[node.name, model.name] = _Tally(watches(layers), op.outputs)
        self.samples = 0

    def run(self, data: Samples) -> None:
        """Run the reference on every sample and count.

        A layer whose sum leaves 32 bits on a sample has no result that one could name: what reads it is not looked at
        on that sample.

        Raises:
            ProgramError: the data do not fit the program.
        """
        for batch in data:
            arrays = checked(self._program, in_order(self._program, batch))
            for sample in range(len(arrays[0])):
                self._sample([array[sample : sample + 1] for array in arrays])
                self.samples += 1

    def observations(self, node: str, model: str) -> Seen:
        """What was counted so far."""
        return self._tallies[node, model].value()

    def _sample(self, inputs: Sequence[NDArray[np.uint8]]) -> None:
        program = self._program
        tensors = dict(zip(program.inputs, inputs, strict=True))
        summing = {node.name for node in program.summing_nodes()}
        for tally in self._tallies.values():
            tally.begin()
        for node in program.nodes:
            if not all(name in tensors for name in node.inputs):
                continue
            if node.name in summing:
                self._watch(node, tensors[node.inputs[0]])
            arrays = [tensors[name] for name in node.inputs]
            with suppress(AccumulatorOverflow):
                y = reference.compute(node, arrays, program.specs(node), program.tensors[node.output])[0]
                tensors[node.output] = y

    def _watch(self, node: Node, x: NDArray[np.uint8]) -> None:
        op, zero_point = node.products, self._program.specs(node)[0].affine.zero_point
        for (name, _), tally in self._tallies.items():
            if name == node.name:
                for watch in tally.watches:
                    for indices, low, high in true_sums(watch, op, x, zero_point):
                        tally.add(watch, indices, (low, high), self.samples)


class _Tally:
    """Running counts of one layer on one model."""

    def __init__(self, watches: tuple[Watch, ...], outputs: int) -> None:
        self.watches = watches
        self._lo, self._hi, self._overflows = (np.zeros(outputs, np.int64) for _ in range(3))
        self._exact_only = all(watch.layer.accumulator.is_exact for watch in watches)
        self._by_sample: list[int] = []
        self._watched, self._worst = 0, (-(1 << 62), (0, 0))

    def begin(self) -> None:
        """The next sample."""
        self._by_sample.append(0)

    def add(self, watch: Watch, indices: NDArray[np.intp], ends: tuple[Ints, Ints], sample: int) -> None:
        """Sums of some watched registers at all positions of one sample."""
        low, high = ends
        register, outputs = watch.layer.accumulator.range, watch.outputs[indices]
        if watch.layer.accumulator.is_exact == self._exact_only:
            np.minimum.at(self._lo, outputs, low.min(axis=1))
            np.maximum.at(self._hi, outputs, high.max(axis=1))
        outside = np.count_nonzero((low < register.lo) | (high > register.hi), axis=1)
        np.add.at(self._overflows, outputs, outside)
        self._by_sample[-1] += int(outside.sum())
        self._watched += low.size
        excess = np.maximum(high.max(axis=1) - register.hi, register.lo - low.min(axis=1))
        furthest = int(np.argmax(excess))
        self._worst = max(self._worst, (int(excess[furthest]), (sample, int(outputs[furthest]))))

    def value(self) -> Seen:
        """As a value."""
        return Seen(
            self._lo.copy(),
            self._hi.copy(),
            self._overflows.copy(),
            np.array(self._by_sample, np.int64),
            self._watched,
            self._worst[1] if self._watched else None,
        )


def _one_by_one(watch: Watch, operands: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.intp], Ints, Ints]]:
    """``operands`` is (groups, K, M)."""
    layer, register = watch.layer, watch.layer.accumulator
    per_group = len(layer.weight) // len(operands)
    width = watch.members.shape[1]
    dtype = np.int32 if width < 1 << 14 else np.int64
    step = max(1, AT_ONCE // (width * operands.shape[2]))
    for first in range(0, len(watch.outputs), step):
        indices = np.arange(first, min(first + step, len(watch.outputs)))
        outputs, members, k = (
            watch.outputs[indices, None],
            watch.members[watch.cell[indices]],
            watch.k(watch.cell[indices]),
        )
        weight = np.where(k >= 0, layer.weight[outputs, members], 0).astype(dtype)
        products = (operands[outputs // per_group, k].astype(dtype) - dtype(layer.shift)) * weight[..., None]
        groups = products.reshape(len(indices), -1, register.group, operands.shape[2]).sum(axis=2, dtype=np.int64)
        if register.overflow == "saturates":
            yield indices, np.minimum(groups, 0).sum(axis=1), np.maximum(groups, 0).sum(axis=1)
        else:
            yield indices, *_partial(groups, watch, indices)


def _in_products(watch: Watch, operands: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.intp], Ints, Ints]]:
    layer = watch.layer
    group_of = watch.outputs // (len(layer.weight) // len(operands))
    for cell in np.unique(watch.cell):
        members, k = watch.members[cell], watch.k(cell)
        members, k = members[k >= 0], k[k >= 0]
        for group in np.unique(group_of[watch.cell == cell]):
            indices = np.nonzero((watch.cell == cell) & (group_of == group))[0]
            x = operands[group, k].astype(np.int64) - layer.shift
            weight = layer.weight[watch.outputs[indices]][:, members]
            if layer.accumulator.is_exact:
                yield indices, *_with_bias(_positive(-weight, x, -1), _positive(weight, x, 1), watch, indices)
            else:
                sums = matmul(weight, x.T)
                yield indices, sums, sums


def _positive(weight: Ints, x: Ints, sign: int) -> Ints:
    """(U, M) ``sign`` times the sum of those products of (U, K) and (M, K) that are positive."""
    up = matmul(np.maximum(weight, 0), np.maximum(x, 0).T)
    return sign * (up + matmul(np.minimum(weight, 0), np.minimum(x, 0).T) if (x < 0).any() else up)


def _partial(groups: Ints, watch: Watch, indices: NDArray[np.intp]) -> tuple[Ints, Ints]:
    """(U, Q, M) sums of groups: what a register holds when all are added, or at any moment if it is exact."""
    if not watch.layer.accumulator.is_exact:
        sums = groups.sum(axis=1)
        return sums, sums
    return _with_bias(np.minimum(groups, 0).sum(axis=1), np.maximum(groups, 0).sum(axis=1), watch, indices)


def _with_bias(low: Ints, high: Ints, watch: Watch, indices: NDArray[np.intp]) -> tuple[Ints, Ints]:
    """Partial sums in any order, from zero or from the bias."""
    start = watch.layer.start[watch.outputs[indices], None]
    return low + np.minimum(start, 0), high + np.maximum(start, 0)
