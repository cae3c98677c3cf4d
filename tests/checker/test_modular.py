"""The checker derives the third promise by itself: it is stated where sums wrap by design, and nowhere else."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import oaq
from oaq.checker import Verdict, check
from oaq.checker.modular import Executed, replay
from oaq.checker.registers import KNOWN, Register
from oaq.checker.sums import SummingLayer
from oaq.errors import FormatError
from oaq.kernels.table import native_rows
from oaq.overflow.certificate import Certificate, to_parts
from oaq.program.int_program import IntProgram
from oaq.program.plain import to_plain
from oaq.runtime.certify import certificate_of
from tests.modular import KINDS, modular_op, modular_program, ternary_program


def certified(program: IntProgram, rows: str | None = None) -> Certificate:
    return certificate_of(oaq.plan(program, rows=rows))


def verdict(program: IntProgram, certificate: Certificate, change: Callable[[Any], None] = lambda _: None) -> Verdict:
    content, arrays = to_parts(certificate)
    content = copy.deepcopy(dict(content))
    change(content)
    return check(*to_plain(program), content, arrays)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zero", [0, 128])
def test_a_certificate_of_every_row_and_every_kind_of_layer_holds(kind: str, zero: int) -> None:
    program = modular_program(*modular_op(np.random.default_rng(4), kind, 7), zero)
    family = oaq.operators.family_of(program.nodes[0].op)
    for row in native_rows():
        if row.family == family and row.available and not row.looks_up:  # those: tests/native/test_lookup
            result = verdict(program, certified(program, row.name))
            assert result.safe, (row.name, result.findings[:3])
            assert result.modular == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda stated: stated["nodes"][0].pop("modular"), "modulo 2.6, by design; the certificate states None"),
        (lambda stated: stated["nodes"][0]["modular"].update(bits=16), "modulo 2.6, by design"),
        (lambda stated: stated["nodes"][0]["modular"].update(table="0" * 64), "by design"),
        (lambda stated: stated["nodes"][0]["modular"].update(weight="0" * 64), "by design"),
    ],
)
def test_another_promise_is_found(change: Callable[[Any], None], words: str) -> None:
    program = ternary_program()
    result = verdict(program, certified(program), change)
    assert any(re.search(words, str(finding)) for finding in result.findings)


def test_a_layer_with_exact_sums_must_not_be_called_modular() -> None:
    from oaq.numerics.requantize import Requantize

    modular = ternary_program()
    op = oaq.operators.Linear(
        modular.nodes[0].products.weight, np.zeros(24, np.int32), Requantize(np.full(24, 0.5, np.float32))
    )
    exact = modular_program(op, (300,))
    claims = to_parts(certified(modular))[0]["nodes"][0]["modular"]
    result = verdict(exact, certified(exact), lambda stated: stated["nodes"][0].update(modular=claims))
    assert any("its sums count exact" in str(finding) for finding in result.findings)


def test_a_range_that_leaves_out_an_entry_is_found() -> None:
    program = ternary_program()
    certificate = certified(program)
    arrays = dict(certificate.arrays)
    arrays["ranges/1/hi"] = arrays["ranges/1/hi"] - 1
    content, _ = to_parts(certificate)
    assert not check(*to_plain(program), content, arrays).safe


def test_tables_that_do_not_fit_are_no_program() -> None:
    program = ternary_program()
    header, arrays = to_plain(program)
    content, claims = to_parts(certified(program))
    for table in (np.zeros((24, 48), np.uint8), np.zeros((23, 64), np.uint8), np.zeros((24, 2), np.uint8)):
        with pytest.raises(FormatError):
            check(header, {**arrays, "nodes/0/requantize.table": table}, content, claims)
    for besides in ("multiplier", "shift", "then"):
        with pytest.raises(FormatError):
            check(header, {**arrays, f"nodes/0/requantize.{besides}": np.ones(24, np.int32)}, content, claims)


def _layer(weight: np.ndarray, hi: int, modulo: int) -> SummingLayer:
    terms = weight.shape[1]
    low, high = np.zeros((1, terms), np.int64), np.full((1, terms), hi, np.int64)
    return SummingLayer("layer", weight, low, high, np.zeros(len(weight), np.int64), 0, 1, modulo)


def test_the_replay_agrees_where_registers_wrap_and_finds_a_pair_that_saturates() -> None:
    model = KNOWN["gemm_u8s8_avx2_acc16"]
    weight = np.full((1, 80), 100, np.int8)
    runs = [(0, weight.reshape(20, 4))]
    assert replay(_layer(weight, 150, 16), model, Executed(0, runs)) is None  # pairs of 30000 fit, lanes wrap
    sentence = replay(_layer(weight, 255, 16), model, Executed(0, runs))
    assert sentence is not None and "modulo 2^16" in sentence


def test_the_replay_finds_a_lane_that_is_too_narrow_or_saturates() -> None:
    weight = np.full((1, 40), 3, np.int8)
    runs = [(0, weight.reshape(40, 1))]
    narrow, clamps = Register(8, "wraps", 1, 1, "exact", 1, None), Register(8, "saturates", 1, 1, "exact", 1, None)
    assert replay(_layer(weight, 3, 8), narrow, Executed(0, runs)) is None
    assert replay(_layer(weight, 3, 9), narrow, Executed(0, runs)) is not None
    assert replay(_layer(weight, 3, 8), clamps, Executed(0, runs)) is not None
