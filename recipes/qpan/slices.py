"""MR slices by the published network: rows of weights and features in few bits, verified, and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch

import oaq
from oaq.cli.tasks import encoded
from oaq.errors import FormatError
from oaq.program.atomic import write_atomically
from oaq.ptq.options import Options
from oaq.ptq.uniform import Uniform
from oaq.terminal import say
from recipes.ledger import Ledger, Row
from recipes.qpan.chain import (
    Chain,
    Form,
    Measurement,
    by_reference,
    chain_of,
    float_run,
    fourier_measurement,
    natively,
    require_lawful,
)
from recipes.qpan.executors import EXECUTORS, verified_chain
from recipes.qpan.fourier import Real
from recipes.qpan.networks import published
from recipes.qpan.pictures import panels
from recipes.qpan.samples import Slice, measured_slice, read_mask, read_slices
from recipes.qpan.scoring import METRICS, clipped
from recipes.qpan.training_data import line_mask
from recipes.qpan.weights import rounded

SCORED: Final = (1, 25, 50)
CALIBRATED: Final = (8, 17, 21, 33, 38, 42)
"""Numbers of slices."""
PART: Final = 64
"""Rows and columns of the middle of a slice."""
MASK, WEIGHTS = "mask_20.mat", "ista-net-plus-20.npz"
WHOLE: Final = Options(budget=None, across_functions=True)
"""8 bits in every layer, a scale for each channel."""


def few(weight_bits: int, feature_bits: int) -> Options:
    """So many bits in every layer, the first layer's image too."""
    return Options(uniform=Uniform(weight_bits, feature_bits, None, None), across_functions=True)


CHAINS: Final[tuple[tuple[str, Form, Options], ...]] = (
    ("W8 / A8 per channel, r in two planes", Form(2, "float"), WHOLE),
    ("W8 / A8 per channel", Form(1, "float"), WHOLE),
    ("W8 / A8 per channel, u8 trunk", Form(1, "u8"), WHOLE),
    ("W8 / A8 per tensor", Form(1, "float"), Options(budget=None, equalize=False, calibration="minmax")),
    ("W4 / A8 per channel, r in two planes", Form(2, "float"), few(4, 8)),
    ("W8 / A6 per channel, r too", Form(1, "float"), few(8, 6)),
    ("W8 / A4 per channel, r too", Form(1, "float"), few(8, 4)),
    ("W2 / A8 per channel, r in two planes", Form(2, "float"), few(2, 8)),
    ("W3 / A8 per channel, r in two planes", Form(2, "float"), few(3, 8)),
    ("W8 / A8 per channel, r in two planes, 16-bit sums", Form(2, "float"), Options(across_functions=True)),
)
"""Programs by the label of their row."""


def scored(images: Real, slices: Sequence[Slice]) -> Row:
    """PSNR and SSIM of images."""
    answers, truths = [clipped(image) for image in images], [part.image for part in slices]
    texts = (f"{metric.compute(answers, truths):.4f}" for metric in METRICS)
    psnr, ssim = texts
    return (("PSNR, dB", f"{float(psnr):.2f}"), ("SSIM", ssim))


def run_slices(data: Path, ledger: Ledger, folder: Path, only: str = "") -> None:
    """Every row, and pictures of the first one's integers.

    Args:
        data: holds ``mri``.
        ledger: takes the rows.
        folder: where programs and pictures go.
        only: a part of the labels of the rows to run.

    Raises:
        FormatError: a file of --data is missing or damaged.
        Mismatch: an integer differs from the reference.
    """
    mask = read_mask(data / "mri" / MASK)
    if min(mask.shape) < PART:
        raise FormatError(f"{data / 'mri' / MASK}: a mask of {mask.shape}; {PART} x {PART} at least is expected")
    slices, calibrated = (read_slices(data / "mri", mask, numbers) for numbers in (SCORED, CALIBRATED))
    measurement = fourier_measurement(slices, mask)
    net = published(data / "mri" / WEIGHTS)
    inputs = float_run(net, fourier_measurement(calibrated, mask))[1]
    for label, measure in _float_rows(data, slices, measurement):
        if only in label:
            ledger.row(label, measure)
    for label, form, options in CHAINS:

        def measure_chain(label: str, form: Form, options: Options) -> Row:
            chain = chain_of(net, inputs, form, options)
            images, row = _measured(chain, slices, mask, label)
            _keep(chain, folder / label.replace(" / ", "").replace(" ", "-").replace(",", ""))
            if label == CHAINS[0][0]:
                write_pictures(slices, float_run(net, measurement)[0], images, folder)
            return row

        if only in label:
            ledger.row(label, partial(measure_chain, label, form, options))


def _measured(chain: Chain, slices: Sequence[Slice], mask: Real, label: str) -> tuple[Real, Row]:
    """Images by the native sessions, and their row; the reference runs, too.

    It runs the first slice whole for the first row, whose programs every executor computes on the middle of it, and
    this middle, measured anew, for the others: it is slow.

    Raises:
        Mismatch: an integer differs.
    """
    images, integers = chain.run(fourier_measurement(slices, mask), natively(chain))
    part, middle = chain.at_size(PART, PART), _middle(slices[0])
    executors: Row = ()
    if label == CHAINS[0][0]:
        lawful = chain.run(fourier_measurement(slices[:1], mask), by_reference(chain))[1]
        executors = ((EXECUTORS, str(verified_chain(part, middle))),)
    else:
        integers, lawful = (part.run(middle, execute(part))[1] for execute in (natively, by_reference))
    require_lawful(f"{label}, {slices[0].name}", integers, lawful)
    equal = ("integers that differ", f"0 of {sum(law.size for law in lawful)}")
    return images, (*scored(images, slices), equal, ("runs", _runs(chain)), *executors)


def _middle(whole: Slice) -> Measurement:
    """The middle of a slice, measured anew."""
    mask = line_mask(PART, 0.2)
    top, first = ((side - PART) // 2 for side in whole.image.shape)
    part = measured_slice("middle", whole.image[top : top + PART, first : first + PART], mask)
    return fourier_measurement([part], mask)


def _float_rows(data: Path, slices: Sequence[Slice], measurement: Measurement) -> list[tuple[str, Callable[[], Row]]]:
    def of_weights(bits: int | None) -> Row:
        net = published(data / "mri" / WEIGHTS)
        with torch.no_grad():
            for parameter in net.parameters():
                if parameter.ndim == 4 and bits is not None:
                    parameter.copy_(rounded(parameter, bits))
        return scored(float_run(net, measurement)[0], slices)

    rows: list[tuple[str, Callable[[], Row]]] = [("zero-filled", lambda: scored(measurement.start, slices))]
    rows.append(("float", partial(of_weights, None)))
    return [*rows, *((f"W{bits} / float", partial(of_weights, bits)) for bits in (8, 4, 3, 2))]


def _runs(chain: Chain) -> str:
    """The mean number of steps of four products between two spills on AVX2, over the programs."""
    return f"{np.mean([oaq.plan(program, isa='avx2').average_run for program in chain.programs]):.1f}"


def _keep(chain: Chain, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for program in chain.programs:
        oaq.save(program, folder / f"{program.name}.oaq")


def write_pictures(slices: Sequence[Slice], floats: Real, integers: Real, folder: Path) -> None:
    """A picture of each slice: truth, zero-filled, float, integers, and what the integers miss."""
    for part, exact, answer in zip(slices, floats, integers, strict=True):
        path = folder / f"{part.name}.png"
        write_atomically(path, [encoded(panels(part.image, part.start, exact, answer), path.suffix)])
        say.words(f"  {path}")
