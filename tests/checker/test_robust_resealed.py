"""Certificates of robustness changed and sealed again: whatever the checker accepts is true of every input.

A digest finds accidents only, so everything else has to be found by deriving it again. Each field of the header and
each element of the arrays is changed in turn and the digest computed anew. What is still accepted is harmless: the set
that it names is run whole, and the ends of narrowed ranges are compared with the sums of those runs.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest

from oaq.checker.robust import check_robustness
from oaq.errors import FormatError
from oaq.program.plain import to_plain
from oaq.reference.run import run
from oaq.robust import Options, brightness, robustness
from oaq.robust.certificate import Certificate, sealed
from tests.robust.networks import centre, perceptron

PROGRAM = perceptron(11, (4, 12, 10, 5))
"""With centre 0 and radius 4 (6,561 inputs) its proof takes a split and narrowed ranges."""
PLAIN = to_plain(PROGRAM)
X = centre(PROGRAM)
BOUNDS = Options(enumerate=False)
MOST_ELEMENTS = 8
"""Elements changed of each array; an array of at most this many is changed in all of them."""


def certificate_of(kind: str) -> Certificate:
    match kind:
        case "multipliers":
            answer = robustness(PROGRAM, X, 4, BOUNDS)
            assert answer.nodes
        case "sums":
            answer = robustness(PROGRAM, X, 1, Options(enumerate=False, sums=True))
        case "refutation":
            answer = robustness(PROGRAM, X, 120, BOUNDS)
            assert answer.state == "refuted"
        case "enumeration":
            answer = robustness(PROGRAM, X, 1)
            assert answer.stage == "enumeration"
        case _:
            answer = robustness(PROGRAM, X, brightness(PROGRAM, X, 2))
            assert answer.is_robust
    assert answer.certificate is not None
    return answer.certificate


KINDS = ("multipliers", "sums", "refutation", "enumeration", "list")


def accepts(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> bool:
    seal = sealed({key: value for key, value in header.items() if key != "sha256"}, arrays)
    try:
        return check_robustness(*PLAIN, seal.header, seal.arrays).safe
    except FormatError:
        return False


def values_beside(value: Any) -> Iterator[Any]:
    """Other values of a field: near it, far from it, and of other types."""
    if type(value) is int:
        yield from (value + 1, value - 1, -value - 1, value + 1000, True, str(value), float(value) + 0.5)
    elif isinstance(value, str):
        yield from ("", value + "x", value[:-1], 0)
    yield from (None, [], {}, -1, [value])


def changed_fields(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """A header, or a part of one, with one field changed, missing, or more."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{place}.{key} missing", {name: part for name, part in value.items() if name != key}
            for name, other in changed_fields(inner, f"{place}.{key}"):
                yield name, {**value, key: other}
        yield f"{place} with one more", {**value, "more": 0}
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield f"{place}[{at}] missing", value[:at] + value[at + 1 :]
            yield f"{place}[{at}] twice", [*value, copy.deepcopy(inner)]
            for name, other in changed_fields(inner, f"{place}[{at}]"):
                yield name, [*value[:at], other, *value[at + 1 :]]
    for other in values_beside(value):
        if other != value or type(other) is not type(value):
            yield f"{place} = {other!r}", other


def changed_arrays(arrays: dict[str, np.ndarray]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Arrays with one element changed, a row less, missing, of another type, and one array more."""
    rng = np.random.default_rng(0)
    for name, value in arrays.items():
        yield f"{name} missing", {key: part for key, part in arrays.items() if key != name}
        yield f"{name} as floats", {**arrays, name: value.astype(np.float64)}
        yield f"{name} reversed", {**arrays, name: value[::-1].copy()}
        yield f"{name} less a row", {**arrays, name: value[:-1].copy()}
        places = (
            range(value.size) if value.size <= MOST_ELEMENTS else sorted(rng.choice(value.size, MOST_ELEMENTS, False))
        )
        for at in places:
            near, far = value.copy().reshape(-1), value.copy().reshape(-1)
            near[at] = not near[at] if value.dtype == bool else near[at] + np.array(1, value.dtype)
            far[at] = not far[at] if value.dtype == bool else ~far[at]
            yield f"{name}[{at}] + 1", {**arrays, name: near.reshape(value.shape)}
            yield f"{name}[{at}] inverted", {**arrays, name: far.reshape(value.shape)}
    yield "one more", {**arrays, "more": np.zeros(1, np.int32)}


def members(arrays: dict[str, np.ndarray]) -> np.ndarray:
    if "set/inputs" in arrays:
        return arrays["set/inputs"]
    spans = [range(int(lo), int(hi) + 1) for lo, hi in zip(arrays["set/lo"], arrays["set/hi"], strict=True)]
    return np.array(list(product(*spans)), np.uint8)


def labels(x: np.ndarray, header: dict[str, Any]) -> np.ndarray:
    outcome = run(PROGRAM, x, accumulators=True)
    last = outcome.accumulators["fc2"] if header["law"].endswith("last sums") else outcome.outputs[0]
    return last.reshape(len(x), -1).argmax(axis=1)


def assert_true(header: dict[str, Any], arrays: dict[str, np.ndarray], name: str) -> None:
    """The claim itself, by running every input that it is about."""
    x = arrays["input"].reshape(1, 4)
    assert labels(x, header)[0] == header["label"], name
    if header["tier"] == "refuted":
        witness = arrays["witness"].reshape(1, 4)
        assert (arrays["set/lo"] <= witness[0]).all(), name
        assert (witness[0] <= arrays["set/hi"]).all(), name
        assert labels(witness, header)[0] == header["witness_label"] != header["label"], name
        return
    rows = members(arrays)
    assert (labels(rows, header) == header["label"]).all(), name
    sums = run(PROGRAM, rows, accumulators=True).accumulators
    for at, claim in enumerate(header.get("ranges", ())):
        acc = sums[f"fc{claim['layer']}"]
        parts = (arrays[f"ranges/{at}/{part}"] for part in ("element", "upper", "end"))
        for element, upper, end in zip(*parts, strict=True):
            ran = int(acc[:, element].max() if upper else acc[:, element].min())
            assert ran <= end if upper else end <= ran, name


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_header_sealed_again_is_refused_or_true(kind: str) -> None:
    certificate = certificate_of(kind)
    header, arrays = dict(certificate.header), dict(certificate.arrays)
    assert accepts(header, arrays)
    assert_true(header, arrays, kind)
    refused = 0
    for name, altered in changed_fields({key: part for key, part in header.items() if key != "sha256"}, kind):
        if isinstance(altered, dict) and accepts(altered, arrays):
            assert_true(altered, arrays, name)
            same = {key: altered[key] for key in ("tier", "program", "law", "label", "schema", "kind")}
            assert same == {key: header[key] for key in same}, name
        else:
            refused += 1
    assert refused > 60


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_array_sealed_again_is_refused_or_true(kind: str) -> None:
    certificate = certificate_of(kind)
    header, arrays = dict(certificate.header), dict(certificate.arrays)
    refused = 0
    for name, altered in changed_arrays(arrays):
        if accepts(header, altered):
            assert_true(header, altered, name)
        else:
            refused += 1
    assert refused > 10


@pytest.mark.parametrize("field", ["radius", "norm", "kind"])
def test_a_ball_is_what_its_header_says(field: str) -> None:
    certificate = certificate_of("multipliers")
    claim = dict(certificate.header["set"])
    for other in (claim["radius"] + 1, claim["radius"] - 1, "box" if field == "norm" else "list"):
        assert not accepts({**certificate.header, "set": {**claim, field: other}}, dict(certificate.arrays))
