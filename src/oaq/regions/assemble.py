"""One ONNX file of float nodes as they were and of a program in QDQ form between them. Loads onnx when it is called."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from oaq import operators as ops
from oaq.capture.from_float_onnx.split import End, Split
from oaq.capture.from_onnx.precedence import in_order
from oaq.errors import FormatError
from oaq.mixed.inferred import subgraphs
from oaq.mixed.unread import reads
from oaq.numerics.formats import U8
from oaq.program.files import Part
from oaq.program.int_program import IntProgram
from oaq.regions.source import FloatFile
from oaq.seal.text import KEY, PROGRAM, REGION, to_text

if TYPE_CHECKING:
    import onnx

    from oaq.export.onnx_qdq.graph import Graph

SIZES: Final = ("Shape", "Size")
"""Operators that read nothing of a tensor but its sizes."""
NO_OPS: Final = ("Identity", "Dropout", "Cast")
"""What the reader of files may have taken two names of one tensor for."""
LARGEST: Final = (1 << 31) - 1
"""Bytes of one protobuf."""


@dataclass(frozen=True, eq=False)
class Remainder:
    """What of the file's own nodes is still needed.

    Attributes:
        nodes: in the file's order.
        missing: tensors that they read and that only integers hold, other than exits.
    """

    nodes: tuple[onnx.NodeProto, ...]
    missing: tuple[str, ...]


@dataclass
class _Writing:
    """A file's graph while the nodes are gathered."""

    file: FloatFile
    split: Split
    graph: Graph
    factors: Mapping[str, np.ndarray]
    glue: list[onnx.NodeProto] = field(default_factory=list)


def remainder_of(file: FloatFile, split: Split) -> Remainder:
    """The nodes of the file that its outputs and the regions' entries need."""
    model, exits = file.model, {end.file for end in split.exits}
    constants = set(_folded(file, split))
    writers = {name: node for node in model.graph.node for name in node.output if name}
    pending = [value.name for value in model.graph.output] + [end.file for end in split.entries]
    needed: dict[str, None] = {}
    missing: dict[str, None] = {}
    roots = {root for end in split.exits for root in _aliases(file, split, writers, end.file)}
    while pending:
        name = pending.pop()
        if name in exits or name in roots or name in constants or name not in writers:
            continue
        node = writers[name]
        if name in split.computed:
            missing[name] = None
            continue
        if node.output[0] in needed:
            continue
        needed[node.output[0]] = None
        for source in filter(None, reads(node)):
            end = split.computed.get(source)
            if node.op_type in SIZES and end is not None and end.is_plain and source not in exits:
                continue  # sizes are read off the integers
            pending.append(source)
    nodes = tuple(node for node in model.graph.node if node.output[0] in needed)
    return Remainder(nodes, tuple(missing))


def _aliases(file: FloatFile, split: Split, writers: Mapping[str, onnx.NodeProto], name: str) -> tuple[str, ...]:
    """Tensors of the file that are ``name`` under another name, because no-ops lie between; the nearest first."""
    producer = split.file.producers.get(name)
    names: list[str] = []
    current = name
    while current in writers and writers[current].op_type in NO_OPS:
        if producer is not None and producer.op == writers[current].op_type:
            break
        current = writers[current].input[0]
        names.append(current)
    return tuple(names)


def _folded(file: FloatFile, split: Split) -> dict[str, np.ndarray]:
    """Results of nodes that are constants because every size of the file is fixed."""
    if not file.is_fixed:
        return {}
    written = {name for node in file.model.graph.node for name in node.output}
    return {name: array for name, array in split.file.constants.items() if name in written}


def assemble(
    file: FloatFile,
    split: Split,
    program: IntProgram,
    parts: Mapping[str, Part],
    factors: Mapping[str, np.ndarray],
) -> bytes:
    """The file.

    Args:
        file: the float network.
        split: what of it the program stands for.
        program: quantized from ``split.graph``.
        parts: certificate and signature.
        factors: what each channel of an entry is multiplied by before it enters, (C,), by the program's tensors.

    Raises:
        UnsupportedOp: ONNX cannot say what a node of the program computes.
        FormatError: the result is larger than any protobuf.
    """
    import onnx

    from oaq.export.onnx_qdq.model import program_part, write_graph

    names = _names(file.model)
    graph, _ = write_graph(program, names - set(program.outputs))
    writing = _Writing(file, split, graph, factors)
    nodes = [_copy(node) for node in remainder_of(file, split).nodes]
    exits = {end.file for end in split.exits}
    nodes = [node for node in nodes if not exits.intersection(node.output)]
    for node in nodes:
        if node.op_type in SIZES and node.input[0] in split.computed and node.input[0] not in exits:
            node.input[0] = graph.u8[split.computed[node.input[0]].tensor]
    _glue(writing)
    model = onnx.ModelProto()
    model.CopyFrom(file.model)
    body = model.graph
    del body.node[:]
    body.node.extend(_sorted([*nodes, *writing.glue, *graph.nodes], model))
    _store_constants(writing, body)
    _fix_inputs(file, split, program, body)
    _set_metadata(model, {})
    digest = hashlib.sha256(_bytes(model, file.where)).hexdigest()
    region = Part({"nodes": [node.output[0] for node in graph.nodes]})
    text = to_text({PROGRAM: program_part(program), REGION: region, **parts}, digest)
    _set_metadata(model, {KEY: text})
    flaw = _flaw(model)
    if flaw and not _flaw(file.model):  # runtimes take files that onnx does not; what it says of ours is ours
        raise FormatError(f"{file.where}: with its regions it is no valid model: {flaw}")
    return _bytes(model, file.where)


