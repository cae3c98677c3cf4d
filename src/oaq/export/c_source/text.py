"""Values as text of C."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_KEYWORDS: Final = """
alignas alignof asm auto bool break case catch char class const constexpr continue default delete do double else enum
export extern false float for friend goto if inline int long namespace new nullptr operator private protected public
register restrict return short signed sizeof static static_assert struct switch template this thread_local throw true
try typedef typeof union unsigned using virtual void volatile while"""
WORDS: Final = frozenset(_KEYWORDS.split())
"""Keywords of C and C++."""
LONGEST: Final = 40
TYPES: Final[Mapping[str, str]] = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "float32": "float",
}
WIDTH: Final = 118


def identifier(text: str) -> str:
    """The letters and digits of a name as an identifier of C, never empty, a keyword or reserved.

    >>> identifier("input.1"), identifier("1x"), identifier("_a"), identifier("int"), identifier("...")
    ('input_1', 'x1x', 'a', 'int_', 'x')
    """
    name = re.sub(r"[^0-9A-Za-z]+", "_", text).strip("_")[:LONGEST].rstrip("_")
    name = f"x{name}" if not name or name[0].isdigit() else name
    return f"{name}_" if name in WORDS else name


def identifiers(names: Iterable[str]) -> list[str]:
    """``identifier`` of every name; those that exist already, as macros in capitals, get a number.

    >>> identifiers(["a.b", "A-b", "c"])
    ['a_b', 'A_b_2', 'c']
    """
    result: dict[str, str] = {}
    for name in names:
        base, count = identifier(name), 1
        candidate = base
        while candidate.upper() in result:
            count += 1
            candidate = f"{base}_{count}"
        result[candidate.upper()] = candidate
    return list(result.values())


def comment(text: object) -> str:
    r"""Text that ends no comment, begins none and continues no line.

    >>> comment("a*/b\\\n??/")
    'a__b_____'
    """
    return re.sub(r"[^0-9A-Za-z_.,:;()\[\] =+-]", "_", str(text))[:WIDTH]


def quoted(text: str) -> str:
    r"""A string literal of the UTF-8 of ``text``.

    >>> quoted('a"\n')
    '"a\\042\\012"'
    """
    plain = (
        chr(byte) if re.match(rb"[ 0-9A-Za-z_(),.:-]", bytes([byte])) else f"\\{byte:03o}" for byte in text.encode()
    )
    return '"' + "".join(plain) + '"'


@dataclass(frozen=True)
class Constant:
    """The name of an array."""

    name: str


@dataclass
class Constants:
    """Arrays that the source refers to; equal ones are written once.

    Attributes:
        definitions: texts, in order.
        size: bytes of all.
    """

    definitions: list[str] = field(default_factory=list)
    size: int = 0
    _names: dict[tuple[str, bytes], Constant] = field(default_factory=dict)

    def add(self, array: NDArray[Any]) -> Constant:
        """The name of an array, flattened."""
        key = str(array.dtype), array.tobytes()
        if key not in self._names:
            self._names[key] = constant = Constant(f"constant_{len(self._names)}")
            kind, count = TYPES[str(array.dtype)], array.size
            self.definitions.append(f"static const {kind} {constant.name}[{count}] = {{\n{_lines(array)}}};\n")
            self.size += array.nbytes
        return self._names[key]


def initializer(value: object) -> str:
    """A value as an initializer: numbers, tuples, fields of structs, names of arrays, None."""
    match value:
        case None:
            return "NULL"
        case Constant():
            return value.name
        case dict():
            return "{" + ", ".join(f".{name} = {initializer(part)}" for name, part in value.items()) + "}"
        case tuple():
            return "{" + ", ".join(map(initializer, value)) + "}"
        case float():
            return number(value)
        case _:
            return str(int(value))  # type: ignore[call-overload]


def number(value: float) -> str:
    """A float32, to the last bit.

    >>> number(0.75)
    '0x1.8000000000000p-1f'
    """
    return f"{float(value).hex()}f"


def _lines(array: NDArray[Any]) -> str:
    flat = array.reshape(-1)
    words = map(number, flat.tolist()) if flat.dtype == np.float32 else map(str, flat.tolist())
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) + 2 > WIDTH:
            lines.append(line)
            line = ""
        line += f" {word},"
    return "".join(f" {text}\n" for text in (*lines, line))
