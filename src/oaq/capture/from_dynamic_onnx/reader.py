"""Layers of a dynamic ONNX file as plain values: which nodes multiply constant bytes, and where their scales stand.

Read are ONNX's MatMulInteger and ConvInteger, and ONNX Runtime's DynamicQuantizeMatMul, MatMulIntegerToFloat and
QAttention. What is proved of such a layer needs its weights and the type of its operands, so no shape has to be known:
batch, sequence and whatever else may be open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.capture.content import read_content
from oaq.capture.from_onnx.attributes import integer, integers
from oaq.capture.from_onnx.graph import OnnxNode
from oaq.capture.from_onnx.reader import execution_order
from oaq.errors import FormatError, UnsupportedOp

if TYPE_CHECKING:
    from oaq.capture.from_onnx.proto import Decoded

Array = NDArray[Any]
MICROSOFT: Final = "com.microsoft"
LARGEST_FILE: Final = (1 << 31) - 1
LONGEST_CHAIN: Final = 64
"""Nodes between a product and its scale, or its operands and their quantization; beyond is a damaged file."""
MOVES: Final = (
    "Reshape",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Flatten",
    "Slice",
    "Gather",
    "Concat",
    "Identity",
    "Pad",
)
"""Operators that move integers and change none."""
STATIC: Final = ("QuantizeLinear", "QLinearConv", "QLinearMatMul", "QGemm", "QLinearAdd")
"""Operators of files whose activations have constant scales."""
IN_FLOAT: Final = ("DynamicQuantizeLSTM", "DynamicQuantizeGRU")


@dataclass(frozen=True)
class _Form:
    """Which inputs of an operator are what; -1 for what it has none of."""

    operand: int
    weight: int
    weight_zero: int
    scale: int = -1
    signed_operand: bool = False


FORMS: Final[Mapping[tuple[str, str], _Form]] = {
    ("", "MatMulInteger"): _Form(0, 1, 3),
    ("", "ConvInteger"): _Form(0, 1, 3),
    (MICROSOFT, "MatMulIntegerToFloat"): _Form(0, 1, 5, 3),
    (MICROSOFT, "DynamicQuantizeMatMul"): _Form(0, 1, 3, 2),
    (MICROSOFT, "QAttention"): _Form(0, 1, 7, 4),
}
QUANTIZES: Final = ("DynamicQuantizeMatMul",)
"""Operators that quantize their operands themselves, to u8."""


@dataclass(frozen=True)
class ScaleUse:
    """Where a scale of weights is read.

    Attributes:
        output: first result of the node that reads it: what names the node in the file.
        slot: which of its inputs.
        name: of the scale.
    """

    output: str
    slot: int
    name: str


@dataclass(frozen=True, eq=False)
class DynamicProduct:
    """One node that multiplies by constant bytes.

    Attributes:
        node: its name.
        output: its first result.
        kind: its operator.
        operand: name of what it multiplies.
        weight_name: in the file.
        weight: as stored: (K, N), or (N, C / groups, ...) of a convolution.
        zero_name: "" if the file has none.
        zero: as stored, one or (N,).
        use: where its weights' scale is read; None if it was not found, or is not read by this layer alone.
        scale: as stored; None with ``use``.
        signed: operands are int8.
        groups: of a convolution.
        dilations: likewise.
    """

    node: str
    output: str
    kind: str
    operand: str
    weight_name: str
    weight: Array
    zero_name: str
    zero: Array
    use: ScaleUse | None
    scale: NDArray[np.float32] | None
    signed: bool
    groups: int = 1
    dilations: tuple[int, ...] = ()

    @property
    def convolves(self) -> bool:
        """A convolution: outputs come first."""
        return self.kind == "ConvInteger"

    @property
    def axis(self) -> int:
        """The axis of the stored weights along which the outputs lie."""
        return 0 if self.convolves else 1


@dataclass(frozen=True, eq=False)
class DynamicFile:
    """What a file has of dynamic layers.

    Attributes:
        where: the file, for messages.
        name: of the graph.
        products: in the file's order.
        skipped: nodes of such operators that are no layer of constant weights: name and why.
        is_static: it also holds activations of constant scale.
        parts: the file itself.
    """

    where: str
    name: str
    products: tuple[DynamicProduct, ...]
    skipped: tuple[tuple[str, str], ...]
    is_static: bool
    parts: Decoded

    @property
    def is_dynamic(self) -> bool:
        """It holds dynamic layers and no activations of constant scale."""
        return bool(self.products or self.skipped) and not self.is_static


def read_dynamic(path: str | Path) -> DynamicFile:
    """The dynamic layers of the ONNX file ``path``.

    Raises:
        FormatError: the file is missing, cut off, damaged or contradicts itself.
        UnsupportedOp: it holds something that is not read.
    """
    content = read_content(path, LARGEST_FILE, "is larger than any protobuf; save its weights as external data")
    return decode_dynamic(content, str(path), Path(path).parent)


def decode_dynamic(content: bytes, where: str = "model", folder: Path | None = None) -> DynamicFile:
    """``read_dynamic`` of bytes at hand; ``folder`` is where external data may lie."""
    from oaq.capture.from_onnx import proto  # loads onnx

    parts = proto.decode(content, where, folder)
    try:
        parts = replace(parts, nodes=tuple(execution_order(parts)))
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from error
    tensors = Tensors(parts)
    products, skipped = [], []
    for node in parts.nodes:
        form = FORMS.get((node.domain, node.op))
        if form is None:
            if node.op in IN_FLOAT:
                skipped.append((node.name, f"{node.kind} stays as it is: its sums are not looked at"))
            continue
        product = _product(node, form, tensors)
        if isinstance(product, str):
            skipped.append((node.name, product))
        else:
            products.append(product)
    is_static = any(
        node.op in STATIC and node.inputs[:1] and node.inputs[0] not in tensors.constants for node in parts.nodes
    )
    return DynamicFile(where, parts.name, tuple(products), tuple(skipped), is_static, parts)


class Tensors:
    """Constants, producers and readers by name."""

    def __init__(self, parts: Decoded) -> None:
        self.parts = parts
        self.constants: dict[str, Array] = dict(parts.constants)
        self.producers: dict[str, OnnxNode] = {}
        self.readers: dict[str, list[OnnxNode]] = {}
        for node in parts.nodes:
            value = node.attributes.get("value")
            if node.op == "Constant" and isinstance(value, np.ndarray) and node.outputs:
                self.constants[node.outputs[0]] = value
            self.producers.update(dict.fromkeys(filter(None, node.outputs), node))
            for name in dict.fromkeys(filter(None, node.inputs)):
                self.readers.setdefault(name, []).append(node)

    @cached_property
    def outputs(self) -> frozenset[str]:
        """What the graph gives."""
        return frozenset(self.parts.outputs)

    def constant(self, name: str) -> Array | None:
        """A constant, also behind an Identity."""
        for _ in range(LONGEST_CHAIN):
            if name in self.constants:
                return self.constants[name]
            node = self.producers.get(name)
            if node is None or node.op != "Identity" or not node.inputs:
                return None
            name = node.inputs[0]
        return None

    def only_reader(self, name: str) -> OnnxNode | None:
        """The node that reads a tensor, if nothing else does."""
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self.outputs else None


def result_of(node: OnnxNode) -> str:
    """A node's first result; "" if a damaged file gives it none."""
    return node.outputs[0] if node.outputs else ""


