"""The float graph while a TFLite file is read: which of its tensors is which of the graph's.

A file counts channels last, (1, H, W, C); the graph holds them first. Nothing is moved: reshapes keep the order of
values that the file has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from oaq.capture.assembly import Assembly
from oaq.capture.folding import Floats
from oaq.capture.from_tflite.graph import TfliteGraph, TfliteOperator, TfliteTensor
from oaq.capture.from_tflite.multipliers import BOUNDS
from oaq.capture.graph import FloatFunction, FloatNode, FloatOp
from oaq.capture.location import Location
from oaq.errors import UnsupportedOp
from oaq.operators.tensor import Shape
from oaq.program.layout import channels_first

TANH: Final = 4
"""Fused activation that is more than a clamp, by the schema's number."""


@dataclass
class FloatTfliteBuilder(Assembly):
    """A graph under construction.

    Attributes:
        file: what is read.
        values: the graph's tensor by the file's.
        constants: numbers that an operator of the file only unpacks, by its tensor.
        edges: by tensors left in float, the tensor they start from and what is done to it.
    """

    file: TfliteGraph = field(default_factory=lambda: TfliteGraph("", "", (), (), (), ()))
    values: dict[int, str] = field(default_factory=dict)
    constants: dict[int, Floats] = field(default_factory=dict)
    edges: dict[int, tuple[int, tuple[str, ...]]] = field(default_factory=dict)

    def tensor(self, operator: TfliteOperator, index: int) -> TfliteTensor:
        """The input at that place.

        Raises:
            FormatError: it is left out.
        """
        return self.file.input_of(operator, index)

    def is_activation(self, operator: TfliteOperator, index: int) -> bool:
        """Whether the input depends on what the caller gives."""
        return operator.input_at(index) in self.values

    def read(self, operator: TfliteOperator, index: int) -> str:
        """The graph's tensor for an input.

        Raises:
            UnsupportedOp: it is a constant, or left in float.
        """
        tensor = self.tensor(operator, index)
        if tensor.index not in self.values:
            what = "left in float" if tensor.index in self.edges else "a constant"
            raise site(operator).unsupported(f"its input {tensor.name!r} is {what}")
        return self.values[tensor.index]

    def constant(self, operator: TfliteOperator, index: int) -> Floats:
        """The numbers of an input that the file holds: floats, or 8-bit integers by their scales.

        Raises:
            UnsupportedOp: it is computed, or of another type.
        """
        tensor = self.tensor(operator, index)
        if tensor.index in self.constants:
            return self.constants[tensor.index]
        numbers = unpacked(tensor)
        if numbers is None:
            raise site(operator).unsupported(f"its input {tensor.name!r} is computed, or {tensor.kind} without scales")
        return numbers

    def foldable(self, operator: TfliteOperator, index: int) -> FloatNode | None:
        """The node that computes an input, if nothing else reads it, so that ``operator`` may become part of it."""
        tensor = self.tensor(operator, index)
        name = self.values.get(tensor.index, "")
        alone = sum(1 for value in self.values.values() if value == name) == 1
        if not alone or len(self.file.readers.get(tensor.index, ())) != 1 or tensor.index in self.file.outputs:
            return None
        return self.nodes.get(name)

    def emit(self, op: FloatOp, inputs: tuple[str, ...], shape: Shape, operator: TfliteOperator) -> None:
        """Append a node, fused activation included, that computes the operator's result."""
        self.write(operator, self.append(op, inputs, shape, site(operator)))

    def write(self, operator: TfliteOperator, name: str) -> None:
        """Let the graph's tensor ``name`` be the operator's result, before its fused activation.

        Raises:
            UnsupportedOp: the activation is not known, or the result has another shape than declared.
        """
        function, place = int(operator.option("FusedActivationFunction")), site(operator)
        if function == TANH:
            name = self.append(FloatFunction("tanh"), (name,), self.shapes[name], place.under(".tanh"))
        elif function in BOUNDS:
            if function:
                name = self.clamp(name, BOUNDS[function], self.nodes.get(name), place.under(".clamp"))
        else:
            raise place.unsupported(f"its fused activation is number {function}, which oaq does not know")
        declared = self.sample(operator)
        if self.shapes[name] != declared:
            raise place.unsupported(f"computes {self.shapes[name]} of one sample, but declares {declared}")
        self.values[operator.outputs[0]] = name

    def sample(self, operator: TfliteOperator) -> Shape:
        """Shape of one sample of the result, as declared, channels first."""
        return sample_of(self.file.tensors[operator.outputs[0]], site(operator))


def site(operator: TfliteOperator) -> Location:
    """Where an operator stands."""
    return Location(operator.name, str(operator))


def sample_of(tensor: TfliteTensor, place: Location) -> Shape:
    """Shape of one sample, channels first.

    Raises:
        UnsupportedOp: the first axis is not a batch of 1, there are too many axes, or one is empty.
    """
    shape = tensor.shape
    if not 2 <= len(shape) <= 4 or shape[0] != 1 or 0 in shape:
        raise place.unsupported(
            f"{tensor.name!r} is {shape}; oaq takes (1, C), (1, T, C) and (1, H, W, C), whose first axis is the batch"
        )
    return channels_first(shape[1:])


def unpacked(tensor: TfliteTensor) -> Floats | None:
    """Numbers of a constant as float64; None if they are not floats, nor 8-bit integers with scales."""
    if tensor.data is None:
        return None
    if tensor.kind in ("FLOAT32", "FLOAT16"):
        return tensor.data.astype(np.float64)
    if tensor.kind not in ("INT8", "UINT8") or not tensor.scale.size or tensor.blocks:
        return None
    along = [1] * tensor.data.ndim
    if tensor.scale.size > 1:
        if not 0 <= tensor.axis < tensor.data.ndim or tensor.data.shape[tensor.axis] != tensor.scale.size:
            raise UnsupportedOp(f"tensor {tensor.name!r}: {tensor.scale.size} scales along axis {tensor.axis}")
        along[tensor.axis] = -1
    zero = tensor.zero_point if tensor.zero_point.size else np.zeros(1, np.int64)
    scale = tensor.scale.astype(np.float64).reshape(along if tensor.scale.size > 1 else [1] * len(along))
    return (tensor.data.astype(np.float64) - np.broadcast_to(zero, tensor.scale.shape).reshape(scale.shape)) * scale
