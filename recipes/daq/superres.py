"""EDSR-mini by bits: PSNR of photos enlarged with few levels in every residual block, before and after training.

The layers that read levels are the windows of the blocks, as in the released code; all others keep 8 bits. Dynamic
programs look at the whole photo, so each is a program of its own size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from torch import nn

import oaq
from oaq import operators as ops
from oaq.data.batches import Batch
from oaq.program.frames import at_size
from oaq.program.int_program import IntProgram
from oaq.ptq import Daq
from oaq.runtime.frames import FrameSession
from oaq.tasks.upscale import upscale_metrics
from recipes.daq.choices import rows_of
from recipes.daq.train import RATES, STEPS, trained_program
from recipes.integers import weights_digest
from recipes.ledger import Ledger, Row
from recipes.superres.enlarge import Enlarger, by_float, by_integers
from recipes.superres.integers import calibration
from recipes.superres.networks import NETWORKS, build
from recipes.superres.pictures import Luma, training_photos
from recipes.superres.scoring import BICUBIC, Answers, answer_set
from recipes.superres.train import WEIGHTS, make_weights

NETWORK: Final = "edsr-mini"
BLOCKS: Final = r"blocks\..*"
TRAINED: Final = (("static", 4), ("dynamic", 4), ("static", 3), ("static", 2))
"""Modes and bits that are trained, weights of as many bits."""

BATCHES: Final = 3
"""Batches of 8 squares on which programs are calibrated."""
OURS: Final = "ours"
FOUR: Final = 4
"""Products of a step of rows of 16 bits."""


@dataclass(frozen=True)
class Training:
    """Where weights lie, how many steps levels are trained, and Adam's rate at the start; None: that of their bits."""

    folder: Path
    steps: int = STEPS
    rate: float | None = None

    def rate_of(self, bits: int) -> float:
        """Adam's rate at the start for levels of some bits."""
        return RATES[bits] if self.rate is None else self.rate


def float_network(scale: int, folder: Path) -> nn.Module:
    """The network that ``recipes.superres`` trains, from ``folder`` if it lies there.

    Raises:
        FetchError, FormatError, WeightsError: as ``recipes.superres``.
    """
    path = folder / f"{NETWORK}-x{scale}" / WEIGHTS
    if not path.exists():
        make_weights(NETWORK, scale, path, steps=NETWORKS[NETWORK].steps)
    return build(NETWORK, scale, path)


def by_program(program: IntProgram) -> Enlarger:
    """Enlarge natively: in panes, or the whole photo at once where levels are of the image."""
    if not any(isinstance(node.op, ops.Coarsen) for node in program.nodes):
        return by_integers(FrameSession(program))

    def enlarge(luma: Luma) -> Luma:
        session = oaq.Session(oaq.plan(at_size(program, *luma.shape)))
        return np.asarray(session.run(luma[None, None]))[0, 0]

    return enlarge


def trained_label(mode: str, bits: int) -> str:
    """The label of a row after training."""
    return f"DAQ {mode}, mse, W{bits}A{bits}, trained"


def squares_of(scale: int) -> list[Batch]:
    """What levels are chosen on where nothing is trained."""
    return calibration(training_photos(), scale)[:BATCHES]


def levels_of(mode: str, bits: int) -> Daq:
    """Levels of the blocks with weights of as many bits."""
    return Daq(bits, mode, weight_bits=bits, layers=BLOCKS)  # type: ignore[arg-type]


def trained(net: nn.Module, scale: int, mode: str, bits: int, training: Training) -> IntProgram:
    """The program with levels that are trained, or were by an earlier run of the same steps, rate and float weights.

    Raises:
        FetchError, FormatError: as ``trained_program``.
    """
    rate = training.rate_of(bits)
    begun = f"x{scale}-{training.steps}-{rate:g}-{weights_digest(net)}"  # of others: another file's
    path = training.folder / f"daq-{mode}-{bits}-{begun}.pt"
    return trained_program(net, scale, levels_of(mode, bits), path, training.steps, rate=rate)


Rows = Iterator[tuple[str, Callable[[], IntProgram]]]
"""Every row's label, and what makes its program."""


def calibrated_rows(net: nn.Module, scale: int, bits: tuple[int, ...], only: str) -> Rows:
    """Programs after calibration alone."""
    batches = squares_of(scale)

    def after_calibration(daq: Daq | None) -> IntProgram:
        return oaq.quantize(net, batches, budget=None, daq=daq, name=NETWORK)

    if only in "8 bits":
        yield "8 bits", partial(after_calibration, None)
    for width in bits:
        for label, daq in rows_of(width, BLOCKS, only):
            yield label, partial(after_calibration, daq)


def trained_rows(net: nn.Module, scale: int, bits: tuple[int, ...], training: Training, only: str) -> Rows:
    """Programs after training."""
    for mode, width in TRAINED:
        label = trained_label(mode, width)
        if width in bits and only in label:
            yield label, partial(trained, net, scale, mode, width, training)


def score_rows(sets: Mapping[str, list[Path]], ledger: Ledger, net: nn.Module, scale: int, rows: Rows) -> None:
    """A row for every program after bicubic and float: PSNR and SSIM by set, and the runs of its sums on AVX2.

    Args:
        sets: photos by the name of their set.
        ledger: takes the rows.
        net: the float network.
        scale: of the enlargement.
        rows: what is scored.

    Raises:
        FetchError, FormatError: as ``trained_program``.
    """

    def of_side(side: str, enlargers: Mapping[str, Enlarger]) -> Row:
        answers = [answer_set(name, paths, scale, enlargers) for name, paths in sets.items()]
        return _scores(answers, scale, side)

    def of_program(make: Callable[[], IntProgram]) -> Row:
        program = make()
        scores = of_side(OURS, {OURS: by_program(program)})
        steps = (("steps", program.metadata["steps"]),) if "steps" in program.metadata else ()
        return (*scores, ("runs on AVX2", runs_of(program)), *steps)

    ledger.row("bicubic", lambda: of_side(BICUBIC, {}))
    ledger.row("float", lambda: of_side(OURS, {OURS: by_float(net)}))
    for label, make in rows:
        ledger.row(label, partial(of_program, make))


def _scores(sets: list[Answers], scale: int, side: str) -> Row:
    psnr, ssim = upscale_metrics(border=scale)
    cells = [(f"{psnr.name} on {answers.name}", f"{answers.score(psnr, side):.2f}") for answers in sets]
    return (*cells, *((f"{ssim.name} on {answers.name}", f"{answers.score(ssim, side):.4f}") for answers in sets))


def runs_of(program: IntProgram) -> str:
    """Mean run of the windows of the blocks on AVX2, in steps of four products, of how many steps there are.

    A row for few bits has steps of two products, or of another number: its runs are counted in fours too.
    """
    runs, most = [], 0.0
    for node in oaq.plan(program, isa="avx2").nodes:
        if node.schedule is not None and node.node.products is not None and node.node.name.startswith("blocks."):
            fours = node.node.products.weight[0].size / FOUR
            runs.append(node.schedule.average_run / node.schedule.steps * fours)
            most = max(most, fours)
    return f"{float(np.mean(runs)):.1f} of {most:.0f}"