def operand_beside(node: OnnxNode, name: str) -> str:
    """The other operand of a node of two; "" if it has not two, or ``name`` is neither."""
    if len(node.inputs) != 2 or name not in node.inputs:
        return ""
    return node.inputs[1 - node.inputs.index(name)]


def _product(node: OnnxNode, form: _Form, tensors: Tensors) -> DynamicProduct | str:
    """A node as a layer, or why it is none."""
    if not result_of(node):
        return f"{node.kind} has no result"
    if not node.input_name(form.operand):
        return f"{node.kind} multiplies nothing"
    weight_name, zero_name = node.input_name(form.weight), node.input_name(form.weight_zero)
    weight = tensors.constant(weight_name)
    if weight is None:
        return f"{node.kind} multiplies two tensors that are computed; there are no weights to look at"
    zero = tensors.constant(zero_name) if zero_name else np.zeros(1, weight.dtype)
    convolves = node.op == "ConvInteger"
    if (
        weight.dtype not in (np.int8, np.uint8)
        or weight.size == 0
        or not (3 <= weight.ndim <= 5 if convolves else weight.ndim == 2)
    ):
        return f"{node.kind} multiplies {weight.dtype} of shape {weight.shape}, which is no matrix or filter of bytes"
    outputs = weight.shape[0 if convolves else 1]
    if zero is None or zero.dtype != weight.dtype or zero.size not in (1, outputs):
        return f"{node.kind}: the zero points of its weights are computed, or do not fit them"
    signed = _is_signed(node, form, tensors)
    if signed is None:
        return f"{node.kind}: nothing says whether {node.input_name(form.operand)!r} is int8 or uint8"
    use = _scale_use(node, form, tensors)
    scale = None if use is None else tensors.constant(use.name)
    if scale is not None and (scale.dtype != np.float32 or scale.size not in (1, outputs)):
        use = scale = None
    return DynamicProduct(
        node.name,
        node.outputs[0],
        node.op,
        node.input_name(form.operand),
        weight_name,
        weight,
        zero_name,
        zero.reshape(-1),
        use,
        None if scale is None else scale,
        signed,
        integer(node, "group", 1) if convolves else 1,
        tuple(integers(node, "dilations") or ()) if convolves else (),
    )


