"""What makes a verdict checkable: integers only, written so that ``oaq.checker.robust`` needs nothing of the search.

A proved box holds, for every case, its tree and the integer multipliers of every leaf, and for ranges that multipliers
narrowed, those too. A refuted set holds the input. A proved list holds its inputs: the checker runs them all.
Format: ``docs/math/robustness.md``, section 6.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import FormatError
from oaq.program.atomic import write_atomically
from oaq.program.files import content_of
from oaq.program.int_program import IntProgram
from oaq.program.plain import fingerprint
from oaq.program.safetensors import decode, encode, parse_json
from oaq.robust.cases import Pair
from oaq.robust.region import Region
from oaq.robust.tree import Tree
from oaq.terminal.shown import in_a_line

SCHEMA: Final = 1
KEY: Final = "oaq.robustness"
SUFFIX: Final = ".robust.oaq"
EQUIVALENCE_SUFFIX: Final = ".equivalent.oaq"
RANGES: Final = "conditional ranges"
EQUIVALENCE: Final = "equivalence"
Parts = tuple[dict[str, Any], dict[str, NDArray[Any]]]
"""Header and arrays of a certificate before it is sealed."""
LAWS: Final = {False: "argmax, first maximum, u8 outputs", True: "argmax, first maximum, last sums"}


@dataclass(frozen=True, eq=False)
class Certificate:
    """A header (JSON-able) and arrays; ``oaq.checker.robust.check_robustness`` reads both."""

    header: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]

    def __repr__(self) -> str:
        size = sum(array.nbytes for array in self.arrays.values())
        return in_a_line("Certificate", "robustness", [("arrays", len(self.arrays)), ("bytes", size)])

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, whole or not at all.

        Raises:
            FormatError: ``path`` cannot be written.
        """
        head, data = encode({KEY: json.dumps(self.header, separators=(",", ":"), allow_nan=False)}, self.arrays)
        write_atomically(path, [head, *data])


def load_certificate(path: str | Path) -> Certificate:
    """Read what ``save`` wrote; nothing of it is trusted before the checker has seen it.

    Raises:
        FormatError: it is not such a file.
    """
    metadata, arrays = decode(content_of(path), str(path))
    if set(metadata) != {KEY}:
        raise FormatError(f"{path}: is a safetensors file, but not a certificate of robustness")
    header = parse_json(metadata[KEY], f"{path}: certificate")
    if not isinstance(header, dict):
        raise FormatError(f"{path}: the certificate's header is not an object")
    return Certificate(header, arrays)


@dataclass(frozen=True, eq=False)
class RangeClaim:
    """Accumulator ends of one layer that multipliers proved.

    Attributes:
        layer: index of the layer: of its node in the program.
        element: (R,) which accumulator.
        upper: (R,) whether it is the greatest (else the least) value.
        end: (R,) the end, int64.
        multipliers: of the layers below, (R, K) integers by layer.
    """

    layer: int
    element: NDArray[np.int32]
    upper: NDArray[np.bool_]
    end: NDArray[np.int64]
    multipliers: Mapping[int, NDArray[np.int64]]


def common(program: IntProgram, region: Region, label: int, sums: bool, tier: str) -> Parts:
    """The part that every certificate of robustness has."""
    header = {
        "schema": SCHEMA,
        "kind": "robustness",
        "tier": tier,
        "program": fingerprint(program),
        "law": LAWS[sums],
        "label": label,
        "set": dict(region.description),
    }
    return header, _region_arrays(region)


def _region_arrays(region: Region) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {"input": region.centre.ravel()}
    if region.inputs is None:
        return arrays | {"set/lo": region.lo.ravel(), "set/hi": region.hi.ravel()}
    return arrays | {"set/inputs": region.inputs.reshape(len(region.inputs), -1)}


def of_equivalence(programs: Sequence[IntProgram], region: Region, steps: int, tier: str) -> Parts:
    """The part that every certificate of equivalence has."""
    header = {
        "schema": SCHEMA,
        "kind": EQUIVALENCE,
        "tier": tier,
        "programs": [fingerprint(program) for program in programs],
        "steps": steps,
        "set": dict(region.description),
    }
    return header, _region_arrays(region)


