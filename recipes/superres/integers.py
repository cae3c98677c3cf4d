"""The integers of a network that enlarges: what it is calibrated on, and what is kept of an earlier run."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from torch import nn

import oaq
from oaq.data.batches import Batch
from oaq.data.photos import read_pixels
from oaq.data.preprocess import Preprocess
from oaq.program.int_program import IntProgram
from oaq.ptq.options import DEFAULT_BUDGET, Options
from oaq.ptq.quantize import quantize_with_report
from oaq.ptq.rounding import Rounding
from oaq.tasks import Task, Upscaler, task_metadata, upscale
from oaq.terminal import say
from recipes.superres.pictures import brightness, eight_bits, sample, training_photos

SIDE: Final = 96
"""Pixels of the squares that the network is calibrated on: the program's own size, until ``at_size`` changes it."""
BATCH: Final = 8


@dataclasses.dataclass(frozen=True)
class Choices:
    """How the integers are chosen.

    Attributes:
        budget: as of ``oaq.ptq.options.Options``.
        rounding: of weights.
        origin: what is captured: "torch", or "onnx", the module's export.
    """

    budget: float | None = DEFAULT_BUDGET
    rounding: Rounding = "axe"
    origin: str = "torch"


def task_of(scale: int, output: str = "") -> Task:
    """What the networks are for: luma of 16/255 to 235/255 in and out, colour from the photo."""
    preprocess = Preprocess((SIDE, SIDE), mean=(-16 / 219,), std=(255 / 219,))
    return upscale(preprocess, Upscaler(output, border=scale, luma=True))


def calibration(paths: Sequence[Path], scale: int) -> list[Batch]:
    """The middle of every photo that is large enough, reduced, in batches of 8; first black beside white.

    With both ends of 8 bits among them, the step of the input and of the output is that of a photo, 1/255.
    """
    ends = np.zeros((SIDE, SIDE), np.float32)
    ends[:, SIDE // 2 :] = 1
    squares = [ends]
    for path in say.track(paths, "decode photos to calibrate on"):
        luma = eight_bits(brightness(sample(path.name, read_pixels(path), scale).small))
        top, first = ((side - SIDE) // 2 for side in luma.shape)
        if min(top, first) >= 0:
            squares.append(luma[top : top + SIDE, first : first + SIDE])
    whole = len(squares) // BATCH * BATCH or len(squares)
    return [np.stack(squares[at : at + BATCH])[:, None] for at in range(0, whole, BATCH)]


def program_of(net: nn.Module, title: str, scale: int, choices: Choices, folder: Path) -> IntProgram:
    """The integers with the task in their metadata: those of an earlier run in ``folder``, or made now and saved.

    An earlier run's are taken if they are of the same weights and choices.
    """
    path, source = folder / f"{title}.oaq", _source(net, title, choices)
    if path.exists():
        earlier = oaq.load(path)
        if earlier.metadata.get("source") == source:
            return earlier
        say.words(f"  {path} was made of other weights, or with other options: quantized again")
    batches = calibration(training_photos(), scale)
    model = _exported(net, folder / f"{title}.onnx") if choices.origin == "onnx" else net
    with say.stages("quantize") as report:
        options = Options(budget=choices.budget, rounding=choices.rounding)
        program, _ = quantize_with_report(
            model, batches, options, progress=lambda step: report(str(step), step.item, step.done)
        )
    metadata = {**program.metadata, **task_metadata(task_of(scale, program.outputs[0])), "source": source}
    program = dataclasses.replace(program, name=title, metadata=metadata)
    oaq.save(program, path)
    return program


def _exported(net: nn.Module, path: Path) -> str:
    from recipes.float_onnx import export_float

    export_float(net, np.zeros((1, 1, SIDE, SIDE), np.float32), path)
    return str(path)


def _source(net: nn.Module, title: str, choices: Choices) -> str:
    digest = hashlib.sha256()
    for value in net.state_dict().values():
        digest.update(value.contiguous().numpy().tobytes())
    budget = "none" if choices.budget is None else f"{choices.budget:g}"
    options = f"rounding {choices.rounding}, budget {budget}, from {choices.origin}"
    return f"recipes.superres, {title}, weights {digest.hexdigest()[:16]}, {options}"
