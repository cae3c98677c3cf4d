r"""Few levels a channel, measured: photos enlarged by EDSR-mini, MR slices reconstructed by ISTA-Net+.

    python -m recipes.daq superres --data DIR --record       PSNR by bits on Set5 and Set14 in DIR/sr or DIR, and photos
    python -m recipes.daq trained --data DIR --record        the same after minutes of training
    python -m recipes.daq rates --record                     the rate of training, chosen on photos that are not scored
    python -m recipes.daq mri --data DIR --record            slices, masks and published weights in DIR/mri
    python -m recipes.daq superres --bits 4 --only static    some of the rows

Rows: one grid for a tensor, one for each channel (both from least to most), DAQ static and dynamic by several tables,
each with weights of 8 bits, some with weights of as many bits as features. A run that stopped goes on: rows lie in
``out``. What is scored is computed by proved integers, natively.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from oaq.errors import FormatError
from recipes.daq.choices import BITS
from recipes.daq.mri import CALIBRATED, SCORED, run_mri
from recipes.daq.rates import OF_MVTB, OF_SCIKIT_IMAGE, held_photos, run_rates
from recipes.daq.superres import Rows, Training, calibrated_rows, float_network, score_rows, trained_rows
from recipes.daq.train import STEPS
from recipes.exit_code import exit_code
from recipes.integers import weights_digest
from recipes.ledger import Ledger, Row, add_options, conclude, files_digest, files_in
from recipes.superres.networks import SCALES
from recipes.superres.pictures import require_scorable, sets_of

OF_PHOTOS = (
    "The windows of the residual blocks read levels; all other layers have 8 bits. PSNR and SSIM of luma, the "
    "border of the scale left out, answers as pictures of 8 bits.",
    "Runs on AVX2: mean steps of four products between two spills, over the windows of the blocks.",
)
NOTES = {
    "superres": OF_PHOTOS,
    "trained": OF_PHOTOS,
    "rates": (
        "EDSR-mini, static levels in the windows of the residual blocks, weights of as many bits. Adam's rate at the "
        f"start; {len(OF_SCIKIT_IMAGE) + len(OF_MVTB)} photos that are neither trained on, calibrated on nor scored in "
        "the table of levels.",
    ),
    "mri": (
        f"Features of the nine phases of ISTA-Net+ at 20 %: slices {', '.join(map(str, SCORED))}; calibrated on slices "
        f"{', '.join(map(str, CALIBRATED))}. Each phase is a program from r, 8 bits, to what is added to it; data step "
        "and sum are float64.",
    ),
}


def run(flags: argparse.Namespace) -> int:
    """Measure, print, write; returns the exit code."""
    flags.out.mkdir(parents=True, exist_ok=True)
    experiments = {"superres": _superres, "trained": _trained, "rates": _rates, "mri": _mri}
    name, ledger = experiments[flags.experiment](flags)
    conclude(ledger.result(), name, record=flags.record)
    return 0


def _mri(flags: argparse.Namespace) -> tuple[str, Ledger]:
    if flags.data is None:
        raise FormatError("mri: --data names the folder that holds mri, with slices, masks and weights")
    ledger = _ledger(flags, "daq_mri", (("data", files_digest(files_in(flags.data / "mri"))),))
    run_mri(flags.data, ledger, tuple(flags.bits), flags.only)
    return "daq_mri", ledger


def _rates(flags: argparse.Namespace) -> tuple[str, Ledger]:
    if flags.rate is not None:
        raise FormatError("rates: compares some of its own: leave --rate out")
    training, name = _training(flags), f"daq_rates_x{flags.scale}"
    facts = (
        ("photos", files_digest(held_photos())),
        ("float weights", weights_digest(float_network(flags.scale, flags.out))),
        ("steps of training", str(flags.steps)),
    )
    ledger = _ledger(flags, name, facts)
    run_rates(ledger, scale=flags.scale, bits=tuple(flags.bits), training=training, only=flags.only)
    return name, ledger


def _training(flags: argparse.Namespace) -> Training:
    if flags.steps < 1:
        raise FormatError(f"--steps {flags.steps}: training takes one step at least")
    if flags.rate is not None and not 0 < flags.rate < 1:
        raise FormatError(f"--rate {flags.rate:g}: Adam's rate lies between 0 and 1, 3e-5 say")
    return Training(flags.out, flags.steps, flags.rate)


def _superres(flags: argparse.Namespace) -> tuple[str, Ledger]:
    bits = tuple(flags.bits)
    return _scored(flags, "daq_superres", (), lambda net: calibrated_rows(net, flags.scale, bits, flags.only))


def _trained(flags: argparse.Namespace) -> tuple[str, Ledger]:
    training, bits = _training(flags), tuple(flags.bits)
    facts = (
        ("steps of training", str(flags.steps)),
        ("rates of training", ", ".join(f"{training.rate_of(width):g} at {width} bits" for width in bits)),
    )
    return _scored(flags, "daq_trained", facts, lambda net: trained_rows(net, flags.scale, bits, training, flags.only))


def _scored(flags: argparse.Namespace, name: str, more: Row, rows: Callable[[nn.Module], Rows]) -> tuple[str, Ledger]:
    name, data = f"{name}_x{flags.scale}", flags.data
    sets = sets_of(data / "sr" if data is not None and (data / "sr").is_dir() else data)
    photos = [path for paths in sets.values() for path in paths]
    require_scorable(photos, flags.scale)
    net = float_network(flags.scale, flags.out)
    facts = (("sets", ", ".join(sets)), ("photos", files_digest(photos)), ("float weights", weights_digest(net)), *more)
    ledger = _ledger(flags, name, facts)
    score_rows(sets, ledger, net, flags.scale, rows(net))
    return name, ledger


def _ledger(flags: argparse.Namespace, name: str, facts: Row) -> Ledger:
    notes, path = NOTES[flags.experiment], flags.out / f"{name}.json"
    return Ledger(path, _command(flags), notes, facts=facts, anew=flags.anew)


def _command(flags: argparse.Namespace) -> str:
    words = [f"python -m recipes.daq {flags.experiment}"]
    words += [f"--scale {flags.scale}"] if flags.experiment != "mri" else []
    words += [] if tuple(flags.bits) == BITS else [f"--bits {' '.join(map(str, flags.bits))}"]
    words += [f"--steps {flags.steps}"] if flags.steps != STEPS else []
    words += [f"--rate {flags.rate:g}"] if flags.rate is not None else []
    words += [f"--only {flags.only!r}"] if flags.only else []
    return " ".join([*words, *(["--data DIR"] if flags.data else []), *(["--record"] if flags.record else [])])


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run; every refusal is one line."""
    parser = argparse.ArgumentParser(
        "python -m recipes.daq", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", nargs="?", choices=tuple(NOTES), default="superres")
    parser.add_argument("--data", type=Path, metavar="DIR", help="sr/CSet5, sr/CSet14, mri (see the guide)")
    parser.add_argument("--bits", type=int, nargs="+", choices=BITS, default=BITS, help="of features (default 4 3 2)")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose label holds it")
    parser.add_argument("--scale", type=int, choices=SCALES, default=2, help="of the enlargement (default 2)")
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N", help=f"of training (default {STEPS})")
    parser.add_argument("--rate", type=float, metavar="R", help="of training (default: by bits, the best of rates)")
    add_options(parser, Path("out"))
    flags = parser.parse_args(arguments)
    return exit_code("daq", lambda: run(flags))


if __name__ == "__main__":
    sys.exit(main())
