"""The graph while it grows: which of the file's tensors is which of ours, and how its axes are counted.

ONNX moves axes about (Transpose, Reshape, Flatten, Squeeze) where a ``FloatGraph`` holds channels first always: (C,),
(C, L), (C, H, W). A ``View`` keeps account of what the file calls the axes of one of our tensors, so that such nodes
cost nothing unless a reader needs their result in another order of memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from oaq.capture.assembly import LARGEST_RESHAPED, Assembly, Shape
from oaq.capture.folding import Floats
from oaq.capture.from_onnx.attributes import described
from oaq.capture.from_onnx.graph import OnnxGraph, OnnxNode, TensorType
from oaq.capture.from_onnx.inputs import Inputs
from oaq.capture.graph import FloatGraph, FloatNode, FloatOp, FloatReshape
from oaq.capture.layout import Layout
from oaq.capture.location import Location
from oaq.capture.rearrange import channel_order
from oaq.errors import UnsupportedOp
from oaq.program.layout import layout_key


@dataclass(frozen=True)
class View:
    """One of our tensors, as the file sees it.

    Attributes:
        tensor: of the graph under construction; its memory is in the order of its own (C, ...).
        layout: of that memory, by the axes of one sample in the file.
    """

    tensor: str
    layout: Layout

    @property
    def is_plain(self) -> bool:
        """The file's axes lie in memory in their own order."""
        return self.layout.is_in(range(len(self.layout.axes)))

    def axes(self, shape: Shape) -> Shape | None:
        """``Layout.axes_of``."""
        return self.layout.axes_of(shape)


@dataclass(frozen=True)
class FloatEdge:
    """A value that stays in float at the network's edge: what is left undone to ``tensor``, in the file's words."""

    tensor: str
    undone: tuple[str, ...]


