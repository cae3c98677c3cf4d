"""Run a plain program by the laws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.soundness.laws import Arrays, Edges, Ints, Plain, Step, computed, requantized, sums

SUMMING = ("Conv2d", "Linear")


@dataclass(frozen=True, eq=False)
class Truth:
    """What a program computes.

    Attributes:
        tensors: (batch, ...) int64 of every tensor, by name.
        sums: (batch, ..., N) exact sums of every Conv2d and Linear, bias included, by node.
        edges: how often edges were met.
    """

    tensors: Mapping[str, Ints]
    sums: Mapping[str, Ints]
    edges: Edges


def steps_of(header: Plain, arrays: Arrays, edges: Edges | None = None) -> list[Step]:
    """Every node with what it needs, in order."""
    tensors = {tensor["name"]: tensor for tensor in header["tensors"]}
    by_node: list[dict[str, NDArray[Any]]] = [{} for _ in header["nodes"]]
    for key, array in arrays.items():
        _, index, field = key.split("/")
        by_node[int(index)][field] = array
    return [
        Step(node, fields, [tensors[name] for name in node["inputs"]], tensors[node["output"]], edges or Edges())
        for node, fields in zip(header["nodes"], by_node, strict=True)
    ]


def run(header: Plain, arrays: Arrays, inputs: Mapping[str, NDArray[np.uint8]]) -> Truth:
    """Every tensor and sum.

    Raises:
        Undefined: the law gives no integer.
    """
    edges = Edges()
    tensors: dict[str, Ints] = {name: array.astype(np.int64) for name, array in inputs.items()}
    totals: dict[str, Ints] = {}
    for step in steps_of(header, arrays, edges):
        x = [tensors[name] for name in step.node["inputs"]]
        if step.node["op"] in SUMMING:
            totals[step.node["name"]] = sums(step, x[0])
            tensors[step.node["output"]] = requantized(step, totals[step.node["name"]])
        else:
            tensors[step.node["output"]] = computed(step, x)
    return Truth(tensors, totals, edges)
