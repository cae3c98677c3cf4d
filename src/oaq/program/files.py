"""The ``.oaq`` file: one safetensors file that holds a program and what has been proved about it.

``__metadata__`` holds ``oaq`` (the program's header, JSON, versioned), ``part/NAME`` (the JSON of each further part: a
certificate, a signature, ...) and ``sha256`` over every other byte of the file. Arrays of the program are named
``nodes/...``, those of a part ``part/NAME/...``. Any safetensors reader can open it. Where weights are of a codebook,
``codes`` says which arrays are stored as codes of fewer bits (``program.codes``); ``repeated`` which weights equal
those of an earlier node, and are left out (``program.repeated``).

The checksum finds accidents. It does not stop an editor who computes it again: that is what the certificate and its
independent checker are for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from oaq.errors import FormatError
from oaq.program.atomic import write_atomically
from oaq.program.codes import CODES, with_codes, without_codes
from oaq.program.int_program import IntProgram
from oaq.program.plain import from_plain, to_plain
from oaq.program.repeated import REPEATED, with_repeats, without_repeats
from oaq.program.safetensors import decode, encode, parse_json, split

PROGRAM: Final = "oaq"
CHECKSUM: Final = "sha256"
PART: Final = "part/"
NO_CHECKSUM: Final = "0" * 64


@dataclass(frozen=True, eq=False)
class Part:
    """Something stored beside a program.

    Attributes:
        content: JSON-able.
        arrays: of any dtype safetensors has.
    """

    content: Any
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Archive:
    """All that an ``.oaq`` file holds."""

    program: IntProgram
    parts: Mapping[str, Part]


def save(program: IntProgram, path: str | Path, parts: Mapping[str, Part] | None = None) -> None:
    """Write ``program`` and ``parts`` to ``path``, whole or not at all.

    Raises:
        FormatError: ``path`` cannot be written, or a part cannot be stored.
        ProgramError: what the metadata say of codes is malformed.
    """
    header, arrays = to_plain(program)
    arrays, codes = with_codes(program, arrays)
    arrays, repeated = without_repeats(arrays)
    metadata = {PROGRAM: _json(header, "the program"), CHECKSUM: NO_CHECKSUM}
    if codes is not None:
        metadata[CODES] = codes
    if repeated is not None:
        metadata[REPEATED] = repeated
    for name, part in (parts or {}).items():
        if not name or "/" in name:
            raise FormatError(f"a part's name is not empty and has no '/': {name!r}")
        metadata[PART + name] = _json(part.content, f"part {name!r}")
        arrays.update({f"{PART}{name}/{key}": value for key, value in part.arrays.items()})
    head, data = encode(metadata, arrays)
    digest = _digest(head, data)
    place = head.index(f'"{CHECKSUM}":"{NO_CHECKSUM}"'.encode()) + len(f'"{CHECKSUM}":"')
    write_atomically(path, [head[:place], digest.encode(), head[place + len(digest) :], *data])


def load(path: str | Path) -> IntProgram:
    """The program stored in ``path``.

    Raises:
        FormatError: see ``read``.
    """
    return read(path).program


def read(path: str | Path) -> Archive:
    """Everything stored in ``path``.

    Raises:
        FormatError: the file is missing, cut off, edited, of another version, or no ``.oaq`` file; the message says
            which, and where.
    """
    return decode_archive(content_of(path), str(path))


def decode_archive(content: bytes, where: str) -> Archive:
    """``read`` of bytes at hand."""
    metadata, arrays = decode(content, where)
    if PROGRAM not in metadata or CHECKSUM not in metadata:
        raise FormatError(f"{where}: is a safetensors file, but holds no oaq program")
    _check_digest(content, metadata[CHECKSUM], where)
    program_arrays = {name: array for name, array in arrays.items() if not name.startswith(PART)}
    parts, claimed = {}, len(program_arrays)
    if REPEATED in metadata:
        program_arrays = with_repeats(metadata[REPEATED], program_arrays, where)
    if CODES in metadata:
        program_arrays = without_codes(metadata[CODES], program_arrays, where)
    program = from_plain(parse_json(metadata[PROGRAM], f"{where}: program header"), program_arrays, where)
    for key in metadata:
        if key.startswith(PART):
            prefix = f"{key}/"
            part_arrays = {
                name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)
            }
            claimed += len(part_arrays)
            parts[key.removeprefix(PART)] = Part(parse_json(metadata[key], f"{where}: {key}"), part_arrays)
        elif key not in (PROGRAM, CHECKSUM, CODES, REPEATED):
            raise FormatError(f"{where}: holds metadata {key[:40]!r}, which this oaq does not know")
    if claimed != len(arrays):
        raise FormatError(f"{where}: holds arrays of a part that is not there")
    return Archive(program, parts)


def content_of(path: str | Path) -> bytes:
    """The bytes of a file.

    Raises:
        FormatError: there is none that can be read.
    """
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise FormatError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _json(content: object, subject: str) -> str:
    try:
        return json.dumps(content, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise FormatError(f"{subject} cannot be stored as JSON: {error}") from error


def _digest(head: bytes, data: list[bytes]) -> str:
    digest = hashlib.sha256(head)
    for chunk in data:
        digest.update(chunk)
    return digest.hexdigest()


def _check_digest(content: bytes, stored: str, where: str) -> None:
    text, data = split(content, where)
    marked = f'"{CHECKSUM}":"{stored}"'.encode()
    if len(stored) != 64 or not stored.isascii() or text.count(marked) != 1:
        raise FormatError(f"{where}: its checksum is not 64 hexadecimal digits; the file has been edited")
    blank = text.replace(marked, f'"{CHECKSUM}":"{NO_CHECKSUM}"'.encode())
    computed = hashlib.sha256(content[:8] + blank)
    computed.update(data)
    if computed.hexdigest() != stored:
        raise FormatError(
            f"{where}: its checksum is {stored[:12]}..., its bytes give {computed.hexdigest()[:12]}...; the file has "
            "been edited or damaged. Fetch or export it again"
        )
