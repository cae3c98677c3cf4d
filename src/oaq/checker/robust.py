"""Derive a certificate of robustness again: the set, the label, every range, every case, every leaf. No solver.

The claim: every input of the set gets the label that the centre gets, by the law that the header names. A proof by
multipliers holds if, for every other output and every value at which it could win, some case covers it, the splits of
the case's tree leave no gap, and at every leaf the integer bound is negative or the limits contradict each other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.checker.program import Arrays, digest, parse
from oaq.checker.robust_bounds import Spans, bound
from oaq.checker.robust_cases import Claims, check_cases
from oaq.checker.robust_layers import Layered, Reading, Summing, decided_by, layered
from oaq.checker.robust_maps import Ints
from oaq.checker.verdict import Finding, Verdict
from oaq.errors import FormatError

SCHEMA = 1
KEYS = {"schema", "kind", "tier", "program", "law", "label", "set", "sha256"}
OUTPUTS, SUMS = "argmax, first maximum, u8 outputs", "argmax, first maximum, last sums"
AT_ONCE = 64


def check_robustness(
    header: Mapping[str, Any], arrays: Arrays, certificate: Mapping[str, Any], claims: Arrays
) -> Verdict:
    """Re-derive a certificate from the program alone.

    Args:
        header: of the program (``program.plain`` describes it).
        arrays: of the program.
        certificate: its header, as parsed from JSON.
        claims: its arrays.

    Returns:
        safe if the certificate's tier, proved or refuted, holds; else what does not.

    Raises:
        FormatError: the data is not a program or not a certificate.
    """
    try:
        findings = _check(header, arrays, certificate, claims)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise FormatError(f"the program or its certificate is malformed: {type(error).__name__}: {error}") from error
    return Verdict(tuple(Finding("", finding) for finding in findings))


def _check(header: Mapping[str, Any], arrays: Arrays, certificate: Mapping[str, Any], claims: Arrays) -> list[str]:
    if certificate.get("schema") != SCHEMA or certificate.get("kind") != "robustness" or not set(certificate) >= KEYS:
        raise FormatError(f"not a certificate of robustness of schema {SCHEMA}")
    if certificate["sha256"] != seal_of(certificate, claims):
        return ["has been edited: its own digest does not fit"]
    if certificate["program"] != digest(header, arrays):
        return ["is for another program"]
    if certificate["law"] not in (OUTPUTS, SUMS):
        return [f"knows no law {str(certificate['law'])[:60]!r}"]
    network = layered(parse(header, arrays), list(header["outputs"]))
    sums = certificate["law"] == SUMS
    used = {"input"}
    x = centred_row(claims, "input", network)
    label = certificate["label"]
    if type(label) is not int or label != _labels(network, x, sums)[0]:
        return [f"the input is not called {label}"]
    members = members_of(certificate["set"], claims, network, x, used)
    match certificate["tier"], certificate.get("proof"):
        case "refuted", None:
            wrong = _check_witness(certificate, claims, network, (members, sums), used)
        case "proved", "enumeration":
            wrong = _check_all(certificate, members, network, sums)
        case "proved", "multipliers":
            if isinstance(members, np.ndarray):
                return ["a list of inputs is proved by running them"]
            wrong = check_cases(Claims(certificate, claims, used, KEYS), network, members, sums)
        case _:
            return [f"tier {certificate['tier']!r} with this proof is nothing to check"]
    if sorted(set(claims) - used):
        wrong.append(f"holds arrays that claim nothing: {sorted(set(claims) - used)[:3]}")
    return wrong


def seal_of(certificate: Mapping[str, Any], claims: Arrays) -> str:
    plain = {key: value for key, value in certificate.items() if key != "sha256"}
    state = hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(claims):
        value = claims[name]
        state.update(f"\n{name} {value.dtype.str} {value.shape}\n".encode())
        state.update(np.ascontiguousarray(value, value.dtype.newbyteorder("<")).data)
    return state.hexdigest()


def centred_row(claims: Arrays, name: str, network: Layered) -> Ints:
    """A u8 input of the program's size and range, centred: (1, inputs)."""
    value = claims[name]
    if value.dtype != np.uint8 or value.shape[-1] != network.sizes[0] or value.ndim > 2 or not value.size:
        raise FormatError(f"{name}: is uint8 of {network.sizes[0]} elements, not {value.dtype} of shape {value.shape}")
    if int(value.min()) < network.limits[0] or int(value.max()) > network.limits[1]:
        raise FormatError(f"{name}: leaves the input's effective range {network.limits}")
    return value.reshape(-1, network.sizes[0]).astype(np.int64) - network.zeros[0]


