"""Derive a certificate of conditional ranges again: what every tensor and every sum can be on a set of inputs.

The claim: for every input of the set, each channel of each tensor and each output's total stays inside the ends that
the certificate holds. The checker narrows ranges by the certificate's multipliers, each checked on those before it, and
compares what follows with the ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from oaq.checker.program import NamedArrays, Program, digest, parse
from oaq.checker.robust_bounds import Spans
from oaq.checker.robust_claims import MOST_BITS, SCHEMA, Claims, edited, members_of, verdict_of
from oaq.checker.robust_layers import Box, Layered, layered
from oaq.checker.robust_trees import claimed_ranges
from oaq.checker.verdict import Verdict
from oaq.errors import FormatError

KIND: Final = "conditional ranges"
KEYS: Final = {"schema", "kind", "tier", "program", "set", "bits", "ranges", "sha256"}
SUMMED: Final = ("Conv2d", "ConvTranspose2d", "Linear")
"""Kinds of nodes whose totals the certificate holds."""


def check_conditional_ranges(
    header: Mapping[str, Any], arrays: NamedArrays, certificate: Mapping[str, Any], claims: NamedArrays
) -> Verdict:
    """Re-derive ranges on a set from the program alone.

    Args:
        header: of the program (``program.plain`` describes it).
        arrays: of the program.
        certificate: its header, as parsed from JSON.
        claims: its arrays.

    Returns:
        safe if every end holds; else what does not.

    Raises:
        FormatError: the data is not a program or not such a certificate.
    """
    return verdict_of(lambda: _check(header, arrays, Claims(certificate, claims, set(), KEYS)))


def _check(header: Mapping[str, Any], arrays: NamedArrays, claims: Claims) -> list[str]:
    certificate = claims.header
    if set(certificate) != KEYS or certificate["schema"] != SCHEMA or certificate["kind"] != KIND:
        raise FormatError(f"not a certificate of conditional ranges of schema {SCHEMA}")
    if findings := edited(claims):
        return findings
    if certificate["program"] != digest(header, arrays):
        return ["is for another program"]
    bits = certificate["bits"]
    if certificate["tier"] != "proved" or type(bits) is not int or not 0 <= bits <= MOST_BITS:
        return [
            f"proves by multipliers of 2**-0 to 2**-{MOST_BITS}, not {certificate['tier']!r} by 2**-{str(bits)[:20]}"
        ]
    program = parse(header, arrays)
    network = layered((program, list(header["outputs"])))
    members = members_of(claims, network, claims.input("input", network))
    box = members if isinstance(members, tuple) else (members.min(axis=0)[None], members.max(axis=0)[None])
    limits, findings = claimed_ranges(claims, network, box, bits)
    if not findings:
        findings = _compare(claims, program, network, Spans(network, box, limits, len(network.layers) - 1))
    return findings or claims.unused()


def _compare(claims: Claims, program: Program, network: Layered, span: Spans) -> list[str]:
    """Ends of every tensor and of every sum beside what follows from the set."""
    names = (program.inputs[0], *(node.output for node in program.nodes))
    for at, name in enumerate(names):
        channels = program.tensors[name].shape[-1]
        fault = _outside(claims, f"tensors/{at}", _channels(span.tensors[at], channels, network.zeros[at]))
        if fault is None and at and program.nodes[at - 1].kind in SUMMED:
            fault = _outside(claims, f"sums/{at - 1}", _channels(span.accumulators[at - 1], channels, 0))
        if fault is not None:
            return [f"{name}: {fault}"]
    return []


def _channels(ends: Box, channels: int, zero: int) -> Box:
    lo, hi = (end[0].reshape(-1, channels) + zero for end in ends)
    return lo.min(axis=0), hi.max(axis=0)


def _outside(claims: Claims, place: str, derived: Box) -> str | None:
    """What reaches beyond the claimed ends."""
    lo, hi = (claims.take(f"{place}/{end}", 1) for end in ("lo", "hi"))
    if lo.shape != derived[0].shape or hi.shape != derived[1].shape:
        raise FormatError(f"{place}: ends of {len(derived[0])} channels, not {lo.shape} and {hi.shape}")
    beyond = np.flatnonzero((derived[0] < lo) | (derived[1] > hi))
    if not len(beyond):
        return None
    at = int(beyond[0])
    return (
        f"{place}, channel {at}: can be [{int(derived[0][at])}, {int(derived[1][at])}], beyond "
        f"[{int(lo[at])}, {int(hi[at])}]"
    )
