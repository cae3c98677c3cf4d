"""Weights as codes: what a program says of its codebooks, and b + 1 bits for every weight of a file.

A program holds int8. ``metadata["weight_codes"]`` names the layers whose weights are of a codebook
(``numerics.codebook``) and its bits: {"features.3": 4, ...}. It promises nothing: a layer is written as codes where its
integers are of the codebook indeed, as bytes otherwise, and what is read back is the same program.

In the file, ``__metadata__["codes"]`` maps the name of each array that is coded to {"bits": b, "shape": [N, ...]}. Two
arrays of bytes stand for it:

* ``codes/NAME.step``: N tail steps r, the least that hold the output's weights.
* ``codes/NAME``: the index of every weight, in memory order, as two's complement of b + 1 bits, the first in the lowest
  bits of the first byte. Bits left over are 0.

The index -2**b is refused: zero has a single code. So a network has a single form. Files without codes are what they
were, to the bit; an oaq that knows no codes refuses a file that has them, by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import FormatError, ProgramError
from oaq.numerics.codebook import FEWEST_BITS, MOST_BITS, indices, integers_at, least_of, steps_that_hold, tail_steps
from oaq.operators import Products
from oaq.program.int_program import IntProgram
from oaq.program.safetensors import NamedArrays, naturals, parse_json

WEIGHT_CODES: Final = "weight_codes"
"""Key of a program's metadata."""
CODES: Final = "codes"
"""Key of a file's metadata, and with a slash the beginning of its arrays' names."""
TOGETHER: Final = 1 << 16
"""Codes packed or unpacked together, a multiple of 8: what they take meanwhile is a byte a bit."""
RANKS: Final = range(2, 6)
"""Axes that weights have."""


def code_metadata(bits: Mapping[str, int]) -> dict[str, str]:
    """Metadata of a program whose layers, by name, have codebooks of so many bits; nothing for no layer."""
    return {WEIGHT_CODES: json.dumps(dict(bits), separators=(",", ":"))} if bits else {}


def stated_bits(program: IntProgram) -> dict[str, int]:
    """Bits of the codebook of each layer that the metadata name and the program has.

    Raises:
        ProgramError: the metadata are not a mapping of names to 2..6.
    """
    text = program.metadata.get(WEIGHT_CODES)
    if text is None:
        return {}
    try:
        stated = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProgramError(f"{program.name}: metadata {WEIGHT_CODES!r} is not JSON: {str(error)[:80]}") from error
    if not isinstance(stated, dict) or not all(
        type(bits) is int and FEWEST_BITS <= bits <= MOST_BITS for bits in stated.values()
    ):
        raise ProgramError(
            f"{program.name}: metadata {WEIGHT_CODES!r} maps names of layers to {FEWEST_BITS}..{MOST_BITS} bits, not "
            f"{text[:80]}"
        )
    return {node.name: stated[node.name] for node in program.summing_nodes() if node.name in stated}


def coded_layers(program: IntProgram) -> dict[str, tuple[int, NDArray[np.int64]]]:
    """(bits, (N,) least tail steps) of each layer whose weights are of the codebook that the metadata state.

    Raises:
        ProgramError: see ``stated_bits``.
    """
    layers = {}
    for name, bits in stated_bits(program).items():
        rows = program.by_name[name].products.rows
        step = _least_steps(rows, bits)
        if rows.dtype == np.int8 and rows.size and step.all():
            layers[name] = bits, step
    return layers


def with_codes(program: IntProgram, arrays: NamedArrays) -> tuple[NamedArrays, str | None]:
    """Arrays of a file in which codes stand for weights that have some, and what its metadata say of them.

    Args:
        program: what is stored.
        arrays: as ``plain.to_plain`` names them.

    Returns:
        the arrays, and the value of ``CODES`` in the file's metadata; None, and the same arrays, without codes.

    Raises:
        ProgramError: see ``stated_bits``.
    """
    coded, result, stated = coded_layers(program), dict(arrays), {}
    for place, node in enumerate(program.nodes):
        if not isinstance(node.op, Products) or node.name not in coded:
            continue
        bits, step = coded[node.name]
        name = f"nodes/{place}/weight"
        weight = result.pop(name)
        result[f"{CODES}/{name}.step"] = step.astype(np.uint8)
        rows, index = weight.reshape(len(weight), -1), np.empty(weight.shape, np.int8).reshape(len(weight), -1)
        for part in _blocks(rows):
            index[part] = indices(rows[part], bits, step[part[0]])
        result[f"{CODES}/{name}"] = packed(index.reshape(-1), bits + 1)
        stated[name] = {"bits": bits, "shape": list(weight.shape)}
    return result, json.dumps(stated, separators=(",", ":")) if stated else None


