"""What native tests share: the rows this CPU runs, programs that fit one row, a plan held to a run length."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.kernels.plan import Plan, plan
from oaq.kernels.table import KernelRow, native_rows
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.overflow.spill import schedule
from oaq.program.int_program import IntProgram
from oaq.reference import run
from oaq.runtime import Session
from tests.strategies import Builder, conv2d, linear

ROWS = {row.name: row for row in native_rows() if row.available}
"""Every row that can be forced here; tests/conftest.py says which cannot."""
SUMMING = [name for name, row in ROWS.items() if row.accumulator is not None]
WIDE = [name for name in SUMMING if not ROWS[name].looks_up]
"""Those of them that take any u8 and any s8."""
U8 = IntRange(0, 255)


def check(program: IntProgram, x: tuple[NDArray[np.uint8], ...], row: str, threads: int = 1) -> None:
    """Force ``row``, run, compare every integer with the reference."""
    compare(plan(program, rows=[row]), x, threads)


def compare(planned: Plan, x: tuple[NDArray[np.uint8], ...], threads: int = 1) -> None:
    """Run a plan and compare every integer with the reference."""
    got = Session(planned, threads=threads).run_integers(x)
    for one, wanted in zip(got, run(planned.program, x).outputs, strict=True):
        np.testing.assert_array_equal(one, wanted)


def held(planned: Plan, steps: int) -> Plan:
    """The same plan with a spill after at most ``steps`` steps, in every node that can have one."""
    nodes = []
    for one in planned.nodes:
        register = one.row.accumulator
        if one.proof is None or register is None or register.is_exact or not isinstance(one.node.op, ops.Products):
            nodes.append(one)
            continue
        shorter = dataclasses.replace(register, max_run=min(steps, register.max_run or steps))
        laid = one.node.products
        made = schedule(
            laid.rows,
            one.proof.operands.lo,
            one.proof.operands.hi,
            shorter,
            one.row.tile_n,
            groups=laid.tile_groups,
            where=one.node.name,
        )
        made = dataclasses.replace(made, operand=one.row.operand)
        nodes.append(dataclasses.replace(one, schedule=made, row=dataclasses.replace(one.row, accumulator=shorter)))
    return dataclasses.replace(planned, nodes=tuple(nodes))


def layer(row: KernelRow, outputs: int, k: int, kind: str = "uniform", **geometry: object) -> IntProgram:
    """One layer for ``row``: a 3x3 depthwise on ``outputs`` channels, or a convolution over ``k`` channels.

    Weights beyond what the row takes are held to its ends.
    """
    rng = np.random.default_rng([outputs, k])
    builder = Builder("layer", semantics=geometry.pop("semantics", "float32_half_even"))  # type: ignore[arg-type]
    size = geometry.pop("size", (5, 4))
    kernel = geometry.pop("kernel", (3, 3) if row.family == "depthwise" else (1, 1))
    operands = IntRange(row.x_range.lo + row.shift, row.x_range.hi + row.shift)
    zero = min(int(geometry.pop("zero_point", 3)), operands.hi)  # type: ignore[call-overload]
    channels, per_group, groups = (outputs, 1, outputs) if row.family == "depthwise" else (k, k, 1)
    if row.family == "gemm" and "groups" in geometry:
        groups = int(geometry.pop("groups"))  # type: ignore[call-overload]
        channels = k * groups
    x = builder.input((*size, channels), Affine(0.05, zero), operands)  # type: ignore[misc]
    op = conv2d(
        rng,
        (outputs, *kernel, per_group),
        kind=kind,
        semantics=builder.semantics,
        groups=groups,
        **geometry,  # type: ignore[misc]
    )
    builder.add(fitted(op, row), [x], Affine(0.05, 5), IntRange(2, 250))
    return builder.finish()


def fitted(op: ops.Conv2d | ops.Linear, row: KernelRow) -> ops.Conv2d | ops.Linear:
    """The operator with weights that a row which looks sums up takes; any other row takes them as they are."""
    if not row.looks_up:
        return op
    return dataclasses.replace(op, weight=np.clip(op.weight, row.w_range.lo, row.w_range.hi).astype(np.int8))


def vector(
    outputs: int, k: int, kind: str = "uniform", operands: IntRange = U8, row: KernelRow | None = None
) -> IntProgram:
    """One linear layer; for ``row``, if one is given."""
    builder = Builder("vector")
    operands = IntRange(0, min(operands.hi, row.x_range.hi + row.shift)) if row is not None else operands
    x = builder.input((k,), Affine(0.05, 0), operands)
    op = linear(np.random.default_rng([outputs, k]), (outputs, k), kind=kind)
    builder.add(fitted(op, row) if row is not None else op, [x], Affine(0.05, 128))
    return builder.finish()
