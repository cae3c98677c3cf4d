"""Derive a certificate of equivalence again: two programs, one set of inputs, how far outputs lie apart. No solver.

The claim: for every input of the set, outputs at the same place differ by at most so many integers. A proof by
multipliers bounds each difference in both directions, with cases and trees as in ``robust``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from oaq.checker.program import NamedArrays, digest, parse
from oaq.checker.robust_cases import Contest, check_cases
from oaq.checker.robust_claims import SCHEMA, Claims, edited, inputs_of, members_of, run_points, verdict_of
from oaq.checker.robust_layers import Box, Layered, decided_by, layered
from oaq.checker.robust_maps import Ints
from oaq.checker.verdict import Verdict
from oaq.errors import FormatError

KIND: Final = "equivalence"
KEYS: Final = {"schema", "kind", "tier", "programs", "steps", "set", "sha256"}
FIELDS: Final = ("up", "output")
"""Names of a contest in a case: the program whose output is greater, and which output."""
Plain = tuple[Mapping[str, Any], NamedArrays]
"""Header and arrays of a program (``program.plain`` describes them)."""


def check_equivalence(first: Plain, second: Plain, certificate: Mapping[str, Any], claims: NamedArrays) -> Verdict:
    """Re-derive a certificate from the two programs alone.

    Args:
        first: one program.
        second: the other; the order is that of the certificate.
        certificate: its header, as parsed from JSON.
        claims: its arrays.

    Returns:
        safe if the certificate's tier, proved or refuted, holds; else what does not.

    Raises:
        FormatError: the data are not programs or not such a certificate.
    """
    return verdict_of(lambda: _check((first, second), Claims(certificate, claims, set(), KEYS)))


def _check(programs: tuple[Plain, Plain], claims: Claims) -> list[str]:
    certificate = claims.header
    if certificate.get("schema") != SCHEMA or certificate.get("kind") != KIND or not set(certificate) >= KEYS:
        raise FormatError(f"not a certificate of equivalence of schema {SCHEMA}")
    if findings := edited(claims):
        return findings
    if certificate["programs"] != [digest(*plain) for plain in programs]:
        return ["is for other programs, or for the same in another order"]
    steps = certificate["steps"]
    if type(steps) is not int or not 0 <= steps <= 255:
        raise FormatError(f"outputs differ by 0 to 255 integers, not {str(steps)[:20]}")
    network = layered(*((parse(*plain), list(plain[0]["outputs"])) for plain in programs))
    if network.sizes[network.outputs[0]] != network.sizes[network.outputs[1]]:
        raise FormatError("the programs' outputs are of different size")
    members = members_of(claims, network, claims.input("input", network))
    if not isinstance(members, tuple):
        raise FormatError("equivalence is of a box")
    match certificate["tier"], certificate.get("proof"):
        case "refuted", None:
            findings = _check_witness(claims, network, members)
        case "proved", "enumeration":
            findings = _check_all(certificate, members, network)
        case "proved", "multipliers":
            findings = check_cases(claims, network, members, _contests(network, steps), FIELDS)
        case _:
            return [f"tier {certificate['tier']!r} with this proof is nothing to check"]
    return findings + claims.unused()


def _contests(network: Layered, steps: int) -> dict[tuple[int, ...], Contest]:
    """For each program and output: its integer exceeds the other program's by more than ``steps``."""
    sides = [decided_by(network.layers, tensor, network.sizes) for tensor in network.outputs]
    zeros = [network.zeros[tensor] for tensor in network.outputs]
    contests = {}
    for up, down in ((0, 1), (1, 0)):
        theta = steps + 1 + zeros[down] - zeros[up]
        for output in range(len(sides[0][1])):
            places = [(sides[side][0], int(sides[side][1][output])) for side in (up, down)]
            name = f"output {output} of program {up}"
            contests[up, output] = Contest(places[0], places[1], theta, False, name)
    return contests


def _differences(network: Layered, x: Ints) -> Iterator[Ints]:
    """Greatest difference of outputs, for some rows at a time."""
    first, second = network.outputs
    for span in run_points(network, x):
        values = [span.tensors[tensor][0] + network.zeros[tensor] for tensor in (first, second)]
        yield np.abs(values[0] - values[1]).max(axis=1)


def _check_witness(claims: Claims, network: Layered, members: Box) -> list[str]:
    certificate = claims.header
    if set(certificate) != KEYS | {"difference"}:
        return ["has other fields than a refutation"]
    witness = claims.input("witness", network)
    if len(witness) != 1 or not bool((members[0] <= witness).all() and (witness <= members[1]).all()):
        return ["its witness is not in the set"]
    difference = int(next(_differences(network, witness))[0])
    if difference <= certificate["steps"] or difference != certificate["difference"]:
        return [f"at its witness outputs differ by {difference}, not {certificate['difference']}"]
    return []


def _check_all(certificate: Mapping[str, Any], members: Box, network: Layered) -> list[str]:
    if set(certificate) != KEYS | {"proof"}:
        return ["has other fields than an enumeration"]
    greatest = max(int(part.max()) for rows in inputs_of(members) for part in _differences(network, rows))
    return [f"for an input of the set outputs differ by {greatest}"] if greatest > certificate["steps"] else []
