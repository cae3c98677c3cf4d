"""Files as an attacker with every tool writes them: one field edited, then every checksum made anew.

A file is taken apart into JSON documents, arrays and (ONNX) protobuf fields. Every leaf of these is a *place*; places
that differ in numbers only (``certificate.nodes.3.node`` and ``certificate.nodes.4.node``) share a *pattern*, and an
edit draws the pattern first, so that a layer's two million weights do not hide the one field that names its register.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from numpy.typing import NDArray

from oaq.errors import OaqError
from oaq.program.files import CHECKSUM, NO_CHECKSUM, Part
from oaq.program.plain import fingerprint
from oaq.program.safetensors import decode, encode
from oaq.seal.text import KEY, from_text, to_text
from oaq.verify.run import verify_sealed
from oaq.verify.sealed import read_sealed

Outcome = Literal["refused", "unsafe", "harmless", "MISSED"]
JSON_KEY: Final = {"program": "oaq"}
"""Names of an ``.oaq`` file's documents in its metadata, where they differ from ``part/NAME``."""


@dataclass
class Loose:
    """Everything of one file that can be edited.

    Attributes:
        documents: parsed JSON by name: "program", "certificate", "signature".
        arrays: by name; those of a part begin with ``part/NAME/``.
        model: the graph of an ONNX file, without metadata; None for an ``.oaq`` file.
    """

    documents: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    model: onnx.ModelProto | None = None


@dataclass(frozen=True, eq=False)
class Place:
    """One thing to edit: ``holder[key]``, or a field of a protobuf message."""

    pattern: str
    holder: Any
    key: Any
    field: FieldDescriptor | None = None


def loosen(path: Path) -> Loose:
    """Take a file apart."""
    if path.suffix == ".onnx":
        model = onnx.load(path)
        (entry,) = model.metadata_props
        _, parts = from_text(entry.value, str(path))
        del model.metadata_props[:]
        arrays = {f"part/{name}/{key}": value for name, part in parts.items() for key, value in part.arrays.items()}
        return Loose({name: part.content for name, part in parts.items()}, arrays, model)
    metadata, arrays = decode(path.read_bytes(), str(path))
    names = {("program" if key == "oaq" else key.removeprefix("part/")): key for key in metadata if key != CHECKSUM}
    documents = {name: json.loads(metadata[key]) for name, key in names.items()}
    return Loose(documents, {name: array.copy() for name, array in arrays.items()})


def rewrite(loose: Loose, path: Path) -> None:
    """Put a file together, with checksums that fit."""
    if loose.model is None:
        metadata = {
            JSON_KEY.get(name, f"part/{name}"): json.dumps(document) for name, document in loose.documents.items()
        }
        head, data = encode({**metadata, CHECKSUM: NO_CHECKSUM}, loose.arrays)
        digest = hashlib.sha256(b"".join([head, *data])).hexdigest()
        blank, filled = (f'"{CHECKSUM}":"{value}"'.encode() for value in (NO_CHECKSUM, digest))
        path.write_bytes(b"".join([head.replace(blank, filled), *data]))
        return
    parts = {
        name: Part(document, _arrays_of(loose.arrays, f"part/{name}/")) for name, document in loose.documents.items()
    }
    model = onnx.ModelProto()
    model.CopyFrom(loose.model)
    file_digest = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    onnx.helper.set_model_props(model, {KEY: to_text(parts, file_digest)})
    path.write_bytes(model.SerializeToString(deterministic=True))


def mutated(path: Path, to: Path, rng: np.random.Generator) -> str:
    """Write the file ``path`` to ``to`` with one field edited; returns the field's pattern."""
    rewrite(loosen(path), to)
    before = to.read_bytes()
    while True:
        loose = loosen(path)
        pattern = mutate(loose, rng)
        rewrite(loose, to)
        if to.read_bytes() != before:  # a field cleared that held its default is no edit
            return pattern


def mutate(loose: Loose, rng: np.random.Generator) -> str:
    """Edit one field, in place; returns its pattern."""
    by_pattern: dict[str, list[Place]] = {}
    for place in places(loose):
        by_pattern.setdefault(place.pattern, []).append(place)
    pattern = sorted(by_pattern)[rng.integers(len(by_pattern))]
    similar = by_pattern[pattern]
    place = similar[rng.integers(len(similar))]
    if place.field is not None:
        _edit_message(place, similar, rng)
    elif isinstance(place.holder[place.key], np.ndarray):
        _edit_array(place.holder[place.key], rng)
    elif isinstance(place.holder[place.key], list | dict):
        _edit_container(place.holder[place.key], rng)
    else:
        values = [peer_place.holder[peer_place.key] for peer_place in similar]
        place.holder[place.key] = _another_value(place.holder[place.key], values, rng)
    return pattern


