"""Run a whole program on exact integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.errors import AccumulatorOverflow
from oaq.numerics.formats import S32
from oaq.operators import Products, TensorSpec, rules_of
from oaq.program.inputs import ProgramInputs, checked, in_order
from oaq.program.int_program import IntProgram, Node
from oaq.reference.memory import require_node_memory

Images = NDArray[np.uint8]
SAMPLES_AT_ONCE = 4
"""Samples computed together: bounds the memory that 64-bit integers need, changes no result."""


@dataclass(frozen=True, eq=False)
class Run:
    """What a program computed.

    Attributes:
        outputs: (batch, ...) uint8 per program output, in the program's order.
        tensors: (batch, ...) uint8 for every tensor, the inputs included.
        accumulators: (batch, ..., N) int32 exact sums of every node that sums products (bias included), int64 where
            they wrap by design; empty unless asked for.
    """

    outputs: tuple[Images, ...]
    tensors: Mapping[str, Images]
    accumulators: Mapping[str, NDArray[np.int32 | np.int64]]


def run(program: IntProgram, x: ProgramInputs, accumulators: bool = False) -> Run:
    """Every tensor of ``program`` for the given inputs.

    Args:
        program: what to run.
        x: (batch, ...) uint8 in the shape of the program's input: one array, or one per input in order or by name.
        accumulators: also return the exact s32 sums.

    Raises:
        ProgramError: an input is missing or has another type, shape or range than the program declares.
        AccumulatorOverflow: a sum leaves s32 on this input.
    """
    inputs = dict(zip(program.inputs, checked(program, in_order(program, x)), strict=True))
    batch = next(iter(inputs.values())).shape[0]
    parts = [
        _run_samples(program, {name: value[start : start + SAMPLES_AT_ONCE] for name, value in inputs.items()})
        for start in range(0, max(batch, 1), SAMPLES_AT_ONCE)
    ]
    tensors = {name: np.concatenate([part[0][name] for part in parts]) for name in parts[0][0]}
    sums: dict[str, NDArray[np.int32 | np.int64]] = {}
    if accumulators:
        sums = {name: np.concatenate([part[1][name] for part in parts]) for name in parts[0][1]}
    return Run(tuple(tensors[name] for name in program.outputs), tensors, sums)


def compute(
    node: Node, inputs: Sequence[Images], specs: Sequence[TensorSpec], y: TensorSpec
) -> tuple[Images, NDArray[np.int32 | np.int64] | None]:
    """One node: its result and, for an operator that sums products, its exact sums.

    Raises:
        AccumulatorOverflow: a sum leaves s32 on these inputs.
    """
    op = node.op
    result = rules_of(op).law(op, inputs, specs, y)
    if not isinstance(op, Products):
        return result.astype(np.uint8), None
    sums = result if op.wrap_bits is not None else check_s32(node, result)
    return op.requantize.apply(sums, y.affine.zero_point, y.range).astype(np.uint8), sums


def _run_samples(
    program: IntProgram, samples: Mapping[str, Images]
) -> tuple[dict[str, Images], dict[str, NDArray[np.int32 | np.int64]]]:
    tensors, sums = dict(samples), {}
    for node in program.nodes:
        inputs = [tensors[name] for name in node.inputs]
        require_node_memory(node, program.specs(node), program.tensors[node.output], len(inputs[0]))
        y, acc = compute(node, inputs, program.specs(node), program.tensors[node.output])
        tensors[node.output] = y
        if acc is not None:
            sums[node.name] = acc
    return tensors, sums


def check_s32(node: Node, sums: NDArray[np.int64]) -> NDArray[np.int32]:
    """Exact sums of a node, as int32.

    Raises:
        AccumulatorOverflow: a sum leaves s32.
    """
    if sums.size and (int(sums.min()) < S32.lo or int(sums.max()) > S32.hi):
        raise AccumulatorOverflow(
            f"{node.name}: the exact sum reaches [{sums.min()}, {sums.max()}], which leaves s32. "
            "Scale the layer's weights or bias down, or split the layer"
        )
    return sums.astype(np.int32)
