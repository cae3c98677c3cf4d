"""The program as the checker reads it: plain data whose shape is checked, nothing more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.errors import FormatError

NamedArrays = Mapping[str, NDArray[Any]]
LARGEST = 1 << 20
"""Largest size of any axis of a tensor: what a hostile file may make this checker work through."""

MOST_AXES = 8
"""Axes of one sample, channels last."""


@dataclass(frozen=True)
class Tensor:
    """One u8 tensor: shape of a sample, zero point, ends of the effective range."""

    name: str
    shape: tuple[int, ...]
    zero: int
    lo: int
    hi: int


@dataclass(frozen=True, eq=False)
class Node:
    """One operator: its kind, its plain fields, its arrays."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    output: str
    fields: Mapping[str, Any]
    arrays: NamedArrays

    def array(
        self, key: str, dtype: type[np.generic], ndim: int, wider: type[np.generic] | None = None
    ) -> NDArray[Any]:
        """One of its arrays, of ``dtype`` (or ``wider``) and of rank ``ndim``."""
        value = self.arrays.get(key)
        if value is None or value.dtype not in (dtype, wider or dtype) or value.ndim != ndim:
            actual = "nothing" if value is None else f"{value.dtype} of shape {value.shape}"
            raise FormatError(f"{self.name}: {key} is {ndim}-d {np.dtype(dtype).name}, not {actual}")
        return value

    def numbers(self, key: str, count: int) -> tuple[int, ...]:
        """One of its fields that is a list of integers."""
        value = self.fields.get(key)
        if not isinstance(value, list) or len(value) != count or any(type(item) is not int for item in value):
            raise FormatError(f"{self.name}: {key} is {count} integers, not {str(value)[:60]}")
        return tuple(value)

    def number(self, key: str) -> int:
        """One of its fields that is an integer."""
        value = self.fields.get(key)
        if type(value) is not int:
            raise FormatError(f"{self.name}: {key} is an integer, not {str(value)[:60]}")
        return value

    def multipliers(self, count: int) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
        """Its requantize multipliers, float32 or int32, and, for the latter, shifts."""
        fixed = "requantize.shift" in self.arrays
        factors = self.array("requantize.multiplier", np.int32 if fixed else np.float32, 1)
        shifts = self.array("requantize.shift", np.int32, 1) if fixed else None
        if len(factors) != count or (shifts is not None and len(shifts) != count):
            raise FormatError(f"{self.name}: {count} multipliers needed, has {len(factors)}")
        if not np.all(np.isfinite(factors)) or np.any(factors <= 0):
            raise FormatError(f"{self.name}: multipliers are positive and finite")
        if shifts is not None and np.any((shifts < 1) | (shifts > 62)):
            raise FormatError(f"{self.name}: shifts are 1 to 62")
        return factors, None if shifts is None else shifts.astype(np.int64)

    def second_roundings(self, count: int) -> NDArray[np.int64] | None:
        """Bits of the rounding that follows a fixed-point one, halves away from 0; None where none follows."""
        if "requantize.then" not in self.arrays:
            return None
        bits = self.array("requantize.then", np.int32, 1)
        if "requantize.shift" not in self.arrays or len(bits) != count or np.any((bits < 0) | (bits > 31)):
            raise FormatError(f"{self.name}: {count} second roundings of 0 to 31 bits follow as many shifts")
        return bits.astype(np.int64)


@dataclass(frozen=True)
class Program:
    """Tensors by name, nodes in execution order."""

    inputs: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    nodes: tuple[Node, ...]


def parse(header: object, arrays: NamedArrays) -> Program:
    """Read a program's plain form.

    Raises:
        FormatError: something is missing or of the wrong type, or a node reads what nothing wrote.
    """
    return _parse(header, arrays)


def digest(header: Mapping[str, Any], arrays: NamedArrays, omitted: str = "metadata") -> str:
    """sha256 over the header without what ``omitted`` names, its free text, then every array in order of name."""
    plain = {key: value for key, value in header.items() if key != omitted}
    state = hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(arrays):
        value = arrays[name]
        state.update(f"\n{name} {value.dtype.str} {value.shape}\n".encode())
        state.update(np.ascontiguousarray(value, value.dtype.newbyteorder("<")).data)
    return state.hexdigest()


def _parse(header: Any, arrays: NamedArrays) -> Program:  # noqa: ANN401  (parsed JSON)
    tensors: dict[str, Tensor] = {}
    for item in header["tensors"]:
        lo, hi = (_integer(end) for end in item["range"])
        shape = tuple(_integer(size) for size in item["shape"])
        tensor = Tensor(item["name"], shape, _integer(item["zero_point"]), lo, hi)
        if (
            not 0 <= lo <= tensor.zero <= hi <= 255
            or not 1 <= len(shape) <= MOST_AXES
            or not 1 <= min(shape) <= max(shape) <= LARGEST
        ):
            raise FormatError(
                f"{tensor.name}: shape {shape}, zero point {tensor.zero}, range [{lo}, {hi}] is not a u8 tensor"
            )
        tensors[tensor.name] = tensor
    nodes, written = [], set(header["inputs"])
    by_node: dict[str, dict[str, NDArray[Any]]] = {}
    for key, value in arrays.items():
        begin, index, name = (*key.split("/", 2), "", "")[:3]
        if begin == "nodes":
            by_node.setdefault(index, {})[name] = value
    for index, item in enumerate(header["nodes"]):
        node_arrays = by_node.get(str(index), {})
        node = Node(item["name"], item["op"], tuple(item["inputs"]), item["output"], item, node_arrays)
        if not node.inputs or not written.issuperset(node.inputs) or node.output in written:
            raise FormatError(f"{node.name}: reads what nothing wrote, or writes what is written")
        written.add(node.output)
        nodes.append(node)
    if written != set(tensors):
        raise FormatError(f"tensors nothing writes: {sorted(set(tensors) ^ written)[:3]}")
    return Program(tuple(header["inputs"]), tensors, tuple(nodes))


def _integer(value: object) -> int:
    if type(value) is not int:
        raise FormatError(f"an integer expected, not {str(value)[:40]!r}")
    return value