def without_codes(text: str, arrays: Mapping[str, NDArray[Any]], where: str) -> NamedArrays:
    """Arrays as ``plain.from_plain`` wants them: each that is coded decoded to int8.

    Args:
        text: value of ``CODES`` in the file's metadata; trusted in nothing.
        arrays: of the program, as the file has them.
        where: begins every message.

    Raises:
        FormatError: it does not describe the arrays, or a code, a tail step or a bit left over means nothing.
    """
    stated, result = parse_json(text, f"{where}: {CODES}"), dict(arrays)
    if not isinstance(stated, dict) or not stated:
        raise FormatError(f"{where}: {CODES} maps names of arrays to their codes")
    for name, entry in stated.items():
        place = f"{where}: codes of {name[:60]!r}"
        code, step = (result.pop(f"{CODES}/{name}{end}", None) for end in ("", ".step"))
        if name in result or code is None or step is None:
            raise FormatError(f"{place}: the file holds the array itself, or its codes are missing")
        result[name] = _decoded(entry, code, step, place)
    return result


def _decoded(entry: object, code: NDArray[Any], step: NDArray[Any], place: str) -> NDArray[np.int8]:
    if not isinstance(entry, dict) or set(entry) != {"bits", "shape"}:
        raise FormatError(f"{place}: needs exactly bits and shape")
    bits, shape = entry["bits"], naturals(entry["shape"], f"{place}: shape")
    if type(bits) is not int or not tail_steps(bits):
        raise FormatError(f"{place}: codebooks have {FEWEST_BITS} to {MOST_BITS} bits, not {str(bits)[:20]}")
    if len(shape) not in RANKS or 0 in shape:
        raise FormatError(f"{place}: weights have 2 to 5 axes and no empty one, not {list(shape)[:8]}")
    count = prod(shape)
    if code.dtype != np.uint8 or code.ndim != 1 or code.size != -(-count * (bits + 1) // 8):
        raise FormatError(
            f"{place}: {count} codes of {bits + 1} bits take {-(-count * (bits + 1) // 8)} bytes, the file holds "
            f"{code.dtype} of shape {list(code.shape)[:4]}"
        )
    if step.dtype != np.uint8 or step.shape != (shape[0],) or not np.isin(step, tail_steps(bits)).all():
        raise FormatError(f"{place}: needs a tail step of {tail_steps(bits)} for each of {shape[0]} outputs")
    index = unpacked(code, count, bits + 1)
    if index is None:
        raise FormatError(f"{place}: bits behind the last code are not 0; the file has been edited")
    if index.min() < -(1 << bits) + 1:
        raise FormatError(f"{place}: holds the code of -2**{bits}, which means nothing: zero has a single code")
    steps, weight = step.astype(np.int64), index.reshape(shape[0], -1)
    for part in _blocks(weight):
        weight[part] = integers_at(weight[part].astype(np.int64), bits, steps[part[0]])
    if not np.array_equal(_least_steps(weight, bits), steps):
        raise FormatError(f"{place}: a smaller tail step holds the same weights; the file has been edited")
    return weight.reshape(shape)


def _least_steps(rows: NDArray[np.integer[Any]], bits: int) -> NDArray[np.int64]:
    """``codebook.least_steps``, a part at a time: it takes several words for every weight."""
    holds = np.ones((len(rows), len(tail_steps(bits))), np.bool_)
    for part in _blocks(rows):
        holds[part[0]] &= steps_that_hold(rows[part], bits)
    return least_of(holds)


def _blocks(rows: NDArray[Any]) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of what is worked on together: ``TOGETHER`` weights at most, however long a row is."""
    outputs, terms = rows.shape
    columns = min(max(terms, 1), TOGETHER)
    count = TOGETHER // columns
    return (
        (slice(start, start + count), slice(first, first + columns))
        for start in range(0, outputs, count)
        for first in range(0, terms, columns)
    )


def packed(index: NDArray[np.integer[Any]], width: int) -> NDArray[np.uint8]:
    """Two's complement of ``width`` bits for every index, without gaps, the first in the lowest bits.

    >>> packed(np.array([1, -1, 3]), 3).tolist()
    [249, 0]
    """
    places = np.arange(width)
    chunks = [
        np.packbits((index[start : start + TOGETHER, None] >> places & 1).astype(np.uint8), bitorder="little")
        for start in range(0, len(index), TOGETHER)
    ]
    return np.concatenate(chunks) if chunks else np.zeros(0, np.uint8)


def unpacked(code: NDArray[np.uint8], count: int, width: int) -> NDArray[np.int8] | None:
    """The inverse of ``packed``, ``width`` at most 8; None if a bit behind the last code is not 0.

    Args:
        code: (ceil(count * width / 8),) bytes.
        count: codes.
        width: bits of each.
    """
    weights = 1 << np.arange(width)
    weights[-1] = -weights[-1]
    index, size = np.empty(count, np.int8), TOGETHER * width // 8
    for start in range(0, len(code), size):
        first = start * 8 // width
        number = min(TOGETHER, count - first)
        bits = np.unpackbits(code[start : start + size], bitorder="little")
        if bits[number * width :].any():
            return None
        index[first : first + number] = bits[: number * width].reshape(number, width) @ weights
    return index
