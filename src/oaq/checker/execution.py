"""What a plan hands to kernels beside weights: operators, zero points, clamps, folded biases, and the arena.

The arena is checked by playing the network: which tensor's bytes lie where after each node. A tensor that is read must
still lie there whole; nothing is said of lifetimes, from which the arena was planned.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from oaq.checker.modular import folded_as_held, modulo_of
from oaq.checker.program import NamedArrays, Node, Program, Tensor, parse
from oaq.checker.verdict import Finding
from oaq.errors import FormatError

LINE = 64
"""Bytes: tensors begin at multiples of it, and kernels may write the last line of a tensor to its end."""


def check_execution(
    header: Mapping[str, Any], arrays: NamedArrays, execution: Mapping[str, Any], executed: NamedArrays
) -> tuple[Finding, ...]:
    """Compare what will run with the program.

    Args:
        header: of the program.
        arrays: of the program.
        execution: ``nodes``, one per node of the program in order, each with its plain form under ``node`` and with
            ``x_zero_points``, ``y_zero_point``, ``clamp`` [lo, hi], ``shift`` (what the kernel subtracts from a u8)
            and ``folded_bias`` ((N,) int32, or None); ``arena`` with ``size``, ``offsets`` by tensor, ``in_place``
            (names of nodes that are not computed).
        executed: arrays of the operators that will run, under the keys that ``arrays`` has.

    Returns:
        every difference; empty if there is none.

    Raises:
        FormatError: the data is malformed.
    """
    try:
        program = parse(header, arrays)
        plain = [(item["name"], item) for item in header["nodes"]]
        return (
            *_check_operators(plain, arrays, execution["nodes"], executed),
            *_check_numbers(program, execution["nodes"]),
            *_check_arena(program, execution["arena"], list(header["outputs"])),
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise FormatError(f"the plan is malformed: {type(error).__name__}: {error}") from error


def _check_operators(
    plain: list[tuple[str, Any]], arrays: NamedArrays, nodes: list[Mapping[str, Any]], executed: NamedArrays
) -> list[Finding]:
    """The operators that run are the program's: fields, names, arrays."""
    if [node["node"] for node in nodes] != [item for _, item in plain]:
        names = [name for name, _ in plain]
        return [Finding("", f"runs other operators than the program's {len(names)}: {names[:3]}...")]
    differ = sorted(set(arrays) ^ set(executed))
    for key in set(arrays) & set(executed):
        source, value = arrays[key], executed[key]
        if source is not value and (source.dtype != value.dtype or not np.array_equal(source, value)):
            differ.append(key)
    return [Finding("", f"runs with another array {key} than the program's") for key in differ[:8]]


def _check_numbers(program: Program, nodes: list[Mapping[str, Any]]) -> list[Finding]:
    """Zero points, clamp and folded bias of every node."""
    findings: list[Finding] = []
    for node, numbers in zip(program.nodes, nodes, strict=True):
        y = program.tensors[node.output]
        zeros = [program.tensors[name].zero for name in node.inputs]
        expected = {
            "x_zero_points": zeros,
            "y_zero_point": y.zero,
            "clamp": [y.lo, y.hi],
        }
        for key, value in expected.items():
            if numbers[key] != value:
                findings.append(Finding(node.name, f"runs with {key} {numbers[key]}, the program has {value}"))
        findings += _check_bias(node, zeros[0], numbers)
    return findings


def _check_bias(node: Node, zero: int, numbers: Mapping[str, Any]) -> list[Finding]:
    folded = numbers["folded_bias"]
    if node.kind not in ("Conv2d", "Linear"):
        return [] if folded is None else [Finding(node.name, "has a folded bias and sums nothing")]
    weight, bias = node.arrays["weight"], node.arrays["bias"].astype(np.int64)
    sums = weight.reshape(len(weight), -1).sum(axis=1, dtype=np.int64)
    expected = bias - (zero - numbers["shift"]) * sums
    expected = expected if modulo_of(node) is None else folded_as_held(expected)
    if folded is None or folded.shape != expected.shape or folded.dtype != np.int32:
        return [Finding(node.name, f"its folded bias is {expected.shape} int32")]
    wrong = np.nonzero(folded.astype(np.int64) != expected)[0]
    if not len(wrong):
        return []
    output = int(wrong[0])
    message = f"its folded bias of output {output} is {int(folded[output])}, derived {int(expected[output])}"
    return [Finding(node.name, f"{message} ({len(wrong)} differ)")]


class _Bytes:
    """Which tensors lie whole in the arena."""

    def __init__(self, arena: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.offsets, self.size, self.tensors = arena["offsets"], arena["size"], tensors
        self.intact: dict[str, tuple[int, int]] = {}

    def place(self, name: str) -> tuple[int, int]:
        """First byte, and one more than the last of its last line."""
        begin = self.offsets[name]
        return begin, begin + -(-prod(self.tensors[name].shape) // LINE) * LINE

    def write(self, name: str) -> None:
        """Overwrite whatever lies there."""
        begin, end = self.place(name)
        self.intact = {tensor: (b, e) for tensor, (b, e) in self.intact.items() if e <= begin or end <= b}
        self.intact[name] = (begin, end)

    def rename(self, name: str) -> None:
        """Call the bytes that lie there by another name as well."""
        self.intact[name] = self.place(name)


def _check_arena(program: Program, arena: Mapping[str, Any], outputs: list[str]) -> list[Finding]:
    findings = _check_places(program, arena)
    if findings:
        return findings
    lying = _Bytes(arena, program.tensors)
    in_place = set(arena["in_place"])
    for name in program.inputs:
        lying.write(name)
    findings += [
        Finding(name, "is overwritten by another input") for name in program.inputs if name not in lying.intact
    ]
    for node in program.nodes:
        missing = [name for name in node.inputs if name not in lying.intact]
        findings += [Finding(node.name, f"reads {name!r}, whose bytes have been overwritten") for name in missing]
        if node.name in in_place:
            in_place.discard(node.name)
            if node.kind != "Reshape" or lying.place(node.output) != lying.place(node.inputs[0]):
                findings.append(Finding(node.name, "is not computed, and its result is not its input's bytes"))
            lying.rename(node.output)
            continue
        lying.write(node.output)
        missing = [name for name in node.inputs if name not in lying.intact]
        findings += [Finding(node.name, f"writes over {name!r} while it reads it") for name in missing]
    findings += [
        Finding(name, "is an output whose bytes are overwritten") for name in outputs if name not in lying.intact
    ]
    if in_place:
        findings.append(Finding("", f"leaves out nodes the program does not have: {sorted(in_place)[:3]}"))
    return findings[:8]


def _check_places(program: Program, arena: Mapping[str, Any]) -> list[Finding]:
    """Every tensor has a place on whole lines inside the arena."""
    offsets, size = arena["offsets"], arena["size"]
    if set(offsets) != set(program.tensors):
        return [Finding("", f"the arena has places for {len(offsets)} tensors of {len(program.tensors)}")]
    findings = []
    for name, tensor in program.tensors.items():
        begin = offsets[name]
        end = begin + -(-prod(tensor.shape) // LINE) * LINE
        if type(begin) is not int or begin < 0 or begin % LINE or end > size:
            findings.append(Finding(name, f"lies in bytes {begin}..{end - 1} of an arena of {size}"))
    return findings
