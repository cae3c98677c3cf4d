"""The law of layers with three sums, inside a whole program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from oaq.operators import TensorSpec, rules_of
from oaq.program.inputs import ProgramInputs, checked, in_order
from oaq.program.int_program import Node
from oaq.program.three_sums import ExactProgram, Sums, ThreeSums
from oaq.reference.memory import require_node_memory
from oaq.reference.run import SAMPLES_AT_ONCE, Images, check_s32, compute


def run_exact(exact: ExactProgram, x: ProgramInputs) -> dict[str, Images]:
    """(batch, ...) uint8 of every tensor, by name.

    Args:
        exact: what to run.
        x: as ``reference.run``.

    Raises:
        ProgramError: an input is missing or has another type, shape or range than the program declares.
        AccumulatorOverflow: a sum leaves s32 on this input.
    """
    program = exact.program
    inputs = dict(zip(program.inputs, checked(program, in_order(program, x)), strict=True))
    batch = next(iter(inputs.values())).shape[0]
    parts = [
        _run_samples(exact, {name: value[start : start + SAMPLES_AT_ONCE] for name, value in inputs.items()})
        for start in range(0, max(batch, 1), SAMPLES_AT_ONCE)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def compute_three(
    node: Node, layer: ThreeSums, inputs: Sequence[Images], specs: Sequence[TensorSpec], y: TensorSpec
) -> tuple[Images, Sums]:
    """One layer: its result, and its three exact sums (batch, ..., N).

    Raises:
        AccumulatorOverflow: a sum leaves s32 on these inputs.
    """
    centre, tail, sign = (
        check_s32(node, rules_of(part).law(part, inputs, specs, y)) for part in layer.parts(node.products)
    )
    sums = centre, tail, sign
    return layer.apply(sums, y.affine.zero_point, y.range).astype(np.uint8), sums


def _run_samples(exact: ExactProgram, samples: Mapping[str, NDArray[np.uint8]]) -> dict[str, Images]:
    program, tensors = exact.program, dict(samples)
    for node in program.nodes:
        inputs, specs, y = [tensors[name] for name in node.inputs], program.specs(node), program.tensors[node.output]
        require_node_memory(node, specs, y, len(inputs[0]))
        layer = exact.layers.get(node.name)
        results = compute(node, inputs, specs, y) if layer is None else compute_three(node, layer, inputs, specs, y)
        tensors[node.output] = results[0]
    return tensors
