"""``write_out``: calls of a file's own functions replaced by what the functions hold.

ONNX's own inliner is C++, which a page does not have, and it forgets the values that a function gives to attributes
that a call leaves out: the call computes something else then. Names are those it gives: ``t`` in the third call is
``t__3``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Final, NamedTuple

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto

IDENTITY: Final = "Identity"
LARGEST_WRITTEN: Final = 1 << 28
"""Bytes of nodes written out, or twice the file where that is more: functions may copy an attribute many times."""
CALL_BYTES: Final = 1 << 10
"""What a call counts for besides its nodes: one that holds none takes its time too."""


class TooMuchWritten(Exception):
    """Functions write out to more bytes than a network has."""


class FunctionId(NamedTuple):
    """What a call names."""

    domain: str
    name: str
    overload: str


def called_by(node: NodeProto) -> FunctionId:
    """What a node would call if the file had such a function."""
    return FunctionId(node.domain, node.op_type, node.overload)


def identity_of(function: FunctionProto) -> FunctionId:
    """What calls of a function name."""
    return FunctionId(function.domain, function.name, function.overload)


def write_out(model: ModelProto) -> ModelProto:
    """A copy of ``model`` without calls of its functions, but for those written in another version of the operators.

    No function may call itself, directly or by others.

    Raises:
        TooMuchWritten: what is written out grows beyond any network.
    """
    result = ModelProto()
    result.CopyFrom(model)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    functions = {identity_of(function): function for function in model.functions if _has_versions(function, opsets)}
    for function in functions.values():
        for entry in function.opset_import:
            if entry.domain not in opsets:
                opsets[entry.domain] = entry.version
                result.opset_import.add(domain=entry.domain, version=entry.version)
    room = _Room(max(LARGEST_WRITTEN, 2 * model.ByteSize()))
    _Writer(functions, _names(result.graph), room).write(result.graph)
    remaining = [function for function in model.functions if identity_of(function) not in functions]
    del result.functions[:]
    result.functions.extend(remaining)
    return result


def _has_versions(function: FunctionProto, opsets: Mapping[str, int]) -> bool:
    return all(opsets.get(entry.domain, entry.version) == entry.version for entry in function.opset_import)


def _subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def nodes_within(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Nodes, and those of graphs inside them."""
    for node in nodes:
        yield node
        for inner in _subgraphs(node):
            yield from nodes_within(inner.node)


def _names(graph: GraphProto) -> set[str]:
    """Every name that stands in a graph or in graphs inside it."""
    values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    result = {value.name for value in values}
    result.update(entry.values.name for entry in graph.sparse_initializer)
    for node in graph.node:
        result.update((node.name, *node.input, *node.output))
        for inner in _subgraphs(node):
            result |= _names(inner)
    return result


class _Room:
    """How many bytes may still be written."""

    def __init__(self, limit: int) -> None:
        self._limit = self._rest = limit

    def take(self, size: int) -> None:
        self._rest -= size
        if self._rest < 0:
            raise TooMuchWritten(f"its functions write out to more than {self._limit} bytes")


class _Writer:
    """Writes calls out; gives every value inside a function a name that nothing else has."""

    def __init__(self, functions: Mapping[FunctionId, FunctionProto], names: set[str], room: _Room) -> None:
        self._functions = functions
        self._names = names
        self._room = room
        self._calls = count(1)

    def write(self, graph: GraphProto) -> None:
        """Replace the calls of a graph, and of graphs inside it."""
        nodes = list(self._expanded(graph.node))
        del graph.node[:]
        graph.node.extend(nodes)

    def _expanded(self, nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
        pending = [iter(nodes)]  # bodies under way, the innermost last
        while pending:
            node = next(pending[-1], None)
            if node is None:
                pending.pop()
                continue
            function = self._functions.get(called_by(node))
            if function is not None:
                pending.append(iter(self._body(node, function)))
                continue
            for inner in _subgraphs(node):
                self.write(inner)
            yield node

    def _body(self, call: NodeProto, function: FunctionProto) -> Sequence[NodeProto]:
        """A function's nodes, in the names and with the attributes of a call."""
        self._room.take(CALL_BYTES + function.ByteSize())
        suffix = f"__{next(self._calls)}"
        renamed = {name: call.input[i] if i < len(call.input) else "" for i, name in enumerate(function.input)}
        passed: list[NodeProto] = []
        for name, target in zip(function.output, call.output, strict=False):
            if not target:
                continue
            if name in renamed:  # an input, or an output a second time
                passed.append(NodeProto(op_type=IDENTITY, input=[renamed[name]], output=[target]))
            else:
                renamed[name] = target
        values = {entry.name: entry for entry in function.attribute_proto}
        values |= {attribute.name: attribute for attribute in call.attribute}
        scope = _Scope(self._names, self._room, suffix, renamed, values)
        return [*(scope.node(node) for node in function.node), *passed]


class _Scope:
    """One call: what names of its function stand for, and which values its attributes have."""

    def __init__(
        self,
        names: set[str],
        room: _Room,
        suffix: str,
        renamed: dict[str, str],
        values: Mapping[str, AttributeProto],
    ) -> None:
        self._names, self._room, self._suffix, self._renamed, self._values = names, room, suffix, renamed, values
        self._tried: dict[str, int] = {}  # how many numbers behind a name are used

    def node(self, node: NodeProto) -> NodeProto:
        """A node of the function as it stands where it is called."""
        result = NodeProto()
        result.CopyFrom(node)
        if node.name:
            result.name = self._unused(node.name)
        result.input[:] = [self._name(name) for name in node.input]
        result.output[:] = [self._name(name) for name in node.output]
        del result.attribute[:]
        for attribute in node.attribute:
            if not attribute.ref_attr_name:
                result.attribute.add().CopyFrom(attribute)
            elif attribute.ref_attr_name in self._values:
                value = self._values[attribute.ref_attr_name]
                self._room.take(value.ByteSize())
                bound = result.attribute.add()
                bound.CopyFrom(value)
                bound.name = attribute.name
        for inner in _subgraphs(result):
            self._rename(inner)
        return result

    def _rename(self, graph: GraphProto) -> None:
        """A graph inside the function: what it reads from outside of itself, and what it defines."""
        for value in (*graph.input, *graph.initializer):
            value.name = self._name(value.name)
        for entry in graph.sparse_initializer:
            entry.values.name = self._name(entry.values.name)
        nodes = [self.node(node) for node in graph.node]
        del graph.node[:]
        graph.node.extend(nodes)
        for value in (*graph.output, *graph.value_info):
            value.name = self._name(value.name)

    def _name(self, name: str) -> str:
        if not name:
            return name
        if name not in self._renamed:
            self._renamed[name] = self._unused(name)
        return self._renamed[name]

    def _unused(self, name: str) -> str:
        candidate, index = f"{name}{self._suffix}", self._tried.get(name, 0)
        while candidate in self._names:
            candidate, index = f"{name}{self._suffix}_{index}", index + 1
        self._tried[name] = index
        self._names.add(candidate)
        return candidate
