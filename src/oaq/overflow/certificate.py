"""The certificate: everything a proof claims about a program, as plain data that can be derived again.

It holds no argument, only claims: tensor ranges, sums, register models, segments with their bounds. ``oaq.checker``
derives each again from the program alone, in its own way, and compares.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import FormatError
from oaq.numerics.accumulator import Accumulator
from oaq.numerics.modular import Modular
from oaq.numerics.ranges import ChannelRanges
from oaq.operators import Products
from oaq.overflow.proof import Proof
from oaq.overflow.spill import Schedule, split_rows
from oaq.program.int_program import IntProgram
from oaq.program.pickling import flatten, rebuild
from oaq.program.plain import fingerprint
from oaq.program.safetensors import NamedArrays
from oaq.terminal.shown import in_a_line

SCHEMA: Final = 1
PART: Final = "certificate"
"""Name of the part of an ``.oaq`` file that holds a certificate."""
KEYS: Final = ("schema", "tier", "program", "assumptions", "tensors", "registers", "nodes", "signature")


@dataclass(frozen=True, eq=False)
class Certificate:
    """Claims about one program.

    Attributes:
        content: JSON-able: ``schema`` version, ``tier``, ``program`` (its sha256, ``program.plain.fingerprint``),
            ``assumptions``, ``tensors`` (names, in the order of the range arrays), ``registers`` (models by name),
            ``nodes`` (for each Conv2d and Linear its name and its schedules: register, tile_n, and ``operand``: [shift,
            least, most] where a kernel multiplies u8 - shift, and ``modular`` where its sums count modulo 2**b:
            ``modular_claims``), ``signature`` (free for a hash of outputs on known inputs; null if none).
        arrays: ``ranges/T/lo|hi`` (C,) uint8 of tensor T; ``sums/I/total|raw|raw_partial`` (N, 2) int64 and
            ``sums/I/folded_bias`` (N,) int32 of node I of ``nodes``; of its schedule J ``schedules/I/J/segments``
            (R, 3) int32, ``bounds`` (R, 2) int64, and for the steps issued more than once ``split_at`` (V,) int32 (rows
            of the packed weights) and ``split_weight`` (V, tile_n, step) int8; optionally ``packed`` (S, tile_n, step)
            int8, all weights as executed.
    """

    content: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "content", MappingProxyType(dict(self.content)))
        object.__setattr__(self, "arrays", MappingProxyType(dict(self.arrays)))

    def __repr__(self) -> str:
        size = sum(array.nbytes for array in self.arrays.values())
        return in_a_line(
            "Certificate",
            str(self.content.get("program", ""))[:12],
            [("", self.content.get("tier")), ("layers", len(self.content.get("nodes", ()))), ("bytes", size)],
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle and copy by the constructor."""
        return rebuild, (flatten(self),)


def certify(
    program: IntProgram,
    proof: Proof,
    schedules: Mapping[str, Sequence[Schedule]] | None = None,
    *,
    signature: Mapping[str, Any] | None = None,
    packed: bool = False,
) -> Certificate:
    """Write down what ``proof`` and ``schedules`` claim.

    Args:
        program: what it is about.
        proof: of ``program``.
        schedules: by node name, any number per node; each names its register in ``schedule.accumulator``.
        signature: kept as it is.
        packed: also hold every weight as executed, so that a plan is checked as it will run.
    """
    arrays: NamedArrays = {}
    registers: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(proof.ranges):
        arrays[f"ranges/{index}/lo"] = proof.ranges[name].lo.astype(np.uint8)
        arrays[f"ranges/{index}/hi"] = proof.ranges[name].hi.astype(np.uint8)
    nodes = []
    for index, (name, sums) in enumerate(proof.nodes.items()):
        for quantity in ("total", "raw", "raw_partial"):
            arrays[f"sums/{index}/{quantity}"] = _pairs(getattr(sums, quantity))
        arrays[f"sums/{index}/folded_bias"] = sums.folded_bias
        planned = (schedules or {}).get(name, ())
        for place, schedule in enumerate(planned):
            registers[schedule.accumulator.name] = register_model(schedule.accumulator)
            prefix = f"schedules/{index}/{place}"
            arrays |= {f"{prefix}/{key}": value for key, value in _schedule_arrays(schedule, packed).items()}
        node_claims = {"node": name, "schedules": [_schedule_header(plan) for plan in planned]}
        if sums.modulo is not None:
            node_claims["modular"] = modular_claims(program.by_name[name].products)
        nodes.append(node_claims)
    content = {
        "schema": SCHEMA,
        "tier": proof.tier,
        "program": fingerprint(program),
        "assumptions": list(proof.assumptions),
        "tensors": list(proof.ranges),
        "registers": registers,
        "nodes": nodes,
        "signature": None if signature is None else dict(signature),
    }
    return Certificate(content, arrays)


def modular_claims(op: Products) -> dict[str, Any]:
    """What is claimed of a layer whose sums wrap by design: its bits, and the sha256 of its tables and weights.

    Raises:
        TypeError: its sums are exact.
    """
    if not isinstance(op.requantize, Modular):
        raise TypeError("the sums of this layer are exact")
    hashes = {
        name: hashlib.sha256(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()).hexdigest()
        for name, array in (("table", op.requantize.table), ("weight", op.weight))
    }
    return {"bits": op.requantize.bits, **hashes}


def register_model(accumulator: Accumulator) -> dict[str, Any]:
    """A register model as plain data."""
    return {
        "bits": accumulator.bits,
        "overflow": accumulator.overflow,
        "step": accumulator.step,
        "group": accumulator.group,
        "group_overflow": accumulator.group_overflow,
        "lanes": accumulator.lanes,
        "max_run": accumulator.max_run,
    }


def to_parts(certificate: Certificate) -> tuple[dict[str, Any], NamedArrays]:
    """The certificate as a JSON-able header and its arrays, to be stored as ``program.files.Part``."""
    return dict(certificate.content), dict(certificate.arrays)


def from_parts(content: object, arrays: Mapping[str, NDArray[Any]]) -> Certificate:
    """The certificate stored in a file. Whether its claims hold is for ``oaq.checker`` to say.

    Raises:
        FormatError: it is of another schema version, or its outermost keys are not those of a certificate.
    """
    plain = content if isinstance(content, dict) else {}
    version = plain.get("schema")
    if version != SCHEMA:
        raise FormatError(
            f"the certificate is of schema {version!r}, this oaq reads {SCHEMA}; certify the program again"
        )
    if set(plain) != set(KEYS):
        raise FormatError(f"a certificate has the keys {sorted(KEYS)}, not {sorted(map(str, plain))[:12]}")
    return Certificate(plain, arrays)


def _pairs(ranges: ChannelRanges) -> NDArray[np.int64]:
    return np.stack([ranges.lo, ranges.hi], axis=1)


def _schedule_header(schedule: Schedule) -> dict[str, Any]:
    header: dict[str, Any] = {"register": schedule.accumulator.name, "tile_n": schedule.tile_n}
    if schedule.operand is not None:
        header["operand"] = list(schedule.operand)
    return header


def _schedule_arrays(schedule: Schedule, packed: bool) -> NamedArrays:
    split_at = split_rows(schedule)
    arrays: NamedArrays = {
        "segments": schedule.segments,
        "bounds": schedule.bounds,
        "split_at": split_at.astype(np.int32),
        "split_weight": schedule.packed[split_at],
    }
    if packed:
        arrays["packed"] = schedule.packed
    return arrays
