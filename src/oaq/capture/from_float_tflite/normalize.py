"""``normalize``: read the file, walk its operators, name what stays in float."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from oaq.capture.from_float_tflite import layers, moves
from oaq.capture.from_float_tflite.builder import FloatTfliteBuilder, sample_of, site, unpacked
from oaq.capture.from_float_tflite.moves import Handler
from oaq.capture.from_tflite.graph import LEFT_OUT, TfliteGraph, TfliteOperator
from oaq.capture.from_tflite.multipliers import RELU, RELU6, RELU_N1_TO_1
from oaq.capture.from_tflite.options import refusal
from oaq.capture.from_tflite.reader import read
from oaq.capture.graph import FloatGraph
from oaq.capture.location import Location
from oaq.errors import FormatError, OaqError, UnsupportedOp

HANDLERS: Final[Mapping[str, Handler]] = {
    "CONV_2D": layers.conv_2d,
    "DEPTHWISE_CONV_2D": layers.depthwise_conv_2d,
    "TRANSPOSE_CONV": layers.transpose_conv,
    "FULLY_CONNECTED": layers.fully_connected,
    **dict.fromkeys(("ADD", "SUB", "MUL"), layers.arithmetic),
    **dict.fromkeys(("MAXIMUM", "MINIMUM"), layers.extreme),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), layers.pool),
    "MEAN": layers.mean,
    "RELU": moves.clamp(RELU),
    "RELU6": moves.clamp(RELU6),
    "RELU_N1_TO_1": moves.clamp(RELU_N1_TO_1),
    "LOGISTIC": moves.curve("sigmoid"),
    "TANH": moves.curve("tanh"),
    "HARD_SWISH": moves.curve("hardswish"),
    "LEAKY_RELU": moves.curve("leaky_relu", alpha=True),
    "PRELU": moves.parametric_relu,
    "ELU": moves.curve("elu", 1.0),
    "GELU": moves.gelu,
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS"), moves.reshape),
    **dict.fromkeys(("PAD", "PADV2"), moves.pad),
    "CONCATENATION": moves.concatenation,
    **dict.fromkeys(("SLICE", "STRIDED_SLICE"), moves.slice_),
    **dict.fromkeys(("SPLIT", "SPLIT_V"), moves.split),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), moves.resize),
    "MIRROR_PAD": moves.mirror_pad,
    "GATHER": moves.gather,
    "DEPTH_TO_SPACE": moves.depth_to_space,
    "TRANSPOSE": moves.transpose,
}
"""Handlers by operator."""
EDGE: Final = ("SOFTMAX", "LOG_SOFTMAX", "ARG_MAX", "RESHAPE", "SQUEEZE")
"""What may stay in float after the last integers; from RESHAPE on only after one of those before it."""


def normalize(path: str | Path, name: str | None = None) -> FloatGraph:
    """The clean graph of the network in the TFLite file ``path``, which computes in float.

    Args:
        path: of the file.
        name: of the graph; None takes the file's.

    Returns:
        The graph: clamps inside the operators they follow, nodes named after what they write in the file, inputs
        "NHWC". Its metadata say what the file does after the graph's outputs ("float_edge").

    Raises:
        FormatError: the file is missing, damaged or contradicts itself.
        UnsupportedOp: an operator, or a variant of one, that oaq does not know; says where.
        ProgramError: a weight is NaN or infinite.
    """
    file = read(path)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused where it ends up
            return _normalized(file, name or file.name)
    except OaqError as error:
        raise type(error)(f"{file.where}: {error}") from error


def declared_inputs(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Shapes of a file's inputs by name, batch included.

    Raises:
        FormatError, UnsupportedOp: the file cannot be read.
    """
    file = read(path)
    return {file.tensors[index].name: file.tensors[index].shape for index in file.inputs}


