"""A torch module as a float ONNX file, by torch's own exporters; the file is run once and compared with the module."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np
import torch

from oaq.errors import CalibrationError, OaqError, UnsupportedOp
from oaq.mixed.inference import InferenceSession
from oaq.regions.source import OPSET

DYNAMO_OPSET: Final = 18
"""Least version that torch's exporter of programs writes by itself."""
FIXED: Final = "torch.export, fixed batch"
COUNTS: Final = (1, 3)
"""Numbers of samples that a file is compared with its module on, beside the caller's and that of its export."""
NEAR: Final = 1e-3
"""Largest difference of a result from the module's, in parts of the largest result."""
Inputs = Mapping[str, torch.Tensor] | tuple[torch.Tensor, ...]


def exported(module: Any, samples: Iterable[Any]) -> tuple[bytes, Iterable[Any]]:  # noqa: ANN401
    """The file, and the samples by the names of its inputs.

    Args:
        module: a ``torch.nn.Module``.
        samples: the first decides the sizes: an array or tensor, a sequence of them, or a mapping by argument.

    Raises:
        CalibrationError: there is none, or ``module`` is no module.
        UnsupportedOp: none of torch's exporters takes the module; the message is theirs.
    """
    if not isinstance(module, torch.nn.Module):
        raise CalibrationError(f"a network is a torch.nn.Module or the name of an .onnx file, not {type(module)}")
    stream = iter(samples)
    first = next(stream, None)
    if first is None:
        raise CalibrationError("there are no calibration batches: give at least one batch of typical inputs")
    inputs = _tensors(first)
    names = list(inputs) if isinstance(inputs, Mapping) else [f"input_{index}" for index in range(len(inputs))]
    if isinstance(inputs, tuple) and len(inputs) == 1:
        names = ["input"]
    content, inputs_of_file, single = _exported(module, inputs, names)
    named = (_by_name(sample, names, inputs_of_file) for sample in chain([first], stream))
    return content, (part for sample in named for part in _taken_apart(sample)) if single else named


def _tensors(sample: Any) -> Inputs:  # noqa: ANN401
    if isinstance(sample, Mapping):
        return {str(name): torch.as_tensor(value) for name, value in sample.items()}
    parts = sample if isinstance(sample, list | tuple) else [sample]
    return tuple(torch.as_tensor(part) for part in parts)


def _by_name(sample: Any, names: Sequence[str], inputs_of_file: set[str]) -> dict[str, Any]:  # noqa: ANN401
    """Without what the file does not read."""
    if not isinstance(sample, Mapping):
        parts = sample if isinstance(sample, list | tuple) else [sample]
        if len(parts) != len(names):
            raise CalibrationError(f"a calibration batch holds {len(parts)} arrays, the first one {len(names)}")
        sample = dict(zip(names, parts, strict=True))
    return {str(name): value for name, value in sample.items() if str(name) in inputs_of_file}


def _exported(module: torch.nn.Module, inputs: Inputs, names: Sequence[str]) -> tuple[bytes, set[str], bool]:
    """The file of the first exporter whose file computes what the module does.

    Returns:
        The file, the names of its inputs, and whether it takes one sample only.
    """
    training = module.training
    module.eval()
    reasons = []
    try:
        by_sample = _is_by_sample(module, inputs)
        for label, arguments in _attempts(inputs, names):
            first = _with_samples(inputs, 2) if label != FIXED else _with_samples(inputs, 1) if by_sample else inputs
            for parts in (first, inputs):
                try:
                    with _quiet():
                        content = _export(module, parts, names, arguments)
                        session = InferenceSession(content)
                        _compare(module, session, parts, names)
                        if label != FIXED:
                            _compare_batches(module, session, inputs, names)
                    return content, _names_of(session), label == FIXED and parts is not inputs
                except (OaqError, Exception) as error:  # torch raises classes of many kinds
                    reasons.append(f"{label}: {_first_line(error)}")
    finally:
        module.train(training)
    raise UnsupportedOp(
        f"{type(module).__name__}: torch cannot write it as ONNX: {'; '.join(dict.fromkeys(reasons))}. Export it to an "
        ".onnx file by hand and quantize that"
    )


def _compare_batches(module: torch.nn.Module, session: InferenceSession, inputs: Inputs, names: Sequence[str]) -> None:
    """Run both on the caller's batch, and on other numbers of samples that the module takes.

    A module that asks for the number as a whole number of Python has it written into its file as it was then.

    Raises:
        UnsupportedOp: results differ.
        Exception: the file does not take the caller's batch, or what the module takes; of many kinds.
    """
    for parts in (inputs, *(_with_samples(inputs, count) for count in COUNTS)):
        if parts is inputs or _results(module, parts) is not None:
            _compare(module, session, parts, names)


