"""``oaq quantize --out net.onnx`` of a network of which parts stay in float."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oaq.cli import images, models
from oaq.cli.network import is_channels_last
from oaq.data.arrays import read_named
from oaq.data.batches import ARRAYS, files, read
from oaq.data.preprocess import KEY, Preprocess
from oaq.errors import CalibrationError, OaqError, UnsupportedOp
from oaq.mixed.load import read_onnx
from oaq.mixed.program import Port
from oaq.regions.agreement import OutputAgreement, agreement
from oaq.regions.quantize import QuantizedFile, complete_split, quantize_onnx
from oaq.regions.source import FloatFile, open_float
from oaq.regions.words import operators, summary
from oaq.report import Evidence
from oaq.report.scores import Agreement, Score
from oaq.tasks.classify import TOP1
from oaq.terminal import say


def quantize_to_onnx(arguments: argparse.Namespace, options: Any) -> tuple[QuantizedFile, Evidence]:  # noqa: ANN401
    """Quantize MODEL by regions and write the file.

    Raises:
        CalibrationError: the data do not fit the network.
        UnsupportedOp: no layer of it can become integers.
    """
    model, paths, preprocessing = models.with_samples(arguments)
    start = time.perf_counter()
    ports = read_onnx(model).inputs if isinstance(model, Path) else ()
    samples = list(say.track(_samples(model, ports, paths, preprocessing, arguments), "read", len(paths)))
    with say.stages("quantize") as report:
        quantized = quantize_onnx(
            model,
            samples,
            options,
            name=arguments.name or arguments.out.stem,
            progress=lambda step: report(str(step), step.item, step.done),
            metadata={KEY: preprocessing.to_json(), "source": arguments.model},
        )
    outputs = agreement(quantized, lambda feeds: say.track(feeds, "compare with float"))
    quantized.save(arguments.out)
    evidence = Evidence(
        agreement=_classes(outputs, len(paths)),
        budget=None if arguments.budget in (..., None) else arguments.budget,
        seconds=(("quantize", round(time.perf_counter() - start, 3)),),
        notes=_notes(quantized, outputs, paths, arguments),
        codebooks=quantized.choices.codebooks,
    )
    return quantized, evidence


def _samples(
    model: Any,  # noqa: ANN401 (a path or a torch module)
    ports: Sequence[Port],
    paths: Sequence[Path],
    preprocessing: Preprocess,
    arguments: argparse.Namespace,
) -> Iterator[Any]:
    """Each file of --calibrate as arrays."""
    axes = arguments.sample_axes or models.sample_axes(model)
    for path in paths:
        if path.suffix.lower() in ARRAYS:
            arrays = read_named(path)
            if len(arrays) == 1 and len(ports) < 2:
                (array,) = arrays.values()
                yield _batched(array, ports, axes)
            else:
                yield _by_name(arrays, ports, path)
        elif len(ports) > 1:
            names = [port.name for port in ports]
            raise CalibrationError(f"{path}: the network takes {len(names)} inputs: give .npz files that hold {names}")
        else:
            last = bool(ports) and is_channels_last(ports[0])
            yield read(path, preprocessing, channels_last=last)


def _batched(array: np.ndarray, ports: Sequence[Port], axes: int | None) -> np.ndarray:
    """With its batch; a network whose rank is not known gets what the file holds."""
    rank = len(ports[0].shape) if ports and ports[0].shape is not None else None if axes is None else axes + 1
    if not ports and array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
    return array[None] if rank is not None and array.ndim == rank - 1 else array


def _by_name(arrays: dict[str, np.ndarray], ports: Sequence[Port], path: Path) -> dict[str, np.ndarray]:
    names = [port.name for port in ports]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise CalibrationError(f"{path}: holds {', '.join(map(repr, arrays))}; the network takes {names}")
    return {name: arrays[name] for name in names} if names else arrays


def _classes(outputs: Sequence[OutputAgreement], samples: int) -> Agreement | None:
    """Noise of every output of reals; how often a single one that is a row of numbers names the same class."""
    reals = [output for output in outputs if output.sqnr_db is not None]
    sqnr = tuple((output.name, output.sqnr_db) for output in reals if output.sqnr_db is not None)
    if not sqnr:
        return None
    first = reals[0]
    if len(outputs) > 1 or not first.rows:
        return Agreement(samples, "", (), sqnr)
    return Agreement(first.rows, "classify", (Score(TOP1.name, TOP1.unit, TOP1.better, float(first.matches)),), sqnr)


def _notes(
    quantized: QuantizedFile, outputs: Sequence[OutputAgreement], paths: Sequence[Path], arguments: argparse.Namespace
) -> tuple[str, ...]:
    return (
        f"{summary(quantized.split)}.",
        f"Agreement with the float network on {len(paths)} files of {arguments.calibrate}: "
        f"{'; '.join(map(str, outputs))}.",
    )


def refusal(model: Path, arguments: argparse.Namespace, error: UnsupportedOp) -> OaqError:
    """The error for a network of which parts stay in float and that is to be written as pure integers."""
    try:
        file = open_float(model)
        split = complete_split(file, _sizes(file, arguments))
    except OaqError:
        return error
    if not split.float_kinds:
        return error
    return UnsupportedOp(
        f"{error}. An .oaq file holds integers only. With a name that ends in .onnx, --out "
        f"{arguments.out.with_suffix('.onnx')} say, these parts stay in float and the rest is proved: {summary(split)}"
    )


def _sizes(file: FloatFile, arguments: argparse.Namespace) -> dict[str, tuple[int, ...]]:
    paths = files(arguments.calibrate)[:1]
    preprocessing = images.preprocess(arguments, None, models.photo_size(Path(file.where)))
    sample = next(_samples(Path(file.where), file.inputs, paths, preprocessing, arguments))
    if isinstance(sample, dict):
        return {name: (1, *array.shape[1:]) for name, array in sample.items()}
    return {file.inputs[0].name: (1, *sample.shape[1:])}


def say_regions(quantized: QuantizedFile, arguments: argparse.Namespace) -> None:
    """Where regions begin and end: in short, or all of it for ``--explain``."""
    if arguments.explain:
        say.words("\n" + quantized.explain())
    elif quantized.split.float_kinds:
        say.words(f"\nin float, not proved: {operators(quantized.split)} (--explain says where and why)")
