"""``read``: from an ONNX file to an ``OnnxGraph``, or one error that says what is wrong with the file.

The onnx package is loaded when a file is read, for its protobuf classes only; nothing of a file reaches its C++ code,
except to write out functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from oaq.capture.content import read_content
from oaq.capture.from_onnx.attribute_table import attribute_flaw, unknown_attribute
from oaq.capture.from_onnx.attributes import described, integer
from oaq.capture.from_onnx.fold import evaluate
from oaq.capture.from_onnx.graph import UNNAMED, Array, OnnxGraph, OnnxNode, TensorType
from oaq.capture.from_onnx.inputs import Inputs
from oaq.capture.from_onnx.precedence import in_order
from oaq.capture.from_onnx.scales import check_scales
from oaq.capture.from_onnx.shapes import CAST, LARGEST_TENSOR, infer
from oaq.errors import FormatError, OaqError, UnsupportedOp

if TYPE_CHECKING:
    from oaq.capture.from_onnx.proto import Decoded, Dims

LARGEST_FILE: Final = (1 << 31) - 1
"""Bytes a protobuf may have."""
TOO_LARGE: Final = "is larger than any protobuf; save its weights as external data"


def read(
    path: str | Path, input_shapes: Mapping[str, Sequence[int]] | None = None, *, dequantize: bool = False
) -> OnnxGraph:
    """The network in the ONNX file ``path``.

    Args:
        path: of the file; external data must lie in its folder.
        input_shapes: by input, for files that leave more open than the batch.
        dequantize: also fold DequantizeLinear of constants, for those who want weights as the reals they stand for.

    Raises:
        FormatError: the file is missing, cut off, damaged or contradicts itself.
        UnsupportedOp: it holds something that is not read (subgraphs, open sizes, ...).
    """
    content = read_content(path, LARGEST_FILE, TOO_LARGE)
    return decode(content, str(path), Path(path).parent, input_shapes, dequantize=dequantize)


def declared_inputs(path: str | Path) -> dict[str, tuple[int | str, ...]]:
    """What the file says of its inputs' shapes, the batch included: a number, or a text where a size is left open.

    Raises:
        FormatError, UnsupportedOp: as for ``read``.
    """
    from oaq.capture.from_onnx import proto  # loads onnx

    parts = proto.decode(read_content(path, LARGEST_FILE, TOO_LARGE), str(path), Path(path).parent)
    return {name: dims for name, (_, dims) in parts.inputs.items()}


def decode(
    content: bytes,
    where: str = "model",
    folder: Path | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    *,
    dequantize: bool = False,
) -> OnnxGraph:
    """``read`` of bytes at hand; ``folder`` is where external data may lie."""
    from oaq.capture.from_onnx import proto  # loads onnx

    parts = proto.decode(content, where, folder)
    try:
        batch, types = _input_types(parts, input_shapes or {})
        nodes = execution_order(parts)
        walk = _Walk(parts, batch, types, dequantize, _named_sizes(parts, types))
        for node in nodes:
            walk.take(node)
    except OaqError as error:
        raise type(error)(f"{where}: {error}") from error
    return _cleaned(parts, walk, where)


@dataclass
class _Walk:
    """Types and constants known so far, the nodes kept, the nodes folded.

    ``sizes`` are those of the inputs that the file calls by a name.
    """

    parts: Decoded
    batch: int
    types: dict[str, TensorType]
    dequantize: bool
    sizes: Mapping[str, int]
    constants: dict[str, Array] = field(default_factory=dict)
    nodes: list[OnnxNode] = field(default_factory=list)
    folded: dict[str, OnnxNode] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.constants.update(self.parts.constants)
        bits = self.parts.bits
        constants = self.constants.items()
        self.types.update({name: TensorType(array.dtype, array.shape, bits.get(name)) for name, array in constants})

    def take(self, node: OnnxNode) -> None:
        """Infer its results' types, or compute them."""
        inputs = Inputs(
            [self.types.get(name, TensorType()) for name in node.inputs],
            [self.constants.get(name) for name in node.inputs],
            self.parts.opsets.get("", 1),
        )
        check_scales(node, inputs)
        opsets = self.parts.opsets
        # An attribute that is not known may change anything; one whose value is refused changes numbers only.
        results = infer(node, inputs) if not unknown_attribute(node, opsets) else [TensorType()] * len(node.outputs)
        folds = self._may_fold(node, inputs) and not attribute_flaw(node, opsets)
        values = evaluate(node, inputs, results) if folds else None
        if values is not None and len(values) == len(node.outputs):
            for name, value in zip(node.outputs, values, strict=True):
                self.constants[name], self.folded[name] = value, node
                self.types[name] = TensorType(value.dtype, value.shape, self.parts.bits.get(name))
            for name, result in zip(node.outputs, results, strict=True):
                self.types[name] = replace(self.types[name], bits=self.types[name].bits or result.bits)
            return
        self.nodes.append(node)
        for name, result in zip(node.outputs, results, strict=True):
            if name:
                self.types[name] = self._completed(name, result)

    def _may_fold(self, node: OnnxNode, inputs: Inputs) -> bool:
        if node.op == "DequantizeLinear" and not self.dequantize:
            return False
        if node.op in ("Shape", "Size"):
            return True
        return all(array is not None or not name for name, array in zip(node.inputs, inputs.constants, strict=True))

    def _completed(self, name: str, inferred: TensorType) -> TensorType:
        """What inference leaves open, as the file declares it."""
        dtype, dims = self.parts.declared.get(name, (None, None))
        shape, bits = inferred.shape, inferred.bits
        if shape is None and dims is not None:
            # An open size is one of the inputs' sizes only where it has the same name.
            sizes = [self.sizes.get(size, 0) if isinstance(size, str) else size for size in dims]
            if all(0 < size < LARGEST_TENSOR for size in sizes):
                shape = tuple(sizes)
        if inferred.dtype is None:
            return TensorType(dtype, shape, self.parts.bits.get(name))
        return TensorType(inferred.dtype, shape, bits)


