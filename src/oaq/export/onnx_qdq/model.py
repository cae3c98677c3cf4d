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
from oaq.operators import TensorSpec
from oaq.program.atomic import write_atomically
from oaq.program.files import Part
from oaq.program.int_program import IntProgram
from oaq.program.plain import to_plain
from oaq.seal.text import KEY, PROGRAM, to_text

try:
    import onnx
    from onnx import TensorProto, helper
except ImportError as error:  # pragma: no cover (the test environment has it)
    raise FormatError("ONNX export needs the package onnx: pip install 'oaq[onnx]'") from error

OPSET: Final = 17
IR_VERSION: Final = 8


def save(program: IntProgram, path: str | Path, parts: Mapping[str, Part] | None = None) -> None:
    """Write ``build(program)`` to ``path``, whole or not at all.

    Raises:
        UnsupportedOp: ONNX cannot say what a node computes.
        FormatError: ``path`` cannot be written.
    """
    write_atomically(path, [build(program, parts).SerializeToString(deterministic=True)])


def build(program: IntProgram, parts: Mapping[str, Part] | None = None, taps: Iterable[str] = ()) -> onnx.ModelProto:
    """The model: float32 (batch, C, H, W) or (batch, C) in and out, called like the program's.

    Args:
        program: with ``float32_half_even`` requantization.
        parts: what has been proved; stored in ``metadata_props`` under ``oaq``, together with the program's header and
            the sha256 of all the rest. None leaves the model bare.
        taps: tensors whose u8 integers become outputs too, after the program's own and in this order.

    Raises:
        UnsupportedOp: ONNX cannot say what a node computes.
    """
    for spec in program.tensors.values():
        if len(spec.shape) not in (1, 3):
            raise UnsupportedOp(
                f"{spec.name}: is {spec.shape}; ONNX files are written of (C,) and (H, W, C) tensors only"
            )
    graph = Graph(program)
    for name in program.inputs:
        graph.quantize(name, name)
    for node in program.nodes:
        emit(graph, node)
    outputs = []
    for name in program.outputs:
        # A tensor that is input and output at once needs two names.
        real = graph.dequantize(name, graph.fresh(name) if name in program.inputs else name)
        outputs.append(_value(program.tensors[name], real, TensorProto.FLOAT))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            program.name or "oaq",
            [_value(program.tensors[name], name, TensorProto.FLOAT) for name in program.inputs],
            outputs + [_value(program.tensors[name], graph.u8[name], TensorProto.UINT8) for name in taps],
            list(graph.constants.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="oaq",
    )
    if parts is not None:
        digest = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
        helper.set_model_props(model, {KEY: to_text({PROGRAM: _program(program), **parts}, digest)})
    onnx.checker.check_model(model, full_check=True)
    return model


def _program(program: IntProgram) -> Part:
    """The program's header, and of its arrays those that the graph leaves to scales: other arrays are its constants."""
    header, arrays = to_plain(program)
    multipliers = {}
    for index, node in enumerate(program.nodes):
        key = f"nodes/{index}/requantize.multiplier"
        if key in arrays and not isinstance(node.op, ops.Products):
            multipliers[key] = arrays[key]
    return Part(header, multipliers)


def _value(spec: TensorSpec, name: str, kind: int) -> onnx.ValueInfoProto:
    shape = spec.shape if len(spec.shape) == 1 else (spec.shape[2], spec.shape[0], spec.shape[1])
    return helper.make_tensor_value_info(name, kind, ["batch", *shape])
