"""A program in plain form that grows node by node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Plain = dict[str, Any]
Shape = tuple[int, ...]
SCALE = 0.5
"""Scale of every tensor: integers depend on multipliers, not on scales."""


@dataclass
class Draft:
    """What an ``.oaq`` file holds, so far.

    Attributes:
        fixed: rounds by fixed point.
        tensors: by name.
        nodes: in order.
        arrays: "nodes/INDEX/FIELD".
        inputs: names of tensors the caller gives.
    """

    fixed: bool
    tensors: dict[str, Plain] = field(default_factory=dict)
    nodes: list[Plain] = field(default_factory=list)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)

    def tensor(self, shape: Shape, ends: tuple[int, int], zero: int) -> str:
        """Declare one; returns its name."""
        name = f"t{len(self.tensors)}"
        plain = {"name": name, "shape": list(shape), "scale": SCALE, "zero_point": zero, "range": list(ends)}
        self.tensors[name] = plain
        return name

    def input(self, shape: Shape, ends: tuple[int, int], zero: int) -> str:
        """Declare a tensor that the caller gives; returns its name."""
        name = self.tensor(shape, ends, zero)
        self.inputs.append(name)
        return name

    def node(self, fields: Plain, arrays: dict[str, NDArray[Any]], inputs: list[str], output: str) -> str:
        """Append a node that writes ``output``; returns ``output``."""
        index = len(self.nodes)
        self.nodes.append({"name": f"n{index}", "inputs": inputs, "output": output, **fields})
        self.arrays.update({f"nodes/{index}/{key}": value for key, value in arrays.items()})
        return output

    def shape(self, name: str) -> Shape:
        """Sizes of one sample's axes."""
        return tuple(self.tensors[name]["shape"])

    def header(self, outputs: list[str]) -> Plain:
        """The whole header."""
        return {
            "version": 1,
            "name": "drawn",
            "requantize": "fixed_point" if self.fixed else "float32_half_even",
            "inputs": list(self.inputs),
            "outputs": outputs,
            "tensors": list(self.tensors.values()),
            "nodes": self.nodes,
            "metadata": {},
        }

    def range_of(self, name: str) -> tuple[int, int]:
        """Effective range."""
        lo, hi = self.tensors[name]["range"]
        return lo, hi

    def zero_of(self, name: str) -> int:
        """Zero point."""
        return int(self.tensors[name]["zero_point"])


Weights = NDArray[np.signedinteger[Any]]
