"""Programs for other people's runtimes. Each exporter loads its format's package only when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from oaq.program.files import Part
from oaq.program.int_program import IntProgram

__all__ = ["onnx"]


def onnx(program: IntProgram, path: str | Path, parts: Mapping[str, Part] | None = None) -> None:
    """Write ``program`` as an ONNX model in QDQ form, whole or not at all.

    Args:
        program: with ``float32_half_even`` requantization.
        path: of the ``.onnx`` file.
        parts: what has been proved about the program (its certificate), stored in the model's metadata.

    Raises:
        UnsupportedOp: ONNX cannot say what a node computes.
        FormatError: ``path`` cannot be written, or the ``onnx`` package is missing.
    """
    from oaq.export.onnx_qdq.model import save  # loads onnx

    save(program, path, parts)