def judge(path: Path, identity: str) -> tuple[Outcome, str]:
    """What ``oaq verify`` makes of an edited file.

    Args:
        path: of the file.
        identity: fingerprint of the program before the edit.

    Returns:
        "refused" (an error), "unsafe" (a verdict), "harmless" (everything the file claims was derived again, and its
        program is the same in every integer and name), or "MISSED"; and the reason given.
    """
    try:
        sealed = read_sealed(path)
        report = verify_sealed(sealed, isas=())
    except OaqError as error:
        return "refused", str(error)
    if not report.is_safe:
        return "unsafe", report.unsafe[0]
    return ("harmless" if fingerprint(sealed.program) == identity else "MISSED"), report.certificate


def places(loose: Loose) -> Iterator[Place]:
    """Every place of a file."""
    yield from _json_places(loose.documents, "")
    for name, array in loose.arrays.items():
        if array.size:
            yield Place(f"array {_starred(name)}", loose.arrays, name)
    if loose.model is not None:
        yield from _message_places(loose.model, "model")


def _json_places(holder: Any, prefix: str) -> Iterator[Place]:  # noqa: ANN401 (parsed JSON)
    for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
        path = f"{prefix}.{key}" if prefix else str(key)
        if prefix or not isinstance(holder[key], list | dict):
            yield Place(_starred(path), holder, key)
        if isinstance(holder[key], list | dict):
            yield from _json_places(holder[key], path)


def _message_places(message: Message, prefix: str) -> Iterator[Place]:
    for field, value in message.ListFields():
        path = f"{prefix}.{field.name}"
        many = not isinstance(value, Message | str | bytes | int | float)
        yield Place(path, message, None, field)
        for item in value if many else [value]:
            if isinstance(item, Message):
                yield from _message_places(item, path)


def _starred(path: str) -> str:
    return re.sub(r"(?<=[./])\d+", "*", path)


def _edit_array(array: NDArray[Any], rng: np.random.Generator) -> None:
    at = tuple(int(rng.integers(size)) for size in array.shape)
    old = array[at]
    if isinstance(old, np.floating):
        array[at] = np.nextafter(old, array.dtype.type(rng.choice([0, 10]))) if rng.random() < 0.5 else 2 * old
        return
    reach = np.iinfo(array.dtype)
    new = int(old)
    while new == int(old) or not reach.min <= new <= reach.max:
        new = int(old) + int(rng.choice([-1, 1, -2, 2, 7, -30, 64, -128]))
    array[at] = new


def _edit_container(value: Any, rng: np.random.Generator) -> None:  # noqa: ANN401 (parsed JSON)
    """Drop, repeat or swap items."""
    if isinstance(value, dict):
        if value and rng.random() < 0.7:
            del value[sorted(value)[rng.integers(len(value))]]
        else:
            value["extra"] = 1
        return
    choice, at = rng.integers(3), int(rng.integers(max(1, len(value))))
    if not value or choice == 0:
        value.append(value[at] if value else 1)
    elif choice == 1 or value[at] == value[0]:
        del value[at]
    else:
        value[0], value[at] = value[at], value[0]


def _another_value(value: Any, candidates: list[Any], rng: np.random.Generator) -> Any:  # noqa: ANN401 (parsed JSON)
    """Another value, of the same type where there is one; often one that stands at a place like this."""
    different = [candidate for candidate in candidates if candidate != value]
    if different and rng.random() < 0.4:
        return different[rng.integers(len(different))]
    match value:
        case bool():
            return not value
        case int():
            new = value + int(rng.choice([-1, 1, 2, -value - 1, value + 1, 1 << 31]))
            return new if new != value else value + 1
        case float():
            return float(np.nextafter(np.float32(value), np.float32(10))) if rng.random() < 0.5 else 2 * value
        case str() if value:
            at = int(rng.integers(len(value)))
            return value[:at] + ("0" if value[at] != "0" else "1") + value[at + int(rng.integers(2)) :]
        case str():
            return "x"
    return 0


def _edit_message(place: Place, similar: list[Place], rng: np.random.Generator) -> None:
    message, field = place.holder, place.field
    assert field is not None
    value = getattr(message, field.name)
    if rng.random() < 0.15:
        message.ClearField(field.name)
    elif isinstance(value, Message):
        value.Clear()
    elif isinstance(value, bytes):
        at = int(rng.integers(len(value)))
        setattr(message, field.name, value[:at] + bytes([value[at] ^ 1 << int(rng.integers(8))]) + value[at + 1 :])
    elif field.enum_type is not None:
        setattr(
            message,
            field.name,
            rng.choice([member.number for member in field.enum_type.values if member.number != value]),
        )
    elif isinstance(value, str | int | float):
        new = _another_value(value, [getattr(peer_place.holder, field.name) for peer_place in similar], rng)
        setattr(message, field.name, new % ((1 << 31) - 1) if isinstance(new, int) else new)
    else:
        at = int(rng.integers(len(value)))
        if isinstance(value[at], str | int | float) and rng.random() < 0.7:
            new = _another_value(
                value[at], [item for peer_place in similar for item in getattr(peer_place.holder, field.name)], rng
            )
            value[at] = new
        elif rng.random() < 0.5 or isinstance(value[at], str | int | float):
            del value[at]
        else:
            value.add().CopyFrom(value[at])


def _arrays_of(arrays: dict[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
