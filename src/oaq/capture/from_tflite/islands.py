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
    graph: TfliteGraph, outside: Sequence[Outside], held: Mapping[int, str], inputs: Mapping[str, int]
) -> tuple[Island, ...]:
    """Connected parts, in execution order of their first operators.

    Args:
        graph: the file.
        outside: operators that stay outside, in execution order.
        held: the program's tensor by the file's.
        inputs: of the program, by name: the file's tensor.
    """
    found = []
    for part in connected(outside, lambda one: one.operator.inputs, lambda one: one.operator.outputs):
        written = {index for one in part for index in one.operator.outputs}
        read = dict.fromkeys(
            index
            for one in part
            for index in one.operator.inputs
            if index != LEFT_OUT and index not in written and not graph.tensors[index].constant
        )
        reads = tuple(dict.fromkeys(held[index] for index in read if index in held and index not in graph.inputs))
        writes = tuple(name for name, index in inputs.items() if index in written)
        where: Place = "output" if not writes else "inside" if reads else "input"
        why = next((one.why for one in part if one.why), "")
        nodes = tuple((str(one.operator), one.operator.op) for one in part)
        found.append(Island(nodes, reads, writes, where, why))
    return tuple(found)
