"""Reads a plan's bytes in Python, for tests: by the same table of fields, slowly, and with no trust in the writer."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

from oaq.numerics.requantize import Requantize
from oaq.runtime.plan_bytes import CHECKED, HEADER, MAGIC, VERSION, Contents, PlacedTensor, Step
from oaq.runtime.step_fields import STEP_KINDS, Field, Value

FAMILIES = {kind.code: family for family, kind in STEP_KINDS.items()}


class Fields:
    """Numbers and names from the front of a record."""

    def __init__(self, content: bytes, at: int) -> None:
        self.content, self.at = content, at

    def numbers(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{layout}", self.content, self.at)
        self.at += struct.calcsize(f"<{layout}")
        return values

    def text(self) -> str:
        (length,) = self.numbers("I")
        raw = self.content[self.at : self.at + length]
        self.at += length + -length % 4
        return raw.decode()

    def array(self, kind: str) -> np.ndarray:
        offset, size = self.numbers("QQ")
        assert offset % 64 == 0
        return np.frombuffer(self.content[offset : offset + size], np.dtype(kind).newbyteorder("<"))

    def value(self, field: Field) -> Value:
        if field.kind == "multipliers":
            (kind,) = self.numbers("I")
            if kind == 0:
                return Requantize(self.array("float32"))
            return Requantize(*(self.array("int32") for _ in range(1 + kind)))
        if field.kind != "i32":
            return self.array(field.kind)
        numbers = self.numbers(f"{field.count}i")
        return numbers if field.count > 1 else numbers[0]


def decode(content: bytes) -> Contents:
    """What ``content`` says."""
    fields = Fields(content, 0)
    magic, version, checksum, size, arena, arrays, *counts, zero = fields.numbers("8sII3Q4IQ")
    assert (magic, version, zero, size, fields.at) == (MAGIC, VERSION, 0, len(content), HEADER)
    assert zlib.crc32(content[CHECKED:]) == checksum
    tensors = tuple(tensor(fields) for _ in range(counts[0]))
    inputs, outputs = fields.numbers(f"{counts[1]}I"), fields.numbers(f"{counts[2]}I")
    steps = tuple(step(fields) for _ in range(counts[3]))
    assert 0 <= arrays - fields.at < 64
    return Contents(arena, tensors, inputs, outputs, steps)


def tensor(fields: Fields) -> PlacedTensor:
    offset, rank = fields.numbers("QI")
    shape = fields.numbers(f"{rank}I")
    scale, zero_point, lo, hi = fields.numbers("f3i")
    return PlacedTensor(fields.text(), shape, offset, scale, zero_point, lo, hi)


def step(fields: Fields) -> Step:
    code, length = fields.numbers("II")
    end = fields.at + length
    row, node = fields.text(), fields.text()
    (count,) = fields.numbers("I")
    *inputs, output = fields.numbers(f"{count + 1}I")
    kind = STEP_KINDS[FAMILIES[code]]
    values = tuple(fields.value(field) for field in kind.fields)
    assert fields.at == end
    return Step(FAMILIES[code], row, node, tuple(inputs), output, values)
