r"""Restoration by unfolded iterations, in integers: MR slices and blocks of photos from few measurements.

    python -m recipes.qpan settings --data DIR          how 8 bits are chosen, on slices of DIR/mri that are not scored
    python -m recipes.qpan slices --data DIR --record   ISTA-Net+ on MR slices in DIR/mri: weights and features by bits
    python -m recipes.qpan blocks --data DIR --record   ISTA-Net+ on Set11 in DIR/blocks, integers from end to end
    python -m recipes.qpan train                        the linear form: soft threshold and average, float, W4 and W2
    python -m recipes.qpan train --data DIR --record    the same, scored on DIR's images

All but ``train`` need their authors' weights and images in DIR; ``train`` trains on free photos and slices of an
averaged head for minutes of one core a row, and goes on where it stopped. Programs and pictures lie in ``out/qpan``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import oaq
from oaq.cli.tasks import encoded
from oaq.errors import FormatError
from oaq.program.atomic import write_atomically
from oaq.ptq.options import Options
from oaq.ptq.quantize import quantize_with_report
from recipes.exit_code import exit_code
from recipes.ledger import Ledger, Row, add_options, conclude, files_digest, files_in
from recipes.qpan.blocks import BlockNetwork, answer_photos, by_float, calibration
from recipes.qpan.comparison import compare, trial_of
from recipes.qpan.executors import EXECUTORS, verified
from recipes.qpan.networks import published
from recipes.qpan.pictures import panels
from recipes.qpan.samples import join, read_block_sampling, read_set11
from recipes.qpan.scoring import METRICS, clipped
from recipes.qpan.settings import HELD, run_settings
from recipes.qpan.slices import CALIBRATED, SCORED, run_slices
from recipes.qpan.training_data import TASKS

NOTES: Final = {
    "settings": (
        f"Slices {', '.join(map(str, HELD))}, 20 % of the spectrum; W8 / A8 per channel, r in two planes; calibrated "
        f"on slices {', '.join(map(str, CALIBRATED))}. None of them is scored in the table of slices.",
    ),
    "slices": (
        f"Slices {', '.join(map(str, SCORED))}, 20 % of the spectrum; calibrated on slices "
        f"{', '.join(map(str, CALIBRATED))}. Nine programs of integers, a data step before each in float64, whose bits "
        "are the same on every machine; so are the integers. Rows with float features round weights alone, to the "
        "integers of least error. Without more said, x is added in float; u8 trunk: inside the program.",
    ),
    "blocks": ("Set11 at 25 %, blocks of 33 x 33: one program from measurements to blocks, no float in between.",),
    "train": (
        "Five phases of 16 filters, 160 (mri) or 320 (blocks) steps in float and half as many with weights of few bits "
        "in the forward pass: minutes of one core a row, so lower bounds of what training can do. PSNR in dB: mean of "
        "the seeds and half of what they span. The averaged head is smooth, and other heads are not.",
    ),
}
PICTURED: Final = (0, 3)
"""Photos of Set11 that are drawn."""
SEEDS: Final = 3
"""Seeds of a row of train."""


def run_blocks(data: Path, ledger: Ledger, folder: Path) -> None:
    """Rows of the whole network, float and in integers, and pictures.

    Raises:
        FormatError: a file of --data is missing or damaged.
        Mismatch: an integer differs from the reference.
    """
    sampling = read_block_sampling(data / "blocks")
    net = BlockNetwork(published(data / "blocks" / "ista-net-plus-25.npz"), sampling).eval()
    photos = read_set11(data / "blocks", sampling)
    truths = [photo.image for photo in photos]
    starts = [clipped(join(photo.start, photo.image.shape)) for photo in photos]
    floats = answer_photos(by_float(net), photos)

    def row_of(answers: list) -> Row:
        psnr, ssim = (metric.compute(answers, truths) for metric in METRICS)
        return (("PSNR, dB", f"{psnr:.2f}"), ("SSIM", f"{ssim:.4f}"))

    def integers(label: str, options: Options) -> Row:
        program, _ = quantize_with_report(net, [calibration(sampling)], options, name=f"blocks-{label}")
        oaq.save(program, folder / f"{program.name}.oaq")
        executors = verified(program, photos[0].measured[:4].astype("float32"))
        session = oaq.Session(oaq.plan(program))
        answers = answer_photos(session.run, photos)  # type: ignore[arg-type]
        for at in PICTURED:
            picture = panels(truths[at], starts[at], floats[at], answers[at])
            write_atomically(folder / f"{photos[at].name}-{label}.png", [encoded(picture, ".png")])
        return (*row_of(answers), (EXECUTORS, str(executors)))

    ledger.row("first guess", lambda: row_of(starts))
    ledger.row("float", lambda: row_of(floats))
    ledger.row("W8 / A8", lambda: integers("w8a8", Options(budget=None, across_functions=True)))
    ledger.row("W8 / A8, 16-bit sums", lambda: integers("int16", Options(across_functions=True)))


def run(flags: argparse.Namespace) -> int:
    """Measure, print, write; returns the exit code."""
    if flags.experiment != "train" and flags.data is None:
        raise FormatError(f"{flags.experiment}: --data names the folder that holds mri and blocks: images and weights")
    if flags.seeds < 1:
        raise FormatError(f"--seeds {flags.seeds}: a row takes one seed at least")
    folder = flags.out / flags.experiment
    folder.mkdir(parents=True, exist_ok=True)
    name, notes, command = f"qpan_{flags.experiment}", NOTES[flags.experiment], _command(flags)
    path = folder / f"{name}.json"
    ledger = Ledger(path, command, notes, facts=_facts(flags), anew=flags.anew, benchmark="qpan")
    if flags.experiment == "settings":
        run_settings(flags.data, ledger, flags.only)
    elif flags.experiment == "slices":
        run_slices(flags.data, ledger, folder, flags.only)
    elif flags.experiment == "blocks":
        run_blocks(flags.data, ledger, folder)
    else:
        tasks = TASKS if flags.task is None else (flags.task,)
        for task in tasks:
            trial_of(task, flags.data)  # what it cannot read is refused before the first task is trained
        for task in tasks:
            compare(task, flags.seeds, flags.data, folder, ledger, by_programs=not flags.floats)
    conclude(ledger.result(), name, record=flags.record)
    return 0


def _facts(flags: argparse.Namespace) -> Row:
    """What rows depend on besides their labels."""
    folders = {"blocks": ("blocks",), "train": ("mri", "blocks")}.get(flags.experiment, ("mri",))
    files = [path for name in folders for path in files_in(flags.data / name)] if flags.data is not None else []
    facts = (("data", files_digest(files) if files else "free"),)
    if flags.experiment != "train":
        return facts
    return (*facts, ("seeds", str(flags.seeds)), ("programs of integers", "no" if flags.floats else "yes"))


def _command(flags: argparse.Namespace) -> str:
    words = [f"python -m recipes.qpan {flags.experiment}"]
    if flags.experiment == "train":
        words += [] if flags.task is None else [f"--task {flags.task}"]
        words += [] if flags.seeds == SEEDS else [f"--seeds {flags.seeds}"]
        words += ["--floats"] if flags.floats else []
    words += [f"--only {flags.only!r}"] if flags.only and flags.experiment in ("settings", "slices") else []
    return " ".join([*words, *(["--data DIR"] if flags.data else [])])


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run; every refusal is one line."""
    parser = argparse.ArgumentParser(
        "python -m recipes.qpan", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", choices=tuple(NOTES), metavar="WHAT", help=", ".join(NOTES))
    parser.add_argument("--data", type=Path, metavar="DIR", help="holds mri and blocks: images, sampling, weights")
    parser.add_argument("--task", choices=TASKS, help="of train (default: both)")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help=f"of train (default {SEEDS})")
    parser.add_argument("--floats", action="store_true", help="train without programs of integers")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows of settings and slices whose label holds it")
    add_options(parser, Path("out/qpan"))
    flags = parser.parse_args(arguments)
    return exit_code("qpan", lambda: run(flags))


if __name__ == "__main__":
    sys.exit(main())
