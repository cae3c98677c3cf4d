"""What layers really read, seen by running the file in ONNX Runtime: evidence, never a proof.

It runs as written, without its optimisations and with its slower exact kernels, so that the CPU at hand does not itself
spoil the sums that are about to be repaired.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq import reference
from oaq.capture.imported import Imported
from oaq.errors import CalibrationError, OaqError
from oaq.program.int_program import Node

if TYPE_CHECKING:
    from oaq.repair.onnx_file import OnnxFile

SampleBatch = NDArray[Any] | Mapping[str, NDArray[Any]]
"""Samples as the file takes them, (n, ...): of its only input, or of each by name."""
ObservedOperands = NDArray[np.uint8]
POSITIONS: Final = 64
"""Output positions looked at per sample, evenly spaced: neighbours tell little new."""


def observed(
    file: OnnxFile, imported: Imported, nodes: Sequence[Node], data: Iterable[SampleBatch]
) -> dict[str, ObservedOperands]:
    """Operands of ``nodes`` over ``data``, by node: (G, P, K) u8 integers at P output positions.

    A node whose input is not a tensor of the file is left out.

    Args:
        file: a copy of its own to run; it gets further outputs.
        imported: the same as integers.
        nodes: Conv2d and Linear nodes of its program.
        data: samples.

    Raises:
        CalibrationError: there are no samples, they do not fit the file, or ONNX Runtime cannot run it.
    """
    tensors = {node.name: imported.tensors.get(node.inputs[0]) for node in nodes}
    traced = [node for node in nodes if (source := tensors[node.name]) is not None and source.axes is not None]
    names = sorted({imported.tensors[node.inputs[0]].name for node in traced})
    if not names:
        return {}
    file.watch(names)
    by_node: dict[str, list[ObservedOperands]] = {node.name: [] for node in traced}
    count = 0
    for values in _runs(file, names, data):
        count += 1
        for node in traced:
            operands = _operands(imported, node, values)
            by_node[node.name].append(operands[:, :: -(-operands.shape[1] // POSITIONS)])
    if not count:
        raise CalibrationError("there are no samples to look at")
    return {name: np.concatenate(parts, axis=1) for name, parts in by_node.items()}


def _operands(imported: Imported, node: Node, values: Mapping[str, NDArray[Any]]) -> ObservedOperands:
    """(G, M, K) what a layer multiplies, as the program's integers."""
    spec, source = imported.program.tensors[node.inputs[0]], imported.tensors[node.inputs[0]]
    value = values[source.name]
    if value.dtype.kind == "f":
        integers = spec.affine.quantize(value.astype(np.float32), spec.range)
    else:
        integers = value.astype(np.int64) + source.offset
    axes = [0, *(source.axes or ())]
    axes += [axis for axis in range(integers.ndim) if axis not in axes]  # of size 1, where an image became a vector
    x = integers.transpose(axes).reshape(len(integers), *spec.shape).astype(np.uint8)
    return np.asarray(reference.packed_operands(node.products, x, spec.affine.zero_point, 1), np.uint8)


def _runs(file: OnnxFile, names: Sequence[str], data: Iterable[SampleBatch]) -> Iterator[dict[str, NDArray[Any]]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        session = onnxruntime.InferenceSession(file.content(), options, providers=["CPUExecutionProvider"])
        inputs = session.get_inputs()
        for batch in data:
            for sample in _samples(batch, [graph_input.name for graph_input in inputs], inputs[0].shape[0]):
                yield dict(zip(names, session.run(list(names), sample), strict=True))  # type: ignore[arg-type]
    except OaqError:
        raise
    except Exception as error:  # onnxruntime raises whatever its kernels raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CalibrationError(f"ONNX Runtime cannot run the file on these samples: {reason}") from error


def _samples(batch: SampleBatch, inputs: Sequence[str], size: int | str | None) -> Iterator[dict[str, NDArray[Any]]]:
    arrays = dict(batch) if isinstance(batch, Mapping) else {inputs[0]: batch}
    if set(arrays) != set(inputs):
        raise CalibrationError(f"the file takes {', '.join(inputs)}; the samples are {', '.join(arrays) or 'none'}")
    at_once = size if isinstance(size, int) else 1
    count = min(len(value) for value in arrays.values())
    for first in range(0, count - at_once + 1, at_once):
        yield {name: np.ascontiguousarray(value[first : first + at_once]) for name, value in arrays.items()}
