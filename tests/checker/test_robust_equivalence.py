"""Certificates of equivalence, changed field by field and sealed again: whatever is accepted is true of every input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oaq.checker.robust_equivalence import check_equivalence
from oaq.errors import FormatError
from oaq.program.int_program import IntProgram
from oaq.program.plain import fingerprint, to_plain
from oaq.reference.run import run
from oaq.robust import Equivalence, Options, Region, box, equivalence
from oaq.robust.certificate import Certificate, sealed
from oaq.robust.prove import members
from oaq.verify.robustness import verify_equivalence
from tests.checker.test_robust_resealed import changed_arrays, changed_fields
from tests.robust.networks import centre, perceptron

PROGRAMS = (perceptron(6, (3, 4, 2), "fixed_point"), perceptron(6, (3, 4, 2), "float32_half_even"))
"""One network under two laws of rounding."""
OTHER = perceptron(7, (3, 4, 2))


def region() -> Region:
    x = centre(PROGRAMS[0], 6)
    return box(PROGRAMS[0], x, x - np.uint8(2), x + np.uint8(2))


def greatest(programs: tuple[IntProgram, IntProgram], x: np.ndarray) -> int:
    first, second = (run(program, x.reshape(-1, 3)).outputs[0].astype(int) for program in programs)
    return int(np.abs(first - second).max())


def answer_of(kind: str) -> tuple[tuple[IntProgram, IntProgram], Equivalence]:
    match kind:
        case "multipliers":
            pair, options = PROGRAMS, Options(enumerate=False, seconds=60)
        case "refutation":
            pair, options = (PROGRAMS[0], OTHER), Options(enumerate=False)
        case _:
            pair, options = PROGRAMS, Options(seconds=1e-9)
    steps = 4 if kind == "multipliers" else greatest(pair, np.concatenate(list(members(region(), 500))))
    return pair, equivalence(*pair, region(), steps - 1 if kind == "refutation" else steps, options)


def accepts(programs: tuple[IntProgram, IntProgram], header: dict[str, Any], arrays: dict[str, np.ndarray]) -> bool:
    seal = sealed({key: value for key, value in header.items() if key != "sha256"}, arrays)
    try:
        return check_equivalence(to_plain(programs[0]), to_plain(programs[1]), seal.header, seal.arrays).safe
    except FormatError:
        return False


def assert_true(
    programs: tuple[IntProgram, IntProgram], header: dict[str, Any], arrays: dict[str, np.ndarray], name: str
) -> None:
    """The claim itself, by running every input that it is about."""
    lo, hi = arrays["set/lo"], arrays["set/hi"]
    if header["tier"] == "refuted":
        witness = arrays["witness"]
        assert ((lo <= witness) & (witness <= hi)).all(), name
        assert greatest(programs, witness) == header["difference"] > header["steps"], name
        return
    x = arrays["input"]
    rows = np.concatenate(list(members(box(programs[0], x, lo, hi), 500)))
    assert greatest(programs, rows) <= header["steps"], name


KINDS = ("multipliers", "refutation", "enumeration")


@pytest.fixture(scope="module", params=KINDS)
def case(request) -> tuple[tuple[IntProgram, IntProgram], Certificate]:
    programs, answer = answer_of(request.param)
    assert answer.state == ("refuted" if request.param == "refutation" else "equivalent")
    assert answer.certificate is not None
    assert answer.certificate.header.get("proof", "refutation") == request.param
    return programs, answer.certificate


def test_the_checker_derives_it_again(case) -> None:
    programs, certificate = case
    assert verify_equivalence(*programs, certificate.header, certificate.arrays).safe
    assert_true(programs, dict(certificate.header), dict(certificate.arrays), "as it is")


def test_a_change_without_a_new_digest_is_refused(case) -> None:
    programs, certificate = case
    changed = {**certificate.header, "steps": certificate.header["steps"] + 1}
    verdict = verify_equivalence(*programs, changed, certificate.arrays)
    assert "edited" in str(verdict.findings[0])


def test_it_is_of_two_programs_in_their_order(case) -> None:
    programs, certificate = case
    for pair in (programs[::-1], (programs[0], perceptron(8, (3, 4, 2)))):
        verdict = verify_equivalence(*pair, certificate.header, certificate.arrays)
        assert "other programs" in str(verdict.findings[0])


def test_a_changed_header_sealed_again_is_refused_or_true(case) -> None:
    programs, certificate = case
    header, arrays = dict(certificate.header), dict(certificate.arrays)
    refused = 0
    for name, altered in changed_fields({key: part for key, part in header.items() if key != "sha256"}, "header"):
        if isinstance(altered, dict) and accepts(programs, altered, arrays):
            assert_true(programs, altered, arrays, name)
            assert altered["programs"] == header["programs"]
            assert altered["tier"] == header["tier"]
        else:
            refused += 1
    assert refused > 40


def test_a_changed_array_sealed_again_is_refused_or_true(case) -> None:
    programs, certificate = case
    header, arrays = dict(certificate.header), dict(certificate.arrays)
    refused = 0
    for name, altered in changed_arrays(arrays):
        if accepts(programs, header, altered):
            assert_true(programs, header, altered, name)
        else:
            refused += 1
    assert refused > 10


def test_fewer_steps_than_the_outputs_differ_by_are_not_proved_by_any_of_its_multipliers() -> None:
    programs, answer = answer_of("multipliers")
    assert answer.certificate is not None
    header = {**answer.certificate.header, "steps": 0}
    rows = np.concatenate(list(members(region(), 500)))
    assert greatest(programs, rows) > 0
    assert not accepts(programs, header, dict(answer.certificate.arrays))


def test_programs_of_other_outputs_are_malformed(case) -> None:
    _, certificate = case
    pair = (PROGRAMS[0], perceptron(6, (3, 4, 3)))
    header = {**certificate.header, "programs": [fingerprint(program) for program in pair]}
    seal = sealed({key: value for key, value in header.items() if key != "sha256"}, certificate.arrays)
    with pytest.raises(FormatError, match="different size"):
        verify_equivalence(*pair, seal.header, seal.arrays)


@pytest.mark.parametrize("field", ["schema", "kind"])
def test_a_certificate_of_another_schema_or_kind_is_none(case, field: str) -> None:
    programs, certificate = case
    header = {key: value for key, value in certificate.header.items() if key != "sha256"}
    assert accepts(programs, header, dict(certificate.arrays))
    assert not accepts(programs, {**header, field: "other"}, dict(certificate.arrays))
    missing = {key: value for key, value in header.items() if key != field}
    assert not accepts(programs, missing, dict(certificate.arrays))


def test_an_enumeration_that_states_one_step_less_than_there_is_is_refused() -> None:
    programs, answer = answer_of("enumeration")
    assert answer.certificate is not None
    header = {key: value for key, value in answer.certificate.header.items() if key != "sha256"}
    arrays = dict(answer.certificate.arrays)
    assert accepts(programs, header, arrays)
    assert not accepts(programs, {**header, "steps": header["steps"] - 1}, arrays)


def test_a_witness_outside_the_box_is_refused_wherever_it_leaves() -> None:
    programs, answer = answer_of("refutation")
    assert answer.certificate is not None
    header = {key: value for key, value in answer.certificate.header.items() if key != "sha256"}
    arrays = dict(answer.certificate.arrays)
    assert accepts(programs, header, arrays)
    for element in range(arrays["witness"].size):
        for end, step in (("set/lo", -1), ("set/hi", 1)):
            witness = arrays["witness"].copy()
            witness.reshape(-1)[element] = int(arrays[end].reshape(-1)[element]) + step
            header["difference"] = greatest(programs, witness)
            assert not accepts(programs, header, {**arrays, "witness": witness})
