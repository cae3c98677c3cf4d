"""At which rate few levels are trained, compared on photos that are neither trained on, calibrated on nor scored.

What wins here, by bits, is what ``recipes.daq.superres`` trains at: Set5, Set14 and the named photos decide nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import oaq
from oaq.program.int_program import IntProgram
from oaq.tasks.upscale import upscale_metrics
from recipes.daq.superres import NETWORK, Training, by_program, float_network, levels_of, squares_of, trained
from recipes.data.packages import unpack
from recipes.data.photos import MVTB, SCIKIT_IMAGE
from recipes.ledger import Ledger, Row
from recipes.superres.enlarge import Enlarger, by_float
from recipes.superres.scoring import answer_set

COMPARED: Final[Mapping[int, tuple[float, ...]]] = {
    4: (3e-5, 1e-4, 3e-4, 1e-3),
    3: (3e-5, 1e-4, 3e-4, 1e-3),
    2: (3e-5, 1e-4, 3e-4, 1e-3, 3e-3),
}
"""Rates of Adam at the start, by bits."""
MODE: Final = "static"
SET: Final = "held out"
OF_SCIKIT_IMAGE: Final = ("brick", "camera", "coins", "grass", "gravel", "moon")
OF_MVTB: Final = ("castle", "penguins", "street", "campus/holdout/P1070502", "campus/holdout/P1070508")
"""Names of photos, all PNG."""


def held_photos() -> list[Path]:
    """The photos that rates are compared on."""
    first = unpack(SCIKIT_IMAGE, [f"skimage/data/{name}.png" for name in OF_SCIKIT_IMAGE])
    others = unpack(MVTB, [f"mvtbdata/images/{name}.png" for name in OF_MVTB])
    return [*first.values(), *others.values()]


def label_of(bits: int, rate: float | None) -> str:
    """The label of a row; None: before training.

    >>> label_of(4, 3e-5), label_of(2, None)
    ('W4A4, 3e-05', 'W2A2, untrained')
    """
    return f"W{bits}A{bits}, {'untrained' if rate is None else f'{rate:g}'}"


def run_rates(ledger: Ledger, *, scale: int, bits: tuple[int, ...], training: Training, only: str = "") -> None:
    """A row for every width and rate: PSNR of the held-out photos, static levels, weights of as many bits.

    Args:
        ledger: takes the rows.
        scale: of the enlargement.
        bits: of what the layers read.
        training: where weights lie and are written, and for how long levels are trained; its rate is not looked at.
        only: a part of the labels of the rows to run.

    Raises:
        FetchError, FormatError, WeightsError: as ``recipes.daq.superres.trained``.
    """
    net, photos = float_network(scale, training.folder), held_photos()
    metric = upscale_metrics(border=scale)[0]

    def score(enlarger: Enlarger) -> Row:
        return ((f"{metric.name}, dB", f"{answer_set(SET, photos, scale, {SET: enlarger}).score(metric, SET):.3f}"),)

    def program_of(width: int, rate: float | None) -> IntProgram:
        if rate is None:
            levels = levels_of(MODE, width)
            return oaq.quantize(net, squares_of(scale), budget=None, daq=levels, name=NETWORK)
        return trained(net, scale, MODE, width, replace(training, rate=rate))

    def row_of(width: int, rate: float | None) -> Row:
        return score(by_program(program_of(width, rate)))

    ledger.row("float", lambda: score(by_float(net)))
    for width in bits:
        for rate in (None, *COMPARED[width]):
            if only in label_of(width, rate):
                ledger.row(label_of(width, rate), partial(row_of, width, rate))