def _input_types(parts: Decoded, requested: Mapping[str, Sequence[int]]) -> tuple[int, dict[str, TensorType]]:
    """The batch, and each input's type with every size known."""
    unknown = set(requested) - set(parts.inputs)
    if unknown:
        raise FormatError(f"no input is called {sorted(unknown)[0]!r}; there are {list(parts.inputs)[:8]}")
    if not parts.inputs:
        raise FormatError("it has no inputs, so nothing can be computed by it")
    types, batches = {}, []
    for name, (dtype, dims) in parts.inputs.items():
        sizes = _sizes(name, dims, requested.get(name))
        if sizes:
            batches.append(sizes[0])
        if np.prod(sizes, dtype=object) >= LARGEST_TENSOR:
            raise FormatError(f"input {name!r}: {sizes} holds 2**31 numbers or more; the file is damaged")
        types[name] = TensorType(dtype, sizes, parts.bits.get(name))
    return (batches[0] if batches else 1), types


def _named_sizes(parts: Decoded, types: Mapping[str, TensorType]) -> dict[str, int]:
    """The size that each name of an open axis of the inputs stands for; none where inputs disagree."""
    sizes: dict[str, set[int]] = {}
    for name, (_, dims) in parts.inputs.items():
        for dim, size in zip(dims, types[name].shape or (), strict=True):
            if isinstance(dim, str) and not dim.startswith(UNNAMED):
                sizes.setdefault(dim, set()).add(size)
    return {dim: next(iter(values)) for dim, values in sizes.items() if len(values) == 1}


def _sizes(name: str, dims: Dims, requested: Sequence[int] | None) -> tuple[int, ...]:
    if requested is not None:
        fits = len(requested) == len(dims) and all(
            isinstance(target, int) and target > 0 and (isinstance(size, str) or target == size)
            for target, size in zip(requested, dims, strict=True)
        )
        if not fits:
            raise FormatError(f"input {name!r}: the shape {tuple(requested)} was asked for, the file has {dims}")
        return tuple(requested)
    for axis, size in enumerate(dims):
        if isinstance(size, str) and axis > 0:
            named = "" if size.startswith(UNNAMED) else f", called {size!r},"
            raise UnsupportedOp(
                f"input {name!r}: its size on axis {axis}{named} is left open; only the batch may be. Give the input's "
                "shape, or fix it in the file with onnxruntime.tools.make_dynamic_shape_fixed"
            )
    return tuple(1 if isinstance(size, str) else size for size in dims)


