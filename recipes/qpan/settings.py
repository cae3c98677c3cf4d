"""How integers of 8 bits are chosen on MR slices, compared on slices that are neither calibrated on nor scored.

What wins here is what ``recipes.qpan.slices`` does: its own three slices decide nothing.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from oaq.ptq.clip import ClipMethod
from oaq.ptq.options import Options
from oaq.ptq.rounding import Rounding
from recipes.ledger import Ledger, Row
from recipes.qpan.chain import Form, chain_of, float_run, fourier_measurement, natively
from recipes.qpan.fourier import Real
from recipes.qpan.networks import published
from recipes.qpan.samples import read_mask, read_slices
from recipes.qpan.scoring import METRICS, clipped
from recipes.qpan.slices import CALIBRATED, MASK, WEIGHTS, WHOLE

HELD: Final = (*range(2, 8), *range(9, 17))
"""Numbers of slices."""
SETTINGS: Final[tuple[tuple[int, ClipMethod, Rounding, bool], ...]] = (
    (96, "mse", "axe", True),
    (96, "minmax", "axe", True),
    (96, "mse", "nearest", True),
    (96, "mse", "axe", False),
    (160, "mse", "axe", True),
    (160, "minmax", "axe", True),
    (160, "mse", "nearest", True),
    (160, "mse", "axe", False),
)
"""Side of the middle that is looked at, choice of ranges, rounding of weights, and whether biases are corrected."""


def label_of(side: int, calibration: ClipMethod, rounding: Rounding, correct_bias: bool) -> str:
    """The label of a row.

    >>> label_of(96, "mse", "nearest", False)
    'middle of 96, mse, nearest, biases left'
    """
    return f"middle of {side}, {calibration}, {rounding}{'' if correct_bias else ', biases left'}"


def run_settings(data: Path, ledger: Ledger, only: str = "") -> None:
    """A row for every setting: PSNR of the held-out slices, and how far below float's.

    Args:
        data: holds ``mri``.
        ledger: takes the rows.
        only: a part of the labels of the rows to run.

    Raises:
        FormatError: a file of --data is missing or damaged.
    """
    mask = read_mask(data / "mri" / MASK)
    held, calibrated = (read_slices(data / "mri", mask, numbers) for numbers in (HELD, CALIBRATED))
    net, truths = published(data / "mri" / WEIGHTS), [part.image for part in held]
    measurement = fourier_measurement(held, mask)
    inputs = float_run(net, fourier_measurement(calibrated, mask))[1]

    def psnr(images: Real) -> float:
        return METRICS[0].compute([clipped(image) for image in images], truths)

    exact = psnr(float_run(net, measurement)[0])

    def of_setting(side: int, calibration: ClipMethod, rounding: Rounding, correct_bias: bool) -> Row:
        options: Options = replace(WHOLE, calibration=calibration, rounding=rounding, correct_bias=correct_bias)
        chain = chain_of(net, inputs, Form(2, "float", side), options)
        value = psnr(chain.run(measurement, natively(chain))[0])
        return (("PSNR, dB", f"{value:.3f}"), ("below float, dB", f"{exact - value:.3f}"))

    ledger.row("float", lambda: (("PSNR, dB", f"{exact:.3f}"), ("below float, dB", "-")))
    for setting in SETTINGS:
        if only in label_of(*setting):
            ledger.row(label_of(*setting), partial(of_setting, *setting))
