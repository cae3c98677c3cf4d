"""``Net``: a graph while it is drawn, with what is known of each of its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

MICROSOFT: Final = "com.microsoft"
Form = Literal["quantized", "float"]
Shape = tuple[int, ...]
NARROW: Final = {"int4": (TensorProto.INT4, -8, 7), "uint4": (TensorProto.UINT4, 0, 15)}
WIDE: Final = {"int8": (TensorProto.INT8, -128, 127), "uint8": (TensorProto.UINT8, 0, 255)}
KINDS: Final = {**WIDE, **NARROW}
ROOM: Final = 3.0
"""How many times as far as they are likely to go results may go before a quantizer cuts them off."""


class Impossible(Exception):
    """The operator does not take such a tensor, in such an opset; another one is drawn."""


@dataclass(frozen=True)
class Stored:
    """The integers behind a real tensor.

    Attributes:
        name: of the integers.
        scale: name of it.
        zero_point: name of it; "" if it is left out.
        kind: of the integers.
        step: the scale.
    """

    name: str
    scale: str
    zero_point: str
    kind: str
    step: float


@dataclass(frozen=True)
class Tensor:
    """A float tensor of the graph.

    Attributes:
        name: in the graph.
        shape: all axes.
        lo: about the least value that is likely.
        hi: about the greatest.
        stored: the integers it was dequantized from; None if it was not.
    """

    name: str
    shape: Shape
    lo: float
    hi: float
    stored: Stored | None = None

    @property
    def reach(self) -> float:
        """The largest magnitude that is likely."""
        return max(abs(self.lo), abs(self.hi), 1e-3)


@dataclass
class Net:
    """A graph that grows node by node.

    Attributes:
        rng: of everything drawn.
        opset: of ONNX's own operators.
        form: whether tensors are quantized on the way.
        forced: attributes that the next node of that operator has instead of those drawn.
    """

    rng: np.random.Generator
    opset: int
    form: Form = "quantized"
    forced: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    earlier: list[Tensor] = field(default_factory=list)

    def chance(self, share: float) -> bool:
        """True that often."""
        return bool(self.rng.random() < share)

    def pick(self, options: Sequence[Any]) -> Any:  # noqa: ANN401 (whatever is offered)
        """One of them."""
        return options[int(self.rng.integers(len(options)))]

    def between(self, least: int, most: int) -> int:
        """An integer, both ends included."""
        return int(self.rng.integers(least, most + 1))

    def constant(self, values: Any, dtype: Any = np.float32) -> str:  # noqa: ANN401 (what NumPy takes)
        """An initializer, now and then a Constant node."""
        tensor = numpy_helper.from_array(np.asarray(values, dtype), f"c{len(self.constants) + len(self.nodes)}")
        return self.raw(tensor)

    def integers(self, values: NDArray[np.int64], kind: str) -> str:
        """An initializer of integers of that type, 4 bits included."""
        name = f"c{len(self.constants) + len(self.nodes)}"
        return self.raw(helper.make_tensor(name, KINDS[kind][0], values.shape, values.reshape(-1).tolist()))

    def raw(self, tensor: onnx.TensorProto) -> str:
        """A constant of the graph under its own name."""
        if self.chance(0.15):
            node = helper.make_node("Constant", [], [tensor.name], name=f"Constant_{tensor.name}", value=tensor)
            self.nodes.append(node)
        else:
            self.constants.append(tensor)
        return tensor.name

    def node(self, op: str, *inputs: str, results: Any = 1, domain: Any = "", **attributes: Any) -> str:  # noqa: ANN401
        """One operator applied; the name of its first result, further ones end in .1, .2, ..."""
        name = f"{op}{len(self.nodes)}"
        outputs = [f"{name}.0", *(f"{name}.{index}" for index in range(1, results))]
        attributes |= self.forced.get(op, {})
        names = list(inputs)
        while names and not names[-1]:
            names.pop()
        self.nodes.append(helper.make_node(op, names, outputs, name=name, domain=domain, **attributes))
        return outputs[0]

    def numbers(self, op: str, x: str, name: str, values: Sequence[int], since: int, **attributes: Any) -> str:  # noqa: ANN401
        """An operator whose list is an attribute before opset ``since``, its second input from then on."""
        if self.opset < since:
            return self.node(op, x, **{name: list(values)}, **attributes)
        return self.node(op, x, self.constant(values, np.int64), **attributes)

    def input(self, shape: Shape, batch: str | int, kind: str = "float") -> Tensor:
        """An input of the graph: real, or integers that are dequantized first."""
        name, dims = "xyz"[len(self.inputs)], [batch, *shape[1:]]
        if kind == "float":
            self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
            return Tensor(name, shape, -2.0, 2.0)
        self.inputs.append(helper.make_tensor_value_info(name, KINDS[kind][0], dims))
        scale, zero = self.map_of(Tensor(name, shape, -2.0, 2.0), kind)
        s, z = self.constant(np.float32(scale)), self.integers(np.array(zero), kind)
        stored = Stored(name, s, z, kind, scale)
        return Tensor(self.node("DequantizeLinear", name, s, z), shape, -2.0, 2.0, stored)

    def per_channel(self, x: Tensor) -> Tensor:
        """``x`` through a quantizer that has one scale for each index of axis 1."""
        scale = self.constant(self.rng.uniform(0.01, 0.03, x.shape[1]) * x.reach)
        zero = self.integers(np.full(x.shape[1], 128), "uint8")
        q = self.node("QuantizeLinear", x.name, scale, zero, axis=1)
        return replace(x, name=self.node("DequantizeLinear", q, scale, zero, axis=1), stored=None)

    def quantized(self, x: Tensor, kind: str | None = None) -> Tensor:
        """``x`` through QuantizeLinear and DequantizeLinear; in float graphs ``x`` itself."""
        if self.form == "float":
            return x
        kind = str(kind or self.pick([*WIDE] * 6 + [*NARROW] * (self.opset >= 21)))
        _, least, most = KINDS[kind]
        scale, zero = self.map_of(x, kind)
        s = self.constant(np.float32(scale) if self.chance(0.85) else np.array([scale]))
        forms = ["constant", "constant"]
        forms += ["absent"] * (kind == "uint8" and zero == 0) + ["dtype"] * (zero == 0 and self.opset >= 21)
        form = self.pick(forms)
        z = self.integers(np.array(zero), kind) if form == "constant" else ""
        more = {"output_dtype": KINDS[kind][0]} if form == "dtype" else {}
        q = self.node("QuantizeLinear", x.name, s, z, **more)
        reals = self.node("DequantizeLinear", q, s, z)
        lo, hi = scale * (least - zero), scale * (most - zero)
        stored = Stored(q, s, z, kind, scale)
        return replace(x, name=reals, lo=max(lo, x.lo), hi=min(hi, x.hi), stored=stored)

    def map_of(self, x: Tensor, kind: str) -> tuple[float, int]:
        """A scale and a zero point under which most of ``x`` fits."""
        _, least, most = KINDS[kind]
        lo, hi = min(x.lo, 0.0), max(x.hi, 0.0)
        if self.chance(0.2):  # symmetric
            lo, hi = -max(-lo, hi), max(-lo, hi)
        scale = float(np.float32(max(hi - lo, 1e-3) / (most - least) * self.rng.uniform(0.6, 1.5)))
        zero = int(np.clip(round(least - lo / scale), least, most))
        return scale, 0 if least < 0 and self.chance(0.3) else zero

    def model(self, outputs: Sequence[str], kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
        """The whole file; ``kind`` is the type of its outputs."""
        graph = helper.make_graph(
            self.nodes,
            "drawn",
            self.inputs,
            [helper.make_tensor_value_info(name, kind, None) for name in outputs],
            self.constants,
        )
        opsets = [helper.make_opsetid("", self.opset)]
        if any(node.domain for node in self.nodes):
            opsets.append(helper.make_opsetid(MICROSOFT, 1))
        version = max(helper.find_min_ir_version_for(opsets[:1]), 4)
        return helper.make_model(graph, opset_imports=opsets, ir_version=version, producer_name="drawn")
