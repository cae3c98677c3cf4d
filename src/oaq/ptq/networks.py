"""What a caller gives as a network, a torch module, the name of an ONNX file or a graph, as a ``FloatGraph``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
import torch

from oaq.capture.graph import FloatGraph
from oaq.errors import CalibrationError, ProgramError

Network: TypeAlias = torch.nn.Module | FloatGraph | str | PathLike[str]


def graph_of(
    model: Network, batches: Iterable[Any], example: torch.Tensor | None = None, name: str | None = None
) -> tuple[FloatGraph, Iterable[Any]]:
    """The graph, and the batches with nothing taken from them.

    Args:
        model: what the caller gave.
        batches: calibration batches; the first tells sizes that the network itself leaves open.
        example: an input for torch modules; None takes the first sample.
        name: of the graph; None takes the network's own.

    Raises:
        CalibrationError: the first batch is none.
        UnsupportedOp, ProgramError, FormatError: the network cannot be captured.
    """
    if isinstance(model, FloatGraph):
        return model, batches
    if isinstance(model, str | PathLike):
        if str(model).lower().endswith(".tflite"):
            from oaq.capture.from_float_tflite import normalize as normalize_tflite

            return normalize_tflite(str(model), name), batches
        return _from_onnx(model, batches, name)
    from oaq.capture.from_torch import normalize

    if example is not None:
        return normalize(model, example, name), batches
    first, batches = _peek(batches)
    first_samples = tuple(torch.as_tensor(part)[:1].to(torch.float32) for part in _parts(first).values())
    if any(not len(part) for part in first_samples):
        raise CalibrationError("calibration batch 0 holds no sample")
    return normalize(model, first_samples, name), batches


def _from_onnx(path: str | PathLike[str], batches: Iterable[Any], name: str | None) -> tuple[FloatGraph, Iterable[Any]]:
    from oaq.capture.from_float_onnx import normalize
    from oaq.capture.from_onnx import declared_inputs

    if not str(path).endswith(".onnx"):
        raise ProgramError(f"{path}: a network is a torch.nn.Module or the name of an .onnx or .tflite file")
    declared = declared_inputs(str(path))
    is_open = {input_name for input_name, dims in declared.items() if any(isinstance(size, str) for size in dims[1:])}
    shapes: dict[str, tuple[int, ...]] = {}
    if is_open:
        first, batches = _peek(batches)
        parts = _parts(first)
        arrays = parts if isinstance(first, Mapping) else dict(zip(declared, parts.values(), strict=False))
        shapes = {input_name: tuple(part.shape[1:]) for input_name, part in arrays.items() if input_name in is_open}
    return normalize(str(path), shapes, name), batches


def _peek(batches: Iterable[Any]) -> tuple[Any, Iterable[Any]]:
    """The first batch, and all of them.

    Raises:
        CalibrationError: there is none.
    """
    if isinstance(batches, np.ndarray | torch.Tensor):
        raise CalibrationError(
            "calibration batches are a sequence of arrays (n, ...), not one array: give [x] instead of x"
        )
    stream = iter(batches)
    first = next(stream, None)
    if first is None:
        raise CalibrationError("there are no calibration batches: give at least one batch of typical inputs")
    return first, chain([first], stream)


def _parts(batch: Any) -> dict[Any, Any]:  # noqa: ANN401
    """One array per input, by name or number; what is not a number is refused when the batch itself is checked."""
    sequence = batch if isinstance(batch, list | tuple) else [batch]
    parts = dict(batch) if isinstance(batch, Mapping) else dict(enumerate(sequence))
    for part in parts.values():
        if not isinstance(part, np.ndarray | torch.Tensor) or part.ndim == 0:
            raise CalibrationError(
                f"calibration batch 0: an array or a tensor (n, ...) is expected, not {type(part).__name__}"
            )
    return parts
