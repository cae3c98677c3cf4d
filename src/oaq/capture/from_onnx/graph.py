"""``OnnxGraph``: an ONNX file as plain values, checked once, so that importers need trust nothing and load no onnx.

What every ``OnnxGraph`` keeps:

* nodes are in execution order; every name they read is an input, a constant, or written by exactly one earlier node;
* there are no subgraphs, no functions, no no-ops, and nothing that depends on constants and shapes only (it is a
  constant), except DequantizeLinear of constants: whether those stay integers, importers say;
* every scale and zero point that is a constant is one: finite, positive, of fitting type and length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import UnsupportedOp

UNNAMED: Final = "axis "
"""Begins what messages call an open size that the file has no name for."""
Array = NDArray[Any]
Value = int | float | str | Array | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]
"""What an attribute holds."""


@dataclass(frozen=True)
class TensorType:
    """What is known of a tensor before it is computed.

    Attributes:
        dtype: None if unknown.
        shape: all axes, the batch first; None if unknown.
        bits: of its integers where they are narrower than ``dtype``: 4 for INT4, which is read as int8; else None.
    """

    dtype: np.dtype[Any] | None = None
    shape: tuple[int, ...] | None = None
    bits: int | None = None


@dataclass(frozen=True, eq=False)
class OnnxNode:
    """One operator applied.

    Attributes:
        name: unique: the file's, or made from the operator and its first output where the file gives none, or gives one
            twice.
        op: operator type.
        domain: "" is ONNX's own ("ai.onnx" is written as "").
        inputs: names; "" where an optional input is left out.
        outputs: names; "" where the output is not used. They name the node in the file even if ``name`` does not.
        attributes: as Python values.
    """

    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Value]

    def input_name(self, index: int) -> str:
        """The name of that input; "" if it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""

    @property
    def kind(self) -> str:
        """Operator with its domain, as messages show it: ``Conv``, ``com.microsoft.QGemm``."""
        return f"{self.domain}.{self.op}" if self.domain else self.op


@dataclass(frozen=True, eq=False)
class OnnxGraph:
    """A whole file; see the module for what it keeps.

    Attributes:
        where: the file, for messages.
        name: of the graph.
        nodes: in execution order.
        inputs: that the caller gives.
        outputs: that the caller gets.
        constants: by name: initializers, results of Constant nodes, and whatever was folded.
        types: of every tensor, constants included.
        opsets: version by domain.
        batch: size of axis 0 of the inputs as the file declares it, 1 where it leaves that open. One sample is what one
            index of axis 0 holds.
        producer: "name version" of the tool that wrote the file.
        metadata: the file's ``metadata_props``.
        initializers: constants that stand in the file under their own names.
        folded: nodes that were computed beforehand, by each output: sources of constants that are not initializers.
    """

    where: str
    name: str
    nodes: tuple[OnnxNode, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, Array]
    types: Mapping[str, TensorType]
    opsets: Mapping[str, int]
    batch: int
    producer: str
    metadata: Mapping[str, str]
    initializers: frozenset[str]
    folded: Mapping[str, OnnxNode]

    @property
    def opset(self) -> int:
        """Version of ONNX's own operators."""
        return self.opsets.get("", 1)

    @cached_property
    def producers(self) -> Mapping[str, OnnxNode]:
        """The node that writes each tensor; inputs and constants have none."""
        return MappingProxyType({name: node for node in self.nodes for name in node.outputs if name})

    @cached_property
    def consumers(self) -> Mapping[str, tuple[OnnxNode, ...]]:
        """The nodes that read each tensor, once each, in order; a tensor that is not read has no entry."""
        readers: dict[str, list[OnnxNode]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                if name:
                    readers.setdefault(name, []).append(node)
        return MappingProxyType({name: tuple(nodes) for name, nodes in readers.items()})

    def constant(self, name: str) -> Array | None:
        """The value of ``name``, or None if it is computed (or left out)."""
        return self.constants.get(name)

    def shape(self, name: str) -> tuple[int, ...]:
        """All axes of a tensor.

        Raises:
            UnsupportedOp: neither the file nor the operators known here say it.
        """
        shape = self.types.get(name, TensorType()).shape
        if shape is None:
            node = self.producers.get(name)
            writer = f", the result of {node.name!r} ({node.kind})," if node else ""
            raise UnsupportedOp(
                f"{self.where}: the shape of {name!r}{writer} is not known. Run onnx.shape_inference on the file first"
            )
        return shape

    def dtype(self, name: str) -> np.dtype[Any] | None:
        """Element type of a tensor; None if unknown."""
        return self.types.get(name, TensorType()).dtype

    def bits(self, name: str) -> int | None:
        """Bits of a tensor's integers where they are narrower than its ``dtype``; else None."""
        return self.types.get(name, TensorType()).bits