def _results(module: torch.nn.Module, parts: Inputs) -> list[np.ndarray] | None:
    """What a module returns; None if it does not take these inputs."""
    try:
        with torch.inference_mode(), _quiet():
            return _flat(module(**parts) if isinstance(parts, Mapping) else module(*parts))
    except Exception:  # torch and modules raise whatever they like
        return None


def _is_by_sample(module: torch.nn.Module, inputs: Inputs) -> bool:
    """Whether the first of a batch has the results that it has alone."""
    whole, alone = _results(module, inputs), _results(module, _with_samples(inputs, 1))
    if not whole or alone is None or len(whole) != len(alone):
        return False
    return all(
        together.ndim > 0
        and together[:1].shape == single.shape
        and np.allclose(together[:1], single, rtol=0, atol=NEAR * float(np.abs(together).max(initial=1e-6)))
        for together, single in zip(whole, alone, strict=True)
    )


def _taken_apart(sample: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each sample of a batch, as a batch of one; what has no axis, or one entry on its first, is the same for all."""
    count = max((len(value) for value in sample.values() if np.ndim(value)), default=1)
    shared = {name for name, value in sample.items() if not np.ndim(value) or len(value) == 1}
    for index in range(count):
        yield {name: value if name in shared else value[index : index + 1] for name, value in sample.items()}


def _attempts(inputs: Inputs, names: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    keys = list(inputs) if isinstance(inputs, Mapping) else range(len(inputs))
    parts = [inputs[key] for key in keys]  # type: ignore[index]
    sizes = [{0: torch.export.Dim.AUTO} if part.ndim else None for part in parts]
    shapes = dict(zip(keys, sizes, strict=True)) if isinstance(inputs, Mapping) else tuple(sizes)
    axes = {name: {0: "batch"} for name, part in zip(names, parts, strict=True) if part.ndim}
    return [
        ("torch.export", {"dynamo": True, "dynamic_shapes": shapes, "opset_version": DYNAMO_OPSET, "verbose": False}),
        ("TorchScript", {"dynamo": False, "dynamic_axes": axes, "opset_version": OPSET}),
        (FIXED, {"dynamo": True, "opset_version": DYNAMO_OPSET, "verbose": False}),
    ]


def _export(module: torch.nn.Module, inputs: Inputs, names: Sequence[str], arguments: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    sink: Any = buffer  # torch takes one, its annotation does not say so
    with torch.no_grad():
        if isinstance(inputs, Mapping):
            torch.onnx.export(module, (), sink, kwargs=dict(inputs), input_names=list(names), **arguments)
        else:
            torch.onnx.export(module, inputs, sink, input_names=list(names), **arguments)
    return buffer.getvalue()


def _names_of(session: InferenceSession) -> set[str]:
    return {argument.name for argument in session.get_inputs()}


def _compare(module: torch.nn.Module, session: InferenceSession, inputs: Inputs, names: Sequence[str]) -> None:
    """Run both.

    Raises:
        UnsupportedOp: results differ.
    """
    with torch.inference_mode():
        results = _flat(module(**inputs) if isinstance(inputs, Mapping) else module(*inputs))
    parts = list(inputs.values()) if isinstance(inputs, Mapping) else list(inputs)
    inputs_of_file = _names_of(session)
    feed = {name: part.numpy() for name, part in zip(names, parts, strict=True) if name in inputs_of_file}
    written = session.run(None, feed)
    for expected, array in zip(results, written, strict=False):
        if expected.shape != array.shape:
            raise UnsupportedOp(f"its file gives {array.shape} where the module gives {tuple(expected.shape)}")
        largest = float(np.abs(expected).max(initial=1e-6))
        if not np.allclose(expected, array, rtol=0, atol=NEAR * largest, equal_nan=True):
            raise UnsupportedOp("its file computes something else than the module")


def _flat(results: Any) -> list[np.ndarray]:  # noqa: ANN401
    """Every tensor in what a module returns, in order."""
    if isinstance(results, torch.Tensor):
        return [results.float().numpy() if results.is_floating_point() else results.numpy()]
    parts = results.values() if isinstance(results, Mapping) else results if isinstance(results, list | tuple) else ()
    return [array for part in parts for array in _flat(part)]


def _with_samples(inputs: Inputs, count: int) -> Inputs:
    """A batch of ``count`` of the samples, in turn: an exporter takes a batch of one for a size that never changes."""

    def chosen(part: torch.Tensor) -> torch.Tensor:
        if not part.ndim or not len(part):
            return part
        return part[[0 if index == 0 else len(part) - 1 - (index - 1) % len(part) for index in range(count)]]

    if isinstance(inputs, Mapping):
        return {name: chosen(part) for name, part in inputs.items()}
    return tuple(chosen(part) for part in inputs)


@contextlib.contextmanager
def _quiet() -> Any:  # noqa: ANN401
    """Without what exporters print: their errors are raised."""
    import logging

    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).strip().splitlines() if line.strip()), type(error).__name__)[:200]
