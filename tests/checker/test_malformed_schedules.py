"""Registers, operand forms and schedules that the checker is told of: each number broken alone, and not at all."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from oaq.checker.executed import read_claims
from oaq.checker.forms import as_multiplied
from oaq.checker.registers import KNOWN, Register, contradicts, register, trusted
from oaq.checker.schedules import _check_runs, _segments
from oaq.checker.sums import SummingLayer, lane_ends
from oaq.checker.tiling import Tiling
from oaq.checker.verdict import Notes
from oaq.errors import FormatError

Plain = dict[str, Any]
MODEL: Plain = {
    "bits": 16,
    "overflow": "wraps",
    "step": 4,
    "group": 2,
    "group_overflow": "saturates",
    "lanes": 2,
    "max_run": None,
}


@pytest.mark.parametrize(
    ("field", "wrong", "right"),
    [
        ("bits", 33, 32),
        ("bits", 0, 1),
        ("bits", 16.0, 17),
        ("bits", True, 2),
        ("step", 0, 2),
        ("step", 3, 4),
        ("step", 1026, 1024),
        ("group", 0, 1),
        ("group", 3, 4),
        ("lanes", 0, 1),
        ("lanes", 1025, 1024),
        ("lanes", "2", 2),
        ("overflow", "wrap", "exact"),
        ("overflow", None, "saturates"),
        ("group_overflow", "", "wraps"),
        ("max_run", 0, 1),
        ("max_run", 2.0, 2),
        ("max_run", True, 1 << 40),
    ],
)
def test_a_register_model_is_refused_for_each_of_its_numbers(field: str, wrong: object, right: object) -> None:
    with pytest.raises(FormatError, match="is not a register model"):
        register({**MODEL, field: wrong}, "r")
    assert register({**MODEL, field: right}, "r") == Register(**{**MODEL, field: right})


def test_a_register_model_has_its_fields_and_no_others() -> None:
    for plain in ({**MODEL, "more": 1}, {k: v for k, v in MODEL.items() if k != "lanes"}, [], None):
        with pytest.raises(FormatError, match="needs exactly"):
            register(plain, "r")


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_register_may_be_spilled_more_often_and_differ_in_nothing_else(name: str) -> None:
    manual = KNOWN[name]
    often = 1 if manual.max_run is None else manual.max_run
    assert contradicts(name, replace(manual, max_run=often)) is None
    assert contradicts(name, manual) is None
    assert contradicts("unknown", replace(manual, bits=31)) is None
    wrong = [replace(manual, bits=manual.bits + 1), replace(manual, lanes=manual.lanes + 1)]
    wrong += [replace(manual, overflow="exact"), replace(manual, step=2 * manual.step)]
    if manual.max_run is not None:
        wrong += [replace(manual, max_run=None), replace(manual, max_run=manual.max_run + 1)]
    for model in wrong:
        assert "by the instruction manuals" in str(contradicts(name, model))


def test_what_is_trusted_and_what_is_only_assumed() -> None:
    claimed, manual = Register(**MODEL), KNOWN["avx2-acc16"]
    exact = Register(**{**MODEL, "overflow": "exact", "group_overflow": "exact"})
    half = Register(**{**MODEL, "overflow": "exact"})
    assert trusted("avx2-acc16", claimed, None) == (manual, None)
    assert trusted("exact-s32", exact, None) == (exact, None)
    assert "as the certificate says" in str(trusted("exact-s32", half, None)[1])
    assert "as the certificate says" in str(trusted("other", exact, None)[1])
    assert "as its row declares" in str(trusted("other", claimed, {"other": MODEL})[1])
    assert trusted("avx2-acc16", exact, {"avx2-acc16": MODEL}) == (claimed, None)


PLAIN_LAYER = SummingLayer(
    "fc",
    np.ones((6, 9), np.int8),
    np.array([[10] * 9], np.int64),
    np.array([[200] * 9], np.int64),
    np.zeros(6, np.int64),
    20,
    1,
)


@pytest.mark.parametrize(
    "operand",
    [
        None,
        [128, -128],
        [128, -128, 127, 0],
        [128.0, -128, 127],
        [True, 0, 254],
        [-1, 1, 256],
        [256, -256, -1],
        [128, -129, 127],
        [128, -128, 128],
        [128, 5, 4],
    ],
)
def test_an_operand_form_is_one_that_eight_bits_have(operand: object) -> None:
    with pytest.raises(FormatError):
        as_multiplied(PLAIN_LAYER, operand, Notes())


@pytest.mark.parametrize(("operand", "findings"), [([0, 10, 200], 0), ([128, -118, 72], 0), ([255, -255, 0], 0)])
def test_operands_that_just_fit_a_form_are_no_finding(operand: list[int], findings: int) -> None:
    notes = Notes()
    assert as_multiplied(PLAIN_LAYER, operand, notes).zero == 20 - operand[0]
    assert len(notes.findings) == findings


@pytest.mark.parametrize("operand", [[0, 11, 255], [0, 0, 199], [128, -117, 127], [128, -128, 71]])
def test_operands_one_step_outside_a_form_are_one_finding(operand: list[int]) -> None:
    notes = Notes()
    as_multiplied(PLAIN_LAYER, operand, notes)
    assert [finding.node for finding in notes.findings] == ["fc"]
    assert "its kernel takes" in notes.findings[0].message


REGISTER = Register(**{**MODEL, "max_run": 2})
STEPS, TILES = 3, 2
GOOD = [[0, 0, 2], [0, 2, 1], [1, 0, 2], [1, 2, 1]]


def segments(rows: object, dtype: type[np.generic] = np.int32) -> object:
    claims = {} if rows is None else {"segments": np.array(rows, dtype)}
    return _segments(claims, TILES, STEPS, REGISTER)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (None, "are .R, 3. int32"),
        ([[0, 0]], "are .R, 3. int32"),
        ([0, 0, 1], "are .R, 3. int32"),
        (np.zeros((0, 3)), "no segment at all"),
        ([[-1, 0, 1], *GOOD], "segment 0 "),
        ([*GOOD, [2, 0, 1]], "segment 4 "),
        ([[0, -1, 1], *GOOD], "segment 0 "),
        ([[0, 0, 0], *GOOD], "segment 0 "),
        ([[0, 0, -1], *GOOD], "segment 0 "),
        ([[0, 2, 2], *GOOD], "segment 0 "),
        ([[0, 0, 2]] * 49, "98 steps executed for 2 tiles of 3"),
        (GOOD[::-1], "not ordered by tile"),
        ([[0, 0, 3], [1, 0, 2], [1, 2, 1]], "a run of 3 steps .* every 2"),
    ],
)
def test_segments_are_refused_for_each_of_their_numbers(rows: object, words: str) -> None:
    answer = segments(rows)
    assert isinstance(answer, str)
    assert re.search(words, answer)


def test_segments_that_cover_every_step_are_taken() -> None:
    answer = segments(GOOD)
    assert isinstance(answer, np.ndarray)
    assert answer.tolist() == GOOD
    assert isinstance(segments([[0, 0, 2]] * 48), np.ndarray)
    assert isinstance(segments(GOOD, np.int64), str)


TILING = Tiling(PLAIN_LAYER, 4, 4)


def claims_of(**changed: np.ndarray | None) -> dict[str, np.ndarray]:
    claims = {
        "segments": np.array(GOOD, np.int32),
        "bounds": np.zeros((4, 2), np.int64),
        "split_at": np.array([1], np.int32),
        "split_weight": np.zeros((1, 4, 4), np.int8),
        "packed": np.zeros((6, 4, 4), np.int8),
        **changed,
    }
    return {name: value for name, value in claims.items() if value is not None}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"more": np.zeros(1)}, "a schedule holds"),
        ({"split_at": None}, "a schedule holds"),
        ({"split_weight": None}, "a schedule holds"),
        ({"split_at": np.array([1], np.int64)}, "a schedule holds"),
        ({"split_at": np.array([[1]], np.int32)}, "a schedule holds"),
        ({"split_weight": np.zeros((1, 4, 4), np.int16)}, "split weights are int8"),
        ({"split_weight": np.zeros((2, 4, 4), np.int8)}, "split weights are int8"),
        ({"split_weight": np.zeros((1, 4, 5), np.int8)}, "split weights are int8"),
        ({"split_at": np.array([-1], np.int32)}, "leaves the 6 steps"),
        ({"split_at": np.array([6], np.int32)}, "leaves the 6 steps"),
        ({"packed": np.zeros((6, 4, 4), np.int16)}, "packed weights are int8"),
        ({"packed": np.zeros((5, 4, 4), np.int8)}, "packed weights are int8"),
    ],
)
def test_claims_of_a_schedule_are_refused_for_each_array(changed: dict[str, Any], words: str) -> None:
    answer = read_claims(claims_of(**changed), TILING, 6)
    assert isinstance(answer, str)
    assert words in answer


@pytest.mark.parametrize("split_at", [0, 5])
def test_claims_of_a_schedule_are_taken(split_at: int) -> None:
    answer = read_claims(claims_of(split_at=np.array([split_at], np.int32), packed=None), TILING, 6)
    assert not isinstance(answer, str)
    assert answer.split_of.tolist() == [0 if step == split_at else -1 for step in range(6)]
    assert not isinstance(read_claims(claims_of(), TILING, 6), str)


def run_findings(
    bounds: np.ndarray | None, ends: list[list[int]], modulo: int | None = None, **model: object
) -> list[str]:
    findings: list[str] = []
    claims = {} if bounds is None else {"bounds": bounds}
    rows = np.array(GOOD[: len(ends)])
    _check_runs(
        rows,
        np.array(ends),
        claims,
        (Register(**{**MODEL, **model}), modulo),
        lambda message, *_place: findings.append(message),
    )
    return findings


def test_bounds_of_runs_are_compared_and_must_fit_the_lane() -> None:
    fits = [[-32768, 32767], [0, 0]]
    assert run_findings(np.array(fits), fits) == []
    for wrong in (None, np.array(fits, np.float64), np.array(fits[:1])):
        assert run_findings(wrong, fits) == ["bounds are (2, 2) integers"]
    for row, change in ((0, [-32767, 32767]), (1, [0, 1])):
        stated = np.array(fits)
        stated[row] = change
        assert len(run_findings(stated, fits)) == 1
    for beyond in ([-32769, 0], [0, 32768]):
        assert "a 16-bit lane can reach" in run_findings(np.array([beyond]), [beyond])[0]
        assert run_findings(np.array([beyond]), [beyond], overflow="exact") == []
        assert run_findings(np.array([beyond]), [beyond], 16) == []  # a lane that wraps holds residues of its bits
        assert "a 16-bit lane can reach" in run_findings(np.array([beyond]), [beyond], 17)[0]
        assert "a 16-bit lane can reach" in run_findings(np.array([beyond]), [beyond], 8, overflow="saturates")[0]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_ends_of_one_instruction_are_those_of_its_farthest_group(sign: int) -> None:
    """Twice the sums, of two outputs: the farthest group is neither the first nor the last."""
    packed = sign * np.array([[[3, 4, 127, 127], [1, 0, 0, 1]], [[0, 0, 2, 0], [5, 5, 0, 0]]], np.int8)
    ends = np.zeros((4, 1, 2), np.int64), np.full((4, 1, 2), 255, np.int64)
    lanes = lane_ends(packed, *ends, np.arange(2), REGISTER)
    far = [2 * 255 * 254, 2 * 255 * 10]
    assert lanes.least is not None
    assert lanes.most is not None
    ends_of_groups = (far, [0, 0]) if sign > 0 else ([0, 0], [-end for end in far])
    assert (lanes.most.tolist(), lanes.least.tolist()) == ends_of_groups
