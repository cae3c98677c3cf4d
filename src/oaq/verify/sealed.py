"""A file as the checker is to see it: ``.oaq``, or ``.onnx`` as ``oaq.export.onnx`` writes it. Needs numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from oaq.checker.onnx_model import metadata, read_part
from oaq.checker.onnx_model import read as read_model
from oaq.checker.onnx_qdq import arrays_of, float_defined
from oaq.errors import FormatError
from oaq.program.files import Part, content_of, decode_archive
from oaq.program.int_program import IntProgram
from oaq.program.plain import from_plain, to_plain
from oaq.seal.text import KEY, PROGRAM, REGION, from_text


@dataclass(frozen=True, eq=False)
class Sealed:
    """A program as it lies in a file, with what the file says about it.

    Attributes:
        program: to be run.
        parts: certificate, signature, and whatever else lies beside it.
        header: of the program, plain (``program.plain``).
        arrays: of the program; of an ONNX file, those that its graph computes with.
        float_defined: nodes that other runtimes of this file may round to a neighbour of the program's integer.
        floats: operators of the file's other nodes, one name per node, which no proof speaks of.
    """

    program: IntProgram
    parts: Mapping[str, Part]
    header: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    float_defined: tuple[str, ...] = field(default=())
    floats: tuple[str, ...] = field(default=())


def is_sealed(path: str | Path) -> bool:
    """False for files of other tools: TFLite, and ONNX files that carry no certificate.

    Raises:
        FormatError: an ONNX file is missing or cut off.
    """
    suffix = Path(path).suffix.lower()
    return suffix != ".tflite" and (suffix != ".onnx" or KEY in metadata(content_of(path), str(path)))


def read_sealed(path: str | Path) -> Sealed:
    """Read ``path``; a name that ends in .onnx is an ONNX file.

    Raises:
        FormatError: it is missing, cut off or edited, does not hold a program of oaq, or (ONNX) its graph is not the
            one that its certificate is about.
    """
    content, where = content_of(path), str(path)
    if Path(path).suffix.lower() == ".onnx":
        return _from_onnx(content, where)
    archive = decode_archive(content, where)
    return Sealed(archive.program, archive.parts, *to_plain(archive.program))


def _from_onnx(content: bytes, where: str) -> Sealed:
    text = metadata(content, where).get(KEY)
    if text is None:
        raise FormatError(
            f"{where}: is an ONNX file without a certificate, so there is nothing to prove again. "
            f"oaq doctor {where} says what can be proved about it; oaq export writes files that carry a certificate"
        )
    digest, parts = from_text(text, f"{where}: certificate")
    region = parts.pop(REGION, None)
    model = read_model(content, where) if region is None else read_part(content, where, _nodes(region, where))
    if digest != model.digest:
        raise FormatError(
            f"{where}: its certificate is of a file with sha256 {digest[:12]}..., this one's is "
            f"{model.digest[:12]}...; it has been edited or damaged. Fetch or export it again"
        )
    stored = parts.pop(PROGRAM, None)
    if stored is None or not isinstance(stored.content, dict):
        raise FormatError(f"{where}: its certificate does not say of which program it is; export it again")
    arrays = arrays_of(model, stored.content, stored.arrays, where)
    program = from_plain(stored.content, arrays, where)
    return Sealed(program, parts, stored.content, arrays, tuple(float_defined(stored.content)), model.others)


def _nodes(region: Part, where: str) -> list[str]:
    """Results of the nodes that a certificate is about, where it is not about all."""
    names: Any = region.content.get("nodes") if isinstance(region.content, dict) else None
    if not isinstance(names, list) or not names or not all(type(name) is str for name in names):
        raise FormatError(f"{where}: its certificate does not say which nodes it is about; export it again")
    return names
