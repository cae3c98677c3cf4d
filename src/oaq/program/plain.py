"""An ``IntProgram`` as plain data: one JSON-able header and a flat mapping of arrays; and back.

What files store, what fingerprints hash, and what the independent checker reads: nothing in it needs oaq's classes.
``VERSION`` changes whenever the meaning of anything in it does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import FormatError, ProgramError
from oaq.numerics.affine import Affine
from oaq.numerics.modular import Modular
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.operators import OPERATORS, Products, TensorSpec
from oaq.operators.fields import optional_fields, stored_fields
from oaq.program.int_program import IntProgram, Node
from oaq.program.safetensors import NamedArrays

VERSION: Final = 1
Header = dict[str, Any]


def to_plain(program: IntProgram) -> tuple[Header, NamedArrays]:
    """The header and arrays of ``program``; array names are ``nodes/INDEX/FIELD``."""
    arrays: NamedArrays = {}
    nodes = []
    for index, node in enumerate(program.nodes):
        plain: Header = {"op": type(node.op).__name__}
        for name, form in stored_fields(type(node.op)).items():
            value = getattr(node.op, name)
            if value is None:  # what an older oaq does not know of is not written where it says nothing
                continue
            key = f"nodes/{index}/{name}"
            match form:
                case "array":
                    arrays[key] = value
                case "requantize" if isinstance(value, Modular):
                    arrays[f"{key}.table"] = value.table
                case "requantize":
                    arrays[f"{key}.multiplier"] = value.multiplier
                    if value.shift is not None:
                        arrays[f"{key}.shift"] = value.shift
                    if value.then is not None:
                        arrays[f"{key}.then"] = value.then
                case "ints":
                    plain[name] = [int(item) for item in value]
                case "int":
                    plain[name] = int(value)
                case _:
                    plain[name] = value
        nodes.append({"name": node.name, "inputs": list(node.inputs), "output": node.output, **plain})
    header = {
        "version": VERSION,
        "name": program.name,
        "requantize": program.requantize,
        "inputs": list(program.inputs),
        "outputs": list(program.outputs),
        "tensors": [_plain_tensor(spec) for spec in program.tensors.values()],
        "nodes": nodes,
        "metadata": dict(program.metadata),
    }
    return header, arrays


def from_plain(header: object, arrays: Mapping[str, NDArray[Any]], where: str = "program") -> IntProgram:
    """The program that ``to_plain`` described, checked as any new one is.

    Args:
        header: as parsed from JSON; trusted in nothing.
        arrays: all of them are used, or the header does not describe them.
        where: begins every message.

    Raises:
        FormatError: a key is missing, unknown or of the wrong type, an array is missing or left over, the version is
            another, or the result breaks an invariant of ``IntProgram``.
    """
    version = header.get("version") if isinstance(header, dict) else None
    if version != VERSION:
        raise FormatError(
            f"{where}: is of format version {version!r}, this oaq reads {VERSION}; use the oaq that wrote it"
        )
    unread = _Taken(dict(arrays), where)
    plain = _object(
        header,
        ("version", "name", "requantize", "inputs", "outputs", "tensors", "nodes", "metadata"),
        where,
    )
    try:
        tensors = [_tensor(item, where) for item in _list(plain["tensors"], f"{where}: tensors")]
        nodes = [
            _node(item, index, unread, where) for index, item in enumerate(_list(plain["nodes"], f"{where}: nodes"))
        ]
        if unread.arrays:
            raise FormatError(f"{where}: holds arrays that no node uses: {sorted(unread.arrays)[:3]}")
        if len({spec.name for spec in tensors}) != len(tensors):
            raise FormatError(f"{where}: a tensor is declared twice")
        return IntProgram(
            _text(plain["name"], f"{where}: name"),
            _texts(plain["inputs"], f"{where}: inputs"),
            _texts(plain["outputs"], f"{where}: outputs"),
            {spec.name: spec for spec in tensors},
            tuple(nodes),
            _text(plain["requantize"], f"{where}: requantize"),  # type: ignore[arg-type]
            _metadata(plain["metadata"], where),
        )
    except (ProgramError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"{where}: does not hold a valid program: {error}") from error


def fingerprint(program: IntProgram) -> str:
    """sha256 (hex) of everything that decides the program's integers and names; ``metadata`` is left out."""
    header, arrays = to_plain(program)
    del header["metadata"]
    digest = hashlib.sha256(json.dumps(header, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


class _Taken:
    """Arrays not yet claimed by a node."""

    def __init__(self, arrays: NamedArrays, where: str) -> None:
        self.arrays = arrays
        self.where = where

    def take(self, key: str) -> NDArray[Any]:
        if key not in self.arrays:
            raise FormatError(f"{self.where}: the array {key!r} is missing")
        return self.arrays.pop(key)


def _plain_tensor(spec: TensorSpec) -> Header:
    # A float32 survives JSON as the shortest decimal of the float64 that equals it.
    return {
        "name": spec.name,
        "shape": [int(size) for size in spec.shape],
        "scale": spec.affine.scale,
        "zero_point": spec.affine.zero_point,
        "range": [spec.range.lo, spec.range.hi],
    }


def _tensor(item: object, where: str) -> TensorSpec:
    plain = _object(item, ("name", "shape", "scale", "zero_point", "range"), f"{where}: tensor")
    name = _text(plain["name"], f"{where}: tensor name")
    place = f"{where}: tensor {name!r}"
    scale = plain["scale"]
    if type(scale) is not float or not _is_float32(scale):
        raise FormatError(f"{place}: the scale is a float32, not {str(scale)[:40]}")
    ends = _ints(plain["range"], f"{place}: range")
    if len(ends) != 2:
        raise FormatError(f"{place}: a range has two ends, not {len(ends)}")
    affine = Affine(scale, _int(plain["zero_point"], f"{place}: zero_point"))
    return TensorSpec(name, _ints(plain["shape"], f"{place}: shape"), affine, IntRange(*ends))


def _is_float32(value: float) -> bool:
    with np.errstate(over="ignore"):  # one too large for float32 becomes infinity, hence differs
        return float(np.float32(value)) == value


def _node(item: object, index: int, unread: _Taken, where: str) -> Node:
    kind = item.get("op") if isinstance(item, dict) else item
    if not isinstance(kind, str) or kind not in OPERATORS:
        raise FormatError(f"{where}: node {index} is of unknown kind {str(kind)[:40]!r}")
    operator = OPERATORS[kind].value
    forms = stored_fields(operator)
    inside = [name for name, form in forms.items() if form not in ("array", "requantize")]
    place = f"{where}: node {index}"
    absent = optional_fields(operator) - set(item)  # type: ignore[arg-type]
    plain = _object(item, ("name", "inputs", "output", "op", *(name for name in inside if name not in absent)), place)
    values: dict[str, Any] = {}
    for name, form in forms.items():
        if name in absent:
            continue
        key = f"nodes/{index}/{name}"
        match form:
            case "array":
                values[name] = unread.take(key)
            case "requantize" if issubclass(operator, Products) and f"{key}.table" in unread.arrays:
                values[name] = Modular(unread.take(f"{key}.table"))
            case "requantize":
                shift, then = (unread.arrays.pop(f"{key}.{field}", None) for field in ("shift", "then"))
                values[name] = Requantize(unread.take(f"{key}.multiplier"), shift, then)
            case "ints":
                values[name] = _ints(plain[name], f"{place}: {name}")
            case "int":
                values[name] = _int(plain[name], f"{place}: {name}")
            case "bool":
                values[name] = _bool(plain[name], f"{place}: {name}")
            case _:
                values[name] = _text(plain[name], f"{place}: {name}")
    op = operator(**values)
    if "weight" in values and op.weight.dtype != values["weight"].dtype:
        raise FormatError(f"{place}: its weights fit {op.weight.dtype}, so they are not stored as int16")
    return Node(
        _text(plain["name"], f"{place}: name"),
        op,
        _texts(plain["inputs"], f"{place}: inputs"),
        _text(plain["output"], f"{place}: output"),
    )


def _object(value: object, keys: tuple[str, ...], where: str) -> Header:
    if not isinstance(value, dict) or set(value) != set(keys):
        actual = sorted(map(str, value))[:12] if isinstance(value, dict) else type(value).__name__
        raise FormatError(f"{where}: needs exactly the keys {sorted(keys)}, has {actual}")
    return value


def _list(value: object, where: str) -> list[object]:
    if not isinstance(value, list):
        raise FormatError(f"{where}: a list expected, not {type(value).__name__}")
    return value


def _int(value: object, where: str) -> int:
    if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
        raise FormatError(f"{where}: an integer expected, not {str(value)[:40]!r}")
    return value


def _ints(value: object, where: str) -> tuple[int, ...]:
    return tuple(_int(item, where) for item in _list(value, where))


def _bool(value: object, where: str) -> bool:
    if type(value) is not bool:
        raise FormatError(f"{where}: true or false expected, not {str(value)[:40]!r}")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise FormatError(f"{where}: a string expected, not {type(value).__name__}")
    return value


def _texts(value: object, where: str) -> tuple[str, ...]:
    return tuple(_text(item, where) for item in _list(value, where))


def _metadata(value: object, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise FormatError(f"{where}: metadata maps names to strings")
    return value
