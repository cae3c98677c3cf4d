"""Every row on layers whose sums count modulo 2**b, against the reference; and plans with tables that do not fit.

Operands are of full range, so nearly every sum leaves its register.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest

import oaq
from oaq.errors import OaqError
from oaq.kernels import _native
from oaq.kernels.plan import NodePlan
from oaq.kernels.table import KernelRow, native_rows
from oaq.numerics.modular import Modular
from oaq.operators import family_of
from oaq.reference import run
from oaq.runtime import Session
from oaq.runtime.plan_bytes import Contents, PlacedTensor, Step, encode
from tests.modular import KINDS, modular_op, modular_program, ternary_program

ROWS = [row for row in native_rows() if row.family in ("gemm", "depthwise")]


def refused(kind: str, row: KernelRow) -> bool:
    """A row of the other family, one of few bits (``test_lookup``), or of a CPU that is not here, which is named."""
    return (
        row.looks_up or not row.available or row.family != family_of(modular_op(np.random.default_rng(0), kind, 4)[0])
    )


CASES = [(kind, row.name) for kind in KINDS for row in ROWS if not refused(kind, row)]


@pytest.mark.parametrize(("kind", "row"), CASES)
@pytest.mark.parametrize("bits", [2, 8, 16])
def test_every_row_gives_the_entries_of_the_residues(kind: str, row: str, bits: int) -> None:
    rng = np.random.default_rng(bits)
    op, shape = modular_op(rng, kind, bits, shared=bits == 16)
    for zero in (0, 128):
        program = modular_program(op, shape, zero)
        x = rng.integers(0, 256, (3, *shape)).astype(np.uint8)
        x[1], x[2] = 255, 0
        expected = run(program, x).outputs[0]
        plan = oaq.plan(program, rows=row)
        for threads in (1, 3):
            (y,) = Session(plan, threads=threads).run_integers(x)
            assert np.array_equal(y, expected)


def test_rows_that_are_not_here_are_named() -> None:
    program = ternary_program()
    for row in ROWS:
        if not row.available:
            with pytest.raises(OaqError, match=row.name):
                oaq.plan(program, rows=row.name)


@pytest.mark.parametrize("row", [row.name for row in ROWS if "acc16" in row.name and row.family == "gemm"])
def test_sixteen_bit_lanes_are_not_spilled(row: str) -> None:
    if not next(entry for entry in ROWS if entry.name == row).available:
        return  # named above
    planned = oaq.plan(ternary_program(terms=40_000, operand=63), rows=row)["layer"]
    assert planned.schedule is not None and planned.schedule.spills == planned.schedule.tiles
    assert planned.schedule.bound.hi > 32767


def plan_of_tables() -> bytes:
    return Session(oaq.plan(ternary_program(), rows="gemm_u8s8_scalar")).to_bytes()


def load(content: bytes) -> Any:
    checked = content[:12] + struct.pack("<I", zlib.crc32(content[16:])) + content[16:]
    return _native.Session(checked, 1, 1 << 24)


def place_of_kind(content: bytes | bytearray) -> int:
    """Where the record says 3 (tables of residues), 6 (bits) and the place and size of 24 tables of 64."""
    at = content.index(struct.pack("<II", 3, 6))
    assert struct.unpack_from("<QQ", content, at + 8)[1] == 24 * 64
    return at


def test_the_plan_as_bytes_holds_the_tables() -> None:
    x = np.random.default_rng(1).integers(0, 4, (5, 300)).astype(np.uint8)
    y = np.empty((5, 24), np.uint8)
    load(plan_of_tables()).run([x], [y])
    assert np.array_equal(y, run(ternary_program(), x).outputs[0])


@pytest.mark.parametrize("bits", [-(2**31), -1, 0, 1, 5, 7, 17, 31, 32, 2**31 - 1])
def test_bits_that_do_not_fit_the_tables_are_refused(bits: int) -> None:
    content = bytearray(plan_of_tables())
    struct.pack_into("<i", content, place_of_kind(content) + 4, bits)
    with pytest.raises(ValueError, match=r"modulo|tables|multipliers"):
        load(bytes(content))


@pytest.mark.parametrize("size", [0, 1, 63, 65, 128, 23 * 64, 24 * 64 - 1, 24 * 64 + 64, 1 << 40])
def test_tables_of_another_size_are_refused(size: int) -> None:
    content = bytearray(plan_of_tables())
    struct.pack_into("<Q", content, place_of_kind(content) + 16, size)
    with pytest.raises(ValueError, match=r"multipliers|tables|array"):
        load(bytes(content))


def test_operators_without_products_take_no_tables() -> None:
    requant = Modular(np.zeros((1, 4), np.uint8))
    values = ((0, 0), requant, 0, (0, 255))
    step = Step("add", "add_u8_scalar", "sum", (0, 1), 2, values)
    tensors = tuple(PlacedTensor(name, (4, 4, 8), 192 * at, 1.0, 0, 0, 255) for at, name in enumerate("abc"))
    with pytest.raises(ValueError, match="only sums of products have tables of residues"):
        load(encode(Contents(640, tensors, (0, 1), (2,), (step,))))


def test_a_plan_says_what_it_promises() -> None:
    planned: NodePlan = oaq.plan(ternary_program())["layer"]
    assert planned.proof is not None and planned.proof.modulo == 6
    text = oaq.plan(ternary_program()).explain()
    assert "wraps by design, exact modulo 2^6" in text and "no overflow" not in text
