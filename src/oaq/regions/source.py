"""A float ONNX file made ready to be split: functions written out, weights inside, operators of a version we write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from oaq.capture.from_float_onnx.split import Split, split
from oaq.capture.from_onnx import decode
from oaq.errors import FormatError
from oaq.mixed.inferred import infer, with_sizes
from oaq.mixed.load import read_onnx
from oaq.mixed.ports import input_ports
from oaq.mixed.program import Port
from oaq.mixed.unread import set_aside

if TYPE_CHECKING:
    import onnx

OPSET: Final = 17
"""Least version of ONNX's own operators that regions are written in."""
LAST_OPSET: Final = 27
"""Greatest version of which the checker knows what our nodes mean there."""


@dataclass(frozen=True, eq=False)
class FloatFile:
    """An ONNX file that computes in float.

    Attributes:
        model: parsed; without functions and external data, of ``OPSET`` at least.
        where: for messages.
        inputs: of the file.
    """

    model: onnx.ModelProto
    where: str
    inputs: tuple[Port, ...]

    @property
    def is_fixed(self) -> bool:
        """Every size of every input is a number."""
        return all(port.shape is not None and all(isinstance(size, int) for size in port.shape) for port in self.inputs)


def open_float(source: str | Path | bytes, where: str = "model") -> FloatFile:
    """Read a float ONNX file.

    Raises:
        FormatError: it is missing, damaged, or of operators so old that they cannot be converted.
        UnsupportedOp: ONNX cannot write its functions out.
    """
    from oaq.capture.from_onnx.proto import without_functions  # loads onnx

    file = read_onnx(source, where)
    model = without_functions(file.model, file.where)
    if file.folder is not None:
        _load_weights(model, file.folder, file.where)
    model = _converted(model, file.where)
    return FloatFile(model, file.where, input_ports(model))


def split_file(file: FloatFile, shapes: Mapping[str, Sequence[int]], also: Sequence[str] = ()) -> Split:
    """What of a file becomes integers, at given sizes.

    Args:
        file: to split.
        shapes: of every input.
        also: further tensors that are needed in float.

    Raises:
        FormatError: the file is damaged or contradicts itself.
        UnsupportedOp: no layer of it can become integers.
    """
    typed = _typed(file.model, shapes)
    remainder = set_aside(typed, shapes)
    content = remainder.content if remainder is not None else typed.SerializeToString()
    sizes = {port.name: tuple(shapes[port.name]) for port in file.inputs if shapes.get(port.name)}
    graph = decode(content, file.where, None, sizes, dequantize=True)
    divided = split(graph, also)
    if remainder is None:
        return divided
    return replace(divided, aside={node.name.rpartition("#")[0] or node.name: node.kind for node in remainder.aside})


def _load_weights(model: onnx.ModelProto, folder: Path, where: str) -> None:
    """Take external data into the model."""
    from onnx import numpy_helper

    from oaq.capture.from_onnx.tensors import to_array  # loads onnx

    for tensor in model.graph.initializer:
        if tensor.external_data:
            array = to_array(tensor, f"{where}: initializer {tensor.name!r}", folder)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _converted(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    import onnx

    versions = {opset.domain: opset.version for opset in model.opset_import}
    version = versions.get("", versions.get("ai.onnx", 1))
    if version > LAST_OPSET:
        raise FormatError(
            f"{where}: is written in operators of version {version}; regions of integers are written and proved in "
            f"versions {OPSET} to {LAST_OPSET}. Export the network again with opset {LAST_OPSET}"
        )
    if version >= OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:  # whatever its C++ raises
        raise FormatError(
            f"{where}: is written in operators of version {version}; regions of integers need {OPSET}, and onnx cannot "
            f"convert it: {next(iter(str(error).splitlines()), '')}. Export the network again with opset {OPSET}"
        ) from error


def _typed(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> onnx.ModelProto:
    """A copy whose inputs have these sizes, and whose tensors have the types that ONNX infers then."""
    typed = with_sizes(model, shapes)
    del typed.graph.value_info[:]
    inferred = {value.name: value for value in infer(typed, data_prop=True)}
    for value in typed.graph.output:
        value.CopyFrom(inferred.pop(value.name, value))
    inputs = {value.name for value in typed.graph.input}
    typed.graph.value_info.extend(value for name, value in inferred.items() if name not in inputs)
    return typed
