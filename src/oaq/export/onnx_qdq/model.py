"""A whole ONNX model from an ``IntProgram``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from oaq import operators as ops
from oaq.errors import FormatError, UnsupportedOp
from oaq.export.onnx_qdq.graph import Graph
from oaq.export.onnx_qdq.operators import emit
from oaq.program.atomic import write_atomically
from oaq.program.files import Part
from oaq.program.int_program import IntProgram
from oaq.program.layout import channels_first, layout_of
from oaq.program.plain import to_plain
from oaq.seal.text import KEY, PROGRAM, to_text

try:
    import onnx
    from onnx import TensorProto, helper
except ImportError as error:  # pragma: no cover (the test environment has it)
    raise FormatError("ONNX export needs the package onnx: pip install onnx") from error

OPSET: Final = 17
IR_VERSION: Final = 8
LARGEST_RANK: Final = 4
"""Axes of a sample: runtimes convolve along three at most."""


def save(program: IntProgram, path: str | Path, parts: Mapping[str, Part] | None = None) -> None:
    """Write ``build(program)`` to ``path``, whole or not at all.

    Raises:
        UnsupportedOp: ONNX cannot say what a node computes.
        FormatError: ``path`` cannot be written.
    """
    write_atomically(path, [build(program, parts).SerializeToString(deterministic=True)])


def build(program: IntProgram, parts: Mapping[str, Part] | None = None, taps: Iterable[str] = ()) -> onnx.ModelProto:
    """The model: float32 (batch, C, H, W), (batch, C, L) or (batch, C) in and out, called like the program's.

    Lines whose channels come last for callers, (batch, T, C), come and go so; inside they are (batch, C, T).

    Args:
        program: with ``float32_half_even`` requantization.
        parts: what has been proved; stored in ``metadata_props`` under ``oaq``, together with the program's header and
            the sha256 of all the rest. None leaves the model bare.
        taps: tensors whose u8 integers become outputs too, after the program's own and in this order.

    Raises:
        UnsupportedOp: ONNX cannot say what a node computes.
    """
    graph, results = write_graph(program)
    outputs = [
        _value(_outside(program, name), result, TensorProto.FLOAT)
        for name, result in zip(program.outputs, results, strict=True)
    ]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            program.name or "oaq",
            [_value(_outside(program, name), name, TensorProto.FLOAT) for name in program.inputs],
            outputs + [_value(_inside(program, name), graph.u8[name], TensorProto.UINT8) for name in taps],
            list(graph.constants.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="oaq",
    )
    if parts is not None:
        digest = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
        helper.set_model_props(model, {KEY: to_text({PROGRAM: program_part(program), **parts}, digest)})
    onnx.checker.check_model(model, full_check=True)
    return model


def write_graph(program: IntProgram, taken: Iterable[str] = ()) -> tuple[Graph, list[str]]:
    """Every node of the program in QDQ form, and the names of its outputs; inputs are called like the program's.

    Args:
        program: to write.
        taken: names that the nodes must not use.

    Raises:
        UnsupportedOp: ONNX cannot say what a node computes.
    """
    for spec in program.tensors.values():
        if len(spec.shape) > LARGEST_RANK:
            raise UnsupportedOp(
                f"{spec.name}: is {spec.shape}; ONNX files are written of tensors of up to {LARGEST_RANK} axes"
            )
    graph = Graph(program, taken)
    for name in program.inputs:
        last = enters_channels_last(program, name)
        graph.quantize(graph.value("Transpose", [name], f"{name}_first", perm=[0, 2, 1]) if last else name, name)
    for node in program.nodes:
        emit(graph, node)
    results = []
    for name in program.outputs:
        # A tensor that is input and output at once needs two names.
        result = graph.fresh(name) if name in program.inputs else name
        if enters_channels_last(program, name):
            graph.node("Transpose", [graph.dequantize(name)], result, perm=[0, 2, 1])
        else:
            graph.dequantize(name, result)
        results.append(result)
    return graph, results


def program_part(program: IntProgram) -> Part:
    """The program's header, and of its arrays those that the graph leaves to scales: other arrays are its constants."""
    header, arrays = to_plain(program)
    multipliers = {}
    for index, node in enumerate(program.nodes):
        keys = [f"nodes/{index}/requantize.{field}" for field in ("multiplier", "shift")]
        if not isinstance(node.op, ops.Products):
            multipliers |= {key: arrays[key] for key in keys if key in arrays}
    return Part(header, multipliers)


def enters_channels_last(program: IntProgram, name: str) -> bool:
    """Whether the file takes or gives the tensor as (batch, T, C): lines that callers lay out so.

    Images are (batch, C, H, W) in every file, because ONNX knows them so.
    """
    return len(program.tensors[name].shape) == 2 and layout_of(program.metadata, name) == "NHWC"


def _inside(program: IntProgram, name: str) -> tuple[int, ...]:
    return channels_first(program.tensors[name].shape)


def _outside(program: IntProgram, name: str) -> tuple[int, ...]:
    return program.tensors[name].shape if enters_channels_last(program, name) else _inside(program, name)


def _value(shape: tuple[int, ...], name: str, kind: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["batch", *shape])
