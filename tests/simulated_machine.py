"""A native module in Python: it reads a plan's bytes, with sums in simulated registers, and faults on request.

It runs what a plan hands to native code, weight by packed weight, in the registers the rows declare, and computes
everything else by the reference. So plans, schedules, memory and ``verify`` are tested where nothing is compiled, and a
kernel that is wrong can be had whenever a test needs one.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

from oaq import operators as ops
from oaq.kernels.table import row_from_native
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.operators import TensorSpec
from oaq.operators.tensor import as_image
from oaq.program.int_program import Node
from oaq.reference import compute, packed_operands, simulate
from oaq.runtime.plan_bytes import PlacedTensor, Step
from oaq.runtime.step_fields import RESIZES, STEP_KINDS, VOLUME
from tests.kernels.tables import ENTRIES
from tests.plan_reader import decode

NAME = "oaq.kernels._native"
ABSENT = object()
SUMMING = ("gemm", "depthwise")
Fault = Callable[[str, np.ndarray], np.ndarray]
"""(row, result) to what a broken kernel makes of it."""


class PlanError(ValueError):
    """The module's own; nothing here raises it."""


class MemoryExceeded(MemoryError):
    """The module's own; nothing here raises it."""


class Session:
    """``oaq.kernels._native.Session``: a plan's bytes, run."""

    fault: Fault | None = None

    def __init__(self, plan: bytes, threads: int, memory_limit: int) -> None:
        self.threads = threads
        self.plan = decode(plan)
        self.steps = [
            self._sums(step) if step.family.removesuffix(VOLUME) in SUMMING else self._reference(step)
            for step in self.plan.steps
        ]

    def run(self, inputs: list[np.ndarray], outputs: list[np.ndarray]) -> None:
        for sample in range(len(inputs[0])):
            arena = np.full(self.plan.arena, 0xA5, np.uint8)  # what is read before it is written is seen
            for number, array in zip(self.plan.inputs, inputs, strict=True):
                _write(arena, self.plan.tensors[number], array[sample])
            for step in self.steps:
                step(arena)
            for number, array in zip(self.plan.outputs, outputs, strict=True):
                array[sample] = _read(arena, self.plan.tensors[number])

    def profile(self) -> list[int]:
        return list(range(1, len(self.steps) + 1))

    def _reference(self, step: Step) -> Callable[[np.ndarray], None]:
        fields, y = _fields(step), self.plan.tensors[step.output]
        x = [self.plan.tensors[number] for number in step.inputs]
        if step.family == "gather":
            return self._gathered(step, fields, x[0], y)
        op, zero_points = _operator(step.family.removesuffix(VOLUME), fields, y)
        shapes = [_shape(tensor, fields, 5) for tensor in x]
        lo, hi = fields.get("clamp", (0, 255))
        zy = fields.get("y_zero_point", zero_points[0])
        specs = [
            TensorSpec(f"x{i}", shape, Affine(1.0, zero_points[i]), IntRange(0, 255)) for i, shape in enumerate(shapes)
        ]
        zero = lo if step.family.startswith("max_pool") else zy
        reach = IntRange(min(lo, zero), max(hi, zero))  # an origin may lie outside the clamp, which follows
        spec = TensorSpec("y", _shape(y, fields, 6), Affine(1.0, zero), reach)
        node = Node(step.row, op, tuple(one.name for one in specs), "y")

        def run(arena: np.ndarray) -> None:
            arrays = [_read(arena, tensor).reshape(1, *shape) for tensor, shape in zip(x, shapes, strict=True)]
            result, _ = compute(node, arrays, specs, spec)
            self._store(arena, step.row, y, np.clip(result[0], lo, hi))

        return run

    def _gathered(
        self, step: Step, fields: dict[str, Any], x: PlacedTensor, y: PlacedTensor
    ) -> Callable[[np.ndarray], None]:
        def run(arena: np.ndarray) -> None:
            entries = _read(arena, x).reshape(fields["outer"], fields["size"], -1)
            self._store(arena, step.row, y, entries[:, fields["index"]].reshape(y.shape))

        return run

    def _sums(self, step: Step) -> Callable[[np.ndarray], None]:
        fields = _fields(step)
        x, y = self.plan.tensors[step.inputs[0]], self.plan.tensors[step.output]
        row = row_from_native(next(entry for entry in ENTRIES if entry["name"] == step.row))
        outputs, model = y.shape[-1], row.accumulator
        assert model is not None
        packed = fields["packed"].reshape(-1, row.tile_n, model.step)
        segments = fields["segments"].reshape(-1, 3)
        fields = _with_planes(fields)
        weight = np.zeros((outputs, *fields["kernel"], x.shape[-1] // fields["groups"]), np.int8)
        window = (fields["stride"], fields["padding"], fields["dilation"], fields["groups"])
        op = ops.Conv2d(weight, np.zeros(outputs, np.int32), fields["requant"], *window)

        def run(arena: np.ndarray) -> None:
            image = _read(arena, x).reshape(1, *_shape(x, fields, 5))
            operands = packed_operands(op, image, fields["x_zero_point"], model.step, row.shift)
            spans = step.family == "depthwise"
            total = simulate(model, operands, segments, packed, outputs, tiles_span_groups=spans).sums + fields["bias"]
            result = fields["requant"].apply(total, fields["y_zero_point"], IntRange(*fields["clamp"]))
            self._store(arena, step.row, y, result.astype(np.uint8).reshape(y.shape))

        return run

    def _store(self, arena: np.ndarray, row: str, y: PlacedTensor, result: np.ndarray) -> None:
        _write(arena, y, result if Session.fault is None else Session.fault(row, result))


def _fields(step: Step) -> dict[str, Any]:
    names = [field.name for field in STEP_KINDS[step.family].fields]
    return dict(zip(names, step.values, strict=True))


def _operator(family: str, fields: dict[str, Any], y: PlacedTensor) -> tuple[ops.Op, list[int]]:
    """The operator whose reference computes a step, and the zero points of its inputs."""
    rules = next(rules for rules in ops.OPERATORS.values() if rules.family == family)
    fields = _with_planes(fields)
    values: dict[str, Any] = {"requantize": fields.get("requant"), "origin": None, **fields}  # zero points hold origins
    match family:
        case "avg_pool":
            values["count_include_pad"] = bool(fields["count_include_pad"])
        case "resize":
            height, width, _ = as_image(y.shape)
            values |= {"height": height, "width": width, "mode": RESIZES[fields["mode"]]}
        case "channel_lookup":
            values["tables"] = fields["tables"].reshape(-1, 256)
        case "transpose":
            values["shape"] = as_image(y.shape)
        case "depth_to_space":
            values["mode"] = "CRD" if fields["channels_first"] else "DCR"
    if family == "transpose":
        return ops.Transpose.joining(fields["split"], fields["order"], values["shape"]), [0]
    op = rules.value(**{field.name: values[field.name] for field in dataclasses.fields(rules.value)})
    if family == "max_pool":
        return op, [fields["clamp"][0]]
    zero = fields.get("x_zero_point", fields.get("zero_point", 0))
    return op, list(map(int, fields.get("zero_points", [zero])))


def _shape(tensor: PlacedTensor, fields: dict[str, Any], count: int) -> tuple[int, ...]:
    """A tensor as a step sees it: an image, or the planes that field ``count`` of a volume says it has."""
    height, width, channels = as_image(tensor.shape)
    if "planes" not in fields:
        return height, width, channels
    planes = fields["planes"][count]
    return planes, height // planes, width, channels


def _with_planes(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of a step over a volume as its operator has them: a number for the planes before those of an image."""
    if "planes" not in fields:
        return fields
    kernel, stride, before, after, dilation, _, y = fields["planes"]
    first = {"kernel": (kernel,), "stride": (stride,), "dilation": (dilation,), "padding": (before, after)}
    first |= {"begin": (before,), "end": (before + y,)}
    return fields | {name: (*value, *fields[name]) for name, value in first.items() if name in fields}


@contextmanager
def simulated_machine(fault: Fault | None = None) -> Iterator[None]:
    """Let ``oaq.kernels._native`` be this module, with ``fault`` in its kernels."""
    module = ModuleType(NAME)
    module.Session = Session  # type: ignore[attr-defined]
    module.PlanError, module.MemoryExceeded = PlanError, MemoryExceeded  # type: ignore[attr-defined]
    module.quantize, module.dequantize = _quantize, _dequantize  # type: ignore[attr-defined]
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


def _dequantize(q: np.ndarray, real: np.ndarray, scale: float, zero_point: int) -> None:
    real[...] = Affine(scale, zero_point).dequantize(q).transpose(0, 2, 1)


def _read(arena: np.ndarray, tensor: PlacedTensor) -> np.ndarray:
    return arena[tensor.offset : tensor.offset + prod(tensor.shape)].reshape(tensor.shape).copy()


def _write(arena: np.ndarray, tensor: PlacedTensor, value: np.ndarray) -> None:
    arena[tensor.offset : tensor.offset + prod(tensor.shape)] = value.reshape(-1)
