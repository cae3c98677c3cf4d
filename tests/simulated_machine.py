"""A native module in Python: the same calls, with sums in simulated registers, and faults on request.

It runs what a plan hands to native code, weight by packed weight, in the registers the rows declare, and computes
everything else by the reference. So plans, schedules, memory and ``verify`` are tested where nothing is compiled, and a
kernel that is wrong can be had whenever a test needs one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

from oaq import operators as ops
from oaq.kernels.table import row_from_native
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec
from oaq.program.int_program import Node
from oaq.reference import compute, packed_operands, simulate
from tests.kernels.tables import ENTRIES

Place = tuple[int, tuple[int, int, int]]
NAME = "oaq.kernels._native"
ABSENT = object()
Fault = Callable[[str, np.ndarray], np.ndarray]
"""(row, result) to what a broken kernel makes of it."""


class Session:
    """The builder calls of ``oaq.kernels._native.Session``, by position and name as ``runtime.build`` makes them."""

    fault: Fault | None = None

    def __init__(self, arena_bytes: int, threads: int) -> None:
        self.arena_bytes, self.threads = arena_bytes, threads
        self.steps: list[Callable[[np.ndarray], None]] = []
        self.inputs: list[Place] = []
        self.outputs: list[Place] = []

    def conv2d(self, row, x, y, kernel, stride, padding, dilation, groups, *sums) -> None:
        self._sums(row, x, y, (kernel, stride, padding, dilation), (groups, False), sums)

    def depthwise(self, row, x, y, kernel, stride, padding, dilation, *sums) -> None:
        self._sums(row, x, y, (kernel, stride, padding, dilation), (x[1][2], True), sums)

    def add(self, row, a, b, y, requant, za, zb, zy, clamp) -> None:
        self._reference(row, ops.Add(_requantize(requant)), [a, b], y, ([za, zb], zy, clamp))

    def mul(self, row, a, b, y, requant, za, zb, zy, clamp) -> None:
        self._reference(row, ops.Mul(_requantize(requant)), [a, b], y, ([za, zb], zy, clamp))

    def concat(self, row, x, y, requant, zx, zy, clamp) -> None:
        self._reference(row, ops.Concat(_requantize(requant)), x, y, (zx, zy, clamp))

    def max_pool(self, row, x, y, kernel, stride, padding, dilation, clamp) -> None:
        self._reference(row, ops.MaxPool(kernel, stride, padding, dilation), [x], y, ([clamp[0]], clamp[0], clamp))

    def avg_pool(self, row, x, y, kernel, stride, padding, include, requant, zx, zy, clamp) -> None:
        op = ops.AvgPool(kernel, stride, _requantize(requant), padding, include)
        self._reference(row, op, [x], y, ([zx], zy, clamp))

    def global_avg_pool(self, row, x, y, requant, zx, zy, clamp) -> None:
        self._reference(row, ops.GlobalAvgPool(_requantize(requant)), [x], y, ([zx], zy, clamp))

    def lookup(self, row, x, y, table) -> None:
        self._reference(row, ops.Lookup(table), [x], y)

    def resize(self, row, x, y, mode) -> None:
        self._reference(row, ops.Resize(y[1][0], y[1][1], mode), [x], y)

    def depth_to_space(self, row, x, y, block, mode) -> None:
        self._reference(row, ops.DepthToSpace(block, mode), [x], y)

    def pad(self, row, x, y, padding, zx) -> None:
        self._reference(row, ops.Pad(padding), [x], y, ([zx], zx, (0, 255)))

    def slice(self, row, x, y, begin, end) -> None:
        self._reference(row, ops.Slice(begin, end), [x], y)

    def memory(self) -> list[tuple[int, int]]:
        return [(0, 0) for _ in self.steps]

    def finish(self, inputs: list[Place], outputs: list[Place]) -> None:
        self.inputs, self.outputs = inputs, outputs

    def run(self, inputs: list[np.ndarray], outputs: list[np.ndarray]) -> None:
        for sample in range(len(inputs[0])):
            arena = np.full(self.arena_bytes, 0xA5, np.uint8)  # what is read before it is written is seen
            for place, array in zip(self.inputs, inputs, strict=True):
                _write(arena, place, array[sample])
            for step in self.steps:
                step(arena)
            for place, array in zip(self.outputs, outputs, strict=True):
                array[sample] = _read(arena, place).reshape(array.shape[1:])

    def profile(self) -> list[int]:
        return list(range(1, len(self.steps) + 1))

    def _reference(
        self, row: str, op: ops.Op, x: list[Place], y: Place, numbers: tuple = ([0, 0, 0], 0, (0, 255))
    ) -> None:
        zx, zy, clamp = numbers
        specs = [TensorSpec(f"x{i}", p[1], Affine(1.0, zx[i]), IntRange(0, 255)) for i, p in enumerate(x)]
        spec = TensorSpec("y", y[1], Affine(1.0, zy), IntRange(*clamp))
        node = Node(row, op, tuple(one.name for one in specs), "y")

        def step(arena: np.ndarray) -> None:
            result, _ = compute(node, [_read(arena, place)[None] for place in x], specs, spec)
            self._store(arena, row, y, result[0])

        self.steps.append(step)

    def _sums(self, row: str, x: Place, y: Place, geometry: tuple, groups: tuple[int, bool], sums: tuple) -> None:
        packed, segments, bias, requant, zx, zy, clamp = sums
        kernel, stride, padding, dilation = geometry
        count, spans = groups
        forced = row_from_native(next(entry for entry in ENTRIES if entry["name"] == row))
        outputs, model = y[1][2], forced.accumulator
        assert model is not None
        weight = np.zeros((outputs, *kernel, x[1][2] // count), np.int8)
        seen = ops.Conv2d(weight, np.zeros(outputs, np.int32), _requantize(requant), stride, padding, dilation, count)

        def step(arena: np.ndarray) -> None:
            operands = packed_operands(seen, _read(arena, x)[None], zx, model.step, forced.shift)
            total = simulate(model, operands, segments, packed, outputs, tiles_span_groups=spans).sums + bias
            result = _requantize(requant).apply(total, zy, IntRange(*clamp))
            self._store(arena, row, y, result.astype(np.uint8).reshape(y[1]))

        self.steps.append(step)

    def _store(self, arena: np.ndarray, row: str, y: Place, result: np.ndarray) -> None:
        _write(arena, y, result if Session.fault is None else Session.fault(row, result))


@contextmanager
def simulated_machine(fault: Fault | None = None) -> Iterator[None]:
    """Let ``oaq.kernels._native`` be this module, with ``fault`` in its kernels."""
    module = ModuleType(NAME)
    module.Session = Session  # type: ignore[attr-defined]
    module.quantize = _quantize  # type: ignore[attr-defined]
    module.kernel_table = lambda: list(ENTRIES)  # type: ignore[attr-defined]
    module.cpu_isas = lambda: ["scalar", "avx2", "vnni"]  # type: ignore[attr-defined]
    with _native(module), mock.patch.object(Session, "fault", fault):
        yield


@contextmanager
def no_native_module() -> Iterator[None]:
    """Let importing ``oaq.kernels._native`` fail, as where nothing is compiled."""
    with _native(None):
        yield


@contextmanager
def _native(module: ModuleType | None) -> Iterator[None]:
    """Set one entry of ``sys.modules``; ``mock.patch.dict`` would also forget every module imported meanwhile."""
    before = sys.modules.get(NAME, ABSENT)
    sys.modules[NAME] = module  # type: ignore[assignment]
    try:
        yield
    finally:
        if before is ABSENT:
            del sys.modules[NAME]
        else:
            sys.modules[NAME] = before  # type: ignore[assignment]


def _quantize(real: np.ndarray, q: np.ndarray, scale: float, zero_point: int, clamp: tuple[int, int]) -> bool:
    if np.isnan(real).any():
        return False
    q[...] = Affine(scale, zero_point).quantize(real, IntRange(*clamp)).transpose(0, 2, 1)
    return True


def _requantize(requant: Any) -> Requantize:
    return Requantize(*requant) if isinstance(requant, tuple) else Requantize(requant)


def _read(arena: np.ndarray, place: Place) -> np.ndarray:
    offset, shape = place
    return arena[offset : offset + int(np.prod(shape))].reshape(shape).copy()


def _write(arena: np.ndarray, place: Place, value: np.ndarray) -> None:
    offset, shape = place
    arena[offset : offset + int(np.prod(shape))] = value.reshape(-1)
