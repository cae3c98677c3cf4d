"""``read``: from a TFLite file to a ``TfliteGraph``, or one error that says what is wrong with the file.

The generated classes of the ``tflite`` package find fields; everything they return is looked at here. They follow
offsets without checking them, so whatever Python raises while they do so means a damaged file and is turned into one
error in one place, and the work is bounded: what is read altogether is at most ``SHARING`` times what the file holds.
"""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from oaq.capture.content import read_content
from oaq.capture.from_tflite.graph import LEFT_OUT, Array, Options, TfliteGraph, TfliteOperator, TfliteTensor
from oaq.capture.from_tflite.options import FURTHER, LAYOUTS, OUTSIDE
from oaq.errors import FormatError, OaqError, UnsupportedOp
from oaq.program.safetensors import is_array_shape

try:
    import tflite
except ImportError as error:  # pragma: no cover (the test environment has it)
    raise FormatError("reading TFLite needs the package tflite: pip install tflite") from error

LARGEST_FILE: Final = (1 << 31) - 1
LARGEST_TENSOR: Final = 1 << 31
LARGEST_RANK: Final = 8
LONGEST_NAME: Final = 200
SHARING: Final = 16
"""How often, on average, one byte of a file may be read: names and numbers may be shared, but not by everything."""
DAMAGE: Final = (struct.error, IndexError, ValueError, TypeError, OverflowError, AssertionError)
"""What flatbuffers, struct and NumPy raise on offsets and sizes that lead nowhere."""

PLAIN: Final = {
    "FLOAT32": np.dtype("<f4"),
    "FLOAT16": np.dtype("<f2"),
    "INT32": np.dtype("<i4"),
    "UINT8": np.dtype("u1"),
    "INT64": np.dtype("<i8"),
    "BOOL": np.dtype("?"),
    "INT16": np.dtype("<i2"),
    "INT8": np.dtype("i1"),
    "FLOAT64": np.dtype("<f8"),
    "UINT32": np.dtype("<u4"),
}
"""Element types whose constants are read; INT4 besides."""


def read(path: str | Path) -> TfliteGraph:
    """The network in the TFLite file ``path``.

    Raises:
        FormatError: the file is missing, cut off, damaged or contradicts itself.
        UnsupportedOp: it is a TFLite file that is not read: of several subgraphs, or of another version.
    """
    return decode(read_content(path, LARGEST_FILE, "is larger than any flatbuffer"), str(path))


def decode(content: bytes, where: str = "model") -> TfliteGraph:
    """``read`` of bytes at hand."""
    if content[4:8] != b"TFL3":
        raise FormatError(f"{where}: is not a TFLite file: bytes 4 to 8 are {content[4:8]!r}, not b'TFL3'")
    try:
        graph = _Reading(content, where, tflite.Model.GetRootAs(content, 0)).graph()
    except OaqError as error:
        raise type(error)(f"{where}: {error}") from error
    except DAMAGE as error:
        raise FormatError(
            f"{where}: is cut off or damaged: an offset or a size in it leads nowhere ({error})"
        ) from error
    return graph


