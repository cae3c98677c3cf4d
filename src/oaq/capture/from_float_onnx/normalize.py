"""``normalize``: read the file, walk its nodes, name what stays in float."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from oaq.capture.from_float_onnx import functions, layers, moves, pools
from oaq.capture.from_float_onnx.builder import Builder, FloatEdge, View, layout_of, unsupported
from oaq.capture.from_float_onnx.cuts import cut_before
from oaq.capture.from_float_onnx.recognized import recognize
from oaq.capture.from_onnx import OnnxGraph, OnnxNode, declared_inputs, read
from oaq.capture.from_onnx.attribute_table import attribute_flaw
from oaq.capture.from_onnx.order import channel_axis, rotated
from oaq.capture.graph import FloatGraph
from oaq.errors import OaqError, UnsupportedOp
from oaq.program.layout import channels_first

Handler = Callable[[Builder, OnnxNode], None]

HANDLERS: Final[Mapping[str, Handler]] = {
    "Conv": layers.convolution,
    "ConvTranspose": layers.transposed_convolution,
    "Gather": moves.gather,
    "Gemm": layers.gemm,
    "MatMul": layers.matmul,
    "BatchNormalization": layers.batch_norm,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), layers.arithmetic),
    "Sum": layers.summed,
    "Neg": layers.negated,
    "Relu": functions.clamped(0.0, None),
    "Clip": functions.clip,
    **dict.fromkeys(("Min", "Max"), functions.bounded),
    "Sigmoid": functions.curve("sigmoid"),
    "Tanh": functions.curve("tanh"),
    "HardSwish": functions.curve("hardswish"),
    "HardSigmoid": functions.hard_sigmoid,
    "LeakyRelu": functions.curve("leaky_relu", alpha=0.01),
    "Elu": functions.curve("elu", alpha=1.0),
    "Selu": functions.curve("selu", alpha=1.6732632, gamma=1.0507010),
    "Celu": functions.curve("celu", alpha=1.0),
    "Swish": functions.curve("swish", alpha=1.0),
    **{name.capitalize(): functions.curve(name) for name in functions.NAMED},
    "Shrink": functions.shrink,
    "Pow": functions.power,
    "Gelu": functions.gelu,
    "PRelu": functions.parametric_relu,
    "MaxPool": pools.max_pool,
    "AveragePool": pools.average_pool,
    "GlobalAveragePool": pools.global_average,
    "GlobalMaxPool": pools.global_max,
    "ReduceMean": pools.mean,
    "ReduceMax": pools.greatest,
    **dict.fromkeys(("Resize", "Upsample"), pools.resize),
    "DepthToSpace": pools.depth_to_space,
    **dict.fromkeys(("Identity", "Dropout", "Cast"), moves.unchanged),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), moves.reshape),
    "Transpose": moves.transpose,
    "Pad": moves.pad,
    "Concat": moves.concat,
    "Slice": moves.cut,
    "Split": moves.split,
}
"""Handlers of ONNX's own operators."""
EDGE: Final = ("Softmax", "LogSoftmax", "ArgMax", "Cast", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze")
"""What may stay in float after the last integers; from Cast on only after one of those before it."""
POINTWISE: Final = ("Add", "Sub", "Mul", "Div", "Neg", "Cast", "Identity", "Clip", "Relu")
"""What may happen to an input before it is brought from NHWC to NCHW."""
QUANTIZED: Final = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "FakeQuantize")


def normalize(
    path: str | Path, input_shapes: Mapping[str, Sequence[int]] | None = None, name: str | None = None
) -> FloatGraph:
    """The clean graph of the network in the ONNX file ``path``, which computes in float.

    Args:
        path: of the file.
        input_shapes: of one sample, by input, as the file counts axes: for files that leave more open than the batch.
        name: of the graph; None takes the file's.

    Returns:
        The graph: batch norms folded, clamps inside the operators they follow, nodes named as in the file. Its
        metadata say what the file does after the graph's outputs ("float_edge"), and whether inputs are "NHWC".

    Raises:
        FormatError: the file is missing, damaged or contradicts itself.
        UnsupportedOp: an operator, or a variant of one, that oaq does not know; says where and what it knows.
        ProgramError: a weight is NaN or infinite.
    """
    file = read(path, _with_batch(path, input_shapes or {}), dequantize=True)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused where it ends up
            return _normalized(file, name or file.name)
    except OaqError as error:
        raise type(error)(f"{file.where}: {error}") from error


def _with_batch(path: str | Path, samples: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]] | None:
    """Whole shapes: the samples' and the file's own batch, 1 where it leaves that open."""
    if not samples:
        return None
    batches = {
        name: dims[0] if dims and isinstance(dims[0], int) else 1 for name, dims in declared_inputs(path).items()
    }
    return {name: (batches.get(name, 1), *map(int, shape)) for name, shape in samples.items()}


