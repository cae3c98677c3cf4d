"""Counts of the cost model, by hand; and how fields of operators are stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from oaq import operators as ops
from oaq.errors import AccumulatorOverflow
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import ChannelRanges
from oaq.numerics.requantize import Requantize
from oaq.operators.fields import optional_fields, stored_fields
from oaq.operators.operator import Op
from oaq.operators.tensor import TensorSpec

Shape = tuple[int, ...]


def real(count: int) -> Requantize:
    return Requantize(np.full(count, 0.5, np.float32))


def counts(reads: float, values: float, blends: float, places: float) -> dict[str, float]:
    return {"reads": reads, "values": values, "blends": blends, "places": places, "call": 1.0}


IMAGE: Shape = (6, 5, 4)
WORK: dict[str, tuple[Op, tuple[Shape, ...], dict[str, float]]] = {
    "add": (ops.Add(real(2)), (IMAGE, IMAGE), counts(120, 120, 0, 30)),
    "mul": (ops.Mul(real(1)), (IMAGE, (4,)), counts(120, 120, 0, 30)),
    "concat": (ops.Concat(real(3)), (IMAGE, IMAGE, (6, 5, 2)), counts(300, 300, 0, 90)),
    "lookup": (ops.Lookup(np.zeros(256, np.uint8)), (IMAGE,), counts(120, 120, 0, 30)),
    "slice": (ops.Slice((0, 1, 0), (6, 5, 3)), (IMAGE,), counts(72, 72, 0, 24)),
    "transpose": (ops.Transpose.joining((30, 4), (1, 0), (4, 30)), (IMAGE,), counts(120, 120, 0, 4)),
    "pad": (ops.Pad((1, 0, 2, 2)), (IMAGE,), counts(252, 252, 0, 7)),
    "pad of a line": (ops.Pad((1, 2)), ((5, 4),), counts(32, 32, 0, 1)),
    "nearest": (ops.Resize(3, 10), (IMAGE,), counts(120, 120, 0, 30)),
    "bilinear": (ops.Resize(3, 10, "bilinear"), (IMAGE,), counts(120, 120, 120, 30)),
    "DCR": (ops.DepthToSpace(2, "DCR"), (IMAGE,), counts(120, 120, 0, 120)),
    "CRD": (ops.DepthToSpace(2, "CRD"), (IMAGE,), counts(120, 120, 120, 120)),
    "global average": (ops.GlobalAvgPool(real(1)), (IMAGE,), counts(120, 4, 0, 30)),
    "average": (ops.AvgPool((2, 3), (1, 1), real(6)), (IMAGE,), counts(360, 60, 0, 90)),
    "maximum": (ops.MaxPool((2, 3), (1, 1)), (IMAGE,), counts(5 * 2 * 20 + 60 * 3, 60, 0, 15)),
    "maximum of a line": (ops.MaxPool((3,), (1,)), ((8, 4),), counts(32 + 24 * 3, 24, 0, 6)),
}


@pytest.mark.parametrize("name", WORK)
def test_an_operators_work_is_counted_as_its_kernel_walks_it(name: str) -> None:
    op, shapes, expected = WORK[name]
    rules = ops.rules_of(op)
    assert rules.work is not None
    assert dict(rules.work(op, shapes, ops.output_shape(op, shapes))) == expected


def test_rules_answer_by_value_where_the_value_decides() -> None:
    assert ops.OPERATORS["Concat"].arity_of(ops.Concat(real(3))) == 3
    assert ops.OPERATORS["Add"].arity_of(ops.Add(real(2))) == 2
    assert ops.family_of(ops.Add(real(2))) == "add"


def test_a_field_of_a_type_without_a_stored_form_is_refused() -> None:
    @dataclass(frozen=True)
    class Odd(Op):
        rate: float

    with pytest.raises(TypeError, match=r"Odd.rate: .* has no stored form"):
        stored_fields(Odd)


def test_stored_forms_and_optional_fields_are_those_of_the_class() -> None:
    assert dict(stored_fields(ops.AvgPool)) == {
        "kernel": "ints",
        "stride": "ints",
        "requantize": "requantize",
        "padding": "ints",
        "count_include_pad": "bool",
        "origin": "int",
    }
    assert dict(stored_fields(ops.Lookup)) == {"table": "array"}
    assert dict(stored_fields(ops.Resize)) == {"height": "int", "width": "int", "mode": "str"}
    assert optional_fields(ops.AvgPool) == {"origin"}
    assert optional_fields(ops.Lookup) == frozenset()


def test_a_global_average_of_too_many_positions_is_refused() -> None:
    rules = ops.OPERATORS["GlobalAvgPool"]
    assert rules.image is not None
    y, ranges = TensorSpec("y", (1, 1), Affine(1.0)), [ChannelRanges(np.array([0]), np.array([255]))]
    rules.image(ops.GlobalAvgPool(real(1)), ranges, [TensorSpec("x", (8421504, 1), Affine(1.0))], y, "here")
    with pytest.raises(AccumulatorOverflow, match="here: a window of 8421505 positions"):
        rules.image(ops.GlobalAvgPool(real(1)), ranges, [TensorSpec("x", (8421505, 1), Affine(1.0))], y, "here")
