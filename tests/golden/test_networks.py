"""Fingerprints, certificates, plans and integers of the demo networks: what a change of structure must not change.

``python -m tests.golden.test_networks`` writes the file again, after a change that is meant.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oaq
from oaq.kernels.table import KernelRow, native_rows
from oaq.program.int_program import IntProgram
from oaq.program.plain import fingerprint
from oaq.seal.parts import certificate
from tests.golden.networks import NAMES, golden_input, golden_program

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("end_to_end")]
FILE = Path(__file__).with_name("networks.json")
PLANNED = ("scalar", "avx2", "avx512bw", "vnni")
"""Instruction sets that plans are compared for; the plans need no CPU that has them."""


def golden_of(program: IntProgram) -> dict[str, Any]:
    """Digests of everything that stays when the code is only moved."""
    proof, rows = oaq.analyze(program), _rows()
    plans = {isa: oaq.plan(program, isa, proof=proof, table=rows, costs="shipped") for isa in PLANNED}
    outputs = oaq.Session(oaq.plan(program, proof=proof, costs="shipped")).run_integers(golden_input(program))
    return {
        "fingerprint": fingerprint(program),
        "certificate": _certificate_digest(program),
        "explain": {isa: _digest(plan.explain().encode()) for isa, plan in plans.items()},
        "packed": {isa: _packed_digest(plan) for isa, plan in plans.items()},
        "integers": _digest(b"".join(np.ascontiguousarray(output).tobytes() for output in outputs)),
    }


def _rows() -> list[KernelRow]:
    """The rows of today's instruction sets, as if this CPU had all: a plan's reasons name what a CPU lacks."""
    return [replace(row, available=True) for row in native_rows() if row.isa in PLANNED]


def _certificate_digest(program: IntProgram) -> str:
    sealed = certificate(program, _rows())
    text = json.dumps(sealed.content, sort_keys=True, default=dict).encode()
    arrays = [name.encode() + np.ascontiguousarray(sealed.arrays[name]).tobytes() for name in sorted(sealed.arrays)]
    return _digest(b"".join([text, *arrays]))


def _packed_digest(plan: oaq.Plan) -> str:
    schedules = [node.schedule for node in plan.nodes if node.schedule is not None]
    parts = [array for schedule in schedules for array in (schedule.packed, schedule.segments)]
    return _digest(b"".join(np.ascontiguousarray(array).tobytes() for array in parts))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@cache
def _computed(name: str) -> dict[str, Any]:
    return golden_of(golden_program(name))


@pytest.mark.parametrize("part", ["fingerprint", "certificate", "explain", "packed", "integers"])
@pytest.mark.parametrize("name", NAMES)
def test_a_demo_network_is_what_it_was(name: str, part: str) -> None:
    assert _computed(name)[part] == json.loads(FILE.read_text())[name][part]


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: golden_of(golden_program(name)) for name in NAMES}, indent=1) + "\n")