class _Reading:
    """One file while it is read."""

    def __init__(self, content: bytes, where: str, model: tflite.Model) -> None:
        self.content, self.where, self.model = content, where, model
        self.remaining = SHARING * len(content)

    def spend(self, items: int) -> int:
        """Count what is read.

        Raises:
            FormatError: the file claims to hold far more than its size.
        """
        self.remaining -= items
        if items < 0 or self.remaining < 0:
            raise FormatError(f"claims to hold far more than fits into its {len(self.content)} bytes; it is damaged")
        return items

    def graph(self) -> TfliteGraph:
        """Everything, checked."""
        model = self.model
        if model.Version() != 3:
            raise UnsupportedOp(f"is of version {model.Version()} of the TFLite schema; 3 is read")
        if self.spend(model.SubgraphsLength()) != 1:
            raise UnsupportedOp(
                f"holds {model.SubgraphsLength()} subgraphs (control flow, or several models in one file); one is read"
            )
        subgraph = self.table(model.Subgraphs(0), "the subgraph")
        tensors = tuple(
            self.tensor(index, self.table(subgraph.Tensors(index), f"tensor {index}"))
            for index in range(self.spend(subgraph.TensorsLength()))
        )
        kinds = self.operator_kinds()
        operators = self.operators(subgraph, tensors, kinds)
        inputs = self.indices(subgraph.InputsAsNumpy(), len(tensors), "the graph's inputs")
        outputs = self.indices(subgraph.OutputsAsNumpy(), len(tensors), "the graph's outputs")
        _check_order(tensors, operators, inputs, outputs)
        return TfliteGraph(self.where, Path(self.where).stem, tensors, operators, inputs, outputs)

    def table(self, table: Any, subject: str) -> Any:  # noqa: ANN401 (one of the schema's classes)
        """A table that must be there."""
        if table is None:
            raise FormatError(f"{subject} is missing")
        return table

    def text(self, name: bytes | None) -> str:
        """A name, whatever its bytes are."""
        self.spend(len(name or b""))
        return (name or b"").decode("utf-8", "replace")

    def indices(self, stored: Array | int, count: int, subject: str, *, optional: bool = False) -> tuple[int, ...]:
        """A list of tensors."""
        if isinstance(stored, int):
            return ()
        self.spend(stored.size)
        indices = tuple(stored.tolist())
        if any(not (0 <= index < count or (optional and index == LEFT_OUT)) for index in indices):
            raise FormatError(f"{subject} are {indices[:8]}, but there are {count} tensors; the file is damaged")
        return indices

    def tensor(self, index: int, stored: tflite.Tensor) -> TfliteTensor:
        """One tensor with its numbers, if it is a constant."""
        name = self.text(stored.Name()) or f"tensor {index}"
        where = f"tensor {index} ({name[:LONGEST_NAME]!r})"
        kind = _name_of(tflite.TensorType, stored.Type())
        shape = self.shape(stored, where)
        scale, zero_point, axis, blocks = self.quantization(stored.Quantization(), where)
        if stored.Sparsity() is not None:
            raise UnsupportedOp(f"{where}: is stored sparsely; convert the model without sparsity")
        raw = self.buffer(stored.Buffer(), where)
        data = None if raw is None else _numbers(raw, kind, shape, where)
        return TfliteTensor(
            index, name, shape, kind, scale, zero_point, axis, blocks,
            raw is not None, data, stored.Buffer(), bool(stored.IsVariable()),
        )  # fmt: skip

    def shape(self, tensor: tflite.Tensor, where: str) -> tuple[int, ...]:
        rank = tensor.ShapeLength()
        if rank > LARGEST_RANK:
            raise FormatError(f"{where}: has {rank} axes; the file is damaged")
        stored = tensor.ShapeAsNumpy()
        shape = () if isinstance(stored, int) else tuple(stored.tolist())
        if min(shape, default=0) < 0 or prod(shape) >= LARGEST_TENSOR or not is_array_shape(shape):
            raise FormatError(f"{where}: {shape} is not a shape; the file is damaged")
        return shape

    def quantization(
        self, parameters: tflite.QuantizationParameters | None, where: str
    ) -> tuple[Array, Array, int, bool]:
        if parameters is None:
            return np.zeros(0, np.float32), np.zeros(0, np.int64), 0, False
        stored = parameters.ScaleAsNumpy(), parameters.ZeroPointAsNumpy()
        scale, zero = (np.zeros(0) if isinstance(array, int) else array for array in stored)
        self.spend(scale.size + zero.size)
        if zero.size not in (0, 1, scale.size):
            raise FormatError(f"{where}: {scale.size} scales and {zero.size} zero points do not fit")
        return (
            scale.astype(np.float32),
            zero.astype(np.int64),
            parameters.QuantizedDimension(),
            parameters.DetailsType() != 0,
        )

    def buffer(self, index: int, where: str) -> Array | None:
        """The bytes of a constant; None if that buffer is empty, as those of computed tensors are."""
        model = self.model
        if not 0 <= index < model.BuffersLength():
            raise FormatError(f"{where}: its numbers stand in buffer {index} of {model.BuffersLength()}")
        table = self.table(model.Buffers(index), f"buffer {index}")
        begin, size = table.Offset(), table.Size()
        if size > 1:  # behind the flatbuffer: what a file too large for its offsets does
            if begin + size > len(self.content):
                raise FormatError(f"{where}: its bytes {begin} to {begin + size} lie behind the end of the file")
            return np.frombuffer(self.content, np.uint8, size, begin)
        stored = table.DataAsNumpy()
        return None if isinstance(stored, int) or not stored.size else stored

    def operator_kinds(self) -> list[tuple[str, int]]:
        """What each operator code stands for, and its version."""
        kinds = []
        for index in range(self.spend(self.model.OperatorCodesLength())):
            code = self.table(self.model.OperatorCodes(index), f"operator code {index}")
            # Files from before there were more than 127 operators have the first number only.
            number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            if number == tflite.BuiltinOperator.CUSTOM:
                kind = f"custom {self.text(code.CustomCode())[:LONGEST_NAME]}"
            else:
                kind = _name_of(tflite.BuiltinOperator, number)
            kinds.append((kind, code.Version()))
        return kinds

    def operators(
        self, subgraph: tflite.SubGraph, tensors: tuple[TfliteTensor, ...], kinds: list[tuple[str, int]]
    ) -> tuple[TfliteOperator, ...]:
        operators, names = [], set[str]()
        for index in range(self.spend(subgraph.OperatorsLength())):
            stored = self.table(subgraph.Operators(index), f"operator {index}")
            if not 0 <= stored.OpcodeIndex() < len(kinds):
                raise FormatError(f"operator {index}: is number {stored.OpcodeIndex()} of {len(kinds)} operator codes")
            kind, version = kinds[stored.OpcodeIndex()]
            subject = f"operator {index} ({kind})"
            inputs = self.indices(stored.InputsAsNumpy(), len(tensors), f"{subject}: its inputs", optional=True)
            outputs = self.indices(stored.OutputsAsNumpy(), len(tensors), f"{subject}: its outputs")
            if not outputs:
                raise FormatError(f"{subject}: writes nothing")
            name = _unique(tensors[outputs[0]].name, names)
            options = self.options(stored, kind, subject)
            operators.append(TfliteOperator(name, kind, inputs, outputs, options, version))
        return tuple(operators)

    def options(self, stored: tflite.Operator, kind: str, subject: str) -> Options:
        layout = LAYOUTS.get(kind) or OUTSIDE.get(kind)
        if layout is None or not layout.table:
            return {}
        union = stored.BuiltinOptions()
        if union is None:
            # Writers leave out a table that holds nothing but defaults.
            return {} if layout.table not in NEEDED else _missing(subject)
        if stored.BuiltinOptionsType() != getattr(tflite.BuiltinOptions, layout.table):
            raise FormatError(f"{subject}: its options are of another operator; the file is damaged")
        table = getattr(tflite, layout.table)()
        table.Init(union.Bytes, union.Pos)
        fields = {field: self.field(table, field) for field in layout.fields}
        return {**fields, FURTHER: self.further_fields(union, layout.slots)}

    def field(self, table: Any, field: str) -> int | float | tuple[int, ...]:  # noqa: ANN401 (one of the schema's classes)
        """One field of an option table; a list as a tuple."""
        if not hasattr(table, f"{field}AsNumpy"):
            return getattr(table, field)()
        stored = getattr(table, f"{field}AsNumpy")()
        if isinstance(stored, int):
            return ()
        self.spend(stored.size)
        return tuple(stored.tolist())

    def further_fields(self, union: Any, known: int) -> int:  # noqa: ANN401 (a table of flatbuffers)
        """How many fields a table says something in, behind the first ``known`` of its schema."""
        begin = union.Pos - int.from_bytes(union.Bytes[union.Pos : union.Pos + 4], "little", signed=True)
        size = int.from_bytes(union.Bytes[begin : begin + 2], "little")
        further = range(begin + 4 + 2 * known, begin + size, 2)
        self.spend(len(further))
        return sum(1 for at in further if any(union.Bytes[at : at + 2]))


