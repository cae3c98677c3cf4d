"""The graph while it grows: which of torch's values is which tensor, and what may be folded into what."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from oaq.capture.graph import (
    FloatAdd,
    FloatArray,
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
from oaq.errors import ProgramError, UnsupportedOp

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
        constants: parameters, buffers, and what is computed from them alone, by the name of torch's value.
        inputs: tensors the caller provides.
        shapes: of one sample, by tensor.
        nodes: by the tensor they write, in execution order.
        values: torch's value to tensor name; for operators with several results, a tuple of names.
        memory: torch's value to the value whose memory it may share: itself, or what it is a view of.
    """

    name: str
    batch: int
    constants: dict[str, Any]
    inputs: list[str] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    nodes: dict[str, FloatNode] = field(default_factory=dict)
    values: dict[fx.Node, str | tuple[str, ...]] = field(default_factory=dict)
    memory: dict[fx.Node, fx.Node] = field(default_factory=dict)

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
            UnsupportedOp: it depends on the input, or on chance.
        """
        found = self.constants.get(value.name) if isinstance(value, fx.Node) else value
        if isinstance(found, int | float):
            return np.asarray(float(found))
        if isinstance(found, torch.Tensor):
            return found.detach().cpu().to(torch.float64).numpy()
        raise unsupported(by, f"it needs {value} as a constant, and it depends on the input or on chance")

    def emit(self, op: FloatOp, inputs: Iterable[str], shape: tuple[int, ...], by: fx.Node, suffix: str = "") -> str:
        """Append a node named after where it stands in the module; returns the tensor it writes."""
        name = self._unique(where(by) + suffix)
        _check_finite(op, by)
        self.shapes[name] = check_shape(shape, by)
        self.nodes[name] = FloatNode(name, op, tuple(inputs), name)
        return name

    def change(self, tensor: str, op: FloatOp, by: fx.Node) -> None:
        """Give the node that writes ``tensor`` another operator, because ``by`` becomes part of it."""
        _check_finite(op, by)
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
        if any(tensor in node.inputs for node in self.nodes.values()):
            return None  # read before the value that its reader knew it by was overwritten
        names = [other for other, known in self.values.items() if known == tensor]  # a folded batch norm, a dropout
        for other in names:
            overwritten = works_in_place(by) and self.memory[other] is self.memory[value]
            for user in other.users:
                if user is not by and user not in names and (user < by or not overwritten):
                    return None
        return self.nodes.get(tensor)

    def settle(self, node: fx.Node, result: str | tuple[str, ...], shares: fx.Node | None) -> None:
        """Say what ``node`` computed, and whose memory its result may lie in; None: memory of its own."""
        self.values[node] = result
        self.memory[node] = node if shares is None else self.memory[shares]

    def overwrite(self, value: fx.Node, result: str, by: fx.Node) -> None:
        """``by`` wrote ``result`` into the memory of ``value``: whoever reads that from here on reads the new values.

        Raises:
            UnsupportedOp: the memory is also seen as another shape or part, and read again.
        """
        old = self.values[value]
        for other in [each for each, memory in self.memory.items() if memory is self.memory[value]]:
            if self.values[other] in (old, result):
                self.values[other] = result
            elif any(by < user for user in other.users):
                raise unsupported(
                    by,
                    f"it works in place on memory that it shares with {where(other)}, which has another shape or part "
                    "of it and is read again; write it without inplace=True or the trailing underscore",
                )

    def clamp(self, value: object, bounds: FloatClamp, by: fx.Node) -> str:
        """Clamp a value: inside the operator that computes it where that is possible.

        Bounds that exclude 0.0 stay a function: an operator's own range always holds its zero point.
        """
        bounds = tuple(None if bound is None or math.isinf(bound) else bound for bound in bounds)  # type: ignore
        node = self.foldable(value, by)
        if node is not None and isinstance(node.op, CLAMPABLE):
            merged = compose(node.clamp, bounds)
            if merged is not None and (merged[0] or 0.0) <= 0.0 <= (merged[1] or 0.0):
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


def _check_finite(op: FloatOp, by: fx.Node) -> None:
    if isinstance(op, FloatConv2d | FloatLinear):
        bad = sum(int((~np.isfinite(part)).sum()) for part in (op.weight, op.bias))
        if bad:
            raise ProgramError(
                f"{where(by)}: {by.target}: {bad} of its {op.weight.size + op.bias.size} weights and biases become NaN "
                "or infinite in float32; look at its parameters"
            )


def narrowed(numbers: Floats) -> FloatArray:
    """As float32; what is too large becomes infinite, for ``emit`` and ``change`` to refuse."""
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32)


def base_name(node: fx.Node) -> str:
    """Of ``aten.conv2d.default``: "conv2d"; ends with "_" if it works in place."""
    parts = str(node.target).split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "aten" else str(node.target)


def works_in_place(node: fx.Node) -> bool:
    """Whether it overwrites its first argument."""
    return base_name(node).endswith("_")


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


def vector_shape(node: fx.Node) -> tuple[int, ...]:
    """``sample_shape``, with (C, 1), met on the way from (C, 1, 1) to (C,), as (C,)."""
    shape = sample_shape(node)
    return shape[:1] if len(shape) == 2 and shape[1] == 1 else shape


def check_shape(shape: tuple[int, ...], node: fx.Node) -> tuple[int, ...]:
    """(C, H, W) or (C,).

    Raises:
        UnsupportedOp: anything else.
    """
    if len(shape) not in (1, 3):
        raise unsupported(node, f"a sample of shape {shape}; oaq knows images (C, H, W) and vectors (C,)")
    return shape