def execution_order(parts: Decoded) -> list[OnnxNode]:
    """Nodes in execution order, in the file's order where that is one.

    Raises:
        FormatError: two write one tensor, one reads what nothing writes, or they wait for each other.
    """
    writer: dict[str, int] = {}
    for index, node in enumerate(parts.nodes):
        for name in filter(None, node.outputs):
            if name in writer or name in parts.inputs or name in parts.constants:
                raise FormatError(f"{described(node)}: writes {name!r}, which something else writes too")
            writer[name] = index
    waits: list[set[int]] = [set() for _ in parts.nodes]
    for index, node in enumerate(parts.nodes):
        for name in filter(None, node.inputs):
            if name in writer:
                waits[index].add(writer[name])
            elif name not in parts.inputs and name not in parts.constants:
                raise FormatError(
                    f"{described(node)}: reads {name!r}, which no node writes and which is neither an input nor an "
                    "initializer"
                )
    order = in_order(waits)
    if len(order) < len(parts.nodes):
        stuck = min(set(range(len(parts.nodes))).difference(order))
        raise FormatError(f"{described(parts.nodes[stuck])}: waits, directly or not, for its own result")
    _check_outputs(parts, writer)
    return [parts.nodes[index] for index in order]


def _check_outputs(parts: Decoded, writer: Mapping[str, int]) -> None:
    if not parts.outputs:
        raise FormatError("it has no outputs, so it computes nothing")
    for index, name in enumerate(parts.outputs):
        if name in parts.outputs[:index]:
            raise FormatError(f"two outputs are called {name!r}")
        if name not in writer and name not in parts.inputs and name not in parts.constants:
            raise FormatError(f"nothing writes the output {name!r}")


def _cleaned(parts: Decoded, walk: _Walk, where: str) -> OnnxGraph:
    """Without no-ops, and without what only folded nodes have read."""
    read_before = {name for node in parts.nodes for name in node.inputs}
    names, nodes = _without_no_ops(parts, walk)
    needed = set(parts.outputs)
    alive: list[OnnxNode] = []
    for node in reversed(nodes):
        if any(name in needed for name in node.outputs) or not any(name in read_before for name in node.outputs):
            alive.append(node)
            needed.update(node.inputs)
    alive.reverse()
    constants = {name: array for name, array in walk.constants.items() if name in needed}
    present = {name for node in alive for name in node.outputs} | set(constants) | set(parts.inputs)
    return OnnxGraph(
        where=where,
        name=parts.name,
        nodes=tuple(alive),
        inputs=tuple(parts.inputs),
        outputs=parts.outputs,
        constants=constants,
        types={
            names.get(name, name): tensor_type
            for name, tensor_type in walk.types.items()
            if names.get(name, name) in present
        },
        opsets=parts.opsets,
        batch=walk.batch,
        producer=parts.producer,
        metadata=parts.metadata,
        initializers=frozenset(name for name in constants if name in parts.constants),
        folded=walk.folded,
    )


def _without_no_ops(parts: Decoded, walk: _Walk) -> tuple[dict[str, str], list[OnnxNode]]:
    """Nodes that hand their input on are dropped and the names of both tensors become one.

    That one is the input's, or the output's where the graph's own output must keep its name. A no-op between two such
    names stays, as Identity.
    """
    fixed = {*parts.inputs, *parts.outputs, *walk.constants}
    names: dict[str, str] = {}

    def root(name: str) -> str:
        while name in names:
            name = names[name]
        return name

    nodes = []
    for node in walk.nodes:
        if not _is_no_op(node, walk):
            nodes.append(node)
            continue
        source, result = root(node.inputs[0]), node.outputs[0]
        if result not in fixed:
            names[result] = source
        elif source not in fixed:
            names[source] = result
        else:
            nodes.append(replace(node, op="Identity", domain="", outputs=(result,), attributes={}))
    renamed = [
        replace(node, inputs=tuple(map(root, node.inputs)), outputs=tuple(map(root, node.outputs))) for node in nodes
    ]
    return {name: root(name) for name in names}, renamed


def _is_no_op(node: OnnxNode, walk: _Walk) -> bool:
    if node.domain or not node.inputs or not node.inputs[0] or not node.outputs or not node.outputs[0]:
        return False
    if attribute_flaw(node, walk.parts.opsets):
        return False
    match node.op:
        case "Identity":
            return True
        case "Dropout":
            mode = node.input_name(2)
            off = not mode or (mode in walk.constants and not walk.constants[mode].any())
            return off and not any(node.outputs[1:])
        case "Cast":
            dtype = walk.types.get(node.inputs[0], TensorType()).dtype
            return dtype is not None and CAST.get(integer(node, "to", 1)) == dtype
    return False
