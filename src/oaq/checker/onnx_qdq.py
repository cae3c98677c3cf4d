"""The program that an exported ONNX file computes: read off its graph, or the file is refused.

A file carries, beside its graph, the header of a program: names, shapes, scales, zero points, ranges, operators.
Nothing of it is believed. The graph is walked from its first node to its last, and each node must be the one that the
header demands there: operator, attributes, inputs, scales, zero points, clips. Weights, biases, tables and multipliers
are taken from the graph's own constants, so a proof about the result is a proof about the file.

Where a certificate is about some of a file's nodes, what enters these is quantized by them, so it is any u8. How many
positions it has, other nodes decide: of a sum over positions the proof speaks at the sizes of the header alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.checker.onnx_model import Dims, OnnxModel
from oaq.checker.onnx_replay import Replay
from oaq.checker.onnx_rules import is_float_defined, replay_node
from oaq.checker.program import NamedArrays, Program, parse
from oaq.errors import FormatError

SEMANTICS = "float32_half_even"


def arrays_of(model: OnnxModel, header: Mapping[str, Any], stored: NamedArrays, where: str) -> dict[str, NDArray[Any]]:
    """The arrays of the program that ``header`` describes, from the graph.

    Args:
        model: the file.
        header: of the program (``program.plain``); trusted in nothing.
        stored: arrays the graph has no place for: multipliers of operators that ONNX leaves to scales.
        where: begins every message.

    Raises:
        FormatError: the graph does not compute what the header says.
    """
    try:
        return _arrays_of(model, header, stored, where)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, ZeroDivisionError) as error:
        raise FormatError(
            f"{where}: the certificate's program is malformed: {type(error).__name__}: {error}"
        ) from error


def float_defined(header: Mapping[str, Any]) -> list[str]:
    """Names of nodes that another runtime may round to a neighbour of the program's integer."""
    return [str(node["name"]) for node in header["nodes"] if is_float_defined(node)]


def _arrays_of(model: OnnxModel, header: Mapping[str, Any], stored: NamedArrays, where: str) -> dict[str, NDArray[Any]]:
    program = parse(header, {})
    if header["requantize"] != SEMANTICS:
        raise FormatError(f"{where}: requantizes by {str(header['requantize'])[:40]}, which ONNX cannot")
    scales = {item["name"]: _scale(item["scale"], where) for item in header["tensors"]}
    replay = Replay(model, program, scales, stored, where)
    layouts = _layouts(header, program, where)
    if not model.is_part:
        _check_ends(replay, "input", model.inputs, {name: layouts[name] for name in program.inputs})
    for name in program.inputs:
        real = name
        if layouts[name]:
            real, _ = replay.take(f"input {name}", "Transpose", [name], perm=(0, 2, 1))
        replay.quantize(f"input {name}", real, name)
    for node in program.nodes:
        replay_node(replay, node)
    outputs = header["outputs"]
    if not isinstance(outputs, list) or not outputs or not set(outputs) <= set(program.tensors):
        raise FormatError(f"{where}: the program has no outputs")
    written = [_output(replay, name, layouts[name]) for name in outputs]
    if (written != list(model.outputs) and not model.is_part) or replay.position != len(model.nodes):
        raise replay.refuse("outputs", f"{list(model.outputs)[:4]} are not what the last nodes write")
    if any(actual != name for actual, name in zip(written, outputs, strict=True) if name not in program.inputs):
        raise replay.refuse("outputs", f"are called {written[:4]}, not {outputs[:4]}")
    if not model.is_part:
        ends = {name: layouts[name] for name in outputs}
        _check_ends(replay, "output", dict(zip(outputs, model.outputs.values(), strict=True)), ends)
    unread = sorted(set(stored) - set(replay.arrays))
    if unread:
        raise replay.refuse("the certificate", f"holds arrays that no node uses: {unread[:3]}")
    return replay.arrays


def _layouts(header: Mapping[str, Any], program: Program, where: str) -> dict[str, bool]:
    """For every tensor whether a file is to hold it with its channels last: a line (T, C) declared NHWC."""
    metadata = header.get("metadata") or {}
    lasts = {}
    for name, spec in program.tensors.items():
        layout = metadata.get(f"layout:{name}", metadata.get("input_layout", "NHWC"))
        if layout not in ("NCHW", "NHWC"):
            raise FormatError(f"{where}: {name}: its layout is {str(layout)[:40]}, neither NCHW nor NHWC")
        lasts[name] = len(spec.shape) == 2 and layout == "NHWC"
    return lasts


def _output(replay: Replay, name: str, last: bool) -> str:
    real = replay.dequantize(f"output {name}", name)
    return replay.take(f"output {name}", "Transpose", [real], perm=(0, 2, 1))[0] if last else real


def _check_ends(replay: Replay, end: str, sizes: Mapping[str, Dims], lasts: Mapping[str, bool]) -> None:
    """Compare inputs or outputs with the program's; ``lasts`` says of each whether its channels are last."""
    program: Program = replay.program
    if tuple(sizes) != tuple(lasts):
        raise replay.refuse(f"{end}s", f"are {list(sizes)[:4]}, not {list(lasts)[:4]}")
    for name, dims in sizes.items():
        shape = program.tensors[name].shape
        shape = shape if lasts[name] else (*shape[-1:], *shape[:-1])
        if len(dims) != len(shape) + 1 or dims[1:] != shape or not isinstance(dims[0], str):
            raise replay.refuse(f"{end} {name}", f"is of shape {dims}, not (batch, {shape})")


def _scale(value: object, where: str) -> np.float32:
    if type(value) is not float or not 0 < value < 2.0**127 or float(np.float32(value)) != value:
        raise FormatError(f"{where}: a scale is a positive float32, not {str(value)[:40]}")
    return np.float32(value)