def _flaw(model: onnx.ModelProto) -> str:
    """What onnx finds wrong with a model; "" if nothing."""
    import onnx

    try:
        onnx.checker.check_model(model)
    except Exception as error:  # its own, and protobuf's for what is too large
        return next(iter(str(error).splitlines()), type(error).__name__)
    return ""


def _bytes(model: onnx.ModelProto, where: str) -> bytes:
    try:
        content = model.SerializeToString(deterministic=True)
    except Exception as error:  # protobuf's own, derived from Exception only
        raise FormatError(f"{where}: with its regions it is larger than any protobuf: {error}") from error
    if len(content) > LARGEST:
        raise FormatError(f"{where}: with its regions it takes {len(content)} bytes, more than a protobuf may")
    return content


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    import onnx

    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def _names(model: onnx.ModelProto) -> set[str]:
    """Every name that the file gives a tensor, in subgraphs too."""
    names: set[str] = set()
    pending = [model.graph]
    while pending:
        graph = pending.pop()
        names.update(value.name for value in (*graph.input, *graph.output, *graph.initializer))
        for node in graph.node:
            names.update((*node.input, *node.output, node.name))
            pending += subgraphs(node)
    return names


def _glue(writing: _Writing) -> None:
    """Transposes and casts between the file's tensors and the program's, and names that no-ops have given."""
    split = writing.split
    writers = {name: node for node in writing.file.model.graph.node for name in node.output if name}
    for end in split.entries:
        name = _cast(writing, end, end.file, to_float32=True)
        if end.is_rows:
            name = _glued(writing, "Unsqueeze", [name, _first_axis(writing)], writing.graph.fresh(f"{end.tensor}.rows"))
        if end.tensor in writing.factors:
            name = _scaled(writing, end, name)
        if not end.is_plain:
            name = _rounded(writing, end.tensor, name, writing.graph.fresh(f"{end.tensor}.rounded"))
        if end.tensor != name:
            kind, attributes = ("Identity", {}) if end.is_plain else ("Transpose", {"perm": list(end.order)})
            _glued(writing, kind, [name], end.tensor, **attributes)
    for end in split.exits:
        name = end.tensor
        if not end.is_plain:
            back = [int(axis) for axis in np.argsort(end.order)]
            name = _glued(writing, "Transpose", [name], writing.graph.fresh(f"{end.tensor}.back"), perm=back)
            name = _rounded(writing, end.tensor, name, writing.graph.fresh(f"{name}.rounded"))
        if end.tensor in writing.factors:
            name = _scaled(writing, end, name, back=True)
        if end.is_rows:
            rows = writing.graph.fresh(f"{end.tensor}.rows")
            name = _glued(writing, "Squeeze", [name, _first_axis(writing)], rows)
        name = _cast(writing, end, name, to_float32=False)
        if name != end.file:
            _glued(writing, "Identity", [name], end.file)
        for root in _aliases(writing.file, split, writers, end.file)[-1:]:
            _glued(writing, "Identity", [end.file], root)


def _scaled(writing: _Writing, end: End, name: str, *, back: bool = False) -> str:
    """The tensor times one factor per channel, along the axis that the file has channels on; ``back`` undoes it."""
    factor = 1 / writing.factors[end.tensor] if back else writing.factors[end.tensor]
    shape = [1] * len(end.order)
    shape[end.order[1]] = len(factor)
    constant = writing.graph.constant(f"{end.tensor}.factor", factor.reshape(shape))
    return _glued(writing, "Mul", [name, constant], writing.graph.fresh(f"{end.tensor}.scaled"))


