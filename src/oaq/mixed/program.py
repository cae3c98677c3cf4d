"""``MixedProgram``: a file cut into regions, each of them integers that are proved or floats that are not.

A region is a value: what it reads and writes, of what kind it is, and a body that an executor of that kind runs
(``oaq.mixed.execute``). Regions are in execution order, each convex: whatever it reads is computed before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

from oaq.capture.from_dynamic_onnx.chains import Windows
from oaq.capture.from_onnx.graph import OnnxNode, TensorType
from oaq.dynamic import DynamicLayer
from oaq.mixed.counts import tally
from oaq.mixed.fused.steps import Fused
from oaq.program.edges import Edge
from oaq.program.int_program import IntProgram

Values = NDArray[Any]
Kind = Literal["integer", "float", "dynamic"]
Sizes = tuple[int | str | None, ...]


@dataclass(frozen=True)
class Port:
    """An input or output of the file.

    Attributes:
        name: in the file.
        dtype: of its arrays, as NumPy calls it; "" if nothing says it.
        shape: all axes; a text, or None, where the file leaves a size open; None if nothing is known.
    """

    name: str
    dtype: str
    shape: Sizes | None


@dataclass(frozen=True, eq=False)
class IntegerBody:
    """A part of the file that is one program of integers.

    Attributes:
        program: of this region alone.
        entries: inputs of the program that hold tensors of the file; the rest are integers of earlier regions.
        exits: tensors of the file that the program computes; two may be one tensor of it.
        carried: outputs of the program that later regions read as integers.
        settled: outputs of layers whose bias was brought inside 32 bits, to no effect: ``oaq.settle``.
    """

    program: IntProgram
    entries: tuple[Edge, ...]
    exits: tuple[Edge, ...]
    carried: tuple[str, ...]
    settled: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class FloatBody:
    """A part of the file that stays as it is written there.

    Attributes:
        nodes: in execution order.
        constants: that they read, by name.
        types: of the tensors they read and write, as far as they are known.
        opsets: version by domain.
        protos: serialized ``NodeProto`` by node name, of nodes that hold more than ``OnnxNode`` can say (subgraphs).
        tensors: serialized ``TensorProto`` by name, of constants whose type NumPy does not have.
        ir_version: of the file.
        content: the file itself (its bytes), where all of it is this region; None otherwise.
        folder: where its external data lie, as a text; "" if nowhere.
    """

    nodes: tuple[OnnxNode, ...]
    constants: Mapping[str, Values]
    types: Mapping[str, TensorType]
    opsets: Mapping[str, int]
    protos: Mapping[str, bytes] = field(default_factory=dict)
    tensors: Mapping[str, bytes] = field(default_factory=dict)
    ir_version: int = 8
    content: bytes | None = None
    folder: str = ""


@dataclass(frozen=True, eq=False)
class FusedBody:
    """A part of the file that stays in float and that loops of our own compute; nothing of it is proved.

    Attributes:
        steps: in execution order.
    """

    steps: tuple[Fused, ...]


@dataclass(frozen=True, eq=False)
class DynamicPart:
    """Dynamic layers that read one tensor.

    Attributes:
        x: the tensor of the file.
        layers: that quantize and multiply it.
        names: what the file calls their results.
        windows: of a convolution, which is a part of its own; None for matrices.
    """

    x: str
    layers: tuple[DynamicLayer, ...]
    names: tuple[str, ...]
    windows: Windows | None = None


@dataclass(frozen=True, eq=False)
class DynamicBody:
    """A part of the file that is layers whose activations are quantized as they come.

    Attributes:
        parts: one per tensor that is quantized.
    """

    parts: tuple[DynamicPart, ...]


@dataclass(frozen=True, eq=False)
class Region:
    """One part.

    Attributes:
        name: for people: "integers 1", "floats 2".
        kind: which executor runs it.
        nodes: (name, operator) of the file's nodes it takes the place of, in order.
        reads: tensors of the file it needs; constants, and integers that stay integers between regions, are left out.
        writes: tensors of the file that something behind it needs, likewise.
        reason: of a float region: what keeps its first node from being integers; "" where nothing does but its nature.
        body: what the executor runs.
    """

    name: str
    kind: Kind
    nodes: tuple[tuple[str, str], ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    reason: str
    body: IntegerBody | FloatBody | FusedBody | DynamicBody

    @property
    def carried_in(self) -> tuple[str, ...]:
        """Tensors of integers that earlier regions hand on."""
        if not isinstance(self.body, IntegerBody):
            return ()
        entries = {edge.tensor for edge in self.body.entries}
        return tuple(name for name in self.body.program.inputs if name not in entries)

    @property
    def operators(self) -> str:
        """The kinds of its nodes, the most frequent first: ``2 Reshape, Softmax``."""
        return tally(operator for _, operator in self.nodes)


@dataclass(frozen=True, eq=False)
class MixedProgram:
    """A file, cut into regions.

    Attributes:
        name: for people.
        inputs: of the file, in its order.
        outputs: of the file, in its order.
        regions: in execution order.
        constants: outputs of the file that are constants in it, by name.
        float_reason: reason no part of the file is integers; "" if one is.
    """

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    regions: tuple[Region, ...]
    constants: Mapping[str, Values]
    float_reason: str = ""

    @property
    def integers(self) -> tuple[Region, ...]:
        """Regions that are proved."""
        return tuple(region for region in self.regions if region.kind != "float")

    @property
    def floats(self) -> tuple[Region, ...]:
        """Regions that are not."""
        return tuple(region for region in self.regions if region.kind == "float")