def _normalized(file: OnnxGraph, name: str) -> FloatGraph:
    build = Builder(name, file=file)
    last = {name: _add_input(build, name) for name in file.inputs}
    images = [flag for name, flag in last.items() if len(build.shapes[name]) == 3]
    if len(set(images)) > 1:
        orders = [f"input {name!r} ({'H, W, C' if last[name] else 'C, H, W'})" for name in last]
        raise UnsupportedOp(f"{', '.join(orders[:4])}: export all images in one order")
    layout = "NHWC" if any(images) else "NCHW"
    layouts = {name: "NHWC" if flag else "NCHW" for name, flag in last.items() if len(build.shapes[name]) > 1}
    written_out = recognize(file)
    inner = {name for function in written_out.values() for name in function.inner}
    for node in file.nodes:
        if node.name in written_out:
            functions.apply(build, node, written_out[node.name].root, written_out[node.name].op)
        elif node.name not in inner:
            _take(build, node)
    outputs, edges = _outputs(build, layout, layouts)
    metadata = {"source": "onnx", "input_layout": layout}
    if edges:
        metadata["float_edge"] = "; ".join(edges)
    return build.finished(outputs, metadata, {name: order for name, order in layouts.items() if order != layout})


def _add_input(build: Builder, name: str) -> bool:
    """One input; returns whether the file counts its channels last: (T, C), (H, W, C)."""
    dtype, shape = build.file.dtype(name), build.file.shape(name)
    place = f"input {name!r}"
    if dtype is None or dtype.kind != "f":
        raise UnsupportedOp(f"{place}: is of type {dtype}; oaq takes networks that read floats")
    if len(shape) not in (2, 3, 4, 5) or shape[0] != build.file.batch:
        raise UnsupportedOp(
            f"{place}: is of shape {shape}; oaq takes (batch, C), (batch, C, L), (batch, T, C), (batch, C, H, W) and "
            "(batch, C, D, H, W)"
        )
    sample = shape[1:]
    last = len(sample) > 1 and (
        channels_last(build.file, name) or channel_axis(build.file, name, len(sample)) == len(sample)
    )
    build.shapes[name] = channels_first(sample) if last else sample
    build.inputs.append(name)
    build.settle(name, View(name, layout_of(build.shapes[name], rotated(len(sample)) if last else None)))
    return last


def channels_last(file: OnnxGraph, name: str) -> bool:
    """Whether all that happens to an input, constants and functions aside, is a Transpose from NHWC to NCHW."""
    pending, visited = [name], {name}
    while pending:
        users = file.consumers.get(pending.pop(), ())
        for user in users:
            if user.op == "Transpose" and user.attributes.get("perm") == (0, 3, 1, 2):
                continue
            if user.op not in POINTWISE or not users:
                return False
            pending += [output for output in user.outputs if output not in visited]
            visited.update(user.outputs)
        if not users:
            return False
    return True


def _take(build: Builder, node: OnnxNode) -> None:
    """Handle one node."""
    if _is_left_to_caller(build, node):
        return
    handler = None if node.domain else HANDLERS.get(node.op)
    if node.op in QUANTIZED or node.op.startswith("QLinear"):
        raise unsupported(node, "the file is quantized already; `oaq doctor` looks at such files")
    if not any(build.is_activation(name) for name in node.inputs):
        raise unsupported(node, "it reads constants only, and it is not computed beforehand")
    if handler is None:
        raise unsupported(node, f"oaq has no operator for it in float files{cut_before(build, node)}")
    if not node.outputs or not node.outputs[0]:
        raise unsupported(node, "its first result is not used")
    flaw = attribute_flaw(node, build.file.opsets)
    if flaw:
        raise unsupported(node, flaw)
    try:
        handler(build, node)
    except UnsupportedOp as error:
        raise UnsupportedOp(f"{error}{cut_before(build, node)}") from error


def _is_left_to_caller(build: Builder, node: OnnxNode) -> bool:
    """Whether the node is left to the caller, because only the network's outputs come after it."""
    if node.domain or node.op not in EDGE or len(node.outputs) != 1:
        return False
    value = build.values.get(node.input_name(0))
    description = f"{node.op} {node.name!r}"
    if isinstance(value, FloatEdge):
        build.settle(node.outputs[0], FloatEdge(value.tensor, (*value.undone, description)))
        return True
    if node.op not in EDGE[:3] or value is None:
        return False
    build.settle(node.outputs[0], FloatEdge(node.input_name(0), (description,)))
    return True


def _outputs(build: Builder, layout: str, layouts: dict[str, str]) -> tuple[list[str], list[str]]:
    """The file's names of what the graph gives, each once, and what remains to be done to them.

    ``layouts`` is given those of lines and tokens.
    """
    outputs: dict[str, str] = {}
    edges = []
    for name in build.file.outputs:
        value, declared = build.values.get(name), name
        if isinstance(value, FloatEdge):
            edges.append(f"{name!r} is {' of '.join(reversed(value.undone))} of {value.tensor!r}, left in float")
            name = value.tensor
            value = build.values[name]
        if not isinstance(value, View):
            raise UnsupportedOp(f"output {name!r}: does not depend on the network's input")
        tensor, axes = build.output(name)
        if tensor in build.inputs:
            raise UnsupportedOp(f"output {name!r}: is an input as it is; there is nothing to compute")
        rank = len(axes)
        if rank == 2 and tensor not in layouts:
            layouts[tensor] = "NHWC" if axes == rotated(rank) else "NCHW"
        if rank > 1 and axes != (rotated(rank) if layouts.get(tensor, layout) == "NHWC" else tuple(range(rank))):
            edges.append(f"{declared!r} has its axes in another order than the program's output, which is {layout}")
        if tensor in outputs and name == declared:
            edges.append(f"{declared!r} is {outputs[tensor]!r}")
        outputs.setdefault(tensor, name)
    return list(outputs.values()), edges