def members_of(
    claim: Mapping[str, Any], claims: Arrays, network: Layered, x: Ints, used: set[str]
) -> tuple[Ints, Ints] | Ints:
    """The set: a box, or the rows of a list; a ball is what its radius says."""
    if claim["kind"] == "list":
        used.add("set/inputs")
        return centred_row(claims, "set/inputs", network)
    used |= {"set/lo", "set/hi"}
    lo, hi = (centred_row(claims, name, network) for name in ("set/lo", "set/hi"))
    if len(lo) != 1 or len(hi) != 1 or (lo > x).any() or (x > hi).any():
        raise FormatError("the box does not hold the input")
    if claim["kind"] == "ball":
        radius, (least, most) = claim["radius"], (end - network.zeros[0] for end in network.limits)
        if type(radius) is not int or claim["norm"] != "inf":
            raise FormatError("a ball has a whole radius in the inf norm")
        if (lo != np.maximum(x - radius, least)).any() or (hi != np.minimum(x + radius, most)).any():
            raise FormatError(f"the box is not the ball of radius {radius}")
    elif claim["kind"] != "box":
        raise FormatError(f"knows no set {str(claim['kind'])[:40]!r}")
    return lo, hi


def _labels(network: Layered, x: Ints, sums: bool) -> list[int]:
    """First greatest output of each row: a run is a range of one input."""
    called: list[int] = []
    layer, element = decided_by(network.layers, network.output, network.sizes)
    for begin in range(0, len(x), AT_ONCE):
        part = x[begin : begin + AT_ONCE]
        span = Spans(network, (part, part), {}, len(network.layers) - 1)
        for at, ends in enumerate(span.tensors):
            exact = at == 0 or not isinstance(network.layers[at - 1], Summing | Reading) or (ends[0] == ends[1]).all()
            if not exact:
                raise FormatError(f"layer {at - 1}: one input gives two values")
        values = span.accumulators[layer][0][:, element] if sums else span.tensors[network.output][0]
        called += [int(label) for label in values.argmax(axis=1)]
    return called


def _check_witness(
    certificate: Mapping[str, Any],
    claims: Arrays,
    network: Layered,
    where: tuple[tuple[Ints, Ints] | Ints, bool],
    used: set[str],
) -> list[str]:
    if set(certificate) != KEYS | {"witness_label"}:
        return ["has other fields than a refutation"]
    members, sums = where
    used.add("witness")
    witness = centred_row(claims, "witness", network)
    if isinstance(members, tuple):
        inside = bool((members[0] <= witness).all() and (witness <= members[1]).all())
    else:
        inside = bool((members == witness).all(axis=1).any())
    if len(witness) != 1 or not inside:
        return ["its witness is not in the set"]
    label = _labels(network, witness, sums)[0]
    if label == certificate["label"] or label != certificate["witness_label"]:
        return [f"its witness is called {label}, not {certificate['witness_label']}"]
    return []


def _check_all(
    certificate: Mapping[str, Any], members: tuple[Ints, Ints] | Ints, network: Layered, sums: bool
) -> list[str]:
    if set(certificate) != KEYS | {"proof"}:
        return ["has other fields than an enumeration"]
    for part in _all_inputs(members):
        called = _labels(network, part, sums)
        if any(label != certificate["label"] for label in called):
            return [f"an input of the set is called {next(label for label in called if label != certificate['label'])}"]
    return []


def _all_inputs(members: tuple[Ints, Ints] | Ints) -> Any:  # noqa: ANN401 (an iterator of arrays)
    """Rows of a list, or every input of a box, mixed radix."""
    if not isinstance(members, tuple):
        yield members
        return
    lo, hi = members[0][0], members[1][0]
    widths = [int(width) for width in hi - lo + 1]
    count = 1
    for width in widths:
        count *= width
    if count > 1 << 22:
        raise FormatError(f"a set of {count} inputs is too many to run")
    free = [at for at, width in enumerate(widths) if width > 1]
    for begin in range(0, count, 1024):
        remainder: NDArray[np.int64] = np.arange(begin, min(begin + 1024, count))
        rows = np.repeat(lo[None], len(remainder), axis=0)
        for at in free:
            remainder, digit = np.divmod(remainder, widths[at])
            rows[:, at] += digit
        yield rows


__all__ = ["bound", "check_robustness"]
