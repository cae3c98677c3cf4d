"""Write a program for pages: ``NAME.json`` and a plan for each module, what ``oaq-web`` loads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from oaq.data.records import encode
from oaq.errors import FormatError
from oaq.kernels.plan import Plan, plan
from oaq.overflow.certificate import PART as CERTIFICATE
from oaq.program.atomic import make_folder, write_atomically
from oaq.program.edges import output_edges
from oaq.program.files import Part
from oaq.program.int_program import IntProgram
from oaq.runtime.memory import plan_memory
from oaq.runtime.plan_file import proved_bytes
from oaq.seal.parts import sealed_parts
from oaq.seal.signature import PART as SIGNATURE
from oaq.seal.signature import stored_signature
from oaq.tasks import Task
from oaq.tasks.record import from_metadata
from oaq.web.photo import photo_record

FORMAT: Final = "oaq web 1"
BUILDS: Final[Mapping[str, str]] = {"relaxed": "wasm-relaxed", "simd128": "wasm"}
"""Modules of WebAssembly, the quickest first, and the quantization target whose rows each has."""


@dataclass(frozen=True)
class WebFiles:
    """What was written.

    Attributes:
        index: the file that a page loads.
        plans: by module.
        signature: SHA-256 of the outputs on fixed inputs, which a page computes again.
        certificate: SHA-256 of the certificate.
    """

    index: Path
    plans: Mapping[str, Path]
    signature: str
    certificate: str


def write(
    program: IntProgram, folder: str | Path, name: str | None = None, parts: Mapping[str, Part] | None = None
) -> WebFiles:
    """Write ``program`` for pages; the proof of each plan is checked before it is written.

    Args:
        program: quantized for any target. For ``wasm-relaxed`` its operands have 7 bits, which rows of relaxed SIMD
            need; layers with others run on the rows of SIMD128, as exactly.
        folder: where; made if it is missing.
        name: of the files; None is the program's.
        parts: of the program's file; certificate and signature are made here where they are not among them.

    Raises:
        AccumulatorOverflow: a sum is not proved.
        NoKernel: native code has no step for a node.
        FormatError: ``folder`` cannot be written, ``name`` is not that of a file, or the program's record of its task
            is damaged.
    """
    name = program.name if name is None else name
    if not name or name != Path(name).name or name.startswith("."):
        raise FormatError(f"{name!r} is not the name of a file; give another with --name")
    supplied = dict(parts or {})
    if not {CERTIFICATE, SIGNATURE} <= set(supplied):
        supplied = {**sealed_parts(program), **supplied}
    signature, samples = stored_signature(supplied[SIGNATURE])
    certificate = digest_of(supplied[CERTIFICATE])
    plans = {build: plan(program, table=target) for build, target in BUILDS.items()}
    contents = {build: proved_bytes(planned) for build, planned in plans.items()}
    task = from_metadata(program.metadata)
    index: dict[str, Any] = {
        "format": FORMAT,
        "name": program.name,
        "signature": {"sha256": signature, "samples": samples},
        "certificate": certificate,
        "plans": {
            build: {
                "file": f"{name}.{build}.plan",
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "layers": layers_of(plans[build]),
            }
            for build, content in contents.items()
        },
        "photo": photo_record(program),
        "task": None if task is None else task.name,
        "labels": [] if task is None else list(task.labels),
        "detect": None if task is None or task.name != "detect" else boxes_record(program, task),
    }
    place = Path(folder)
    make_folder(place)
    for build, content in contents.items():
        write_atomically(place / index["plans"][build]["file"], [content])
    text = json.dumps(index, indent=1, ensure_ascii=False)
    write_atomically(place / f"{name}.json", [f"{text}\n".encode()])
    written = {build: place / index["plans"][build]["file"] for build in contents}
    return WebFiles(place / f"{name}.json", written, signature, certificate)


def boxes_record(program: IntProgram, task: Task) -> dict[str, Any] | None:
    """What a page decodes boxes by: the decoder, and how the file's outputs lie in those of the program.

    None where the file gives an output as integers, of which boxes are not read.
    """
    if any(edge.is_integer for edge in output_edges(program)):
        return None
    edges = [
        {
            "name": edge.name,
            "output": program.outputs.index(edge.tensor),
            "sizes": list(edge.sizes),
            "axes": [list(axis) for axis in edge.axes],
        }
        for edge in output_edges(program)
    ]
    return {"decoder": encode(task.decoder), "edges": edges}


def digest_of(part: Part) -> str:
    """SHA-256 of a part: its JSON with sorted keys, then every array's name, type, shape and bytes, by name."""
    digest = hashlib.sha256(json.dumps(part.content, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(part.arrays):
        array = np.ascontiguousarray(part.arrays[name])
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def layers_of(planned: Plan) -> list[dict[str, Any]]:
    """What is proved of every step of a plan, in order; nodes that only rename memory have none."""
    in_place = plan_memory(planned.program).in_place
    layers = []
    for node in planned.nodes:
        if node.node.name in in_place:
            continue
        layer: dict[str, Any] = {
            "name": node.node.name,
            "op": type(node.node.op).__name__,
            "row": node.row.name,
            "bits": None,
            "used": None,
            "sum_bits": None,
            "run": None,
        }
        if node.schedule is not None and node.proof is not None:
            register = node.schedule.accumulator
            bound = node.proof.raw_partial.envelope() if register.is_exact else node.schedule.bound
            layer["bits"] = register.bits
            layer["used"] = round(max(bound.hi / register.range.hi, bound.lo / register.range.lo), 4)
            layer["sum_bits"] = node.proof.bits
            layer["run"] = None if register.is_exact else round(node.schedule.average_run, 2)
        layers.append(layer)
    return layers
