"""Hand a plan to native code: one builder call per node, in execution order. No arithmetic, no policy."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from oaq import operators as ops
from oaq.errors import MemoryLimit, NoKernel
from oaq.kernels.plan import NodePlan, Plan
from oaq.numerics.requantize import Requantize
from oaq.operators import Window
from oaq.operators.tensor import as_image
from oaq.program.int_program import IntProgram
from oaq.program.memory import memory_limit, require_memory, show_bytes
from oaq.runtime.memory import Arena

Native = Any
"""``oaq.kernels._native.Session``; it checks every number it is given."""
Place = tuple[int, tuple[int, int, int]]
"""Offset in the arena and (H, W, C); a flat tensor is an image of one pixel."""
MODULE = "oaq.kernels._native"
POINT = Window((1, 1), (1, 1), (0, 0, 0, 0), (1, 1))
"""What an operator without a window reads at each position."""


def build(plan: Plan, arena: Arena, threads: int, limit: int | None = None) -> Native:
    """A native session that runs ``plan`` in ``arena``, in at most ``limit`` bytes (None: see ``memory_limit``).

    Raises:
        NoKernel: the native module is not built, or refuses a node: this CPU lacks a row's instructions, or a number
            is outside what the row takes.
        MemoryLimit: more memory is needed than allowed, or than there is.
    """
    allowed = memory_limit(limit)
    require_memory(arena.size, allowed, f"{plan.program.name}: one sample's tensors")
    try:
        return _build(plan, arena, threads, allowed)
    except RuntimeError as error:  # of the system, which starts no more threads
        raise MemoryLimit(f"{plan.program.name}: {error}. Give fewer threads") from error
    except MemoryError as error:
        raise MemoryLimit(
            f"{plan.program.name}: there is not enough memory for a session of {threads} threads; its tensors take "
            f"{arena.size} bytes ({show_bytes(arena.size)}). Free some, lift the process's own limit (ulimit -v), or "
            "run it with fewer threads"
        ) from error


def _build(plan: Plan, arena: Arena, threads: int, limit: int) -> Native:
    try:
        module = importlib.import_module(MODULE)
    except ImportError as error:
        raise NoKernel(
            f"the native module is not built or does not load: {error}. Run `make build`, or install the wheel"
        ) from error
    native = module.Session(arena.size, threads)
    tensors = _Tensors(plan.program, arena)
    for planned in plan.nodes:
        if planned.node.name in arena.in_place:
            continue
        try:
            _add(
                native,
                planned,
                [tensors.place(name) for name in planned.node.inputs],
                tensors.place(planned.node.output),
            )
        except ValueError as error:
            raise NoKernel(f"{planned.node.name}: the row {planned.row.name} refuses it: {error}") from error
    _check_memory(native, plan, arena, limit)
    native.finish(
        [tensors.place(name) for name in plan.program.inputs], [tensors.place(n) for n in plan.program.outputs]
    )
    return native


def _check_memory(native: Native, plan: Plan, arena: Arena, limit: int) -> None:
    """Compare all that running takes with ``limit``, before it is taken."""
    needs = native.memory()
    if not needs:
        return
    weights, scratch = (sum(step[0] for step in needs), max(step[1] for step in needs))
    computed = [planned.node for planned in plan.nodes if planned.node.name not in arena.in_place]
    hungriest = next(node for node, step in zip(computed, needs, strict=True) if step[1] == scratch)
    require_memory(
        arena.size + weights + scratch * native.threads,
        limit,
        f"{plan.program.name}: a session of {native.threads} threads ({show_bytes(arena.size)} of tensors, "
        f"{show_bytes(weights)} of weights, and in each thread {show_bytes(scratch)} of scratch, which the "
        f"{type(hungriest.op).__name__} {hungriest.name!r} takes)",
    )


@dataclass(frozen=True, eq=False)
class _Tensors:
    """Where tensors lie, as native code is told."""

    program: IntProgram
    arena: Arena

    def place(self, name: str) -> Place:
        return self.arena.offsets[name], as_image(self.program.tensors[name].shape)


def _requant(requantize: Requantize) -> Any:  # noqa: ANN401 (either form native code takes)
    """(N,) float32, or (multiplier, shift), both (N,) int32."""
    return requantize.multiplier if requantize.shift is None else (requantize.multiplier, requantize.shift)


def _add(native: Native, planned: NodePlan, x: list[Place], y: Place) -> None:
    op, row, clamp = planned.node.op, planned.row.name, (planned.clamp.lo, planned.clamp.hi)
    zx, zy = planned.x_zero_points, planned.y_zero_point
    match op:
        case ops.Products():
            _add_sums(native, op, planned, x[0], y)
        case ops.Add():
            native.add(row, x[0], x[1], y, _requant(op.requantize), zx[0], zx[1], zy, clamp)
        case ops.Mul():
            native.mul(row, x[0], x[1], y, _requant(op.requantize), zx[0], zx[1], zy, clamp)
        case ops.Concat():
            native.concat(row, x, y, _requant(op.requantize), list(zx), zy, clamp)
        case ops.MaxPool():
            window = op.window.over_image()
            native.max_pool(row, x[0], y, window.kernel, window.stride, window.padding, window.dilation, clamp)
        case ops.AvgPool():
            window = op.window.over_image()
            geometry = (window.kernel, window.stride, window.padding, op.count_include_pad)
            native.avg_pool(row, x[0], y, *geometry, _requant(op.requantize), zx[0], zy, clamp)
        case ops.GlobalAvgPool():
            native.global_avg_pool(row, x[0], y, _requant(op.requantize), zx[0], zy, clamp)
        case _:
            _add_movement(native, planned, x[0], y)


def _add_sums(native: Native, op: ops.Products, planned: NodePlan, x: Place, y: Place) -> None:
    schedule, bias = planned.schedule, planned.folded_bias
    if schedule is None or bias is None:
        raise NoKernel(f"{planned.node.name}: the plan has no schedule for it")
    sums = (
        np.ascontiguousarray(schedule.packed),
        np.ascontiguousarray(schedule.segments),
        np.ascontiguousarray(bias),
        _requant(op.requantize),
        planned.x_zero_points[0],
        planned.y_zero_point,
        (planned.clamp.lo, planned.clamp.hi),
    )
    row, window = planned.row.name, POINT if op.window is None else op.window.over_image()
    if planned.row.family == "depthwise":
        native.depthwise(row, x, y, window.kernel, window.stride, window.padding, window.dilation, *sums)
    else:
        geometry = (window.kernel, window.stride, window.padding, window.dilation, op.channel_groups)
        native.conv2d(row, x, y, *geometry, *sums)


def _add_movement(native: Native, planned: NodePlan, x: Place, y: Place) -> None:
    op, row = planned.node.op, planned.row.name
    match op:
        case ops.Lookup():
            native.lookup(row, x, y, op.table)
        case ops.Resize():
            native.resize(row, x, y, op.mode)
        case ops.DepthToSpace():
            native.depth_to_space(row, x, y, op.block, op.mode)
        case ops.Pad():
            native.pad(row, x, y, (0, 0) * (2 - len(op.padding) // 2) + op.padding, planned.x_zero_points[0])
        case ops.Slice():
            missing = 3 - len(op.begin)
            native.slice(row, x, y, (0,) * missing + op.begin, (1,) * missing + op.end)
        case ops.Reshape():
            native.copy(row, x, y)
        case _:
            raise NoKernel(f"{planned.node.name}: no native kernel computes {type(op).__name__}")
