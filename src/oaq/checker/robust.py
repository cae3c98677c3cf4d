"""Derive a certificate of robustness again: the set, the label, every range, every case, every leaf. No solver.

The claim: every input of the set gets the label that the centre gets, by the law that the header names. A proof by
multipliers holds if, for every other output and every value at which it could win, some case covers it, the splits of
the case's tree leave no gap, and at every leaf the integer bound is negative or the limits contradict each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from oaq.checker.program import NamedArrays, digest, parse
from oaq.checker.robust_bounds import bound
from oaq.checker.robust_cases import Contest, check_cases
from oaq.checker.robust_claims import SCHEMA, Claims, edited, inputs_of, members_of, run_points, verdict_of
from oaq.checker.robust_layers import Box, Layered, decided_by, layered
from oaq.checker.robust_maps import Ints
from oaq.checker.verdict import Verdict
from oaq.errors import FormatError

KEYS = {"schema", "kind", "tier", "program", "law", "label", "set", "sha256"}
OUTPUTS, SUMS = "argmax, first maximum, u8 outputs", "argmax, first maximum, last sums"


def check_robustness(
    header: Mapping[str, Any], arrays: NamedArrays, certificate: Mapping[str, Any], claims: NamedArrays
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
    return verdict_of(lambda: _check(header, arrays, Claims(certificate, claims, set(), KEYS)))


def _check(header: Mapping[str, Any], arrays: NamedArrays, claims: Claims) -> list[str]:
    certificate = claims.header
    if certificate.get("schema") != SCHEMA or certificate.get("kind") != "robustness" or not set(certificate) >= KEYS:
        raise FormatError(f"not a certificate of robustness of schema {SCHEMA}")
    if findings := edited(claims):
        return findings
    if certificate["program"] != digest(header, arrays):
        return ["is for another program"]
    if certificate["law"] not in (OUTPUTS, SUMS):
        return [f"knows no law {str(certificate['law'])[:60]!r}"]
    network = layered((parse(header, arrays), list(header["outputs"])))
    sums = certificate["law"] == SUMS
    x = claims.input("input", network)
    label = certificate["label"]
    if type(label) is not int or label != _labels(network, x, sums)[0]:
        return [f"the input is not called {label}"]
    members = members_of(claims, network, x)
    match certificate["tier"], certificate.get("proof"):
        case "refuted", None:
            findings = _check_witness(claims, network, members, sums)
        case "proved", "enumeration":
            findings = _check_all(certificate, members, network, sums)
        case "proved", "multipliers":
            if not isinstance(members, tuple):
                return ["a list of inputs is proved by running them"]
            findings = check_cases(claims, network, members, _contests(network, label, sums))
        case _:
            return [f"tier {certificate['tier']!r} with this proof is nothing to check"]
    return findings + claims.unused()


def _contests(network: Layered, label: int, sums: bool) -> dict[tuple[int, ...], Contest]:
    """How each rival wins, by rival: a tie goes to the first output."""
    layer, element = decided_by(network.layers, network.output, network.sizes)
    return {
        (rival,): Contest(
            (layer, int(element[rival])), (layer, int(element[label])), int(rival > label), sums, f"output {rival}"
        )
        for rival in range(len(element))
        if rival != label
    }


def _labels(network: Layered, x: Ints, sums: bool) -> list[int]:
    """First greatest output of each row."""
    called: list[int] = []
    layer, element = decided_by(network.layers, network.output, network.sizes)
    for span in run_points(network, x):
        values = span.accumulators[layer][0][:, element] if sums else span.tensors[network.output][0]
        called += [int(label) for label in values.argmax(axis=1)]
    return called


def _check_witness(claims: Claims, network: Layered, members: Box | Ints, sums: bool) -> list[str]:
    certificate = claims.header
    if set(certificate) != KEYS | {"witness_label"}:
        return ["has other fields than a refutation"]
    witness = claims.input("witness", network)
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


def _check_all(certificate: Mapping[str, Any], members: Box | Ints, network: Layered, sums: bool) -> list[str]:
    if set(certificate) != KEYS | {"proof"}:
        return ["has other fields than an enumeration"]
    for part in inputs_of(members):
        called = np.array(_labels(network, part, sums))
        others = called[called != certificate["label"]]
        if len(others):
            return [f"an input of the set is called {int(others[0])}"]
    return []


__all__ = ["bound", "check_robustness"]
