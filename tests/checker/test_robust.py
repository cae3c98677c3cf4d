"""Certificates of robustness, changed field by field: none that says something false passes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from oaq.checker.robust import check_robustness
from oaq.checker.robust_bounds import ROOM, _pile
from oaq.errors import FormatError
from oaq.program.plain import to_plain
from oaq.robust import Options, robustness
from oaq.robust.certificate import Certificate, sealed
from tests.robust.networks import centre, perceptron

PROGRAM = perceptron(2, (16, 20, 16, 8))
"""With centre 0 and radius 8 its proof takes splits and narrowed ranges."""
PLAIN = to_plain(PROGRAM)


def proved_with_splits() -> Certificate:
    """A proof with trees, several cases and narrowed ranges."""
    answer = robustness(PROGRAM, centre(PROGRAM), 8, Options(enumerate=False, seconds=60))
    assert answer.is_robust
    assert answer.nodes
    assert answer.certificate is not None
    assert answer.certificate.header["ranges"]
    return answer.certificate


@pytest.fixture(scope="module")
def proof() -> Certificate:
    return proved_with_splits()


@pytest.fixture(scope="module")
def refutation() -> Certificate:
    answer = robustness(PROGRAM, centre(PROGRAM), 120, Options(enumerate=False))
    assert answer.state == "refuted"
    assert answer.certificate is not None
    return answer.certificate


def holds(header: dict[str, Any], arrays: dict[str, Any]) -> bool:
    try:
        return check_robustness(*PLAIN, header, arrays).safe
    except FormatError:
        return False


def changed_headers(header: dict[str, Any]):
    """Every field of a header with other values, paths included."""
    for key, value in header.items():
        for other in (None, "", 1, -1, 0, [], {}, "proved", "refuted", value + 1 if type(value) is int else "x"):
            if other != value:
                yield key, {**header, key: other}
        if isinstance(value, list):
            for at in range(len(value)):
                yield f"{key} less {at}", {**header, key: value[:at] + value[at + 1 :]}
                for inner in value[at]:
                    altered = copy.deepcopy(value)
                    altered[at][inner] += 1
                    yield f"{key}[{at}].{inner}", {**header, key: altered}
        if isinstance(value, dict):
            for inner, content in value.items():
                other = content + 1 if type(content) is int else "other"
                yield f"{key}.{inner}", {**header, key: {**value, inner: other}}
        yield f"without {key}", {name: part for name, part in header.items() if name != key}


def changed_arrays(arrays: dict[str, np.ndarray]):
    """Every array with a changed element, another type, another shape, missing; and one more."""
    rng = np.random.default_rng(0)
    for name, value in arrays.items():
        yield f"{name} missing", {key: part for key, part in arrays.items() if key != name}
        yield f"{name} as floats", {**arrays, name: value.astype(np.float32)}
        yield f"{name} reshaped", {**arrays, name: value.reshape(*value.shape, 1)}
        if value.size:
            for _ in range(6):
                altered = value.copy()
                at = int(rng.integers(value.size))
                flat = altered.reshape(-1)
                flat[at] = not flat[at] if value.dtype == bool else flat[at] + np.array(1, value.dtype)
                yield f"{name}[{at}]", {**arrays, name: altered}
    yield "one more", {**arrays, "more": np.zeros(1, np.int32)}


@pytest.mark.parametrize("kind", ["proof", "refutation"])
def test_whatever_is_changed_the_certificate_no_longer_holds(kind: str, request) -> None:
    certificate = request.getfixturevalue(kind)
    header, arrays = dict(certificate.header), dict(certificate.arrays)
    assert holds(header, arrays)
    for what, altered in changed_headers(header):
        assert not holds(altered, arrays), what
    for what, altered in changed_arrays(arrays):
        assert not holds(header, altered), what


def test_a_new_digest_does_not_save_a_changed_header(proof: Certificate, refutation: Certificate) -> None:
    for certificate in (proof, refutation):
        header = {key: value for key, value in certificate.header.items() if key != "sha256"}
        assert holds(dict(sealed(header, certificate.arrays).header), dict(certificate.arrays))
        for what, altered in changed_headers(header):
            if what.startswith("cases") or what in ("bits", "set.radius") or "ranges" in what:
                continue  # may say less or the same in other words: see the next test
            resealed = sealed(altered, certificate.arrays)
            assert not holds(dict(resealed.header), dict(resealed.arrays)), what


def test_a_new_digest_does_not_save_multipliers_of_the_wrong_sign(proof: Certificate) -> None:
    header = {key: value for key, value in proof.header.items() if key != "sha256"}
    for name in proof.arrays:
        if "/mu/" in name and name.startswith("cases/") and np.abs(proof.arrays[name]).max() > 1 << 14:
            altered = {**proof.arrays, name: -8 * proof.arrays[name].astype(np.int64)}
            resealed = sealed(header, altered)
            assert not holds(dict(resealed.header), dict(resealed.arrays)), name


def test_a_larger_set_is_not_covered_by_the_same_multipliers(proof: Certificate) -> None:
    header = {key: value for key, value in proof.header.items() if key != "sha256"}
    header["set"] = {"kind": "ball", "norm": "inf", "radius": 255}
    arrays = dict(proof.arrays)
    arrays["set/lo"], arrays["set/hi"] = np.zeros(16, np.uint8), np.full(16, 255, np.uint8)
    resealed = sealed(header, arrays)
    assert not holds(dict(resealed.header), dict(resealed.arrays))


def test_a_range_claimed_too_narrow_is_refused(proof: Certificate) -> None:
    header = {key: value for key, value in proof.header.items() if key != "sha256"}
    upper, end = proof.arrays["ranges/0/upper"], proof.arrays["ranges/0/end"]
    for step in (1, 50):
        arrays = {**proof.arrays, "ranges/0/end": np.where(upper, end - step, end + step)}
        resealed = sealed(header, arrays)
        assert not holds(dict(resealed.header), dict(resealed.arrays))


def test_a_missing_leaf_or_case_leaves_a_gap_that_is_seen(proof: Certificate) -> None:
    header = {key: value for key, value in proof.header.items() if key != "sha256"}
    name = next(key for key in proof.arrays if key.endswith("/splits") and len(proof.arrays[key]) > 1)
    splits = proof.arrays[name].copy()
    splits[0, 2] += 100_000
    for altered in (proof.arrays[name][:1], splits):
        arrays = {**proof.arrays, name: altered}
        resealed = sealed(header, arrays)
        assert not holds(dict(resealed.header), dict(resealed.arrays))


def test_a_proof_for_one_program_says_nothing_about_another(proof: Certificate) -> None:
    other = to_plain(perceptron(3, (16, 20, 16, 8)))
    assert not check_robustness(*other, proof.header, proof.arrays).safe


def test_multipliers_that_64_bits_cannot_add_exactly_are_refused_where_they_meet() -> None:
    slopes: dict[int, np.ndarray] = {}
    _pile(slopes, 0, np.array([[0, ROOM // 4]]))
    with pytest.raises(FormatError, match="beyond what 64 bits add exactly"):
        _pile(slopes, 0, np.array([[0, ROOM // 4 + 1]]))


def resealed_holds(certificate: Certificate, arrays: dict[str, np.ndarray], **fields: Any) -> bool:
    header = {key: value for key, value in certificate.header.items() if key != "sha256"} | fields
    seal = sealed(header, arrays)
    return holds(dict(seal.header), dict(seal.arrays))


def test_a_witness_one_step_outside_the_set_is_refused_wherever_it_leaves(refutation: Certificate) -> None:
    arrays = dict(refutation.arrays)
    assert resealed_holds(refutation, arrays)
    stays = 0
    for element in range(arrays["witness"].size):
        for end, step in (("set/lo", -1), ("set/hi", 1)):
            outside = int(arrays[end].reshape(-1)[element]) + step
            if not 0 <= outside <= 255:
                continue
            witness = arrays["witness"].copy()
            witness.reshape(-1)[element] = outside
            assert not resealed_holds(refutation, {**arrays, "witness": witness}), (element, end)
            stays += 1
    assert stays


def test_two_witnesses_are_none(refutation: Certificate) -> None:
    arrays = dict(refutation.arrays)
    twice = np.concatenate([arrays["witness"].reshape(1, -1)] * 2)
    assert not resealed_holds(refutation, {**arrays, "witness": twice})


@pytest.mark.parametrize("sums", [False, True])
def test_a_case_left_out_with_all_of_its_arrays_is_missed(sums: bool) -> None:
    radius = 1 if sums else 8
    answer = robustness(PROGRAM, centre(PROGRAM), radius, Options(enumerate=False, seconds=60, sums=sums))
    assert answer.is_robust
    certificate = answer.certificate
    assert certificate is not None
    cases = certificate.header["cases"]
    last = len(cases) - 1
    arrays = {name: value for name, value in certificate.arrays.items() if not name.startswith(f"cases/{last}/")}
    assert resealed_holds(certificate, dict(certificate.arrays))
    assert not resealed_holds(certificate, arrays, cases=cases[:-1])


def test_a_case_that_covers_a_value_less_is_missed_where_that_value_could_win(proof: Certificate) -> None:
    missed = 0
    for at, case in enumerate(proof.header["cases"]):
        for change in ({"last": case["last"] - 1}, {"first": case["first"] + 1}):
            cases = copy.deepcopy(proof.header["cases"])
            cases[at].update(change)
            missed += not resealed_holds(proof, dict(proof.arrays), cases=cases)
    assert missed


@pytest.mark.parametrize("bits", [-1, 31, 1000, 2.0, "9", None, True])
def test_multipliers_are_of_0_to_30_bits(proof: Certificate, bits: object) -> None:
    assert not resealed_holds(proof, dict(proof.arrays), bits=bits)


def test_multipliers_of_other_rows_or_of_no_layer_are_refused(proof: Certificate) -> None:
    name = next(key for key in proof.arrays if key.startswith("cases/") and "/mu/" in key)
    value = proof.arrays[name]
    for wrong in (np.concatenate([value, value[:1]]), value[:0], value[:, :-1]):
        assert not resealed_holds(proof, {**proof.arrays, name: wrong})
    place = name.rpartition("/")[0]
    for layer in ("99", "-1", "07"):
        assert not resealed_holds(proof, {**proof.arrays, f"{place}/{layer}": value})


def test_the_input_is_one_row_or_one_sample_in_its_range(refutation: Certificate) -> None:
    arrays = dict(refutation.arrays)
    flat = arrays["input"].reshape(-1)
    for shape in ((16,), (1, 16)):
        seal = sealed(
            {key: value for key, value in refutation.header.items() if key != "sha256"},
            {**arrays, "input": flat.reshape(shape)},
        )
        assert holds(dict(seal.header), dict(seal.arrays))
    for wrong in (flat.reshape(1, 1, 16), flat[:-1], flat[:0], flat.astype(np.int64)):
        assert not resealed_holds(refutation, {**arrays, "input": wrong})


@pytest.mark.parametrize("field", ["schema", "kind", "label", "law"])
def test_a_certificate_with_one_field_of_another_is_none(refutation: Certificate, field: str) -> None:
    assert not resealed_holds(refutation, dict(refutation.arrays), **{field: "other"})
    header = {key: value for key, value in refutation.header.items() if key not in ("sha256", field)}
    seal = sealed(header, dict(refutation.arrays))
    assert not holds(dict(seal.header), dict(seal.arrays))


@pytest.mark.parametrize(("field", "value"), [("first", False), ("last", False), ("first", 0.0)])
def test_a_case_of_one_number_that_is_no_integer_is_refused(field: str, value: object) -> None:
    answer = robustness(PROGRAM, centre(PROGRAM), 1, Options(enumerate=False, seconds=60, sums=True))
    assert answer.certificate is not None
    cases = copy.deepcopy(answer.certificate.header["cases"])
    place = next(at for at, case in enumerate(cases) if case[field] == value)
    cases[place][field] = value
    assert not resealed_holds(answer.certificate, dict(answer.certificate.arrays), cases=cases)


def test_more_bits_than_30_are_refused_even_where_they_decide_nothing() -> None:
    answer = robustness(PROGRAM, centre(PROGRAM), 1, Options(enumerate=False, seconds=60, sums=True))
    certificate = answer.certificate
    assert certificate is not None
    assert not certificate.header["ranges"]
    arrays = dict(certificate.arrays)
    for bits in (0, 30):
        assert resealed_holds(certificate, arrays, bits=bits)
    for bits in (-1, 31):
        assert not resealed_holds(certificate, arrays, bits=bits)
