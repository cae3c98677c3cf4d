r"""What a teacher is worth at few bits: integers of one float network, trained on labels and from its answers.

    python -m benchmarks.distillation [--seeds 3] [--images 10000] [--bits 4] [--record]

CIFAR-10, the residual network of eight layers; every row of a seed begins at the same float network and has the same
batches. Killed at any moment, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Final

import torch

from benchmarks.harness import add_record, save
from oaq.errors import ConfigError
from oaq.qat import Config, Target, Teacher, convert
from oaq.terminal import say
from recipes.cifar10 import FLOAT, INTEGERS
from recipes.data.labelled import Labelled, cifar10
from recipes.exit_code import exit_code
from recipes.models.small import SmallResNet, published_init
from recipes.result_file import Result, stamp
from recipes.training import right, right_as_integers, train_float, train_integers

CPU: Final = torch.device("cpu")
TEACHERS: Final[Mapping[str, Teacher | None]] = {
    "labels": None,
    "teacher": Teacher(),
    "teacher, weight 0.5": Teacher(weight=0.5),
    "teacher and features": Teacher(features=(r"blocks\..*conv2",), feature_weight=1.0),
}


def train(seed: int, data: Labelled, test: Labelled, flags: argparse.Namespace) -> dict[str, int]:
    """Images right, by row."""
    torch.manual_seed(seed)
    folder = flags.runs / f"seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    floating = replace(FLOAT, epochs=flags.float_epochs, warmup=50, seed=seed)
    net = train_float(published_init(SmallResNet(1, stem_stride=2)), data, floating, folder / "float.ckpt", CPU)
    counts = {"float": right(net, test)}
    config = Config("proved", flags.bits, flags.bits, target=Target("avx2", 16, 8))
    stage = replace(INTEGERS, epochs=flags.epochs, seed=seed)
    for name, teacher in TEACHERS.items():
        place = folder / name.replace(" ", "-").replace(",", "").replace(".", "_")
        network = train_integers(net, data, config, stage, place, device=CPU, teacher=teacher)
        counts[name] = right_as_integers(convert(network), test)
        say.words(f"seed {seed}, {name}: {counts[name] / len(test):.2%}")
    return counts


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, train; every refusal is one line."""
    parser = argparse.ArgumentParser("python -m benchmarks.distillation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--bits", type=int, default=4, help="of weights and operands (default 4)")
    parser.add_argument("--images", type=int, default=50_000, help="train on the first so many")
    parser.add_argument("--float-epochs", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=3, help="of the integers")
    parser.add_argument("--runs", type=Path, default=Path("runs/distillation"))
    parser.add_argument("--threads", type=int, default=1)
    add_record(parser)
    flags = parser.parse_args(arguments)
    return exit_code("distillation", lambda: run(flags))


def run(flags: argparse.Namespace) -> int:
    """Train every row of every seed, then write the result file."""
    numbers = ("seeds", "images", "float_epochs", "epochs", "threads")
    if any(getattr(flags, name) < 1 for name in numbers):
        raise ConfigError("--seeds, --images, --float-epochs, --epochs and --threads are at least 1")
    torch.set_num_threads(flags.threads)
    data, test = cifar10("train").first(flags.images), cifar10("test")
    by_seed = [train(seed, data, test, flags) for seed in range(flags.seeds)]
    rows = []
    for name in by_seed[0]:
        shares = [100 * counts[name] / len(test) for counts in by_seed]
        gains = [share - 100 * counts["labels"] / len(test) for share, counts in zip(shares, by_seed, strict=True)]
        rows.append(
            (
                ("row", name),
                ("top-1", f"{mean(shares):.2f}"),
                ("by seed", ", ".join(f"{share:.2f}" for share in shares)),
                ("against labels", f"{mean(gains):+.2f}"),
            )
        )
    command = f"python -m benchmarks.distillation --seeds {flags.seeds} --images {flags.images} --bits {flags.bits}"
    command += f" --float-epochs {flags.float_epochs} --epochs {flags.epochs} --record"
    facts = (
        ("training images", str(len(data))),
        ("test images", str(len(test))),
        ("bits", f"W{flags.bits}A{flags.bits}, 8 at both ends"),
        ("epochs", f"{flags.float_epochs} float, {flags.epochs} of integers"),
    )
    result = Result("distillation", command, stamp(), facts=facts, rows=tuple(rows))
    say.words(str(save(result, "distillation_cifar10", record=flags.record)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
