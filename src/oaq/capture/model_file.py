"""``import_model``: any file that holds a network of integers, from any tool.

A front end is one entry of ``IMPORTERS``; docs/how-to/add-an-importer.md has the steps.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Final

from oaq.capture.imported import Imported
from oaq.errors import FormatError
from oaq.program.files import read


def _oaq(path: Path) -> Imported:
    return Imported(read(path).program, (), (), {})


def _onnx(path: Path) -> Imported:
    from oaq.capture.from_onnx import import_quantized

    return import_quantized(path)


def _tflite(path: Path) -> Imported:
    from oaq.capture.from_tflite.importer import import_tflite

    return import_tflite(path)


IMPORTERS: Final = MappingProxyType({".oaq": _oaq, ".onnx": _onnx, ".tflite": _tflite})
"""Front ends for files of integers, by suffix. Each loads what it needs when called: ``import oaq`` stays light."""

SUFFIXES: Final = tuple(IMPORTERS)


def import_model(path: str | Path) -> Imported:
    """The integers of an ``.oaq``, ``.onnx`` or ``.tflite`` file.

    Raises:
        FormatError: the file is missing, damaged, or its name has another suffix.
        UnsupportedOp: it holds no layer of 8-bit integers, or something that cannot be read at all.
    """
    importer: Callable[[Path], Imported] | None = IMPORTERS.get(Path(path).suffix.lower())
    if importer is None:
        raise FormatError(f"{path}: a network of integers is a file called {', '.join(IMPORTERS)}")
    return importer(Path(path))


def stored_unsigned(imported: Imported) -> frozenset[str]:
    """Layers whose weights the file stores as u8."""
    return frozenset(name for name, source in imported.sources.items() if source.weight.dtype == "uint8")