@dataclass
class Builder(Assembly):
    """A graph under construction, from a file's.

    Attributes:
        file: what is read.
        values: by the file's names.
        names: the file's names of each of our tensors that may still be read; the reverse of ``values``.
        reshaped: tensors of ours that a reshape of ours reads, for which the file has no node.
        has_samples: axis 0 of what the node at hand reads and writes is the batch; otherwise a tensor is one sample.
    """

    file: OnnxGraph = field(kw_only=True)
    values: dict[str, View | FloatEdge] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    reshaped: set[str] = field(default_factory=set)
    has_samples: bool = True

    def settle(self, name: str, value: View | FloatEdge) -> None:
        """Say what the file's tensor ``name`` is."""
        self.values[name] = value
        if isinstance(value, View):
            self.names.setdefault(value.tensor, []).append(name)

    def view(self, name: str, node: OnnxNode) -> View:
        """What the file's tensor ``name`` is.

        Raises:
            UnsupportedOp: it is a constant, left out, or behind something that stays in float.
        """
        value = self.values.get(name)
        if isinstance(value, View):
            return value
        if isinstance(value, FloatEdge):
            raise unsupported(node, f"it reads {value.undone[-1]}, which oaq leaves in float at a network's end only")
        raise unsupported(node, f"its input {name!r} is a constant, or left out; an activation is expected")

    def read(self, name: str, node: OnnxNode) -> str:
        """The tensor ``name`` with its memory in the order of the file's axes; reshaped or moved for that where needed.

        Raises:
            UnsupportedOp: it has more axes than oaq takes.
        """
        view = self.view(name, node)
        shape = view.layout.shape
        if shape == self.shapes[view.tensor] and view.is_plain:
            return view.tensor
        place = Location(name, site(node).shown)
        if view.is_plain:
            tensor = self.reshape(view.tensor, shape, self.foldable(name, node), place)
        else:
            tensor = self.rearrange(view.tensor, view.layout, place)
        self.reshaped.add(view.tensor)
        self.settle(name, View(tensor, layout_of(shape)))
        return tensor

    def counted(self, name: str, node: OnnxNode) -> tuple[str, Shape]:
        """The tensor ``name``, and for each of the file's axes which of the tensor's own it is.

        Raises:
            UnsupportedOp: they do not correspond one to one, and are more than oaq takes.
        """
        view = self.view(name, node)
        axes = view.axes(self.shapes[view.tensor])
        if axes is not None:
            return view.tensor, axes
        memory_order = self._in_memory_order(view)
        if memory_order is not None and not view.is_plain:
            target = tuple(view.layout.shape[axis] for axis in memory_order)
            tensor = self.append(FloatReshape(target), (view.tensor,), target, Location(name, site(node).shown))
            axes = tuple(np.argsort(memory_order).tolist())
            self.reshaped.add(view.tensor)
            self.settle(name, View(tensor, layout_of(target, axes)))
            return tensor, axes
        tensor = self.read(name, node)
        return tensor, tuple(range(len(self.shapes[tensor])))

    def _in_memory_order(self, view: View) -> Shape | None:
        """The file's axes in the order of (C, ...) in which they lie, if another shape is all that they need."""
        memory_order, rank = view.layout.order, len(view.layout.axes)
        if memory_order is None or rank > max(LARGEST_RESHAPED, len(self.shapes[view.tensor])) or not memory_order:
            return None
        order = (*memory_order, *(axis for axis in range(rank) if axis not in memory_order))
        return order if view.layout.shape[order[0]] == self.shapes[view.tensor][0] else None

    def vector(self, name: str, node: OnnxNode) -> tuple[str, NDArray[np.int64] | None]:
        """A tensor of one axis; and which of the file's elements each of its own is, None if they are the same."""
        view = self.view(name, node)
        if view.is_plain:
            return self.read(name, node), None
        shape = view.layout.shape
        tensor = self.append(FloatReshape(shape), (view.tensor,), shape, Location(name, site(node).shown))
        return tensor, view.layout.order_of_elements()

    def channels(self, name: str, node: OnnxNode) -> tuple[str, NDArray[np.int64] | None]:
        """``read``; where channels alone are in another order, the tensor and which of the file's each of its is."""
        view = self.view(name, node)
        order = None if view.is_plain else channel_order(self.shapes[view.tensor], view.layout)
        return (self.read(name, node), None) if order is None else (view.tensor, order)

    def last_axis(self, name: str, node: OnnxNode) -> tuple[str, Shape]:
        """``counted``, of a tensor whose channels are the file's last axis; moved for that where they are not."""
        rank = len(self.view(name, node).layout.axes)
        axes = self.view(name, node).axes(self.shapes[self.view(name, node).tensor])
        if axes is not None and axes[-1] == 0:
            return self.counted(name, node)
        return self.with_axes(name, (*range(1, rank), 0), node), (*range(1, rank), 0)

    def with_axes(self, name: str, axes: Shape, node: OnnxNode) -> str:
        """The tensor ``name``, of which each of the file's axes is ``axes``; moved for that where it is not.

        Raises:
            UnsupportedOp: it has more axes than oaq takes.
        """
        view = self.view(name, node)
        if view.axes(self.shapes[view.tensor]) == axes:
            return view.tensor
        layout = view.layout.transposed(np.argsort(axes).tolist())
        tensor = self.rearrange(view.tensor, layout, Location(name, site(node).shown))
        self.reshaped.add(view.tensor)
        return tensor

    def as_channels(self, name: str, rank: int, node: OnnxNode) -> str:
        """The tensor ``name``, of one wide axis at most, as (C, 1, ...) of ``rank`` axes."""
        view = self.view(name, node)
        shape = (prod(view.layout.sizes), *(1,) * (rank - 1))
        if self.shapes[view.tensor] == shape:
            return view.tensor
        return self.append(FloatReshape(shape), (view.tensor,), shape, Location(name, site(node).shown))

    def shape_of(self, name: str) -> Shape:
        """Shape of one sample of a settled value, as the file counts axes."""
        view = self.values[name]
        assert isinstance(view, View)
        return view.layout.shape

    def is_activation(self, name: str) -> bool:
        """Whether the tensor depends on the network's input."""
        return name in self.values

    def constant(self, name: str, node: OnnxNode) -> Floats:
        """The numbers of a constant in float64.

        Raises:
            UnsupportedOp: it is computed from the input, or holds no numbers.
        """
        array = self.file.constant(name)
        if array is None or array.dtype.kind not in "fiu" or not array.size:
            raise unsupported(node, f"its input {name!r} is not a constant number; only constants can be taken there")
        with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
            return array.astype(np.float64)

    def scalar(self, name: str, node: OnnxNode) -> float | None:
        """One number; None where the input is left out."""
        if not name:
            return None
        array = self.constant(name, node)
        if array.size != 1:
            raise unsupported(node, f"its input {name!r} is of shape {array.shape}; one number can be taken there")
        return float(array.reshape(()))

    def inputs_of(self, node: OnnxNode) -> Inputs:
        """What is known of a node's inputs, as the rules of shapes want it."""
        types = [self.file.types.get(name, TensorType()) for name in node.inputs]
        return Inputs(types, [self.file.constant(name) for name in node.inputs], self.file.opset)

    def sample(self, name: str, node: OnnxNode) -> Shape:
        """Shape of one sample of the file's tensor.

        Raises:
            UnsupportedOp: its first axis is not the batch.
        """
        shape = self.file.shape(name)
        if not self.has_samples:
            return shape
        if not shape or shape[0] != self.file.batch:
            raise unsupported(node, f"it mixes samples: {shape} from a batch of {self.file.batch}")
        return shape[1:]

    def wants_more(self, node: OnnxNode) -> bool:
        """Whether anybody looks at more than the node's first result."""
        return any(name in self.file.outputs or name in self.file.consumers for name in node.outputs[1:] if name)

    def foldable(self, name: str, node: OnnxNode) -> FloatNode | None:
        """The node that computes ``name`` if only ``node`` reads its result, so that the two may become one."""
        view = self.values.get(name)
        if not isinstance(view, View):
            return None
        if view.tensor in self.reshaped:
            return None
        outputs = self.file.outputs
        readers = {alias: self._readers(alias, view.tensor) for alias in self.names[view.tensor]}
        open_ones = [alias for alias, users in readers.items() if users or alias in outputs]
        self.names[view.tensor] = open_ones
        if any(alias in outputs or readers[alias] != [node.name] for alias in open_ones):
            return None
        return self.nodes.get(view.tensor)

    def _readers(self, name: str, tensor: str) -> list[str]:
        """Nodes that read the file's ``name``, without those that have been found to give ``tensor`` as it is."""
        readers = []
        for user in self.file.consumers.get(name, ()):
            result = self.values.get(user.outputs[0]) if user.outputs else None
            if not (isinstance(result, View) and result.tensor == tensor):
                readers.append(user.name)
        return readers

    def emit(self, op: FloatOp, inputs: Iterable[str], shape: Shape, node: OnnxNode, axes: Shape | None = None) -> None:
        """Append a node for the file's ``node``, whose first result it is.

        Args:
            op: what is computed.
            inputs: tensors of ours.
            shape: of the result, in our order.
            node: of the file.
            axes: for each of the file's axes which of ours it is; None if they are the same.
        """
        self.write(node, self.append(op, inputs, shape, site(node)), axes)

    def write(self, node: OnnxNode, tensor: str, axes: Shape | None = None) -> None:
        """``node`` writes ``tensor``; ``axes`` as for ``emit``."""
        self.settle(node.outputs[0], View(tensor, layout_of(self.shapes[tensor], axes)))

    def output(self, name: str) -> tuple[str, Shape]:
        """``counted``, of what the file calls an output."""
        return self.counted(name, OnnxNode(name, "output", "", (name,), (), {}))

    def recount(self, name: str, shape: Shape) -> None:
        """From here on the file's ``name`` has ``shape``, which differs from what it had by axes of size 1 only."""
        view = self.values[name]
        layout = view.layout.reshaped(shape) if isinstance(view, View) else None
        assert isinstance(view, View) and layout is not None
        self.settle(name, View(view.tensor, layout))

    def finished(self, outputs: Sequence[str], metadata: dict[str, str], layouts: dict[str, str]) -> FloatGraph:
        """The graph with its outputs named as in the file, where those names are free.

        Args:
            outputs: the file's names.
            metadata: of the graph.
            layouts: of inputs and outputs, by our tensors, that differ from what the metadata say of all.
        """
        renamed = {}
        for name in outputs:
            view = self.values[name]
            assert isinstance(view, View)
            if name not in self.shapes and view.tensor not in renamed:
                renamed[view.tensor] = name
        self.renamed(renamed)
        tensors = [self.values[name].tensor for name in outputs]  # type: ignore[union-attr]
        layout_notes = {layout_key(renamed.get(tensor, tensor)): layout for tensor, layout in layouts.items()}
        return self.graph(tuple(renamed.get(tensor, tensor) for tensor in tensors), {**metadata, **layout_notes})

    def renamed(self, names: Mapping[str, str]) -> Builder:
        """Call tensors otherwise, by their names now; those left out keep theirs. Returns itself."""
        self.shapes = {names.get(name, name): shape for name, shape in self.shapes.items()}
        self.nodes = {
            names.get(name, name): replace(
                node,
                inputs=tuple(names.get(tensor, tensor) for tensor in node.inputs),
                output=names.get(name, name),
            )
            for name, node in self.nodes.items()
        }
        return self


def layout_of(shape: Shape, axes: Shape | None = None) -> Layout:
    """Memory in our ``shape``, seen by a file whose axis i is our axis ``axes[i]``."""
    axes = tuple(range(len(shape))) if axes is None else axes
    return Layout.in_order(tuple(shape[axis] for axis in axes), tuple(np.argsort(axes).tolist()))


def site(node: OnnxNode) -> Location:
    """Where a node stands, for the graph and for messages."""
    return Location(node.name, described(node))


def unsupported(node: OnnxNode, reason: str) -> UnsupportedOp:
    """The error for a node that cannot be taken."""
    return site(node).unsupported(reason)
