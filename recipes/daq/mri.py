"""MR slices by ISTA-Net+ with published weights: the features of its phases in few levels, the Fourier steps in float.

Each phase is a program of integers from r, an image of 8 bits, to what is added to it; the sum and the data step are
float64 between the programs. Levels are chosen on slices that are not scored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import oaq
from oaq.program.int_program import IntProgram
from oaq.ptq import Daq
from oaq.terminal import say
from recipes.daq.choices import rows_of
from recipes.ledger import Ledger, Row
from recipes.qpan.fourier import Real, project
from recipes.qpan.networks import TwoLayerPhase, Unfolded, published
from recipes.qpan.samples import Slice, read_mask, read_slices
from recipes.qpan.scoring import METRICS, clipped

SCORED: Final = (1, 25, 50)
CALIBRATED: Final = (12, 33, 45)
"""Numbers of slices."""
WEIGHTS, MASK = "ista-net-plus-20.npz", "mask_20.mat"
FEATURES: Final = "rise|analyse|fall|synthesize|gather"
"""Layers that read 32 channels."""

Prior = Callable[[Real], Real]
"""(n, rows, columns) r to what is added to it."""


class Correction(nn.Module):
    """What a phase adds to r; its threshold is a number."""

    def __init__(self, phase: TwoLayerPhase) -> None:
        super().__init__()
        self.spread, self.rise, self.analyse = phase.spread, phase.rise, phase.analyse
        self.fall, self.synthesize, self.gather = phase.fall, phase.synthesize, phase.gather
        self.width = float(phase.shrink.threshold.detach())

    def forward(self, r: torch.Tensor) -> torch.Tensor:
        """(n, 1, rows, columns) to the same shape."""
        c = F.softshrink(self.analyse(F.relu(self.rise(self.spread(r)))), self.width)
        return self.gather(self.synthesize(F.relu(self.fall(c))))


class Reconstruction:
    """The network with its data, for any ways to compute the phases.

    Attributes:
        calibrated: slices that levels are chosen on.
        scored: slices that are scored.
        mask: as it was given.

    Args:
        net: ISTA-Net+.
        mask: (rows, columns) of 0 and 1: what of the spectrum is measured.
    """

    def __init__(self, net: Unfolded, mask: Real) -> None:
        self._net, self.mask = net, mask
        self.calibrated: list[Slice] = []
        self.scored: list[Slice] = []
        self._inputs: list[Real] = []
        self._corrections = [Correction(phase).eval() for phase in net.phases]  # type: ignore[arg-type]

    def run(self, slices: Sequence[Slice], priors: Sequence[Prior]) -> tuple[Real, list[Real]]:
        """Images after all phases, and the r of each phase."""
        x = np.stack([part.start for part in slices])
        measured, inputs = x, []
        for phase, prior in zip(self._net.phases, priors, strict=True):
            r = x - float(phase.step.detach()) * (project(x, self.mask) - measured)  # type: ignore[arg-type]
            inputs.append(r)
            x = r + prior(r)
        return x, inputs

    def score(self, priors: Sequence[Prior]) -> float:
        """Mean PSNR of the scored slices."""
        x, _ = self.run(self.scored, priors)
        return METRICS[0].compute([clipped(image) for image in x], [part.image for part in self.scored])

    def floats(self) -> list[Prior]:
        """The phases in float32."""
        return [_by_float(correction) for correction in self._corrections]

    def programs(self, daq: Daq | None) -> list[IntProgram]:
        """A program for each phase, calibrated on what it reads in the float network; None: 8 bits everywhere."""
        if not self._inputs:
            _, self._inputs = self.run(self.calibrated, self.floats())
        programs = []
        for at, correction in enumerate(say.track(self._corrections, str(daq or "8 bits"))):
            batches = [self._inputs[at][:, None].astype(np.float32)]
            programs.append(oaq.quantize(correction, batches, name=f"phase-{at}", budget=None, daq=daq))
        return programs


def published_reconstruction(data: Path) -> Reconstruction:
    """The published network for 20 % of the spectrum, with slices to calibrate on and to score.

    Args:
        data: folder with ``mri``.

    Raises:
        FormatError: a file is missing or damaged.
    """
    folder = data / "mri"
    network = Reconstruction(published(folder / WEIGHTS), read_mask(folder / MASK))
    network.calibrated = read_slices(folder, network.mask, CALIBRATED)
    network.scored = read_slices(folder, network.mask, SCORED)
    return network


def _by_float(correction: Correction) -> Prior:
    def prior(r: Real) -> Real:
        with torch.inference_mode():
            return correction(torch.from_numpy(r[:, None].astype(np.float32))).numpy()[:, 0].astype(np.float64)

    return prior


def by_programs(programs: Sequence[IntProgram], isa: str | None = None) -> list[Prior]:
    """The phases in integers, natively."""
    sessions = [oaq.Session(oaq.plan(program, isa=isa)) for program in programs]

    def prior_of(session: oaq.Session) -> Prior:
        return lambda r: np.asarray(session.run(r[:, None].astype(np.float32)))[:, 0].astype(np.float64)

    return [prior_of(session) for session in sessions]


def run_mri(data: Path, ledger: Ledger, bits: tuple[int, ...], only: str = "") -> None:
    """A row for every choice of levels: PSNR of the scored slices at 20 %.

    Args:
        data: folder with ``mri``.
        ledger: takes the rows.
        bits: of what the layers read.
        only: a part of the labels of the rows to run.

    Raises:
        FormatError: a file is missing or damaged.
    """
    network = published_reconstruction(data)
    start = [clipped(part.start) for part in network.scored]
    truth = [part.image for part in network.scored]

    def row_of(psnr: float) -> Row:
        return (("PSNR, dB", f"{psnr:.2f}"),)

    def of_programs(daq: Daq | None) -> Row:
        return row_of(network.score(by_programs(network.programs(daq))))

    ledger.row("zero-filled", lambda: row_of(METRICS[0].compute(start, truth)))
    ledger.row("float", lambda: row_of(network.score(network.floats())))
    choices: list[tuple[str, Daq | None]] = [("8 bits", None)] if only in "8 bits" else []
    choices += [row for width in bits for row in rows_of(width, FEATURES, only)]
    for label, daq in choices:
        ledger.row(label, partial(of_programs, daq))
