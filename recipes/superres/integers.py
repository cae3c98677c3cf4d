"""The integers of a network that enlarges: what it is calibrated on, and what is kept of an earlier run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from torch import nn

from oaq.data.batches import Batch
from oaq.data.photos import read_pixels
from oaq.data.preprocess import Preprocess
from oaq.program.int_program import IntProgram
from oaq.tasks import Task, Upscaler, upscale
from oaq.terminal import say
from recipes.float_onnx import export_float
from recipes.integers import Choices, earlier_program, keep_program, quantize, weights_digest
from recipes.superres.pictures import brightness, eight_bits, sample, training_photos

SIDE: Final = 96
"""Pixels of the squares that the network is calibrated on: the program's own size, until ``at_size`` changes it."""
BATCH: Final = 8


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
    path = folder / f"{title}.oaq"
    source = f"recipes.superres, {title}, weights {weights_digest(net)}, {choices}"
    earlier = earlier_program(path, source)
    if earlier is not None:
        return earlier
    batches = calibration(training_photos(), scale)
    model = net
    if choices.origin == "onnx":
        model = str(folder / f"{title}.onnx")
        export_float(net, batches[0][:1], Path(model))
    program = quantize(model, batches, choices)
    return keep_program(program, task_of(scale, program.outputs[0]), path, source)