def _normalized(file: TfliteGraph, name: str) -> FloatGraph:
    build = FloatTfliteBuilder(name, file=file)
    for index in file.inputs:
        tensor = file.tensors[index]
        place = Location(tensor.name, f"input {tensor.name!r}")
        if tensor.kind != "FLOAT32":
            raise place.unsupported(f"is {tensor.kind}; oaq takes networks that read floats (int8 files: oaq doctor)")
        build.shapes[tensor.name] = sample_of(tensor, place)
        build.inputs.append(tensor.name)
        build.values[index] = tensor.name
    for operator in file.operators:
        _take(build, operator)
    outputs, edges = _outputs(build)
    metadata = {"source": "tflite", "input_layout": "NHWC"}
    if edges:
        metadata["float_edge"] = "; ".join(edges)
    return build.graph(tuple(outputs), metadata)


def _take(build: FloatTfliteBuilder, operator: TfliteOperator) -> None:
    """Handle one operator.

    Raises:
        FormatError: it contradicts itself, in whatever way its handler meets.
    """
    place = site(operator)
    if _is_left_to_caller(build, operator) or _is_constant(build, operator):
        return
    kinds = {build.file.tensors[index].kind for index in operator.outputs}
    if operator.op == "QUANTIZE" or kinds & {"INT8", "UINT8", "INT16"}:
        raise place.unsupported("the file is quantized already; `oaq doctor` looks at such files")
    handler = HANDLERS.get(operator.op)
    if handler is None:
        raise place.unsupported("oaq has no operator for it in float TFLite files")
    reason = refusal(operator)
    if reason:
        raise place.unsupported(reason)
    try:
        handler(build, operator)
    except (TypeError, ValueError, IndexError, OverflowError, ZeroDivisionError) as error:
        raise FormatError(f"{operator}: its shapes or numbers do not fit each other: {error}") from error


def _is_constant(build: FloatTfliteBuilder, operator: TfliteOperator) -> bool:
    """Whether the operator only unpacks a constant: DEQUANTIZE of float16 or 8-bit weights."""
    if operator.op != "DEQUANTIZE" or operator.input_at(0) == LEFT_OUT:
        return False
    numbers = unpacked(build.tensor(operator, 0))
    if numbers is None:
        return False
    build.constants[operator.outputs[0]] = numbers
    return True


def _is_left_to_caller(build: FloatTfliteBuilder, operator: TfliteOperator) -> bool:
    """Whether the operator stays in float: only the network's outputs come after it."""
    if operator.op not in EDGE or len(operator.outputs) != 1 or operator.input_at(0) == LEFT_OUT:
        return False
    x, description = operator.input_at(0), str(operator)
    if x in build.edges:
        start, undone = build.edges[x]
        build.edges[operator.outputs[0]] = start, (*undone, description)
        return True
    if operator.op not in EDGE[:3] or x not in build.values or _is_read_again(build, operator):
        return False
    build.edges[operator.outputs[0]] = x, (description,)
    return True


def _is_read_again(build: FloatTfliteBuilder, operator: TfliteOperator) -> bool:
    """Whether something that is no edge reads the result."""
    readers = [build.file.operators[index] for index in build.file.readers.get(operator.outputs[0], ())]
    return any(reader.op not in EDGE for reader in readers)


def _outputs(build: FloatTfliteBuilder) -> tuple[list[str], list[str]]:
    """The graph's tensors that the file gives, each once, and what remains to be done to them."""
    outputs, edges = dict[str, None](), []
    for index in build.file.outputs:
        tensor = build.file.tensors[index]
        if index in build.edges:
            start, undone = build.edges[index]
            origin = build.file.tensors[start].name
            edges.append(f"{tensor.name!r} is {' of '.join(reversed(undone))} of {origin!r}, left in float")
            index = start
        if index not in build.values:
            raise UnsupportedOp(f"output {tensor.name!r}: does not depend on the network's input")
        name = build.values[index]
        if name in build.inputs:
            raise UnsupportedOp(f"output {tensor.name!r}: is an input as it is; there is nothing to compute")
        outputs[name] = None
    return list(outputs), edges
