"""Register models by name."""

from __future__ import annotations

import json

import pytest

from oaq.doctor.registers import REGISTERS, registers_named
from oaq.errors import ProgramError
from oaq.numerics.formats import WIDE_WEIGHT, signed


def test_none_named_is_all() -> None:
    assert registers_named() == REGISTERS
    assert len({one.name for one in REGISTERS}) == len(REGISTERS)


@pytest.mark.parametrize("text", ["20", "20 bits", "20-bit", "20bits", " 20 BITS "])
def test_a_number_is_one_register_for_all_of_k(text: str) -> None:
    (found,) = registers_named((text,))
    assert found.name == "20-bit"
    assert found.accumulator.range == signed(20)
    assert found.depthwise == found.accumulator
    assert found.weights == WIDE_WEIGHT
    assert not found.deployed


def test_the_same_name_twice_is_one_model() -> None:
    assert [one.name for one in registers_named(("vnni", "avx2-acc32", "vnni"))] == ["vnni", "avx2-acc32"]


@pytest.mark.parametrize("text", ["avx3", "1 bits", "33", "", "16.5 bits", "-4"])
def test_an_unknown_model_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(ProgramError, match=r"no register model is called .*avx2-acc32.*wasm-relaxed-i7, and N bits"):
        registers_named((text,))


def test_every_model_is_plain_data() -> None:
    for one in REGISTERS:
        document = json.loads(json.dumps(one.to_json()))
        assert document["name"] == one.name
        assert document["assumption"]
