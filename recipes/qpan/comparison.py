"""The comparison of soft threshold and average, float and few bits, that were trained here: a row for each pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Final

import numpy as np
import torch

from oaq.ptq.options import Options
from oaq.ptq.uniform import Uniform
from recipes.ledger import Ledger, Row
from recipes.qpan.chain import (
    Form,
    Measurement,
    by_reference,
    chain_of,
    float_run,
    fourier_measurement,
    natively,
    require_lawful,
)
from recipes.qpan.fourier import Real
from recipes.qpan.networks import Unfolded
from recipes.qpan.samples import (
    SIDE,
    SLICES,
    cut,
    join,
    measured_slice,
    read_grey,
    read_mask,
    read_slices,
    set11,
)
from recipes.qpan.scoring import METRICS, clipped
from recipes.qpan.train import SETS, Course, courses, float_course, trained
from recipes.qpan.training_data import SHARE, TaskName, head_slices, line_mask, problem_of, random_sampling
from recipes.qpan.weights import rounded, settle_weights
from recipes.superres.pictures import named_photos

CALIBRATED: Final = {"mri": 6, "blocks": 48}
"""Training images that integers are chosen on."""
EVERY: Final = 25
"""One of so many slices of the averaged head is scored where there are no others."""


@dataclass(frozen=True, eq=False)
class Trial:
    """What a task is scored on.

    Attributes:
        name: of the images.
        truths: in 0..1.
        measurement: of all of them.
        join: from the iteration's images to whole ones.
        island: computation of the data step, in words.
    """

    name: str
    truths: list[Real]
    measurement: Measurement
    join: Callable[[Real], list[Real]]
    island: str

    def score(self, images: Real) -> float:
        """Mean PSNR, dB."""
        return METRICS[0].compute([clipped(image) for image in self.join(images)], self.truths)


@cache
def trial_of(task: TaskName, data: Path | None) -> Trial:
    """Images of --data, or free ones; made once.

    Raises:
        FormatError: a file of --data is missing or damaged.
        FetchError: a package cannot be fetched.
    """
    if task == "mri":
        if data is not None:
            mask = read_mask(data / "mri" / "mask_20.mat")
            slices = read_slices(data / "mri", mask, SLICES[:: len(SLICES) // 5])
        else:
            mask = line_mask(256, SHARE[task])
            slices = [
                measured_slice("averaged head", image.astype(np.float64), mask) for image in head_slices()[::EVERY]
            ]
        name = "5 slices of --data" if data is not None else "slices of the averaged head, which it was trained on"
        truths = [part.image for part in slices]
        return Trial(name, truths, fourier_measurement(slices, mask), list, "Fourier, float64")
    photos = [read_grey(path) for path in (named_photos() if data is None else set11(data / "blocks"))]
    sampling = random_sampling(SIDE, SHARE[task])
    blocks = np.concatenate([cut(photo) for photo in photos])
    measured = blocks @ sampling.matrix.T
    product = sampling.matrix.T @ sampling.matrix
    shape = (-1, SIDE, SIDE)

    def normal(x: Real) -> Real:
        return (x.reshape(len(x), -1) @ product).reshape(shape)

    measurement = Measurement(
        (measured @ sampling.guess.T).reshape(shape), (measured @ sampling.matrix).reshape(shape), normal
    )
    name = "Set11" if data is not None else "five photos of scikit-image"
    return Trial(name, photos, measurement, partial(_joined, photos), "a matrix, float64")


def _joined(photos: Sequence[Real], blocks: Real) -> list[Real]:
    images, at = [], 0
    for photo in photos:
        count = len(cut(photo))
        images.append(join(blocks[at : at + count].reshape(count, -1), photo.shape))
        at += count
    return images


def options_of(bits: int | None) -> Options:
    """Integers of a trained network: its weights are on their grid already, and only rows may change it."""
    if bits is None:
        return Options(budget=None, across_functions=True)
    uniform = Uniform(bits, 8, None, None)
    return Options(uniform=uniform, rounding="nearest", equalize=False, across_functions=True, correct_bias=False)


def compare(
    task: TaskName, seeds: int, data: Path | None, folder: Path, ledger: Ledger, *, by_programs: bool = True
) -> None:
    """A row for each activation and each width of weights: PSNR by seed.

    Args:
        task: whose data.
        seeds: of each row.
        data: folder of images to score; None: free ones.
        folder: where weights lie.
        ledger: takes the rows.
        by_programs: also quantize and run the first seed's network as programs of integers.

    Raises:
        FormatError: a file of --data is missing or damaged, or what an earlier run left is.
    """
    trial = trial_of(task, data)
    ledger.row(
        f"{task}: first guess, {trial.name}", lambda: (("float", f"{trial.score(trial.measurement.start):.2f}"),)
    )
    rows = courses((task,), seeds)
    for bits in (None, 4, 2):
        for activation in SETS:
            of_row = [course for course in rows if course.bits == bits and course.activation == activation]
            label = f"{task}: {activation}, {'float' if bits is None else f'W{bits}'}"
            ledger.row(label, partial(_row, of_row, trial, folder, by_programs))


def _row(of_row: Sequence[Course], trial: Trial, folder: Path, by_programs: bool) -> Row:
    """PSNR of each seed as it was trained and rounded without training, and of the integers of the first seed."""
    trained_here, after, integers = [], [], []
    for course in of_row:
        net = trained(course, folder)
        settle_weights(net)
        trained_here.append(trial.score(float_run(net, trial.measurement)[0]))
        if course.bits is not None:
            after.append(trial.score(float_run(_rounded(course, folder), trial.measurement)[0]))
        if course.seed == 0 and by_programs:
            integers.append(_by_integers(net, course, trial))
    return (
        ("as trained", _texts(trained_here)),
        ("rounded without training", _texts(after) if after else "-"),
        ("integers, A8, seed 0", f"{integers[0]:.2f}" if integers else "not run"),
    )


def _texts(values: Sequence[float]) -> str:
    spread = (max(values) - min(values)) / 2
    return f"{np.mean(values):.2f} ± {spread:.2f} ({', '.join(f'{value:.2f}' for value in values)})"


def _rounded(course: Course, folder: Path) -> Unfolded:
    net = trained(float_course(course), folder)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim == 4:
                parameter.copy_(rounded(parameter, course.bits or 8))
    return net


def _by_integers(net: Unfolded, course: Course, trial: Trial) -> float:
    """PSNR of the programs of the phases, whose integers equal the reference's on a part of the images."""
    problem = problem_of(course.task)
    count = CALIBRATED[course.task]
    x = problem.images[:: max(len(problem.images) // count, 1)][:count]
    start, back = problem.starts(x), problem.normal(x)
    measurement = Measurement(
        *(part[:, 0].double().numpy() for part in (start, back)),
        normal=lambda z: problem.normal(torch.from_numpy(z)[:, None].float())[:, 0].double().numpy(),
    )
    inputs = float_run(net, measurement)[1]
    chain = chain_of(net, inputs, Form(2, "float"), options_of(course.bits), trial.island)
    chain = chain.at_size(*trial.measurement.start.shape[1:])
    images, outputs = chain.run(trial.measurement, natively(chain))
    _, lawful = chain.run(_first(trial.measurement, images.shape[0]), by_reference(chain))
    require_lawful(course.name, outputs, lawful)
    return trial.score(images)


def _first(measurement: Measurement, count: int) -> Measurement:
    """The first image or the first blocks."""
    few = 1 if measurement.start.shape[1] > SIDE else min(count, 16)
    return Measurement(measurement.start[:few], measurement.back[:few], measurement.normal)
