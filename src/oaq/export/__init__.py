"""Programs for other people's runtimes. Each exporter loads its format's package only when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from oaq.overflow.certificate import PART as CERTIFICATE
from oaq.program.files import Part
from oaq.program.int_program import IntProgram
from oaq.seal.parts import sealed_parts
from oaq.seal.signature import PART as SIGNATURE
from oaq.seal.signature import SAMPLES, model_signature, stored_signature

if TYPE_CHECKING:
    from oaq.export.c_source.write import CSource

__all__ = ["c", "onnx"]


def onnx(program: IntProgram, path: str | Path, parts: Mapping[str, Part] | None = None) -> None:
    """Write ``program`` as an ONNX model in QDQ form that can be proved again from itself, whole or not at all.

    Args:
        program: with ``float32_half_even`` requantization.
        path: of the ``.onnx`` file.
        parts: stored in the model's metadata; a certificate and a signature among them are taken as they are, otherwise
            they are made here.

    Raises:
        UnsupportedOp: ONNX cannot say what a node computes.
        AccumulatorOverflow: the program's sums cannot be proved.
        FormatError: ``path`` cannot be written, or the ``onnx`` package is missing.
    """
    from oaq.export.onnx_qdq.model import save  # loads onnx

    supplied = dict(parts or {})
    sealed = {} if {CERTIFICATE, SIGNATURE} <= set(supplied) else sealed_parts(program)
    save(program, path, {**sealed, **supplied})


def c(
    program: IntProgram, folder: str | Path, name: str | None = None, parts: Mapping[str, Part] | None = None
) -> CSource:
    """Write ``program`` as C11: a header, a source, its constants and a self-test; scalar, no library, no allocation.

    Args:
        program: of any requantization.
        folder: where; made if it is missing.
        name: prefix of files and public names, an identifier of C; None is the program's name.
        parts: of the program's file; a signature among them is taken as it is, otherwise the reference computes one.

    Raises:
        AccumulatorOverflow: a sum is not proved to fit 32 bits.
        UnsupportedOp: C export knows no function for an operator; the message names the node.
        FormatError: ``folder`` cannot be written, or ``name`` is not an identifier.
    """
    from oaq.export.c_source.write import save

    stored = stored_signature(parts[SIGNATURE]) if parts and SIGNATURE in parts else ("", 0)
    signature = stored[0] if stored[1] == SAMPLES else model_signature(program)
    return save(program, Path(folder), name, signature, _version())


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("oaq")
    except metadata.PackageNotFoundError:
        return ""
