"""Ways of breaking an ONNX file: some know nothing of it, some its fields, some what a network is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from onnx import TensorProto, numpy_helper

WHOLE: Final = (0, 1, -1, 2, 3, 7, 16, 127, 128, 255, 256, 1 << 15, 1 << 31, (1 << 31) - 1, -(1 << 31), (1 << 63) - 1)
REAL: Final = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-38, 3e38, float("inf"), float("-inf"), float("nan"), 0.5, 255.0)
TEXT: Final = ("", "x", "Conv", "../../etc/passwd", "/etc/passwd", "a" * 300, "nul\0", "\u2028", "com.microsoft")
MOST_EDITS: Final = 4
SMALLEST_KIND, LARGEST_KIND = 0, 26
INTEGERS: Final = (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)
NATURALS: Final = (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)
REALS: Final = (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE)

Generator = np.random.Generator


def mutate(content: bytes, corpus: Sequence[bytes], rng: Generator) -> bytes:
    """``content`` changed once, or with falling probability up to ``MOST_EDITS`` times; one file in five by bytes only.

    Few edits go deepest: most files with many are refused before anything looks at their meaning.
    """
    edits = min(int(rng.geometric(0.6)), MOST_EDITS)
    if rng.random() < 0.2:
        for _ in range(edits):
            content = pick(rng, BYTES)(content, corpus, rng)
        return content
    model = onnx.ModelProto.FromString(content)
    for _ in range(edits):
        pick(rng, STRUCTURE)(model, rng)
    try:
        return model.SerializeToString()
    except (ValueError, DecodeError):
        return content[: int(rng.integers(len(content)))]  # what was put in cannot be written: cut off instead


def pick(rng: Generator, choices: Sequence[Any]) -> Any:  # noqa: ANN401 (of what the caller gives)
    """One of them."""
    return choices[int(rng.integers(len(choices)))]


def _flip(content: bytes, corpus: Sequence[bytes], rng: Generator) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        if changed:
            changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _overwrite(content: bytes, corpus: Sequence[bytes], rng: Generator) -> bytes:
    begin, length = int(rng.integers(len(content) + 1)), int(rng.integers(1, 17))
    filler = pick(rng, (b"\x00" * length, b"\xff" * length, rng.bytes(length)))
    return content[:begin] + filler + content[begin + length :]


def _cut(content: bytes, corpus: Sequence[bytes], rng: Generator) -> bytes:
    return content[: int(rng.integers(len(content) + 1))]


def _remove(content: bytes, corpus: Sequence[bytes], rng: Generator) -> bytes:
    begin = int(rng.integers(len(content) + 1))
    return content[:begin] + content[begin + int(rng.integers(1, 65)) :]


def _repeat(content: bytes, corpus: Sequence[bytes], rng: Generator) -> bytes:
    begin, length = int(rng.integers(len(content) + 1)), int(rng.integers(1, 257))
    return content[:begin] + content[begin : begin + length] + content[begin:]


def _splice(content: bytes, corpus: Sequence[bytes], rng: Generator) -> bytes:
    donor = pick(rng, corpus)
    return content[: int(rng.integers(len(content) + 1))] + donor[int(rng.integers(len(donor) + 1)) :]


BYTES: Final[Sequence[Callable[[bytes, Sequence[bytes], Generator], bytes]]] = (
    *(_flip, _flip, _overwrite, _cut, _remove, _repeat, _splice),
)


def _messages(message: Message) -> list[Message]:
    """The message and all inside it."""
    messages, pending = [], [message]
    while pending:
        current = pending.pop()
        messages.append(current)
        for field, value in current.ListFields():
            if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
                pending += value if _many(field) else [value]
    return messages


def _many(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)


def _any_field(model: onnx.ModelProto, rng: Generator) -> None:
    """Any field of any message: another value, none, one element fewer, one twice, two swapped."""
    message = pick(rng, _messages(model))
    fields = [field for field in message.DESCRIPTOR.fields if field.cpp_type != FieldDescriptor.CPPTYPE_MESSAGE]
    present = [field for field, _ in message.ListFields()]
    if not fields and not present:
        return
    field: FieldDescriptor = pick(rng, present if present and rng.random() < 0.8 else fields or present)
    if _many(field):
        _edit_list(getattr(message, field.name), field, rng)
    elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE or rng.random() < 0.2:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _hostile(field, rng))


def _edit_list(values: Any, field: FieldDescriptor, rng: Generator) -> None:  # noqa: ANN401 (a protobuf container)
    if not values:
        if field.cpp_type != FieldDescriptor.CPPTYPE_MESSAGE:
            values.append(_hostile(field, rng))
        return
    at = int(rng.integers(len(values)))
    is_message = field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE
    action = int(rng.integers(4))
    if action == 0:
        del values[at]
    elif action == 1:
        values.append(values[at])
    elif action == 2 and not is_message:
        values[at] = _hostile(field, rng)
    else:
        copies = [type(value).FromString(value.SerializeToString()) if is_message else value for value in values]
        partner = int(rng.integers(len(copies)))
        copies[at], copies[partner] = copies[partner], copies[at]
        del values[:]
        values.extend(copies)


def _hostile(field: FieldDescriptor, rng: Generator) -> int | float | str | bytes | bool:
    kind = field.cpp_type
    if kind in INTEGERS or kind in NATURALS:
        width = 32 if kind in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32) else 64
        low, high = (0, (1 << width) - 1) if kind in NATURALS else (-(1 << (width - 1)), (1 << (width - 1)) - 1)
        return min(max(int(pick(rng, WHOLE)), low), high)
    if kind in REALS:
        return float(pick(rng, REAL))
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return bool(rng.integers(2))
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        enumeration = field.enum_type
        return int(pick(rng, [value.number for value in enumeration.values])) if enumeration else 0
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rng.bytes(int(rng.integers(0, 33)))
    return str(pick(rng, TEXT))


def _names(graph: onnx.GraphProto) -> list[str]:
    names = {value.name for value in (*graph.input, *graph.initializer)}
    return sorted(names | {name for node in graph.node for name in node.output}) or [""]


def _rewire(model: onnx.ModelProto, rng: Generator) -> None:
    """A node reads or writes another tensor: cycles, missing and doubled names among them."""
    graph = model.graph
    if not graph.node:
        return
    node = pick(rng, graph.node)
    ends = node.input if rng.random() < 0.7 or not node.output else node.output
    if ends:
        ends[int(rng.integers(len(ends)))] = pick(rng, [*_names(graph), "nowhere", ""])


def _ends(model: onnx.ModelProto, rng: Generator) -> None:
    """Another tensor becomes an output of the graph, or an input is lost."""
    graph = model.graph
    if graph.output and rng.random() < 0.7:
        pick(rng, graph.output).name = pick(rng, _names(graph))
    elif graph.input:
        del graph.input[int(rng.integers(len(graph.input)))]


def _nodes(model: onnx.ModelProto, rng: Generator) -> None:
    """A node fewer, twice, elsewhere, or with the operator or attributes of another."""
    nodes = model.graph.node
    if not nodes:
        return
    at, donor = (int(rng.integers(len(nodes))) for _ in range(2))
    action = int(rng.integers(5))
    if action == 0:
        del nodes[at]
    elif action == 1:
        nodes.append(nodes[at])
    elif action == 2:
        nodes[at].op_type, nodes[at].domain = nodes[donor].op_type, nodes[donor].domain
    elif action == 3:
        moved = onnx.NodeProto.FromString(nodes[at].SerializeToString())
        del nodes[at]
        nodes.append(moved)
    else:
        attributes = [
            onnx.AttributeProto.FromString(attribute.SerializeToString()) for attribute in nodes[donor].attribute
        ]
        del nodes[at].attribute[:]
        nodes[at].attribute.extend(attributes)


def _tensor(model: onnx.ModelProto, rng: Generator) -> None:
    """An initializer of another shape, type, size or place."""
    tensors = model.graph.initializer
    if not tensors:
        return
    tensor = pick(rng, tensors)
    action = int(rng.integers(5))
    if action == 0 and tensor.dims:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = int(pick(rng, WHOLE))
    elif action == 1:
        tensor.data_type = int(rng.integers(SMALLEST_KIND, LARGEST_KIND))
    elif action == 2:
        tensor.raw_data = tensor.raw_data[: int(rng.integers(len(tensor.raw_data) + 1))]
    elif action == 3:
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", pick(rng, TEXT)), ("offset", str(pick(rng, WHOLE)))):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
    else:
        tensor.name = pick(rng, [entry.name for entry in tensors])


def _numbers(model: onnx.ModelProto, rng: Generator) -> None:
    """An initializer as valid as before, with other numbers, or another number of them: scales, zero points, bounds."""
    tensors = model.graph.initializer
    if not tensors:
        return
    tensor = pick(rng, tensors)
    try:
        array = np.array(numpy_helper.to_array(tensor))
    except Exception:  # an earlier edit has broken it
        return
    if array.size and rng.random() < 0.7:
        at = int(rng.integers(array.size))
        value = pick(rng, REAL) if array.dtype.kind == "f" else pick(rng, WHOLE)
        with np.errstate(all="ignore"):
            array.reshape(-1)[at] = np.array(value).astype(array.dtype)
    elif array.ndim:
        array = pick(rng, (array[:0], array[:1], array.reshape(-1), array[None], np.concatenate([array, array])))
    else:
        array = np.broadcast_to(array, int(rng.integers(0, 9)))
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))


def _sizes(model: onnx.ModelProto, rng: Generator) -> None:
    """An input of another size, open, or of another rank."""
    inputs = [value for value in model.graph.input if value.type.tensor_type.shape.dim]
    if not inputs:
        return
    dims = pick(rng, inputs).type.tensor_type.shape.dim
    action = int(rng.integers(4))
    if action == 0:
        del dims[int(rng.integers(len(dims)))]
    elif action == 1:
        dims.add().dim_value = int(pick(rng, WHOLE))
    elif action == 2:
        pick(rng, dims).dim_param = "open"
    else:
        pick(rng, dims).dim_value = int(pick(rng, WHOLE))


STRUCTURE: Final[Sequence[Callable[[onnx.ModelProto, Generator], None]]] = (
    *(_any_field, _any_field, _rewire, _rewire, _ends, _nodes, _tensor, _numbers, _numbers, _sizes),
)
