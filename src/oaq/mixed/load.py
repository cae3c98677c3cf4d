"""From a file to a ``MixedProgram``: what of it is integers is imported, the remainder stays as it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from oaq.capture.content import read_content
from oaq.capture.from_dynamic_onnx import DynamicFile
from oaq.capture.from_onnx import OnnxGraph, OnnxNode, decode, import_graph
from oaq.capture.from_onnx.reader import LARGEST_FILE, TOO_LARGE
from oaq.capture.imported import Imported, Island
from oaq.errors import UnsupportedOp
from oaq.mixed.cut import Source, cut, integer_body
from oaq.mixed.dynamic import dynamic_regions, read_layers
from oaq.mixed.ports import check_types, input_ports, output_ports
from oaq.mixed.program import FloatBody, MixedProgram, Port, Region
from oaq.mixed.runtime import folder_of
from oaq.mixed.schedule import FLOAT, INTEGER
from oaq.mixed.unread import Rest, set_aside
from oaq.program.edges import Edge, input_edges, output_edges
from oaq.program.int_program import IntProgram

if TYPE_CHECKING:
    import onnx

NOT_IN_NUMPY: Final = frozenset({16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26})
"""Element types (bfloat16, float8, int4, ...) whose constants are handed on as the file holds them."""


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """An ONNX file whose parts are not looked at yet.

    Attributes:
        content: its bytes.
        model: the same, parsed.
        where: for messages.
        folder: where its external data lie; None if nowhere.
        inputs: of the file.
    """

    content: bytes
    model: onnx.ModelProto
    where: str
    folder: Path | None
    inputs: tuple[Port, ...]

    @cached_property
    def dynamic(self) -> DynamicFile | None:
        """Its dynamic layers, if it is a file of such only; looked for once, whatever sizes come."""
        return read_layers(self.content, self.where, self.folder)


def read_onnx(source: str | Path | bytes, where: str = "model") -> OnnxFile:
    """Read and parse an ONNX file.

    Raises:
        FormatError: it is missing, cut off, or not one.
    """
    from oaq.capture.from_onnx.proto import parse  # loads onnx

    if isinstance(source, bytes):
        content, folder = source, None
    else:
        content, where, folder = read_content(source, LARGEST_FILE, TOO_LARGE), str(source), Path(source).parent
    model = parse(content, where)
    check_types(model, where)
    return OnnxFile(content, model, where, folder, input_ports(model))


def open_axes(file: OnnxFile) -> dict[str, tuple[int, ...]]:
    """Axes whose size the file leaves open, by input; an input of unknown shape is left out."""
    return {
        port.name: tuple(axis for axis, size in enumerate(port.shape) if not isinstance(size, int))
        for port in file.inputs
        if port.shape is not None
    }


def mixed_program(file: OnnxFile, shapes: Mapping[str, Sequence[int]] | None = None) -> MixedProgram:
    """The regions of a file at given sizes.

    Args:
        file: of any kind.
        shapes: by input; those left out are as the file has them, an open batch being 1.

    Raises:
        FormatError: the file is damaged or contradicts itself.
    """
    if file.dynamic is not None:
        source = Source(int(file.model.ir_version) or 8, {}, _own_tensors(file.model))
        regions = dynamic_regions(file.dynamic, file.model, source)
        return MixedProgram(_name(file), file.inputs, output_ports(file.model, file.inputs, None), regions, {})
    sizes = dict(shapes or {})
    remainder = set_aside(file.model, sizes)
    try:
        graph = decode(remainder.content if remainder else file.content, file.where, file.folder, sizes or None)
    except UnsupportedOp as error:
        return float_file(file, None, str(error))
    try:
        imported = import_graph(graph, real_sums=False)
    except UnsupportedOp as error:
        return float_file(file, graph if remainder is None else None, str(error))
    graph, imported = _joined(file, graph, imported, remainder)
    source = Source(int(file.model.ir_version) or 8, remainder.protos if remainder else {}, _own_tensors(file.model))
    return MixedProgram(
        _name(file),
        file.inputs,
        output_ports(file.model, file.inputs, graph),
        cut(graph, imported, source),
        {name: graph.constants[name] for name in graph.outputs if name in graph.constants},
    )


def program_of_integers(program: IntProgram) -> MixedProgram:
    """A program that is integers from end to end, as its caller sees it."""
    entries, exits = input_edges(program), output_edges(program)
    body = integer_body(program, entries, exits, ())
    nodes = tuple((node.name, type(node.op).__name__) for node in program.nodes)
    inputs = tuple({edge.name: _port(edge) for edge in entries}.values())
    region = Region(
        "integer 1", INTEGER, nodes, tuple(port.name for port in inputs), tuple(edge.name for edge in exits), "", body
    )
    return MixedProgram(program.name, inputs, tuple(_port(edge) for edge in exits), (region,), {})


def _port(edge: Edge) -> Port:
    return Port(edge.name, edge.dtype, ("batch", *edge.shape))


def _joined(file: OnnxFile, graph: OnnxGraph, imported: Imported, remainder: Rest | None) -> tuple[OnnxGraph, Imported]:
    """With the nodes that were set aside among those that stay in float."""
    if remainder is None:
        return graph, imported
    from oaq.capture.from_onnx.tensors import to_array  # loads onnx

    initializers = {tensor.name for tensor in file.model.graph.initializer}
    names = {port.name for port in file.inputs}
    constants = {
        name for node in remainder.aside for name in node.inputs if name in initializers - set(graph.constants)
    }
    more = {
        tensor.name: to_array(tensor, f"{file.where}: initializer {tensor.name!r}", file.folder)
        for tensor in file.model.graph.initializer
        if tensor.name in constants
    }
    joined = replace(
        graph,
        nodes=(*graph.nodes, *remainder.aside),
        inputs=tuple(name for name in graph.inputs if name in names),
        outputs=tuple(value.name for value in file.model.graph.output),
        constants={**graph.constants, **more},
    )
    return joined, replace(imported, islands=(*imported.islands, *(_island(node) for node in remainder.aside)))


def _island(node: OnnxNode) -> Island:
    reason = f"{node.name.rpartition('#')[0]} ({node.kind}): oaq has no integer operator for {node.kind}"
    return Island(((node.name, node.kind),), (), (), "inside", reason)


def float_file(file: OnnxFile, graph: OnnxGraph | None, reason: str) -> MixedProgram:
    """The file as one float region; nothing of it is proved.

    Args:
        file: of any kind.
        graph: the file, if it could be read.
        reason: nothing of it is integers.
    """
    outputs = output_ports(file.model, file.inputs, graph)
    folder = "" if file.folder is None else folder_of(file.folder / "model")
    names = tuple(port.name for port in file.inputs)
    if graph is not None:
        source = Source(int(file.model.ir_version) or 8, {}, _own_tensors(file.model))
        regions = tuple(
            replace(region, reads=names, body=replace(region.body, content=file.content, folder=folder))
            for region in cut(graph, None, source)
            if isinstance(region.body, FloatBody)
        )
        constants = {name: graph.constants[name] for name in graph.outputs if name in graph.constants}
        return MixedProgram(_name(file), file.inputs, outputs, regions, constants, reason)
    nodes = tuple((node.name or node.op_type, node.op_type) for node in file.model.graph.node)
    body = FloatBody((), {}, {}, {}, content=file.content, folder=folder)
    region = Region("float 1", FLOAT, nodes, names, tuple(port.name for port in outputs), reason, body)
    return MixedProgram(_name(file), file.inputs, outputs, (region,), {}, reason)


def _name(file: OnnxFile) -> str:
    return Path(file.where).stem if file.folder is not None else file.model.graph.name or "model"


def _own_tensors(model: onnx.ModelProto) -> dict[str, bytes]:
    """Constants of types that arrays do not have."""
    return {
        tensor.name: tensor.SerializeToString()
        for tensor in model.graph.initializer
        if tensor.data_type in NOT_IN_NUMPY and not tensor.external_data
    }
