"""``oaq quantize --out net.onnx`` of a network of which parts stay in float."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oaq.cli import images, models
from oaq.cli.samples import read_samples
from oaq.data.batches import files
from oaq.data.preprocess import KEY
from oaq.errors import OaqError, UnsupportedOp
from oaq.mixed.load import read_onnx
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
    axes = arguments.sample_axes or models.sample_axes(model)
    samples = list(say.track(read_samples(paths, ports, preprocessing, axes), "read", len(paths)))
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
    axes = arguments.sample_axes or models.sample_axes(Path(file.where))
    sample = next(read_samples(paths, file.inputs, preprocessing, axes))
    if isinstance(sample, dict):
        return {name: (1, *array.shape[1:]) for name, array in sample.items()}
    return {file.inputs[0].name: (1, *sample.shape[1:])}


def say_regions(quantized: QuantizedFile, arguments: argparse.Namespace) -> None:
    """Where regions begin and end: in short, or all of it for ``--explain``."""
    if arguments.explain:
        say.words("\n" + quantized.explain())
    elif quantized.split.float_kinds:
        say.words(f"\nin float, not proved: {operators(quantized.split)} (--explain says where and why)")
