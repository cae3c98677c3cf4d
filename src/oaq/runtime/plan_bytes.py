"""A plan as bytes, which native code reads: the format of ``docs/plan-format.md``. No arithmetic, no policy."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from oaq.errors import NoKernel
from oaq.kernels.plan import NodePlan, Plan
from oaq.numerics.modular import Modular
from oaq.numerics.requantize import Requantize
from oaq.runtime.memory import ALIGNMENT, Arena, plan_memory
from oaq.runtime.step_fields import PACKED, STEP_KINDS, Field, Value, kind_of

MAGIC: Final = b"OAQPLAN1"
VERSION: Final = 1
HEADER: Final = 64
"""Bytes of the header; those from ``CHECKED`` on, and all that follows, are in the checksum."""
CHECKED: Final = 16


@dataclass(frozen=True)
class PlacedTensor:
    """A tensor of one sample.

    Attributes:
        name: of the program's.
        shape: without the batch, channels last.
        offset: bytes from the start of the arena.
        scale: real value of one step of the integers.
        zero_point: the integer of 0.
        lo: least integer.
        hi: largest integer.
    """

    name: str
    shape: tuple[int, ...]
    offset: int
    scale: float
    zero_point: int
    lo: int
    hi: int


@dataclass(frozen=True, eq=False)
class Step:
    """One node.

    Attributes:
        family: of kernels, a key of ``STEP_KINDS``.
        row: name of the kernel row.
        node: name of the node.
        inputs: numbers of tensors.
        output: number of the tensor it writes.
        values: of the family's fields, in order.
    """

    family: str
    row: str
    node: str
    inputs: tuple[int, ...]
    output: int
    values: tuple[Value, ...]


@dataclass(frozen=True, eq=False)
class Contents:
    """All that a plan's bytes say.

    Attributes:
        arena: bytes of one sample's tensors.
        tensors: every tensor of the program.
        inputs: numbers of tensors that callers fill.
        outputs: numbers of tensors that callers read.
        steps: in order of execution; nodes that only rename memory have none.
    """

    arena: int
    tensors: tuple[PlacedTensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    steps: tuple[Step, ...]


def plan_bytes(plan: Plan, arena: Arena | None = None) -> bytes:
    """``plan`` in the format of ``docs/plan-format.md``.

    What reads the bytes does not prove anything again: check the plan first, as ``Session.to_bytes`` does.

    Args:
        plan: from ``oaq.plan``.
        arena: where tensors lie; None plans it.

    Raises:
        NoKernel: native code has no step for a node.
    """
    return encode(contents_of(plan, plan_memory(plan.program) if arena is None else arena))


def contents_of(plan: Plan, arena: Arena) -> Contents:
    """What the bytes of ``plan`` say, with tensors where ``arena`` has them."""
    program = plan.program
    numbers = {name: number for number, name in enumerate(program.tensors)}
    tensors = tuple(
        PlacedTensor(
            name,
            tuple(spec.shape),
            arena.offsets[name],
            float(spec.affine.scale),
            spec.affine.zero_point,
            spec.range.lo,
            spec.range.hi,
        )
        for name, spec in program.tensors.items()
    )
    return Contents(
        arena.size,
        tensors,
        tuple(numbers[name] for name in program.inputs),
        tuple(numbers[name] for name in program.outputs),
        tuple(_step(planned, numbers) for planned in plan.nodes if planned.node.name not in arena.in_place),
    )


class _Place(NamedTuple):
    """Where an array lies, from the first one on, and how many bytes it has: 16 bytes of a record."""

    offset: int
    size: int


_Piece = bytes | _Place
_PLACE: Final = struct.Struct("<QQ")


def encode(contents: Contents) -> bytes:
    """``contents`` as bytes; arrays are copied once."""
    arrays = _Arrays()
    pieces = [
        *(_tensor(tensor) for tensor in contents.tensors),
        _u32(*contents.inputs, *contents.outputs),
        *(piece for step in contents.steps for piece in _record(step, arrays)),
    ]
    length = HEADER + _length(pieces)
    first = _aligned(length)
    records = b"".join(
        _PLACE.pack(first + piece.offset, piece.size) if isinstance(piece, _Place) else piece for piece in pieces
    )
    counts = (len(contents.tensors), len(contents.inputs), len(contents.outputs), len(contents.steps))
    head = struct.pack("<3Q4IQ", first + arrays.end, contents.arena, first, *counts, 0)
    parts = [head, records, bytes(first - length), *arrays.parts]
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return b"".join((MAGIC, struct.pack("<II", VERSION, checksum), *parts))


def _length(pieces: Iterable[_Piece]) -> int:
    return sum(_PLACE.size if isinstance(piece, _Place) else len(piece) for piece in pieces)


class _Arrays:
    """The end of the bytes, where arrays lie, each on a multiple of ``ALIGNMENT``."""

    def __init__(self) -> None:
        self.end = 0
        self.parts: list[bytes | memoryview] = []
        self._weights: dict[bytes, _Place] = {}

    def add_weights(self, values: NDArray[Any], kind: str) -> _Place:
        """Append packed weights, unless an earlier step has the same: then its place."""
        digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).digest()
        if digest not in self._weights:
            self._weights[digest] = self.add(values, kind)
        return self._weights[digest]

    def add(self, values: NDArray[Any], kind: str) -> _Place:
        """Append ``values``; returns what a record says of them."""
        contiguous = np.ascontiguousarray(values, np.dtype(kind).newbyteorder("<"))
        place, size = _Place(self.end, contiguous.nbytes), contiguous.nbytes
        if size:
            self.parts.append(contiguous.reshape(-1).view(np.uint8).data)
            self.parts.append(bytes(-size % ALIGNMENT))
        self.end = _aligned(self.end + size)
        return place


def _tensor(tensor: PlacedTensor) -> bytes:
    numbers = (tensor.scale, tensor.zero_point, tensor.lo, tensor.hi)
    place = struct.pack("<QI", tensor.offset, len(tensor.shape))
    return place + _u32(*tensor.shape) + struct.pack("<f3i", *numbers) + _text(tensor.name)


def _record(step: Step, arrays: _Arrays) -> list[_Piece]:
    kind = STEP_KINDS[step.family]
    body: list[_Piece] = [
        _text(step.row),
        _text(step.node),
        _u32(len(step.inputs), *step.inputs, step.output),
    ]
    for field, value in zip(kind.fields, step.values, strict=True):
        body += _field(field, value, arrays)
    return [_u32(kind.code, _length(body)), *body]


def _field(field: Field, value: Value, arrays: _Arrays) -> list[_Piece]:
    if isinstance(value, Modular):
        return [_u32(3, value.bits), arrays.add(value.table, "uint8")]
    if isinstance(value, Requantize):
        if value.shift is None:
            return [_u32(0), arrays.add(value.multiplier, "float32")]
        fixed = [arrays.add(value.multiplier, "int32"), arrays.add(value.shift, "int32")]
        return [_u32(1), *fixed] if value.then is None else [_u32(2), *fixed, arrays.add(value.then, "int32")]
    if isinstance(value, np.ndarray):
        return [(arrays.add_weights if field.name == PACKED else arrays.add)(value, field.kind)]
    numbers = value if isinstance(value, tuple) else (value,)
    return [struct.pack(f"<{field.count}i", *numbers)]


def _step(planned: NodePlan, numbers: dict[str, int]) -> Step:
    node, family = planned.node, planned.row.family
    if family not in STEP_KINDS:
        raise NoKernel(f"{node.name}: no native kernel computes {type(node.op).__name__}")
    family = kind_of(planned)
    inputs = tuple(numbers[name] for name in node.inputs)
    kind = STEP_KINDS[family]
    values = kind.values(planned)
    for field, value in zip(kind.fields, values, strict=True):
        if isinstance(value, tuple) and len(value) != field.count:
            raise NoKernel(
                f"{node.name}: native code computes {type(node.op).__name__} over images only; {field.name} is {value}"
            )
    return Step(family, planned.row.name, node.name, inputs, numbers[node.output], values)


def _text(text: str) -> bytes:
    raw = text.encode()
    return _u32(len(raw)) + raw + bytes(-len(raw) % 4)


def _u32(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