def differing(parts: Parts, witness: NDArray[np.uint8], difference: int) -> Certificate:
    """A set with an input on which two programs differ by more than they may."""
    header, arrays = parts
    return sealed({**header, "difference": difference}, {**arrays, "witness": witness.ravel()})


def refuted(parts: Parts, witness: NDArray[np.uint8], label: int) -> Certificate:
    """A set with an input that the network calls otherwise."""
    header, arrays = parts
    header |= {"witness_label": label}
    return sealed(header, {**arrays, "witness": witness.ravel()})


def enumerated(parts: Parts) -> Certificate:
    """A set all of whose inputs were run."""
    header, arrays = parts
    return sealed({**header, "proof": "enumeration"}, arrays)


def proved(
    parts: Parts,
    trees: Sequence[Tree],
    claims: Sequence[RangeClaim],
    bits: int,
    name: Callable[[Pair], dict[str, int]] = lambda pair: {"against": pair.rival},
) -> Certificate:
    """A box with its trees.

    Args:
        parts: from ``common``.
        trees: one per case, every leaf closed.
        claims: narrowed ranges, in the order in which they follow from each other.
        bits: multipliers are integers of 2**-bits.
        name: fields by which a case names its pair.
    """
    header, arrays = parts
    case_list = []
    for at, tree in enumerate(trees):
        place = f"cases/{at}"
        case = tree.case
        case_list.append({**name(case.pair), "first": case.first, "last": case.last})
        arrays[f"{place}/splits"] = np.array(tree.splits, np.int64)
        leaves = sorted(tree.leaves)
        weighed = [leaf for leaf in leaves if tree.leaves[leaf] is not None]
        arrays[f"{place}/leaves"] = np.array(weighed, np.int32)
        closings = [tree.leaves[leaf] for leaf in weighed]
        arrays[f"{place}/weights"] = np.array(
            [[leaf.up_weight, leaf.down_weight] for leaf in closings if leaf], np.int64
        ).reshape(-1, 2)
        for layer in closings[0].multipliers if closings and closings[0] else ():
            rows = np.stack([leaf.multipliers[layer] for leaf in closings if leaf])
            arrays[f"{place}/mu/{layer}"] = _narrow(rows)
    ranges = _range_parts(claims, arrays)
    return sealed({**header, "proof": "multipliers", "bits": bits, "cases": case_list, "ranges": ranges}, dict(arrays))


def of_ranges(
    program: IntProgram,
    region: Region,
    claims: Sequence[RangeClaim],
    ends: Mapping[str, NDArray[np.int64]],
    bits: int,
) -> Certificate:
    """What every tensor and sum can be on a set.

    Args:
        program: which it is about.
        region: the set.
        claims: narrowed ranges, in the order in which they follow from each other.
        ends: by name, ``tensors/N/lo`` and ``sums/N/lo`` with their ``hi``.
        bits: multipliers are integers of 2**-bits.
    """
    header, arrays = common(program, region, 0, False, "proved")
    header = {key: header[key] for key in ("schema", "tier", "program", "set")} | {"kind": RANGES, "bits": bits}
    return sealed({**header, "ranges": _range_parts(claims, arrays)}, {**arrays, **ends})


def _range_parts(claims: Sequence[RangeClaim], arrays: dict[str, NDArray[Any]]) -> list[dict[str, int]]:
    """Put the arrays of narrowed ranges into ``arrays``; their part of the header."""
    for at, claim in enumerate(claims):
        place = f"ranges/{at}"
        arrays |= {f"{place}/element": claim.element, f"{place}/upper": claim.upper, f"{place}/end": claim.end}
        arrays |= {f"{place}/mu/{layer}": _narrow(mu) for layer, mu in claim.multipliers.items()}
    return [{"layer": claim.layer} for claim in claims]


def sealed(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Certificate:
    """With a digest over everything else: it finds accidents, not forgeries."""
    state = hashlib.sha256(json.dumps(header, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(arrays):
        value = arrays[name]
        state.update(f"\n{name} {value.dtype.str} {value.shape}\n".encode())
        state.update(np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes())
    return Certificate({**header, "sha256": state.hexdigest()}, arrays)


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    """int32 where that holds them."""
    fits = not values.size or int(np.abs(values).max()) < 1 << 31
    return values.astype(np.int32 if fits else np.int64)
