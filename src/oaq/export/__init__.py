"""Programs for other people's runtimes. Each exporter loads its format's package only when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from oaq.overflow.certificate import PART as CERTIFICATE
from oaq.program.files import Part
from oaq.program.int_program import IntProgram
from oaq.seal.parts import sealed_parts
from oaq.seal.signature import PART as SIGNATURE

__all__ = ["onnx"]


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