def _is_signed(node: OnnxNode, form: _Form, tensors: Tensors) -> bool | None:
    """Whether operands are int8; None if the file does not say."""
    if node.op in QUANTIZES:
        return False
    name = node.input_name(form.operand)
    for _ in range(LONGEST_CHAIN):
        declared = tensors.parts.inputs.get(name) or tensors.parts.declared.get(name)
        dtype = declared[0] if declared is not None else None
        if dtype is not None and dtype in (np.int8, np.uint8):
            return dtype == np.int8
        producer = tensors.producers.get(name)
        if producer is None:
            return None
        if producer.op == "DynamicQuantizeLinear":
            return False
        if producer.op == "QuantizeLinear":
            zero = tensors.constant(producer.input_name(2)) if producer.input_name(2) else np.zeros(1, np.uint8)
            return None if zero is None else zero.dtype == np.int8
        if producer.op not in MOVES or not producer.inputs:
            return None
        name = producer.inputs[0]
    return None


def _scale_use(node: OnnxNode, form: _Form, tensors: Tensors) -> ScaleUse | None:
    """Where the scale of a node's weights is read: by itself, or by a Mul that its sums alone reach."""
    if form.scale >= 0:
        name = node.input_name(form.scale)
        return ScaleUse(node.outputs[0], form.scale, name) if tensors.constant(name) is not None else None
    name = node.outputs[0]
    for _ in range(LONGEST_CHAIN):
        reader = tensors.only_reader(name)
        if reader is None or reader.op not in ("Cast", "Mul"):
            return None
        if reader.op == "Mul":
            use = _factor(reader, name, tensors)
            if use is not None:
                return use
        name = result_of(reader)
    return None


def _factor(node: OnnxNode, name: str, tensors: Tensors) -> ScaleUse | None:
    """The constant that a Mul multiplies ``name`` by, or that it multiplies a scale by that only this Mul reads."""
    factor = operand_beside(node, name)
    if tensors.constant(factor) is not None:
        return ScaleUse(result_of(node), 1 - node.inputs.index(name), factor)
    producer = tensors.producers.get(factor)
    if producer is None or producer.op != "Mul" or tensors.only_reader(factor) is not node:
        return None
    for place, operand in enumerate(producer.inputs):
        if tensors.constant(operand) is not None:
            return ScaleUse(factor, place, operand)
    return None


def require_dynamic(file: DynamicFile) -> Sequence[DynamicProduct]:
    """The products of a file that holds some.

    Raises:
        UnsupportedOp: it holds none that can be looked at.
    """
    if file.products:
        return file.products
    reason = f": {file.skipped[0][0]}: {file.skipped[0][1]}" if file.skipped else ""
    raise UnsupportedOp(f"{file.where}: holds no dynamic layer of constant weights{reason}")


__all__ = [
    "DynamicFile",
    "DynamicProduct",
    "FormatError",
    "ScaleUse",
    "decode_dynamic",
    "read_dynamic",
    "require_dynamic",
]
