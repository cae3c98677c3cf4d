"""Layers whose sums count modulo 2**b: what their tables let through, and whether registers hold the residues.

Nothing here bounds a sum from the certificate's numbers: an image is read off the table, and what registers do to
residues is replayed on some inputs, one write after the other, beside the law.
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


def modulo_of(node: Node) -> int | None:
    """The b where the sums of a layer count modulo 2**b; None where they are exact.

    Raises:
        FormatError: its table is not of residues, or it has multipliers or shifts besides.
    """
    if TABLE not in node.arrays:
        return None
    table = node.array(TABLE, np.uint8, 2)
    bits = table.shape[1].bit_length() - 1
    besides = [key for key in node.arrays if key.startswith("requantize.") and key != TABLE]
    if not 2 <= bits <= 16 or table.shape[1] != 1 << bits or besides:
        raise FormatError(f"{node.name}: a table of residues is (N, 2**b), b in 2..16, not {table.shape}")
    return bits


def after_table(sums: Range, node: Node, y: Tensor) -> Range:
    """Least and greatest entries that residues of sums between two ends reach.

    Raises:
        FormatError: there is not a row for each output, nor one for all, or an entry leaves the range of ``y``.
    """
    table, outputs = node.array(TABLE, np.uint8, 2), len(sums.lo)
    if len(table) not in (1, outputs) or table.min() < y.lo or table.max() > y.hi:
        raise FormatError(f"{node.name}: {len(table)} tables for {outputs} outputs of {y.lo}..{y.hi}")
    period = table.shape[1]
    twice = np.concatenate([table, table], axis=1)  # a stretch of residues that wraps is a slice of it
    first = sums.lo % period
    end = first + np.minimum(sums.hi - sums.lo, period - 1) + 1
    reached = [twice[index % len(table), first[index] : end[index]] for index in range(outputs)]
    return Range(*(np.array([end(row) for row in reached], np.int64) for end in (np.min, np.max)))


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
    for x in _inputs(layer, output):
        law = int(x @ layer.weight[output]) % (1 << modulo)
        held = _summed(register, executed.runs, x) % (1 << modulo)
        if law != held:
            begin = x[:8].tolist()
            return f"output {output}: the registers leave {held} modulo 2^{modulo}, the law is {law}, operands {begin}"
    return None


def _inputs(layer: SummingLayer, output: int) -> Iterator[Ints]:
    """(K,) operands: both ends of every range, and some drawn at random."""
    row = output // (len(layer.weight) // len(layer.lo))
    low, high, up = layer.lo[row], layer.hi[row], layer.weight[output] > 0
    draw = np.random.default_rng(output)
    yield from (np.where(up, high, low), np.where(up, low, high), draw.integers(low, high + 1))


def _summed(register: Register, runs: Sequence[tuple[int, NDArray[np.int8]]], x: Ints) -> int:
    """The s32 that a kernel holds at the end, its bias left out, as the register model has it."""
    total, table = 0, lane_table(register).tolist()
    by_step = np.pad(x, (0, -len(x) % register.step)).reshape(-1, register.step)
    for start, weights in runs:
        products = weights.astype(np.int64) * by_step[start : start + len(weights)]
        sums = products.reshape(len(weights), -1, register.group).sum(axis=2)  # by instruction: far below 64 bits
        lanes = [0] * register.lanes
        for step, groups in enumerate(sums.tolist(), start):
            for lane, group in zip(table[step % register.lanes], groups, strict=True):
                held = _written(group, register.group_overflow, register)
                lanes[lane] = _written(lanes[lane] + held, register.overflow, register)
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
