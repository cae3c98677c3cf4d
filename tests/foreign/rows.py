"""Layers that force a row, for machines that this one is not: every corner, tail, window and run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from oaq import operators as ops
from oaq.kernels.plan import Plan, plan
from oaq.kernels.table import KernelRow
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.numerics.words import words_of
from oaq.operators import TensorSpec
from oaq.program.int_program import IntProgram, Node
from tests.foreign.cases import Forced, forced, random_images
from tests.modular import wrapping
from tests.native.machine import held, layer, vector
from tests.strategies import INPUT_KINDS
from tests.weights import WEIGHT_KINDS

GEOMETRIES: tuple[dict[str, Any], ...] = (
    {"kernel": (3, 3), "padding": (1, 1, 1, 1)},
    {"kernel": (3, 3), "padding": (0, 1, 0, 1), "stride": (2, 2)},
    {"kernel": (2, 3), "padding": (1, 0, 2, 1), "stride": (3, 1), "dilation": (2, 1)},
    {"kernel": (1, 1), "stride": (2, 2)},
    {"kernel": (3, 2), "dilation": (1, 3), "padding": (2, 2, 3, 3), "zero_point": 255},
)


@dataclass(frozen=True)
class RowTable:
    """Rows of a kind of machine.

    Attributes:
        rows: by name.
        threads: numbers of threads that layers are shared by besides one.
    """

    rows: Mapping[str, KernelRow]
    threads: tuple[int, ...] = ()

    @property
    def summing(self) -> tuple[str, ...]:
        """Rows that sum products."""
        return tuple(name for name, row in self.rows.items() if row.accumulator is not None)

    @property
    def others(self) -> frozenset[str]:
        """Rows that sum none."""
        return frozenset(self.rows).difference(self.summing)

    def plan_for(self, program: IntProgram, row: str) -> Plan:
        """A plan that forces ``row``."""
        return plan(program, rows=[row], table=tuple(self.rows.values()))

    def cases_of(self, row: str) -> tuple[Forced, ...]:
        """Everything that a row is tried on."""
        own = self._of_matrices if self.rows[row].family == "gemm" else self._of_channels
        cases = (*self._whatever_the_family(row), *own(row))
        assert all(row in {node.row.name for node in case.planned.nodes} for case in cases)
        return cases

    def _case(self, name: str, program: IntProgram, row: str, kind: str = "random", batch: int = 2) -> Forced:
        return forced(name, self.plan_for(program, row), random_images(program, kind, batch))

    def _whatever_the_family(self, row: str) -> Iterator[Forced]:
        """Corners of the contract, windows in both semantics, runs of every length, threads."""
        entry = self.rows[row]
        for weights in WEIGHT_KINDS:
            planned = self.plan_for(layer(entry, outputs=37, k=21, kind=weights), row)
            for kind in INPUT_KINDS:
                yield forced(f"corner {weights} {kind}", planned, random_images(planned.program, kind))
        for semantics in ("float32_half_even", "fixed_point"):
            for number, geometry in enumerate(GEOMETRIES):
                program = layer(entry, 36, 6, size=(7, 9), semantics=semantics, **geometry)
                yield self._case(f"window {number} {semantics}", program, row)
        for bits in (2, 8, 16):
            program = wrapping(layer(entry, 37, 21, kernel=(3, 3), padding=(1, 1, 1, 1)), bits)
            yield self._case(f"modulo 2^{bits}", program, row)
        program = layer(entry, 40, 43, kind="small", kernel=(3, 3))
        for steps in (1, 2, 3, 5):
            yield forced(f"runs of {steps}", held(self.plan_for(program, row), steps), random_images(program, "hi"))
        for threads in self.threads:
            program = layer(entry, 70, 24, size=(9, 11), kernel=(1, 1))
            yield forced(f"{threads} threads", self.plan_for(program, row), random_images(program), threads)

    def _of_matrices(self, row: str) -> Iterator[Forced]:
        """Tails of outputs, of k, of positions; operands in lines; groups; vectors."""
        entry = self.rows[row]
        operands = IntRange(entry.x_range.lo + entry.shift, entry.x_range.hi + entry.shift)
        for outputs in (1, 3, 4, 7, 8, 9, 15, 16, 17, 33):
            for k in (1, 4, 15, 16, 17, 24):
                yield self._case(f"{outputs} outputs, k {k}", layer(entry, outputs, k, size=(3, 7)), row, batch=1)
        for positions in range(1, 19):
            yield self._case(f"{positions} positions", layer(entry, 20, 16, size=(1, positions)), row, batch=1)
        for kernel in ((3, 2), (2, 1)):
            program = layer(entry, 17, 16, kernel=kernel, padding=(1, 0, 1, 2), size=(5, 24))
            yield self._case(f"lines {kernel}", program, row)
        for groups in (2, 3):
            program = layer(entry, 18 * groups, 5, groups=groups, kernel=(3, 3), padding=(1, 1, 1, 1))
            yield self._case(f"{groups} groups", program, row)
        for outputs, k in ((1, 1), (10, 37), (1000, 320)):
            yield self._case(f"vector {outputs}, {k}", vector(outputs, k, operands=operands), row)
        for bounds in (IntRange(0, 3), IntRange(0, 255), IntRange(-128, 127), IntRange(-255, 0)):
            for kind in ("lo", "hi", "random"):
                yield self._case(f"words in {bounds}, {kind}", _in_words(bounds, operands), row, kind)

    def _of_channels(self, row: str) -> Iterator[Forced]:
        """Tails of channels and taps."""
        for channels in (2, 7, 8, 9, 15, 16, 17, 33, 130):
            for kernel in ((1, 1), (2, 3), (5, 5)):
                program = layer(self.rows[row], channels, 1, kernel=kernel, padding=(2, 1, 0, 2), kind="extreme")
                yield self._case(f"{channels} channels under {kernel}", program, row)


def _in_words(bounds: IntRange, operands: IntRange) -> IntProgram:
    """Sums around the ends of s16, times multiples of 2**-15: results that leave in 16 bits.

    ``bounds``: of the clamp less the zero point.
    """
    sums = (-(1 << 30), -(1 << 15) - 1, -(1 << 15), -1, 0, 1, 100, (1 << 15) - 1, 1 << 15, 1 << 30)
    rng, outputs, zero = np.random.default_rng(bounds.hi), 5 * len(sums), -bounds.lo
    multiplier = np.float32(1639 / (1 << 15))
    assert words_of(np.array([multiplier]), bounds).all()
    op = ops.Conv2d(
        weight=rng.integers(-1, 1, (outputs, 1, 1, 16)).astype(np.int8),
        bias=np.array(sums * 5, np.int32),
        requantize=Requantize(np.full(outputs, multiplier)),
    )
    x = TensorSpec("x", (3, 5, 16), Affine(0.05), operands)
    y = TensorSpec("y", (3, 5, outputs), Affine(0.05, zero), IntRange(0, bounds.hi + zero))
    return IntProgram("words", ("x",), ("y",), {"x": x, "y": y}, (Node("layer", op, ("x",), "y"),))
