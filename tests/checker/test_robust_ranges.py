"""Certificates of conditional ranges: those of the search hold, an end too narrow does not."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.robust_soundness import draw
from oaq.checker.robust_ranges import check_conditional_ranges
from oaq.errors import FormatError, OaqError
from oaq.program.plain import from_plain, to_plain
from oaq.reference.run import run
from oaq.robust import ball, box, conditional_ranges, input_list, load_certificate
from oaq.robust.certificate import sealed
from oaq.robust.prove import members
from oaq.verify.robustness import verify_certificate
from tests.robust.networks import centre, perceptron

PROGRAM = perceptron(3, (5, 12, 10, 4))
X = centre(PROGRAM, 3)


@pytest.mark.parametrize("block", range(4))
def test_ranges_of_drawn_programs_hold_and_are_derived_again(block: int) -> None:
    checked = 0
    for index in range(block * 30, block * 30 + 30):
        subject = draw(9, index)
        if subject is None:
            continue
        try:
            program = from_plain(subject.header, subject.arrays)
            region = box(program, subject.x, subject.lo, subject.hi)
            ranges = conditional_ranges(program, region, 2.0)
        except OaqError:
            continue  # the draw holds programs that are refused: see benchmarks.robust_soundness
        proof = ranges.certificate
        verdict = verify_certificate(program, proof.header, proof.arrays)
        assert verdict.safe, f"9/{index}: {verdict.findings[0]}"
        outcome = run(program, np.concatenate(list(members(region, 512))), accumulators=True)
        for name, acc in outcome.accumulators.items():
            totals = acc.reshape(-1, acc.shape[-1])
            assert (ranges.sums[name].lo <= totals.min(axis=0)).all(), f"9/{index}: {name}"
            assert (totals.max(axis=0) <= ranges.sums[name].hi).all(), f"9/{index}: {name}"
        checked += 1
    assert checked > 12


def test_narrowed_ranges_are_in_the_certificate() -> None:
    proof = conditional_ranges(PROGRAM, ball(PROGRAM, X, 3)).certificate
    assert proof.header["ranges"]
    assert verify_certificate(PROGRAM, proof.header, proof.arrays).safe


def test_ranges_over_a_list_are_those_of_its_box(tmp_path) -> None:
    inputs = np.stack([X, X + np.uint8(2), X - np.uint8(1)])
    proof = conditional_ranges(PROGRAM, input_list(PROGRAM, X, inputs)).certificate
    proof.save(tmp_path / "ranges.robust.oaq")
    again = load_certificate(tmp_path / "ranges.robust.oaq")
    assert verify_certificate(PROGRAM, again.header, again.arrays).safe


def accepts(header, arrays) -> bool:
    proof = sealed({key: value for key, value in header.items() if key != "sha256"}, arrays)
    try:
        return check_conditional_ranges(*to_plain(PROGRAM), proof.header, proof.arrays).safe
    except FormatError:
        return False


def test_an_end_too_narrow_is_refused_and_one_too_wide_says_less() -> None:
    proof = conditional_ranges(PROGRAM, ball(PROGRAM, X, 3)).certificate
    for name, value in proof.arrays.items():
        if not name.startswith(("tensors/", "sums/")):
            continue
        inwards = 1 if name.endswith("lo") else -1
        for at in range(len(value)):
            narrower, wider = value.copy(), value.copy()
            narrower[at] += inwards
            wider[at] -= inwards
            assert not accepts(proof.header, {**proof.arrays, name: narrower}), f"{name}[{at}]"
            assert accepts(proof.header, {**proof.arrays, name: wider}), f"{name}[{at}]"


def test_fields_changed_and_sealed_again_are_refused() -> None:
    proof = conditional_ranges(PROGRAM, ball(PROGRAM, X, 3)).certificate
    header, arrays = dict(proof.header), dict(proof.arrays)
    assert accepts(header, arrays)
    for key in header:
        if key != "sha256":
            assert not accepts({name: value for name, value in header.items() if name != key}, arrays), key
    for key, other in (("schema", 2), ("kind", "robustness"), ("tier", "refuted"), ("program", "x"), ("bits", -1)):
        assert not accepts({**header, key: other}, arrays), key
    assert not accepts({**header, "more": 0}, arrays)
    assert not accepts({**header, "ranges": []}, arrays)
    assert not accepts({**header, "set": {"kind": "ball", "norm": "inf", "radius": 4}}, arrays)
    wide = {**arrays, "set/lo": np.zeros(5, np.uint8), "set/hi": np.full(5, 255, np.uint8)}
    assert not accepts({**header, "set": {"kind": "box"}}, wide)
    for name in arrays:
        assert not accepts(header, {key: value for key, value in arrays.items() if key != name}), name
    assert not accepts(header, {**arrays, "more": np.zeros(1, np.int32)})
    claim = next(name for name in arrays if name.endswith("/end"))
    upper = arrays[claim.replace("/end", "/upper")]
    assert not accepts(header, {**arrays, claim: np.where(upper, arrays[claim] - 40, arrays[claim] + 40)})


@pytest.mark.parametrize("field", ["schema", "kind", "tier", "program"])
def test_a_certificate_with_one_field_of_another_is_none(field: str) -> None:
    proof = conditional_ranges(PROGRAM, ball(PROGRAM, X, 3)).certificate
    header = {key: value for key, value in proof.header.items() if key != "sha256"}
    assert accepts(header, dict(proof.arrays))
    assert not accepts({**header, field: "other"}, dict(proof.arrays))


def test_a_wider_end_that_is_not_sealed_again_is_an_edit() -> None:
    proof = conditional_ranges(PROGRAM, ball(PROGRAM, X, 3)).certificate
    name = next(key for key in proof.arrays if key.startswith("tensors/") and key.endswith("/hi"))
    wider = {**proof.arrays, name: proof.arrays[name] + 1}
    assert accepts({key: value for key, value in proof.header.items() if key != "sha256"}, wider)
    verdict = check_conditional_ranges(*to_plain(PROGRAM), proof.header, wider)
    assert "its own digest does not fit" in str(verdict.findings[0])


def test_one_end_for_all_channels_is_not_an_end_for_each() -> None:
    proof = conditional_ranges(PROGRAM, ball(PROGRAM, X, 3)).certificate
    header = {key: value for key, value in proof.header.items() if key != "sha256"}
    for name, value in proof.arrays.items():
        if name.startswith(("tensors/", "sums/")) and value.size > 1:
            widest = value.min(keepdims=True) if name.endswith("/lo") else value.max(keepdims=True)
            assert not accepts(header, {**proof.arrays, name: widest}), name


def test_ranges_over_a_list_that_are_too_narrow_at_either_end_are_refused() -> None:
    inputs = np.stack([X, X + np.uint8(2), X - np.uint8(1)])
    proof = conditional_ranges(PROGRAM, input_list(PROGRAM, X, inputs)).certificate
    header = {key: value for key, value in proof.header.items() if key != "sha256"}
    assert accepts(header, dict(proof.arrays))
    for end, step in (("lo", 1), ("hi", -1)):
        name = f"tensors/0/{end}"
        narrower = (proof.arrays[name].astype(np.int64) + step).astype(proof.arrays[name].dtype)
        assert not accepts(header, {**proof.arrays, name: narrower})
