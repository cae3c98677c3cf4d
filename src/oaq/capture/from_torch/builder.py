"""The graph while it grows: which of torch's values is which tensor, and what may be folded into what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from oaq.capture.assembly import Assembly
from oaq.capture.folding import Floats
from oaq.capture.graph import FloatClamp, FloatNode, FloatOp
from oaq.capture.layout import Layout
from oaq.capture.location import Location
from oaq.capture.rearrange import channel_order
from oaq.errors import UnsupportedOp

Arguments = dict[str, Any]
"""All arguments of a call by name, defaults included."""
Axes = tuple[int, ...]
LEAF = "is in a module without children"
"""Key of ``fx.Node.meta``."""


@dataclass
class TorchBuilder(Assembly):
    """A graph under construction, from torch's.

    Attributes:
        batch: leading dimension of every value torch saw.
        constants: parameters, buffers, and what is computed from them alone, by the name of torch's value.
        values: torch's value to tensor name; for operators with several results, a tuple of names.
        memory: torch's value to the value whose memory it may share: itself, or what it is a view of.
        axes: torch's value to which of its tensor's axes each axis of a sample is, where they are counted in another
            order: tokens (T, C) are (1, 0).
        layouts: of values whose axes are not those of their tensor: in which order its memory (C, ...) holds them.
    """

    batch: int = 1
    constants: dict[str, Any] = field(default_factory=dict)
    values: dict[fx.Node, str | tuple[str, ...]] = field(default_factory=dict)
    memory: dict[fx.Node, fx.Node] = field(default_factory=dict)
    axes: dict[fx.Node, Axes] = field(default_factory=dict)
    layouts: dict[fx.Node, Layout] = field(default_factory=dict)

    def counted(self, value: object, reader: fx.Node) -> tuple[str, Axes]:
        """The tensor that ``value`` is, and for each axis of a sample which of the tensor's own it is.

        Raises:
            UnsupportedOp: it is a constant, a number or several tensors.
        """
        if isinstance(value, fx.Node) and isinstance(tensor := self.values.get(value), str):
            if value in self.layouts:
                layout = self.layouts.pop(value)
                axes = layout.axes_of(self.shapes[tensor])
                if axes is None:
                    tensor = self.values[value] = self.rearrange(tensor, layout, site(value))
                else:
                    self.keep_axes(value, axes)
            return tensor, self.axes.get(value, tuple(range(len(self.shapes[tensor]))))
        raise unsupported(reader, f"it reads {value}, which is not an activation")

    def read(self, value: object, reader: fx.Node) -> str:
        """The tensor that ``value`` is, its channels first; moved for that where they are not.

        Raises:
            UnsupportedOp: it is a constant, a number or several tensors, or has more axes than oaq takes.
        """
        tensor, axes = self.counted(value, reader)
        if axes == tuple(range(len(axes))):
            return tensor
        return self.with_axes(value, reader, tuple(range(len(axes))))

    def last_axis(self, value: object, reader: fx.Node) -> tuple[str, Axes]:
        """``counted``, of a tensor whose channels are torch's last axis; moved for that where they are not."""
        tensor, layout = self.layout_of(value, reader)
        axes = layout.axes_of(self.shapes[tensor])
        if axes is not None and axes[-1] == 0:
            return self.counted(value, reader)
        axes = rotated(len(layout.axes))
        return self.with_axes(value, reader, axes), axes

    def channels(self, value: object, reader: fx.Node) -> tuple[str, NDArray[np.int64] | None]:
        """``read``, or where channels alone are in another order: the tensor, and which of torch's each of its is."""
        tensor = self.values.get(value) if isinstance(value, fx.Node) else None
        if isinstance(tensor, str) and value in self.layouts:
            order = channel_order(self.shapes[tensor], self.layouts[value])  # type: ignore[index]
            if order is not None:
                return tensor, order
        return self.read(value, reader), None

    def layout_of(self, value: object, reader: fx.Node) -> tuple[str, Layout]:
        """The tensor that ``value`` is, and in which order its memory (C, ...) holds the axes of a sample."""
        if isinstance(value, fx.Node) and value in self.layouts:
            return str(self.values[value]), self.layouts[value]
        tensor, axes = self.counted(value, reader)
        return tensor, Layout.in_order(self.shapes[tensor], range(len(axes))).transposed(axes)

    def with_axes(self, value: object, reader: fx.Node, axes: Axes) -> str:
        """The tensor ``value`` in memory of its own, of which each axis of a sample is ``axes``; remembered as that."""
        tensor, layout = self.layout_of(value, reader)
        if layout.axes_of(self.shapes[tensor]) == axes:
            return self.counted(value, reader)[0]
        moved = self.rearrange(tensor, layout.transposed(np.argsort(axes).tolist()), site(reader).under(".transposed"))
        if isinstance(value, fx.Node):
            self.values[value] = moved
            self.axes.pop(value, None)
            self.layouts.pop(value, None)
            self.keep_axes(value, axes)
        return moved

    def seen_shape(self, tensor: str, axes: Axes) -> tuple[int, ...]:
        """One sample of ``tensor`` as torch counts its axes."""
        return tuple(self.shapes[tensor][axis] for axis in axes)

    def keep_axes(self, node: fx.Node, axes: Axes) -> None:
        """Say in which order ``node`` counts the axes of its result."""
        if axes != tuple(range(len(axes))):
            self.axes[node] = axes

    def is_activation(self, value: object) -> bool:
        """Whether ``value`` depends on the network's input."""
        return isinstance(value, fx.Node) and value in self.values

    def constant(self, value: object, reader: fx.Node) -> Floats:
        """The numbers of a parameter, a buffer or a Python number.

        Raises:
            UnsupportedOp: it depends on the input, or on chance.
        """
        number = self.constants.get(value.name) if isinstance(value, fx.Node) else value
        if isinstance(number, int | float):
            return np.asarray(float(number))
        if isinstance(number, torch.Tensor):
            return number.detach().cpu().to(torch.float64).numpy()
        raise unsupported(reader, f"it needs {value} as a constant, and it depends on the input or on chance")

    def emit(self, op: FloatOp, inputs: Iterable[str], shape: tuple[int, ...], node: fx.Node, suffix: str = "") -> str:
        """Append a node named after where it stands in the module; returns the tensor it writes."""
        return self.append(op, inputs, shape, site(node).under(suffix))

    def foldable(self, value: object, reader: fx.Node) -> FloatNode | None:
        """The node that computes ``value`` if only ``reader`` sees its result, so that the two may become one.

        An operator that works in place takes the value's name with it: later readers read the new one.
        """
        if not isinstance(value, fx.Node) or not isinstance(tensor := self.values.get(value), str):
            return None
        if any(tensor in node.inputs for node in self.nodes.values()):
            return None  # read before the value that its reader knew it by was overwritten
        names = [alias for alias, target in self.values.items() if target == tensor]  # a folded batch norm, a dropout
        for alias in names:
            overwritten = works_in_place(reader) and self.memory[alias] is self.memory[value]
            for user in alias.users:
                if user is not reader and user not in names and (user < reader or not overwritten):
                    return None
        return self.nodes.get(tensor)

    def settle(self, node: fx.Node, result: str | tuple[str, ...], shares: fx.Node | None) -> None:
        """Say what ``node`` computed, and whose memory its result may lie in; None: memory of its own."""
        self.values[node] = result
        self.memory[node] = node if shares is None else self.memory[shares]

    def overwrite(self, value: fx.Node, result: str, writer: fx.Node) -> None:
        """Note that ``writer`` wrote ``result`` into the memory of ``value``: later readers read the new values.

        Raises:
            UnsupportedOp: the memory is also seen as another shape or part, and read again.
        """
        old = self.values[value]
        for alias in [alias for alias, memory in self.memory.items() if memory is self.memory[value]]:
            if self.values[alias] in (old, result):
                self.values[alias] = result
            elif any(writer < user for user in alias.users):
                raise unsupported(
                    writer,
                    f"it works in place on memory that it shares with {where(alias)}, which has another shape or part "
                    "of it and is read again; write it without inplace=True or the trailing underscore",
                )

    def clamp_value(self, value: object, bounds: FloatClamp, node: fx.Node) -> str:
        """Clamp a value: inside the operator that computes it where that is possible."""
        tensor, axes = self.counted(value, node)
        self.keep_axes(node, axes)
        return self.clamp(tensor, bounds, self.foldable(value, node), site(node))


def base_name(node: fx.Node) -> str:
    """Name of an operator: "conv2d" of ``aten.conv2d.default``; ends with "_" if it works in place."""
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


def site(node: fx.Node) -> Location:
    """Where a node stands, for the graph and for messages."""
    return Location(where(node), f"{where(node)}: {node.target}")


def unsupported(node: fx.Node, reason: str) -> UnsupportedOp:
    """The error for a node that cannot be taken."""
    return site(node).unsupported(reason)


def sample_shape(node: fx.Node) -> tuple[int, ...]:
    """Shape of one sample of a node's result."""
    value: Any = node.meta["val"]
    return tuple(int(size) for size in value.shape[1:])


def rotated(rank: int) -> Axes:
    """Axes of a value whose channels come last."""
    return (*range(1, rank), 0)
