"""Unbroken files to break: small ones of every form and operator, written once into a folder and read from there."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.codebook import tail_steps, toward_zero
from oaq.operators import Products
from oaq.program.codes import code_metadata
from oaq.program.safetensors import decode

SUFFIXES: Final = (".oaq", ".onnx", ".tflite")
COMPLETE: Final = "complete-3"
"""Written last; a folder of an earlier form is written anew."""
FLOATS: Final = "floats"


@dataclass(frozen=True, eq=False)
class Opened:
    """An ``.oaq`` file taken apart.

    Attributes:
        documents: the JSON text of the program and of each part, by metadata key; the checksum is left out.
        arrays: by name.
    """

    documents: dict[str, str]
    arrays: dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Seeds:
    """Every unbroken file, the smallest first.

    Attributes:
        files: whose numbers are integers, by suffix.
        opened: the ``.oaq`` files taken apart.
        floats: (suffix, content) of files that are float in part or throughout, by kind.
    """

    files: dict[str, list[bytes]]
    opened: list[Opened]
    floats: dict[str, list[tuple[str, bytes]]]


def write_seeds(folder: Path) -> None:
    """Write the files, if ``folder`` does not hold them yet. Needs onnxruntime and ai-edge-litert."""
    if (folder / COMPLETE).exists():
        return
    from benchmarks.fuzz.float_files import float_files
    from benchmarks.onnx_files import every
    from benchmarks.tflite_files import network
    from benchmarks.tflite_operators import CASES, operator

    folder.mkdir(parents=True, exist_ok=True)
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)  # onnxruntime's tools give advice about networks for use
    files = {f"{name}.onnx".replace(" ", "_"): content for name, content in every().items()}
    logging.getLogger().setLevel(level)
    files |= {"network_s8.tflite": network(0, np.int8), "network_u8.tflite": network(1, np.uint8)}
    files |= {f"{name.replace(' ', '_')}.tflite": operator(name) for name in CASES}
    for name, content in files.items():
        (folder / name).write_bytes(content)
        _write_oaq(folder / name)
    for bits in (2, 4, 6):
        _write_coded(folder / "network_s8.tflite", bits)
    for kind, name, content in float_files():
        place = folder / FLOATS / kind
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    (folder / COMPLETE).write_text("")


def _write_oaq(path: Path) -> None:
    """Write the program of an ONNX or TFLite file beside it as ``.oaq``, and as ONNX with a certificate."""
    import oaq
    from oaq.overflow.settle import settle

    program = settle(oaq.import_model(path).program).program
    oaq.save(program, path.with_suffix(f"{path.suffix}.oaq"))
    try:
        oaq.export.onnx(program, path.with_suffix(f"{path.suffix}.own.onnx"))
    except oaq.UnsupportedOp:
        return  # not every program has an ONNX form


def _write_coded(path: Path, bits: int) -> None:
    """Write the program of a file with weights of codebooks of ``bits``, which are codes in its ``.oaq``."""
    import oaq

    program = oaq.import_model(path).program
    step = np.array(tail_steps(bits)[-1], np.int64)
    nodes = [
        replace(
            node, op=replace(node.op, weight=toward_zero(node.op.weight.astype(np.int64), bits, step).astype(np.int8))
        )
        if isinstance(node.op, Products)
        else node
        for node in program.nodes
    ]
    stated = code_metadata({node.name: bits for node in program.summing_nodes()})
    coded = replace(program, nodes=tuple(nodes), metadata={**program.metadata, **stated})
    oaq.save(coded, path.with_suffix(f".codes{bits}.oaq"))


def read_seeds(folder: Path) -> Seeds:
    """Read what ``write_seeds`` wrote."""
    files = {
        suffix: sorted(
            (path.read_bytes() for path in folder.glob(f"*{suffix}")), key=lambda content: (len(content), content)
        )
        for suffix in SUFFIXES
    }
    floats = {
        place.name: sorted(
            ((path.suffix, path.read_bytes()) for path in place.iterdir()), key=lambda file: (len(file[1]), file)
        )
        for place in (folder / FLOATS).iterdir()
    }
    return Seeds(files, [_opened(content) for content in files[".oaq"]], floats)


def _opened(content: bytes) -> Opened:
    metadata, arrays = decode(content, "seed")
    documents = {key: json.dumps(json.loads(text)) for key, text in metadata.items() if key != "sha256"}
    return Opened(documents, arrays)
