"""``import_model``: any file that holds a network of integers, whoever wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from oaq.capture.imported import Imported
from oaq.errors import FormatError
from oaq.program.files import read

SUFFIXES: Final = (".oaq", ".onnx", ".tflite")


def import_model(path: str | Path) -> Imported:
    """The integers of an ``.oaq``, ``.onnx`` or ``.tflite`` file.

    Raises:
        FormatError: the file is missing, damaged, or called otherwise.
        UnsupportedOp: it holds no layer of 8-bit integers, or something that cannot be read at all.
    """
    match Path(path).suffix.lower():
        case ".oaq":
            return Imported(read(path).program, (), (), {})
        case ".onnx":
            from oaq.capture.from_onnx import import_quantized

            return import_quantized(path)
        case ".tflite":
            from oaq.capture.from_tflite.importer import import_tflite

            return import_tflite(path)
    raise FormatError(f"{path}: a network of integers is a file called {', '.join(SUFFIXES)}")


def stored_unsigned(imported: Imported) -> frozenset[str]:
    """Layers whose weights the file stores as u8."""
    return frozenset(name for name, source in imported.sources.items() if source.weight.dtype == "uint8")
