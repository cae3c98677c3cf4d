"""Fixed inputs and signatures: the same everywhere, and sensitive to every weight."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaq import operators as ops
from oaq.errors import FormatError
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.program.files import Part
from oaq.program.int_program import IntProgram
from oaq.program.plain import from_plain, to_plain
from oaq.reference import run
from oaq.seal.inputs import fixed_random, signature_inputs, splitmix64
from oaq.seal.signature import model_signature, signature_part, stored_signature
from tests.strategies import Builder


def by_definition(index: int) -> int:
    """SplitMix64 as published, on Python integers."""
    mask = (1 << 64) - 1
    z = (index + 1) * 0x9E3779B97F4A7C15 & mask
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
    return z ^ (z >> 31)


def test_splitmix64_is_the_published_one() -> None:
    assert [int(word) for word in splitmix64(0, 3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [int(word) for word in splitmix64(1000, 50)] == [by_definition(index) for index in range(1000, 1050)]


@given(st.integers(0, 255), st.integers(0, 255))
def test_fixed_random_fills_its_range_and_never_leaves_it(a: int, b: int) -> None:
    reach = IntRange(min(a, b), max(a, b))
    values = fixed_random((4096,), reach)
    assert values.min() >= reach.lo
    assert values.max() <= reach.hi
    if reach.steps < 64:
        assert set(values.tolist()) == set(range(reach.lo, reach.hi + 1))


def tiny(weight_change: int = 0) -> IntProgram:
    """A program of constants that no version of NumPy can change."""
    builder = Builder("tiny")
    x = builder.input((3, 3, 2), reach=IntRange(5, 250))
    weight = (fixed_random((4, 3, 3, 2), IntRange(0, 254)).astype(np.int16) - 127).astype(np.int8)
    multiplier = np.full(4, 2.0**-11, np.float32)
    op = ops.Conv2d(weight, np.array([0, 1000, -1000, 5], np.int32), Requantize(multiplier), padding=(1, 1, 1, 1))
    builder.add(op, [x], name="conv")
    program = builder.finish()
    if not weight_change:
        return program
    header, arrays = to_plain(program)
    weight = arrays["nodes/0/weight"].copy()
    weight.flat[0] += np.int8(weight_change)
    return from_plain(header, {**arrays, "nodes/0/weight": weight})


def test_the_signature_is_pinned() -> None:
    """A change of this number is a change of the law, of the generator or of the hash: all of them break files."""
    inputs = signature_inputs(tiny())
    assert inputs[0][0, 0, 0].tolist() == [int(5 + (by_definition(i) >> 32) * 246 // 2**32) for i in range(2)]
    assert model_signature(tiny()) == SIGNATURE


SIGNATURE = "febff9cbb24a017d5045f9164c7576b2d37a2361a3c3f6c220b74fd0dbe95fea"


def test_the_signature_does_not_depend_on_who_computes_it_but_on_every_weight() -> None:
    program = tiny()
    assert model_signature(program, lambda inputs: run(program, inputs).outputs) == model_signature(program)
    weight = int(program.nodes[0].op.weight.flat[0])
    assert model_signature(tiny(20 if weight < 0 else -20)) != model_signature(program)


def test_a_stored_signature_comes_back_or_is_refused() -> None:
    part = signature_part(tiny())
    assert stored_signature(part) == (model_signature(tiny()), 2)
    for content in ({}, [], {"version": 9, "samples": 2, "sha256": ""}, {"version": 1, "samples": -1, "sha256": ""}):
        with pytest.raises(FormatError, match="the part 'signature'"):
            stored_signature(Part(content))
