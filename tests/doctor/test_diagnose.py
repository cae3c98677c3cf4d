"""Verdicts of whole programs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from oaq import operators as ops
from oaq.doctor.diagnose import diagnose, layer_kind, verdict
from oaq.doctor.registers import REGISTERS, RegisterModel, registers_named
from oaq.errors import AccumulatorOverflow
from oaq.numerics.accumulator import pure
from oaq.numerics.affine import Affine
from oaq.numerics.formats import U8
from oaq.numerics.ranges import IntRange
from oaq.operators import TensorSpec
from oaq.program.int_program import IntProgram
from tests.report import small
from tests.strategies import Builder, conv2d, linear


def test_every_layer_has_a_verdict_on_every_register() -> None:
    found = diagnose(small.program())
    assert [layer.node for layer in found.layers] == ["stem", "deep", "wide", "classify"]
    assert all(set(layer.verdicts) == {one.name for one in REGISTERS} for layer in found.layers)
    assert found["deep"].kind == "Depthwise 3x3"
    assert found["stem"].terms == 27
    assert found.deciding == ("avx2-acc32", "avx512bw", "vnni", "neon-mlal-pair")


def test_registers_asked_for_decide_even_if_nobody_deploys_them() -> None:
    program = small.program()
    assert diagnose(program, ("vnni",)).is_safe
    narrow = diagnose(program, ("vnni", "10 bits"))
    assert narrow.deciding == ("vnni", "10-bit")
    assert not narrow.is_safe
    mine = RegisterModel("mine", pure(30), pure(30), ("flat",), "my chip", "none")
    assert diagnose(program, (mine,)).is_safe


def test_the_worst_layer_comes_first_and_is_the_error() -> None:
    found = diagnose(small.program(), ("12 bits",))
    bits = [int(layer.verdicts["12-bit"].bits.max()) for layer in found.unsafe("12-bit")]
    assert len(bits) > 1
    assert bits == sorted(bits, reverse=True)
    worst = found.unsafe("12-bit")[0]
    with pytest.raises(
        AccumulatorOverflow, match=rf"^{worst.node}: .* outputs are unsafe on 12-bit; output \d+ needs {bits[0]} bits"
    ):
        found.raise_if_unsafe()
    diagnose(small.program(), ("vnni",)).raise_if_unsafe()


def test_the_error_says_what_to_do_next() -> None:
    with pytest.raises(
        AccumulatorOverflow,
        match=r"witness MODEL --registers 12-bit --at \w+:\d+; .* repair MODEL --registers 12-bit",
    ):
        diagnose(small.program(), ("12 bits",)).raise_if_unsafe()


def test_two_weights_of_128_together_are_the_last_that_fit_a_pair() -> None:
    # 255 * 128 = 32640 fits s16, 255 * 129 = 32895 does not; -32895 does not either, -32768 / 255 = -128.5.
    weight = np.array([[64, 64], [65, 64], [-64, -64], [-65, -64], [127, -127]], np.int8)
    op = ops.Linear(weight, np.zeros(5, np.int32), linear(np.random.default_rng(0), (5, 2)).requantize)
    found = verdict(op, TensorSpec("x", (2,), Affine(1.0, 0), U8), registers_named(("avx2-acc32",))[0])
    assert found.safe.tolist() == [True, False, True, False, True]
    assert found.bits.tolist() == [16, 17, 16, 17, 16]
    half = TensorSpec("x", (2,), Affine(1.0, 0), IntRange(0, 127))
    assert verdict(op, half, registers_named(("avx2-acc32",))[0]).is_safe


def test_an_operand_the_instruction_does_not_define_is_said() -> None:
    program = small.program()
    found = diagnose(program, ("wasm-relaxed-i7",))
    assert found["stem"].verdicts["wasm-relaxed-i7"].why == "operands reach 255, the instruction takes 0..127"
    assert not found["stem"].verdicts["wasm-relaxed-i7"].safe.any()
    assert found["deep"].verdicts["wasm-relaxed-i7"].is_safe  # 6 bits
    with pytest.raises(AccumulatorOverflow, match="stem: unsafe on wasm-relaxed-i7: operands reach 255"):
        found.raise_if_unsafe()


def test_weights_stored_as_u8_are_noted_and_safe_where_kernels_widen_them() -> None:
    program = small.program()
    plain, stored = (diagnose(program, ("avx2-acc32", "12 bits"), unsigned=names) for names in ((), ("stem",)))
    assert not plain["stem"].verdicts["avx2-acc32"].is_safe
    assert stored["stem"].verdicts["avx2-acc32"].is_safe
    assert "stored as u8" in stored["stem"].verdicts["avx2-acc32"].note
    assert not stored["stem"].verdicts["12-bit"].note
    assert not stored["stem"].verdicts["12-bit"].is_safe


def test_a_first_layer_may_break_in_one_order_only() -> None:
    # Tap by tap the heavy weights never meet; over the whole window the third channel meets the next tap's first.
    weight = np.zeros((1, 1, 2, 3), np.int8)
    weight[0, 0, 0, 2] = weight[0, 0, 1, 0] = 127
    op = ops.Conv2d(weight, np.zeros(1, np.int32), conv2d(np.random.default_rng(0), (1, 1, 1, 1)).requantize)
    found = verdict(op, TensorSpec("x", (4, 4, 3), Affine(1.0, 0), U8), registers_named(("avx2-acc32",))[0])
    assert found.unsafe_by_order == {"taps": 0, "flat": 1}
    assert not found.is_safe


def test_everything_found_is_plain_json() -> None:
    rng = np.random.default_rng(0)
    found = diagnose(
        small.program(), (), [rng.integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)], islands=("a",), notes=("b",)
    )
    document = json.loads(json.dumps(found.to_json()))
    assert document["schema"] == 1
    assert document["samples"] == 2
    assert (document["islands"], document["notes"]) == (["a"], ["b"])
    assert document["safe"] == found.is_safe
    layer = document["layers"][0]["verdicts"]["avx2-acc32"]
    assert layer["observed"]["watched"] > 0
    assert layer["unsafe_outputs"] == found["stem"].verdicts["avx2-acc32"].unsafe.tolist()


def test_operators_in_words() -> None:
    rng = np.random.default_rng(0)
    assert layer_kind(linear(rng, (2, 3))) == "Linear"
    assert layer_kind(conv2d(rng, (4, 3, 1, 2), groups=2)) == "Conv2d 3x1, 2 groups"


def test_a_program_without_sums_is_safe() -> None:
    builder = Builder()
    builder.add(ops.MaxPool((2, 2), (1, 1)), [builder.input((3, 3, 1))])
    program: IntProgram = builder.finish()
    assert diagnose(program).is_safe
    assert diagnose(program).layers == ()
