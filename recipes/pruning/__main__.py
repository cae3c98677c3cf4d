r"""Quantization-aware pruning (after "Ps and Qs", Hawks et al., 2102.11289): curves, taggers, CIFAR-10.

    python -m recipes.pruning curves [--record]          public tables: 12 points at 32, 12, 8, 6 and 4 bits
    python -m recipes.pruning taggers --archive FILE     trained jet taggers of hls4ml: proofs, runs, bit operations
    python -m recipes.pruning cifar10 [--images N]       single weights against blocks that kernels leave out
    python -m recipes.pruning times                      those programs on AVX2, measured in turns

Every row is written as it comes; the same command goes on where it stopped. Everything lies in ``out/pruning``;
``--record`` writes figures into ``benchmarks/results`` and the picture of ``curves`` into ``docs/images``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch

from oaq.errors import ConfigError
from oaq.program.atomic import write_atomically
from oaq.terminal import say
from recipes.exit_code import exit_code
from recipes.ledger import LABEL, Ledger, Row, add_options, conclude, files_digest
from recipes.pruning import cifar, curves, taggers
from recipes.pruning.plot import draw
from recipes.pruning.tables import SETS, load
from recipes.result_file import Result

BITS: Final = (32, 12, 8, 6, 4)
SHORT: Final = ("letter", "magic")
"""Sets of which only some bits and one seed are trained, unless --full."""
SHORT_BITS: Final = (32, 6, 4)
PICTURE: Final = Path(__file__).parent.parent.parent / "docs" / "images" / "pruning.svg"
HEADS: Final = {
    "curves": ("set", "bits", "way", "zeros asked for"),
    "taggers": ("tagger", "bits"),
    "cifar10": ("pattern", "zeros asked for"),
    "times": (LABEL,),
}
NOTES: Final = {
    "curves": (
        "Perceptron 64-32-32 of the jet taggers; 60/20/20 % of the rows, standardised by the training rows. Adam 1e-3, "
        f"batch 256, {curves.FIRST_EPOCHS} passes, then {curves.ROUND_EPOCHS} in each of 11 rounds; the control has as "
        "many in all and is never pruned. 32 bits: float, pruned only; 12: rounded in the forward pass; 8, 6, 4: "
        "integers of oaq, classified by the native session. Bit operations with an input of 8 bits. Runs: 16-bit lanes "
        "of AVX2, k-quads. Random widths: 20 draws, trained as long.",
        "Means over seeds, of accuracy also half of what they span. letter and magic: one seed, 32, 6 and 4 bits, "
        "unless --full.",
    ),
    "taggers": (
        "Quantized without training on rows of standard normal numbers, the input at 8 bits: weights are published, "
        "data are not at hand, so nothing is said of accuracy.",
    ),
    "cifar10": (
        "Residual network of 8 layers, 32 to 128 channels, stem of stride 2, W8A8, pruned by layer; first and last "
        "layer keep their weights. Few passes on part of the images: accuracies say how patterns compare, no more. "
        "Blocks are 16 outputs by 4 k-quads. The control is trained as long and never pruned.",
    ),
    "times": ("One thread, batch 1, AVX2, turns that rotate; random inputs. Programs of recipes.pruning cifar10.",),
}


def run(flags: argparse.Namespace) -> int:
    """Measure, print, write; returns the exit code."""
    if flags.seeds < 1 or flags.rounds < 1 or (flags.images is not None and flags.images < 512):
        raise ConfigError("--seeds and --rounds are at least 1, --images at least 512")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # layers this small are slower with more
    try:
        return _run(flags)
    finally:
        torch.set_num_threads(threads)


def _run(flags: argparse.Namespace) -> int:
    folder = flags.out / flags.experiment
    folder.mkdir(parents=True, exist_ok=True)
    name = "pruning_times" if flags.experiment == "times" else f"pruning_{flags.experiment}"
    ledger = Ledger(
        folder / f"{name}.json",
        _command(flags),
        NOTES[flags.experiment],
        facts=_facts(flags),
        anew=flags.anew or flags.experiment == "times",
        benchmark=name if flags.experiment == "times" else "pruning",
        heads=HEADS[flags.experiment],
    )
    if flags.experiment == "curves":
        _curves(flags, ledger)
    elif flags.experiment == "taggers":
        taggers.add_taggers(flags.archive, ledger)
    elif flags.experiment == "cifar10":
        cifar.add_rows(cifar.course(folder, flags.images, flags.seed), ledger)
    else:
        cifar.add_times(flags.out / "cifar10", flags.rounds, ledger)
    if flags.experiment == "curves":
        _picture(ledger.result(), folder / "pruning.svg", record=flags.record)
    conclude(ledger.result(), name, record=flags.record)
    return 0


def _curves(flags: argparse.Namespace, ledger: Ledger) -> None:
    for name in flags.sets:
        split, is_short = load(name), name in SHORT and not flags.full
        seeds = range(flags.seed, flags.seed + (1 if is_short else flags.seeds))
        for bits in flags.bits or (SHORT_BITS if is_short else BITS):
            curves.add_curves(split, bits, seeds, ledger)
        if not is_short and not flags.bits:
            curves.add_curves(split, 6, seeds, ledger, rewinds=True)
            curves.add_widths(split, 6, flags.seed, ledger)


def _picture(result: Result, path: Path, *, record: bool) -> None:
    """Accuracy against bit operations of the first set that was trained."""
    rows = [dict(row) for row in result.rows]
    first = rows[0]["set"]
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row["set"] != first or row["zeros asked for"] == "control" or row["way"] == "from the first weights":
            continue
        name = "random widths, 6 bits" if row["way"] == "random widths" else f"{row['bits']} bits, pruned"
        point = float(row["bit operations, k"]) * 1e3, float(row["accuracy, %"].split()[0])
        lines.setdefault(name, []).append(point)
    picture = draw(f"{first}: accuracy against bit operations", lines, 85.0 if first == "penbased" else 0.0).encode()
    write_atomically(path, [picture])
    if record:
        write_atomically(PICTURE, [picture])
        say.words(str(PICTURE))


def _facts(flags: argparse.Namespace) -> Row:
    """What rows depend on besides their labels."""
    if flags.experiment == "curves":
        return (("seeds", str(flags.seeds)), ("first seed", str(flags.seed)), ("full", str(flags.full)))
    if flags.experiment == "cifar10":
        return (("images", str(flags.images or "all")), ("seed", str(flags.seed)))
    if flags.experiment == "taggers" and flags.archive is not None and flags.archive.is_file():
        return (("archive", files_digest([flags.archive])),)
    return ()


def _command(flags: argparse.Namespace) -> str:
    command = f"python -m recipes.pruning {flags.experiment}"
    if flags.experiment == "curves":
        command += f" --sets {' '.join(flags.sets)} --seeds {flags.seeds}" + (" --full" if flags.full else "")
        command += f" --bits {' '.join(map(str, flags.bits))}" if flags.bits else ""
    if flags.experiment == "cifar10" and flags.images is not None:
        command += f" --images {flags.images}"
    if flags.experiment == "taggers":
        command += f" --archive {taggers.HLS4ML.file}"
    return command + (" --record" if flags.record else "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an experiment; 2 if something was wrong with what was asked for."""
    parser = argparse.ArgumentParser(
        "python -m recipes.pruning", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", choices=tuple(NOTES))
    parser.add_argument("--sets", nargs="+", choices=tuple(SETS), default=list(SETS), help="of curves")
    parser.add_argument(
        "--bits", type=int, nargs="+", choices=BITS, help="of curves: these only, neither tickets nor random widths"
    )
    parser.add_argument("--seeds", type=int, default=3, help="of curves (default 3)")
    parser.add_argument("--seed", type=int, default=0, help="the first (default 0)")
    parser.add_argument("--full", action="store_true", help="every seed and width of integers on every set")
    parser.add_argument("--images", type=int, help="train cifar10 on the first so many (default: all)")
    parser.add_argument("--archive", type=Path, metavar="FILE", help="hls4ml's source archive, if not in the cache")
    parser.add_argument("--rounds", type=int, default=15, help="of times (default 15)")
    add_options(parser, Path("out/pruning"))
    flags = parser.parse_args(arguments)
    return exit_code("pruning", lambda: run(flags))


if __name__ == "__main__":
    sys.exit(main())
