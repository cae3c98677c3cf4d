"""The graph while it grows: which of torch's values is which tensor, and what may be folded into what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from oaq.capture.graph import (
    FloatAdd,
    FloatAvgPool,
    FloatClamp,
    FloatConcat,
    FloatConv2d,
    FloatFunction,
    FloatGlobalAvgPool,
    FloatGraph,
    FloatLinear,
    FloatMul,
    FloatNode,
    FloatOp,
)
from oaq.errors import UnsupportedOp

CLAMPABLE = (FloatConv2d, FloatLinear, FloatAdd, FloatMul, FloatConcat, FloatAvgPool, FloatGlobalAvgPool, FloatFunction)
"""Operators whose result is requantized, so that a clamp costs nothing there; the others only move values."""

Floats = NDArray[np.float64]
LEAF = "is in a module without children"
"""Key of ``fx.Node.meta``."""


@dataclass
class Builder:
    """A ``FloatGraph`` under construction.

    Attributes:
        name: of the graph.
        batch: leading dimension of every value torch saw.
        constants: parameters, buffers and lifted constants by the name of their placeholder.
        inputs: tensors the caller provides.
        shapes: of one sample, by tensor.
        nodes: by the tensor they write, in execution order.
        values: torch's value to tensor name; for operators with several results, a tuple of names.
    """

    name: str
    batch: int
    constants: Mapping[str, torch.Tensor]
    inputs: list[str] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    nodes: dict[str, FloatNode] = field(default_factory=dict)
    values: dict[fx.Node, str | tuple[str, ...]] = field(default_factory=dict)

    def read(self, value: object, by: fx.Node) -> str:
        """The tensor that ``value`` is.

        Raises:
            UnsupportedOp: it is a constant, a number or several tensors.
        """
        if isinstance(value, fx.Node) and isinstance(found := self.values.get(value), str):
            return found
        raise unsupported(by, f"it reads {value}, which is not an activation")

    def is_activation(self, value: object) -> bool:
        """Whether ``value`` depends on the network's input."""
        return isinstance(value, fx.Node) and value in self.values

    def constant(self, value: object, by: fx.Node) -> Floats:
        """The numbers of a parameter, a buffer or a Python number.

        Raises:
            UnsupportedOp: it is computed from the input.
        """
        if isinstance(value, int | float):
            return np.asarray(float(value))
        if isinstance(value, fx.Node) and value.name in self.constants:
            return self.constants[value.name].detach().cpu().to(torch.float64).numpy()
        raise unsupported(by, f"it needs {value} as a constant, and it is computed from the input")

    def emit(self, op: FloatOp, inputs: Iterable[str], shape: tuple[int, ...], by: fx.Node, suffix: str = "") -> str:
        """Append a node named after where it stands in the module; returns the tensor it writes."""
        name = self._unique(where(by) + suffix)
        self.shapes[name] = check_shape(shape, by)
        self.nodes[name] = FloatNode(name, op, tuple(inputs), name)
        return name

    def change(self, tensor: str, op: FloatOp) -> None:
        """Give the node that writes ``tensor`` another operator."""
        self.nodes[tensor] = replace(self.nodes[tensor], op=op)

    def remove(self, tensor: str) -> str:
        """Take out the node that writes ``tensor`` and has one input; returns that input."""
        del self.shapes[tensor]
        return self.nodes.pop(tensor).inputs[0]

    def foldable(self, value: object, by: fx.Node) -> FloatNode | None:
        """The node that computes ``value`` if nobody but ``by`` sees its result, so that ``by`` may be made part of it.

        An operator that works in place takes the value's name with it: later readers read the new one.
        """
        if not isinstance(value, fx.Node) or not isinstance(tensor := self.values.get(value), str):
            return None
        names = [other for other, known in self.values.items() if known == tensor]  # a folded batch norm, a dropout
        others = [user for other in names for user in other.users if user is not by and user not in names]
        in_place = base_name(by).endswith("_")
        if any(not in_place or user < by for user in others):
            return None
        return self.nodes.get(tensor)

    def clamp(self, value: object, bounds: FloatClamp, by: fx.Node) -> str:
        """Clamp a value: inside the operator that computes it where that is possible."""
        node = self.foldable(value, by)
        if node is not None and isinstance(node.op, CLAMPABLE):
            merged = compose(node.clamp, bounds)
            if merged is not None:
                self.nodes[node.output] = replace(node, clamp=merged)
                return node.output
        tensor = self.read(value, by)
        lo, hi = (-np.inf if bounds[0] is None else bounds[0]), (np.inf if bounds[1] is None else bounds[1])
        return self.emit(FloatFunction("clamp", (float(lo), float(hi))), (tensor,), self.shapes[tensor], by)

    def graph(self, outputs: tuple[str, ...]) -> FloatGraph:
        """The finished graph, without what nobody reads."""
        needed = set(outputs)
        for node in reversed(list(self.nodes.values())):
            if node.output in needed:
                needed.update(node.inputs)
        nodes = tuple(node for node in self.nodes.values() if node.output in needed)
        shapes = {name: shape for name, shape in self.shapes.items() if name in needed or name in self.inputs}
        return FloatGraph(self.name, tuple(self.inputs), outputs, shapes, nodes, {"source": "torch"})

    def _unique(self, name: str) -> str:
        taken, count = name, 1
        while taken in self.shapes:
            count += 1
            taken = f"{name}:{count}"
        return taken


def compose(first: FloatClamp | None, second: FloatClamp) -> FloatClamp | None:
    """One clamp that does what two do; None if nothing but a constant would be left."""
    if first is None:
        first = (None, None)

    def inside(bound: float | None, otherwise: float | None) -> float | None:
        if bound is None:
            return otherwise
        low = bound if second[0] is None else max(bound, second[0])
        return low if second[1] is None else min(low, second[1])

    lo, hi = inside(first[0], second[0]), inside(first[1], second[1])
    return None if lo is not None and hi is not None and lo >= hi else (lo, hi)


def base_name(node: fx.Node) -> str:
    """Of ``aten.conv2d.default``: "conv2d"; ends with "_" if it works in place."""
    parts = str(node.target).split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "aten" else str(node.target)


def where(node: fx.Node) -> str:
    """The module path of a layer, or torch's name for what a ``forward`` computes itself."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = stack[-1][0] if stack else ""
    if path and node.meta.get(LEAF):
        return path
    return f"{path}.{node.name}" if path else node.name


def unsupported(node: fx.Node, why: str) -> UnsupportedOp:
    """The error for a node that cannot be taken."""
    return UnsupportedOp(f"{where(node)}: {node.target}: {why}")


def sample_shape(node: fx.Node) -> tuple[int, ...]:
    """Shape of one sample of a node's result."""
    value: Any = node.meta["val"]
    return tuple(int(size) for size in value.shape[1:])


def check_shape(shape: tuple[int, ...], node: fx.Node) -> tuple[int, ...]:
    """(C, H, W) or (C,).

    Raises:
        UnsupportedOp: anything else.
    """
    if len(shape) not in (1, 3):
        raise unsupported(node, f"a sample of shape {shape}; oaq knows images (C, H, W) and vectors (C,)")
    return shape
