"""Islands of a TFLite file: the connected parts that stay outside the program, and where they touch it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oaq.capture.from_tflite.graph import LEFT_OUT, TfliteGraph, TfliteOperator
from oaq.capture.imported import Island, Place, connected


@dataclass(frozen=True, eq=False)
class Outside:
    """An operator that the program does not compute; ``why`` only if it could have been integers."""

    operator: TfliteOperator
    why: str


def find_islands(
    graph: TfliteGraph, outside: Sequence[Outside], tensors: Mapping[int, str], inputs: Mapping[str, int]
) -> tuple[Island, ...]:
    """Connected parts, in execution order of their first operators.

    Args:
        graph: the file.
        outside: operators that stay outside, in execution order.
        tensors: the program's tensor by the file's.
        inputs: of the program, by name: the file's tensor.
    """
    islands = []
    for part in connected(outside, lambda node: node.operator.inputs, lambda node: node.operator.outputs):
        written = {index for node in part for index in node.operator.outputs}
        read = dict.fromkeys(
            index
            for node in part
            for index in node.operator.inputs
            if index != LEFT_OUT and index not in written and not graph.tensors[index].constant
        )
        reads = tuple(dict.fromkeys(tensors[index] for index in read if index in tensors and index not in graph.inputs))
        writes = tuple(name for name, index in inputs.items() if index in written)
        where: Place = "output" if not writes else "inside" if reads else "input"
        reason = next((node.why for node in part if node.why), "")
        nodes = tuple((str(node.operator), node.operator.op) for node in part)
        islands.append(Island(nodes, reads, writes, where, reason))
    return tuple(islands)
