"""Proofs and certificates as values: nobody can change them, and they say what they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oaq import operators as ops
from oaq.errors import FormatError
from oaq.numerics.ranges import ChannelRanges, IntRange
from oaq.numerics.requantize import Requantize
from oaq.overflow.analyze import analyze
from oaq.overflow.certificate import KEYS, SCHEMA, Certificate, from_parts
from oaq.overflow.proof import Proof
from tests.strategies import Builder


def test_a_proof_holds_copies_of_what_it_was_given() -> None:
    ranges = {"x": ChannelRanges.constant(IntRange(0, 9), 2)}
    nodes: dict[str, Any] = {}
    proof = Proof("p", ranges, nodes)
    ranges["y"] = ranges["x"]
    nodes["n"] = None
    assert set(proof.ranges) == {"x"}
    assert not proof.nodes
    for held in (proof.ranges, proof.nodes):
        with pytest.raises(TypeError, match="does not support item assignment"):
            held["z"] = None  # type: ignore[index]


def test_a_certificate_holds_copies_of_what_it_was_given() -> None:
    content: dict[str, Any] = {"program": "0" * 64, "tier": "proved"}
    arrays = {"ranges/0/lo": np.zeros(3, np.uint8)}
    certificate = Certificate(content, arrays)
    content["tier"] = "refuted"
    arrays["more"] = arrays["ranges/0/lo"]
    assert certificate.content["tier"] == "proved"
    assert set(certificate.arrays) == {"ranges/0/lo"}
    for held in (certificate.content, certificate.arrays):
        with pytest.raises(TypeError, match="does not support item assignment"):
            held["z"] = None  # type: ignore[index]


def test_a_certificate_shows_the_first_twelve_digits_of_its_program() -> None:
    certificate = Certificate({"program": "0123456789abcdef" * 4, "tier": "proved", "nodes": [1, 2]})
    text = repr(certificate)
    assert "0123456789ab" in text
    assert "0123456789abc" not in text
    assert "2 layers" in text or "layers 2" in text


@pytest.mark.parametrize("content", [None, [], {}, {"schema": SCHEMA + 1}, {"schema": str(SCHEMA)}])
def test_parts_of_another_schema_are_no_certificate(content: object) -> None:
    with pytest.raises(FormatError, match=f"this oaq reads {SCHEMA}"):
        from_parts(content, {})


def test_parts_with_a_key_more_or_less_are_no_certificate() -> None:
    whole: dict[str, Any] = {**dict.fromkeys(KEYS), "schema": SCHEMA}
    assert from_parts(whole, {}).content["schema"] == SCHEMA
    for wrong in ({**whole, "more": 1}, {key: value for key, value in whole.items() if key != "tier"}):
        with pytest.raises(FormatError, match="a certificate has the keys"):
            from_parts(wrong, {})


def test_a_proof_shows_the_widest_of_its_totals() -> None:
    builder = Builder("two")
    x = builder.input((4,))
    for reach, name in ((127, "wide"), (1, "narrow")):
        weight = np.full((4, 4), reach, np.int8)
        builder.add(ops.Linear(weight, np.zeros(4, np.int32), Requantize(np.full(4, 1e-3, np.float32))), [x], name=name)
    proof = analyze(builder.finish())
    bits = {name: node.total_bits for name, node in proof.nodes.items()}
    assert bits["wide"] > bits["narrow"]
    assert f"{bits['wide']}" in repr(proof)
    assert str(Proof("empty", {}, {})).count("0")