def _is_float32(writing: _Writing, end: End) -> bool:
    return writing.split.file.dtype(end.file) in (None, np.float32)


def _rounded(writing: _Writing, tensor: str, name: str, output: str) -> str:
    """Quantize and dequantize as the program does: no value changes that it rounds anyway.

    Transposes then lie between quantizers of one scale, where they move bytes, and for us nothing.
    """
    numbers, ends = writing.graph.affine(tensor), writing.graph.program.tensors[tensor].range
    q = _glued(writing, "QuantizeLinear", [name, *numbers], writing.graph.fresh(f"{output}.q"))
    if ends != U8:
        bounds = [writing.graph.shared(end, f"u8_{end}", np.array(end, np.uint8)) for end in (ends.lo, ends.hi)]
        q = _glued(writing, "Clip", [q, *bounds], writing.graph.fresh(f"{output}.clipped"))
    return _glued(writing, "DequantizeLinear", [q, *numbers], output)


def _glued(writing: _Writing, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:  # noqa: ANN401 (ONNX's own)
    """A node that changes no value; returns ``output``."""
    from onnx import helper

    node = helper.make_node(kind, inputs, [output], name=writing.graph.fresh(f"{output}.{kind}"), **attributes)
    writing.glue.append(node)
    return output


def _first_axis(writing: _Writing) -> str:
    return writing.graph.shared("first axis", "first_axis", np.zeros(1, np.int64))


def _cast(writing: _Writing, end: End, name: str, *, to_float32: bool) -> str:
    """The tensor in the other side's type."""
    from onnx import helper

    if _is_float32(writing, end):
        return name
    dtype = writing.split.file.dtype(end.file)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(np.float32) if to_float32 else dtype)
    return _glued(writing, "Cast", [name], writing.graph.fresh(f"{end.tensor}.real"), to=kind)


def _sorted(nodes: Sequence[onnx.NodeProto], model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """In execution order, otherwise as they come."""
    writer = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    waits = [{writer[name] for name in reads(node) if name in writer} for node in nodes]
    order = in_order(waits)
    assert len(order) == len(nodes), "regions were cut from a graph without cycles"
    return [nodes[index] for index in order]


def _store_constants(writing: _Writing, body: onnx.GraphProto) -> None:
    """The constants that are read, and types of the tensors that are left."""
    from onnx import numpy_helper

    folded = _folded(writing.file, writing.split)
    read = {name for node in body.node for name in reads(node)} | {value.name for value in body.output}
    constants = [tensor for tensor in body.initializer if tensor.name in read]
    stored = {tensor.name for tensor in constants}
    written = {name for node in body.node for name in node.output}
    for name in sorted(read.intersection(folded) - stored - written):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(folded[name]).reshape(folded[name].shape), name))
    constants += writing.graph.constants.values()
    del body.initializer[:]
    body.initializer.extend(constants)
    inputs = [value for value in body.input if value.name in {port.name for port in writing.file.inputs}]
    del body.input[:]
    body.input.extend(inputs)
    sparse = [tensor for tensor in body.sparse_initializer if tensor.values.name in read]
    del body.sparse_initializer[:]
    body.sparse_initializer.extend(sparse)
    infos = [value for value in body.value_info if value.name in written]
    del body.value_info[:]
    body.value_info.extend(infos)


def _fix_inputs(file: FloatFile, split: Split, program: IntProgram, body: onnx.GraphProto) -> None:
    """Declare the sizes that the program's nodes hold, if they hold any beyond the batch."""
    if not sizes_are_held(program):
        return
    for value in body.input:
        shape = split.file.types[value.name].shape if value.name in split.file.inputs else None
        for axis, dim in enumerate(value.type.tensor_type.shape.dim if shape is not None else ()):
            if axis and dim.dim_value <= 0:
                dim.dim_value = shape[axis]  # type: ignore[index]


def sizes_are_held(program: IntProgram) -> bool:
    """Whether a node holds the number of rows or columns, so that a file of it takes no other."""
    return any(
        isinstance(node.op, ops.Reshape | ops.Resize | ops.Slice)
        and any(len(program.tensors[name].shape) > 1 for name in (*node.inputs, node.output))
        for node in program.nodes
    )


def _set_metadata(model: onnx.ModelProto, entries: Mapping[str, str]) -> None:
    from onnx import StringStringEntryProto

    entries_of_others: Iterable[onnx.StringStringEntryProto] = [
        StringStringEntryProto(key=entry.key, value=entry.value) for entry in model.metadata_props if entry.key != KEY
    ]
    del model.metadata_props[:]
    model.metadata_props.extend(entries_of_others)
    for key, value in entries.items():
        model.metadata_props.add(key=key, value=value)
