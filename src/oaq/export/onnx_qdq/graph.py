"""Nodes and constants of an ONNX graph under construction."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from oaq.numerics.formats import U8
from oaq.program.int_program import IntProgram


class Graph:
    """Collects nodes and constants, and keeps their names apart.

    Attributes:
        nodes: in order.
        constants: by name.
        u8: ONNX name of each u8 tensor of the program.
    """

    def __init__(self, program: IntProgram, taken: Iterable[str] = ()) -> None:
        """``taken``: further names that are not free."""
        self.program = program
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        # Inputs and outputs of the model are called like the program's, so those names are taken first.
        self._names = {*program.inputs, *program.outputs, *taken}
        self._shared: dict[object, str] = {}
        self.u8 = {name: self.fresh(f"{name}_q") for name in program.tensors}

    def fresh(self, name: str) -> str:
        """``name``, or ``name`` with the first number that makes it new."""
        candidate, number = name, 1
        while candidate in self._names:
            candidate, number = f"{name}_{number}", number + 1
        self._names.add(candidate)
        return candidate

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """A new constant called ``name`` or like it; returns its name."""
        name = self.fresh(name)
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
        return name

    def shared(self, key: object, name: str, value: NDArray[Any]) -> str:
        """A constant that everyone who asks with the same key gets."""
        if key not in self._shared:
            self._shared[key] = self.constant(name, value)
        return self._shared[key]

    def value(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:  # noqa: ANN401 (ONNX's own)
        """One node with a new result called ``name`` or like it; returns the result's name."""
        return self.node(operator, inputs, self.fresh(name), **attributes)

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:  # noqa: ANN401 (ONNX's own)
        """One node that writes ``output``."""
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def dequantize(self, tensor: str, output: str | None = None) -> str:
        """The real values of a u8 tensor, by a DequantizeLinear of their reader's own (as fusing runtimes want)."""
        inputs = [self.u8[tensor], *self.affine(tensor)]
        return self.node("DequantizeLinear", inputs, output or self.fresh(f"{tensor}_real"))

    def quantize(self, real: str, tensor: str, clip: bool = True) -> str:
        """Write a u8 tensor: QuantizeLinear, then an integer Clip where the effective range is narrower than u8.

        The Clip works on integers, after QuantizeLinear: in front of it, it would keep runtimes from fusing the
        operator with its quantizers.
        """
        spec, output = self.program.tensors[tensor], self.u8[tensor]
        scale_and_zero = self.affine(tensor)
        if spec.range == U8 or not clip:
            return self.node("QuantizeLinear", [real, *scale_and_zero], output)
        wide = self.value("QuantizeLinear", [real, *scale_and_zero], f"{output}_wide")
        ends = [self.shared(end, f"u8_{end}", np.array(end, np.uint8)) for end in (spec.range.lo, spec.range.hi)]
        return self.node("Clip", [wide, *ends], output)

    def dequantized_constant(
        self, name: str, value: NDArray[Any], scale: NDArray[np.float32], axis: int, *, zero: int = 0
    ) -> str:
        """A constant of integers with one scale per entry of ``axis`` and one zero point for all.

        Equal integers are one constant: a head that is called for every level has its weights once.
        """
        key = "integers", value.dtype.str, value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).digest()
        inputs = [
            self.shared(key, name, value),
            self.constant(f"{name}_scale", scale),
            self.constant(f"{name}_zero_point", np.full(scale.shape, zero, value.dtype)),
        ]
        return self.value("DequantizeLinear", inputs, f"{name}_real", axis=axis)

    def affine(self, tensor: str) -> tuple[str, str]:
        """Names of the constants that hold a tensor's scale and zero point."""
        spec = self.program.tensors[tensor]
        scale, zero = np.array(spec.affine.scale, np.float32), np.array(spec.affine.zero_point, np.uint8)
        return (
            self.shared((spec.name, "scale"), f"{spec.name}_scale", scale),
            self.shared((spec.name, "zero_point"), f"{spec.name}_zero_point", zero),
        )