NEEDED: Final = (
    *("Conv2DOptions", "DepthwiseConv2DOptions", "TransposeConvOptions", "Pool2DOptions", "DepthToSpaceOptions"),
)
"""Tables that cannot hold defaults only: a stride or a block is at least 1."""


def _missing(subject: str) -> Options:
    raise FormatError(f"{subject}: its options are missing")


def _name_of(names: type, number: int) -> str:
    """What the schema calls ``number``; the number where it does not."""
    by_number: dict[int, str] = {value: name for name, value in vars(names).items() if isinstance(value, int)}
    return by_number.get(number, f"number {number}")


def _unique(tensor: str, names: set[str]) -> str:
    """A name for the operator that writes ``tensor``; converters join the names of all it was made from by ";"."""
    short = tensor.partition(";")[0][-LONGEST_NAME:] or tensor[-LONGEST_NAME:]
    name, count = short, 1
    while name in names:
        count += 1
        name = f"{short}:{count}"
    names.add(name)
    return name


def _numbers(raw: Array, kind: str, shape: tuple[int, ...], where: str) -> Array | None:
    """The numbers of a constant; None if they are of a kind that nothing here has a use for."""
    count = prod(shape)
    size = (count + 1) // 2 if kind == "INT4" else count * PLAIN[kind].itemsize if kind in PLAIN else None
    if size is None:
        return None
    if raw.size != size:
        raise FormatError(f"{where}: {kind} of shape {shape} is {size} bytes, the file holds {raw.size}; it is damaged")
    if kind == "INT4":  # two to a byte, the first in the low half
        halves = np.stack([raw & 15, raw >> 4], axis=-1).reshape(-1)[:count]
        data = ((halves ^ 8).astype(np.int8) - 8).reshape(shape)
    elif kind == "BOOL":
        data = (raw != 0).reshape(shape)
    else:
        data = raw.view(PLAIN[kind]).reshape(shape)
    data.flags.writeable = False
    return data


def _check_order(
    tensors: tuple[TfliteTensor, ...],
    operators: tuple[TfliteOperator, ...],
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
) -> None:
    """Every tensor is written once, before it is read.

    Raises:
        FormatError: it is not.
    """
    if not inputs or not outputs:
        raise FormatError("has no inputs or no outputs, so it computes nothing")
    written = {tensor.index for tensor in tensors if tensor.constant or tensor.state}
    for index in inputs:
        if index in written:
            raise FormatError(f"the input {tensors[index].name!r} is there twice, or a constant")
        written.add(index)
    for operator in operators:
        for index in operator.inputs:
            if index != LEFT_OUT and index not in written:
                raise FormatError(f"{operator}: reads {tensors[index].name!r} before anything has written it")
        for index in operator.outputs:
            if index in written:
                raise FormatError(f"{operator}: writes {tensors[index].name!r}, which something else writes too")
            written.add(index)
    for index in outputs:
        if index not in written:
            raise FormatError(f"nothing writes the output {tensors[index].name!r}")
