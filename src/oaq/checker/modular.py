"""Layers whose sums count modulo 2**b: what their tables let through, and whether registers hold the residues.

Nothing here bounds a sum from the certificate's numbers: an image is read off the table, and what registers do to
residues is replayed on some inputs, in Python's integers, beside the law.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.checker.program import Node, Tensor
from oaq.checker.ranges import Ints, Range
from oaq.checker.registers import Register
from oaq.checker.sums import SummingLayer, lane_table
from oaq.errors import FormatError

TABLE: Final = "requantize.table"
KEYS: Final = {"bits", "table", "weight"}
INPUTS: Final = 3
"""Operand vectors that are replayed for an output: both ends of every range, and one drawn at random."""


def modulo_of(node: Node) -> int | None:
    """The b where the sums of a layer count modulo 2**b; None where they are exact.

    Raises:
        FormatError: its table is not of residues, or it has multipliers besides.
    """
    if TABLE not in node.arrays:
        return None
    table = node.array(TABLE, np.uint8, 2)
    bits = table.shape[1].bit_length() - 1
    if not 2 <= bits <= 16 or table.shape[1] != 1 << bits or any(key.startswith("requantize.m") for key in node.arrays):
        raise FormatError(f"{node.name}: a table of residues is (N, 2**b), b in 2..16, not {table.shape}")
    return bits


def after_table(sums: Range, node: Node, y: Tensor) -> Range:
    """Least and greatest entries that residues of sums between two ends reach.

    Raises:
        FormatError: there is not a row for each output, nor one for all, or an entry leaves the range of ``y``.
    """
    table, outputs = node.array(TABLE, np.uint8, 2).astype(np.int64), len(sums.lo)
    if len(table) not in (1, outputs) or table.min() < y.lo or table.max() > y.hi:
        raise FormatError(f"{node.name}: {len(table)} tables for {outputs} outputs of {y.lo}..{y.hi}")
    period = table.shape[1]
    twice = np.concatenate([table, table], axis=1)  # a stretch of residues that wraps is a slice of it
    first = sums.lo % period
    end = first + np.minimum(sums.hi - sums.lo, period - 1) + 1
    reached = [twice[index % len(table), first[index] : end[index]] for index in range(outputs)]
    return Range(np.array([row.min() for row in reached]), np.array([row.max() for row in reached]))


def claims_of(node: Node) -> dict[str, Any]:
    """What a certificate states of such a layer: bits, and hashes of table and weights."""
    weight, table = node.arrays["weight"], node.arrays[TABLE]
    return {
        "bits": modulo_of(node),
        "table": hashlib.sha256(np.ascontiguousarray(table).tobytes()).hexdigest(),
        "weight": hashlib.sha256(np.ascontiguousarray(weight, weight.dtype.newbyteorder("<")).tobytes()).hexdigest(),
    }


@dataclass(frozen=True, eq=False)
class Executed:
    """Weights of one output in the order of execution.

    Attributes:
        output: which.
        runs: of each run its first step and (steps, step) weights.
    """

    output: int
    runs: Sequence[tuple[int, NDArray[np.int8]]]


def replay(layer: SummingLayer, register: Register, executed: Executed) -> str | None:
    """A sentence if registers and the law disagree on a residue; None if they agree on every input tried.

    Args:
        layer: operands as the row multiplies them: the bias counts from there.
        register: of the row.
        executed: of one output.
    """
    modulo, output = layer.modulo, executed.output
    if modulo is None:
        return None
    weight = [int(w) for w in layer.weight[output]]
    for x in _inputs(layer, output):
        law = sum(w * v for w, v in zip(weight, x, strict=True)) % (1 << modulo)
        held = _summed(register, executed.runs, x) % (1 << modulo)
        if law != held:
            return f"output {output}: the registers leave {held} modulo 2^{modulo}, the law is {law}, operands {x[:8]}"
    return None


def _inputs(layer: SummingLayer, output: int) -> Iterator[list[int]]:
    row = output // (len(layer.weight) // len(layer.lo))
    low, high, up = layer.lo[row], layer.hi[row], layer.weight[output] > 0
    draw = np.random.default_rng(output)
    for x in (np.where(up, high, low), np.where(up, low, high), draw.integers(low, high + 1)):
        yield [int(value) for value in x]


def _summed(register: Register, runs: Sequence[tuple[int, NDArray[np.int8]]], x: list[int]) -> int:
    """The s32 that a kernel holds at the end, its bias left out, as the register model has it."""
    total, table, group = 0, lane_table(register), register.group
    for start, weights in runs:
        lanes = [0] * register.lanes
        for index, row in enumerate(weights):
            k = (start + index) * register.step
            operands = [x[k + place] if k + place < len(x) else 0 for place in range(register.step)]
            for part, lane in enumerate(table[(start + index) % register.lanes]):
                span = range(part * group, (part + 1) * group)
                products = sum(int(row[place]) * operands[place] for place in span)
                products = _written(products, register.group_overflow, register)
                lanes[lane] = _written(lanes[lane] + products, register.overflow, register)
        total = _wrapped(total + sum(lanes), 32)
    return total


def _written(value: int, overflow: str, register: Register) -> int:
    if overflow == "saturates":
        return min(max(value, register.least), register.most)
    return _wrapped(value, register.bits if overflow == "wraps" else 32)


def _wrapped(value: int, bits: int) -> int:
    return (value + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))


def folded_as_held(folded: Ints) -> Ints:
    """The folded bias that an s32 holds where it counts modulo 2**32."""
    return (folded + 2**31) % 2**32 - 2**31
