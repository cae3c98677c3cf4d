"""Each thing the checker requires of what it reads, broken alone, beside the nearest that it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from oaq.checker import check
from oaq.checker.check import ASSUMPTIONS, KEYS, SCHEMA
from oaq.checker.program import LARGEST, Node, Tensor, digest, parse
from oaq.checker.ranges import Range
from oaq.checker.sums import SummingLayer, summing_layer
from oaq.checker.verdict import Finding, Verdict
from oaq.errors import FormatError

Plain = dict[str, Any]


def node(arrays: Mapping[str, np.ndarray] | None = None, **fields: object) -> Node:
    return Node("n", "Conv2d", ("x",), "y", fields, arrays or {})


def multipliers(factors: list[float], shifts: list[int] | None = None, then: list[int] | None = None) -> Node:
    arrays = {"requantize.multiplier": np.array(factors, np.float32 if shifts is None else np.int32)}
    for key, numbers in (("shift", shifts), ("then", then)):
        if numbers is not None:
            arrays[f"requantize.{key}"] = np.array(numbers, np.int32)
    return node(arrays)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (multipliers([1.0]), "2 multipliers needed, has 1"),
        (multipliers([1.0] * 3), "2 multipliers needed, has 3"),
        (multipliers([1.0, np.inf]), "positive and finite"),
        (multipliers([np.nan, 1.0]), "positive and finite"),
        (multipliers([1.0, 0.0]), "positive and finite"),
        (multipliers([-1.0, 1.0]), "positive and finite"),
        (multipliers([1, 0], [1, 1]), "positive and finite"),
        (multipliers([1, 1], [0, 1]), "shifts are 1 to 62"),
        (multipliers([1, 1], [1, 63]), "shifts are 1 to 62"),
        (multipliers([1, 1], [1]), "2 multipliers needed"),
    ],
)
def test_multipliers_are_refused_for_one_wrong_among_right_ones(wrong: Node, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        wrong.multipliers(2)


def test_multipliers_at_their_ends_are_taken() -> None:
    factors, shifts = multipliers([1e-45, 3e38]).multipliers(2)
    assert (len(factors), shifts) == (2, None)
    factors, shifts = multipliers([1, 2**31 - 1], [1, 62]).multipliers(2)
    assert shifts is not None
    assert shifts.tolist() == [1, 62]


@pytest.mark.parametrize("then", [[-1, 0], [0, 32], [1]])
def test_second_roundings_are_refused(then: list[int]) -> None:
    with pytest.raises(FormatError, match="second roundings of 0 to 31"):
        multipliers([1, 1], [1, 1], then).second_roundings(2)


def test_second_roundings_follow_shifts_and_may_be_none() -> None:
    bits = multipliers([1, 1], [1, 1], [0, 31]).second_roundings(2)
    assert bits is not None
    assert bits.tolist() == [0, 31]
    assert multipliers([1, 1], [1, 1]).second_roundings(2) is None
    with pytest.raises(FormatError, match="follow as many shifts"):
        node({"requantize.then": np.zeros(2, np.int32)}).second_roundings(2)


@pytest.mark.parametrize("value", [None, 3, [1], [1, 2, 3], [1, 2.0], [True, 2], ["1", 2]])
def test_a_list_of_integers_is_just_that(value: object) -> None:
    with pytest.raises(FormatError, match="is 2 integers"):
        node(stride=value).numbers("stride", 2)
    assert node(stride=[1, -2]).numbers("stride", 2) == (1, -2)


@pytest.mark.parametrize("value", [None, 1.0, True, "1", [1]])
def test_a_number_is_an_integer(value: object) -> None:
    with pytest.raises(FormatError, match="is an integer"):
        node(groups=value).number("groups")
    assert node(groups=7).number("groups") == 7


def test_an_array_is_of_its_type_and_rank() -> None:
    for value in (None, np.zeros(2, np.int64), np.zeros((2, 1), np.int32), np.zeros((), np.int32)):
        arrays = {} if value is None else {"bias": value}
        with pytest.raises(FormatError, match="bias is 1-d int32"):
            node(arrays).array("bias", np.int32, 1)
    assert len(node({"bias": np.zeros(2, np.int32)}).array("bias", np.int32, 1)) == 2
    assert len(node({"w": np.zeros(2, np.int16)}).array("w", np.int8, 1, np.int16)) == 2


def header(**tensor: object) -> Plain:
    """One lookup of a vector; what is given replaces a field of the input."""
    plain: Plain = {"name": "x", "shape": [3], "scale": 1.0, "zero_point": 5, "range": [0, 255]}
    nodes = [{"name": "n", "op": "Lookup", "inputs": ["x"], "output": "y"}]
    return {"inputs": ["x"], "outputs": ["y"], "tensors": [{**plain, **tensor}, {**plain, "name": "y"}], "nodes": nodes}


@pytest.mark.parametrize(
    ("field", "wrong", "right"),
    [
        ("range", [-1, 255], [0, 255]),
        ("range", [0, 256], [0, 255]),
        ("range", [6, 255], [5, 255]),
        ("range", [0, 4], [0, 5]),
        ("zero_point", 256, 255),
        ("zero_point", -1, 0),
        ("zero_point", 1.0, 1),
        ("shape", [], [1]),
        ("shape", [1] * 9, [1] * 8),
        ("shape", [3, 0], [3, 1]),
        ("shape", [-3], [3]),
        ("shape", [LARGEST + 1], [LARGEST]),
        ("shape", [2.0], [2]),
        ("shape", [True], [2]),
    ],
)
def test_a_tensor_is_refused_for_each_of_its_numbers(field: str, wrong: object, right: object) -> None:
    with pytest.raises(FormatError):
        parse(header(**{field: wrong}), {})
    assert parse(header(**{field: right}), {}).tensors["x"].name == "x"


@pytest.mark.parametrize(
    "nodes",
    [
        [{"name": "n", "op": "Lookup", "inputs": [], "output": "y"}],
        [{"name": "n", "op": "Lookup", "inputs": ["y"], "output": "y"}],
        [{"name": "n", "op": "Lookup", "inputs": ["x", "z"], "output": "y"}],
        [{"name": "n", "op": "Lookup", "inputs": ["x"], "output": "x"}],
        [],
        [{"name": "n", "op": "Lookup", "inputs": ["x"], "output": "z"}],
    ],
)
def test_nodes_read_what_was_written_and_write_what_is_declared(nodes: list[Plain]) -> None:
    with pytest.raises(FormatError):
        parse({**header(), "nodes": nodes}, {})


TENSORS = {"x": Tensor("x", (5, 5, 4), 0, 0, 255), "y": Tensor("y", (5, 5, 6), 0, 0, 255)}


def layer(weight: np.ndarray, *, bias: int | None = None, **fields: object) -> SummingLayer:
    count = len(weight) if bias is None else bias
    window = {"stride": [1, 1], "padding": [0] * 4, "dilation": [1, 1], "groups": 1}
    arrays = {"weight": weight, "bias": np.zeros(count, np.int32)}
    ends = Range(np.zeros(4, np.int64), np.full(4, 255, np.int64))
    return summing_layer(node(arrays, **{**window, **fields}), ends, TENSORS["x"], TENSORS["y"])


def test_a_convolution_that_fits_is_read() -> None:
    assert layer(np.ones((6, 1, 1, 4), np.int8)).tile_groups == 1
    assert layer(np.ones((6, 1, 1, 2), np.int8), groups=2).tile_groups == 2
    assert layer(np.full((6, 1, 1, 4), -255, np.int16)).weight.dtype == np.int16


@pytest.mark.parametrize(
    ("shape", "groups"),
    [((6, 1, 1, 4), 0), ((6, 1, 1, 4), -1), ((6, 1, 1, 1), 4), ((6, 1, 1, 4), 2), ((6, 1, 1, 3), 1)],
)
def test_groups_divide_outputs_and_make_up_the_channels(shape: tuple[int, ...], groups: int) -> None:
    with pytest.raises(FormatError, match=f"{groups} groups of"):
        layer(np.ones(shape, np.int8), groups=groups)


@pytest.mark.parametrize("result", [(5, 5, 1, 6), (5, 6), (4, 5, 6), (5, 4, 6), (6, 5, 6), (6,)])
def test_the_declared_result_has_the_windows_that_there_are(result: tuple[int, ...]) -> None:
    fields = {"stride": [1, 1], "padding": [0] * 4, "dilation": [1, 1], "groups": 1}
    arrays = {"weight": np.ones((6, 1, 1, 4), np.int8), "bias": np.zeros(6, np.int32)}
    ends = Range(np.zeros(4, np.int64), np.full(4, 255, np.int64))
    with pytest.raises(FormatError):
        summing_layer(node(arrays, **fields), ends, TENSORS["x"], Tensor("y", result, 0, 0, 255))


@pytest.mark.parametrize(
    ("field", "wrong"),
    [("stride", [0, 1]), ("stride", [1, -1]), ("dilation", [1, 0]), ("padding", [0, 0, -1, 1]), ("padding", [-1] * 4)],
)
def test_windows_of_sizes_that_make_no_sense_are_refused(field: str, wrong: list[int]) -> None:
    with pytest.raises(FormatError):
        layer(np.ones((6, 1, 1, 4), np.int8), **{field: wrong})


def test_weights_and_biases_fit_the_output() -> None:
    for weight, bias in ((np.ones((5, 1, 1, 4), np.int8), 5), (np.ones((6, 1, 1, 4), np.int8), 5)):
        with pytest.raises(FormatError, match="do not fit"):
            layer(weight, bias=bias)
    with pytest.raises(FormatError, match="do not fit"):
        layer(np.ones((6, 0, 1, 4), np.int8))
    for beyond in (256, -256):
        wide = np.zeros((6, 1, 1, 4), np.int16)
        wide[3, 0, 0, 2] = beyond
        with pytest.raises(FormatError, match="do not fit"):
            layer(wide)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: {**c, "schema": SCHEMA + 1},
        lambda c: {**c, "more": 1},
        lambda c: {key: value for key, value in c.items() if key != "signature"},
    ],
)
def test_a_certificate_of_another_schema_or_with_other_fields_is_refused(change: Callable[[Plain], Plain]) -> None:
    program = header()
    arrays = {"nodes/0/table": np.arange(256, dtype=np.uint8)}
    certificate: Plain = dict.fromkeys(KEYS)
    certificate |= {"schema": SCHEMA, "tier": "proved", "program": digest(program, arrays), "registers": {}}
    certificate |= {"assumptions": sorted(ASSUMPTIONS), "tensors": ["x", "y"], "nodes": []}
    ends = {"lo": np.zeros(3, np.uint8), "hi": np.full(3, 255, np.uint8)}
    claims = {f"ranges/{index}/{end}": value for index in range(2) for end, value in ends.items()}
    assert check(program, arrays, certificate, claims).safe
    with pytest.raises(FormatError, match="not a certificate of schema"):
        check(program, arrays, change(certificate), claims)
    one_off = {**claims, "ranges/1/lo": np.array([0, 1, 0], np.uint8)}
    assert [f.message for f in check(program, arrays, certificate, one_off).findings] == [
        "range lo at (1,) is stated 1, derived 0 (1 differ)"
    ]


def test_a_finding_says_where_and_a_verdict_is_safe_without_one() -> None:
    assert str(Finding("conv", "is wrong")) == "conv: is wrong"
    assert str(Finding("", "is wrong")) == "is wrong"
    assert str(Finding("conv", "is wrong", "r", 0, 2)) == "conv, register r, tile 0, segment 2: is wrong"
    assert Verdict().safe
    assert Verdict().to_json()["safe"] is True
    assert not Verdict((Finding("", "x"),)).safe


@pytest.mark.parametrize("assumptions", [None, "all is well", {}, [1], [["a"]], ["a", None]])
def test_assumptions_are_a_list_of_sentences(assumptions: object) -> None:
    program = header()
    certificate: Plain = {**dict.fromkeys(KEYS), "schema": SCHEMA, "assumptions": assumptions}
    with pytest.raises(FormatError, match="assumptions are sentences"):
        check(program, {}, certificate, {})
