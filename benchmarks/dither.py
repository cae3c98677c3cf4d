r"""Dithered backprop: zeros, bits and accuracy by scale, and with simulated workers.

    python -m benchmarks.dither lenet-300-100 [--seeds 3] [--epochs 4] [--record]
    python -m benchmarks.dither resnet8 --images 10000

Float networks, SGD with momentum. A row is written when all its seeds are trained; killed, the same command of the
same source goes on behind the last one.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.harness import SCRATCH, add_record, save
from oaq.errors import ConfigError, TrainingError
from oaq.qat import Dither, DitherState, Loop, Training, cosine, dithered, fit, skipped
from oaq.qat.dithered_module import LAYERS, DitheredModule
from oaq.terminal import say
from recipes.data.labelled import Labelled, Part, cifar10, fashion_mnist
from recipes.exit_code import exit_code
from recipes.ledger import Ledger
from recipes.ledger import Row as Cells
from recipes.models.small import LeNet5, LeNet300, SmallResNet, SmallVgg, published_init
from recipes.training import Batch, right

BATCH = 128
HEADS = ("scale", "workers")


@dataclass(frozen=True)
class Subject:
    """What is trained.

    Attributes:
        make: the network, fresh.
        data: a part of the images.
        moves: training shifts and mirrors images.
        epochs: by default.
        rate: highest learning rate.
        decay: of weights.
    """

    make: Callable[[], nn.Module]
    data: Callable[[Part], Labelled]
    moves: bool
    epochs: int
    rate: float
    decay: float


SUBJECTS = {
    "lenet-300-100": Subject(LeNet300, fashion_mnist, False, 4, 0.05, 0.0),
    "lenet-5": Subject(LeNet5, fashion_mnist, False, 3, 0.05, 0.0),
    "vgg5": Subject(lambda: published_init(SmallVgg()), cifar10, True, 5, 0.03, 5e-4),
    "resnet8": Subject(lambda: published_init(SmallResNet(1, stem_stride=2)), cifar10, True, 6, 0.1, 5e-4),
}
SCALES = (0.0, 1.0, 2.0, 4.0, 8.0)
WORKERS = (2, 4, 8)


@dataclass(frozen=True)
class Variant:
    """One row.

    Attributes:
        dither: how; scale 0 counts the zeros that are there anyway.
        workers: simulated; each has its share of every batch and draws its own dither.
    """

    dither: Dither
    workers: int = 1

    @property
    def label(self) -> tuple[str, str]:
        """Cells under ``HEADS``."""
        guard = "" if self.dither.most_noise is None else f", noise at most {self.dither.most_noise:g}"
        return f"{self.dither.scale:g}{guard}", str(self.workers)


def variants(base: float) -> list[Variant]:
    """Scales without a guard, the largest with it, and ``base`` times the square root of the workers."""
    rows = [Variant(Dither(scale=scale, most_noise=None)) for scale in SCALES]
    rows.append(Variant(Dither(scale=SCALES[-1])))
    return rows + [Variant(Dither(scale=base, most_noise=None), count) for count in WORKERS]


@dataclass(frozen=True)
class Trained:
    """What came of one seed."""

    right: int
    natural: float
    zeros: float
    bits: int
    noise: float
    skipped: float
    guarded: float


def train(subject: Subject, data: Labelled, test: Labelled, variant: Variant, seed: int) -> Trained:
    """Train one network; one whose loss is lost is scored as it was then."""
    torch.manual_seed(seed)
    net = subject.make()
    dither = replace(variant.dither, seed=seed)
    network = dithered(net, dither)
    network.ditherer.worker = (0, variant.workers)  # micro-steps differ, and so do their draws
    zeros = [0, 0]
    if not dither.scale:
        count_zeros(network, zeros)
    optimizer = torch.optim.SGD(network.parameters(), subject.rate, 0.9, weight_decay=subject.decay, nesterov=True)

    def epoch(number: int, _first: int) -> Iterator[Batch]:
        for x, y in data.epoch(BATCH, seed, number):
            yield from zip(x.chunk(variant.workers), y.chunk(variant.workers), strict=True)

    run = Training(network, optimizer, F.cross_entropy, epoch)
    run.factor = cosine(subject.epochs * (len(data) // BATCH), 50)
    try:
        fit(run, Loop(subject.epochs, variant.workers))
    except TrainingError as error:
        say.warn(str(error))
    count = right(network.remove().eval(), test)
    return summary(count, network.ditherer.states(run.position.iteration), zeros)


def count_zeros(network: DitheredModule, zeros: list[int]) -> None:
    """Count zeros and elements of the gradients of layers that would be dithered."""
    fewest = network.ditherer.dither.fewest

    def count(gradient: torch.Tensor) -> None:
        zeros[0] += gradient.numel() - int(torch.count_nonzero(gradient))
        zeros[1] += gradient.numel()

    def watch(_layer: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        if output.requires_grad and output[0].numel() >= fewest:
            output.register_hook(count)

    for layer in network.modules():
        if isinstance(layer, LAYERS):
            layer.register_forward_hook(watch)


def summary(count: int, states: Sequence[DitherState], zeros: Sequence[int]) -> Trained:
    """Means over everything that was dithered, by elements; noise by layers."""
    if not states:
        share = zeros[0] / max(zeros[1], 1)
        return Trained(count, share, share, 0, 0.0, share, 0.0)
    elements = [state.values * state.draws for state in states]
    total = sum(elements)
    natural = sum(part * state.natural_zeros for part, state in zip(elements, states, strict=True)) / total
    after = sum(part * state.zeros for part, state in zip(elements, states, strict=True)) / total
    noise, guarded = mean(state.noise for state in states), mean(state.guarded for state in states)
    bits = max(state.bits for state in states)
    return Trained(count, natural, after, bits, noise, skipped(list(states)), guarded)


def measure(subject: Subject, data: Labelled, test: Labelled, variant: Variant, seeds: int) -> Cells:
    """The cells of a row: means over seeds."""
    rows = []
    for seed in range(seeds):
        rows.append(train(subject, data, test, variant, seed))
        say.warn(f"scale {variant.label[0]}, {variant.workers} workers, seed {seed}: {rows[-1].right} right")
    top = [100 * row.right / len(test) for row in rows]
    return (
        ("top-1", f"{mean(top):.2f}"),
        ("by seed", ", ".join(f"{value:.2f}" for value in top)),
        ("natural zeros", f"{mean(row.natural for row in rows):.3f}"),
        ("zeros", f"{mean(row.zeros for row in rows):.3f}"),
        ("products skipped", f"{mean(row.skipped for row in rows):.3f}" if variant.dither.scale else "-"),
        ("bits", str(max(row.bits for row in rows)) if variant.dither.scale else "32, float"),
        ("noise", f"{mean(row.noise for row in rows):.2f}"),
        ("guarded", f"{mean(row.guarded for row in rows):.2f}"),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, train; every refusal is one line."""
    parser = argparse.ArgumentParser("python -m benchmarks.dither", description=__doc__)
    parser.add_argument("network", choices=tuple(SUBJECTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="default: the network's own")
    parser.add_argument("--images", type=int, help="train on the first so many only")
    parser.add_argument("--base", type=float, default=1.0, help="scale of one worker (default 1)")
    parser.add_argument("--threads", type=int, default=1)
    add_record(parser)
    flags = parser.parse_args(arguments)
    return exit_code("dither", lambda: run(flags))


def run(flags: argparse.Namespace) -> int:
    """Every row, then the result file."""
    for name in ("seeds", "threads", "epochs", "images"):
        value = getattr(flags, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name} {value}: at least 1")
    if not 0.0 < flags.base < math.inf:
        raise ConfigError(f"--base {flags.base}: positive and finite")
    torch.set_num_threads(flags.threads)
    subject = SUBJECTS[flags.network]
    subject = replace(subject, epochs=flags.epochs or subject.epochs)
    data = replace(subject.data("train").first(flags.images), moves=subject.moves)
    test, name = subject.data("test"), f"dither_{flags.network}"
    command = f"python -m benchmarks.dither {flags.network} --seeds {flags.seeds} --epochs {subject.epochs}"
    command += f" --images {flags.images}" if flags.images else ""
    facts = (
        ("training images", str(len(data))),
        ("test images", str(len(test))),
        ("epochs", str(subject.epochs)),
        ("seeds", str(flags.seeds)),
        ("batch", str(BATCH)),
        ("scale of one worker", f"{flags.base:g}"),
    )
    notes = ("SGD with momentum 0.9; zeros are of all elements, products of both products of backprop, noise a mean",)
    path = Path(SCRATCH) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(path, f"{command} --record", notes, facts=facts, benchmark="dither", heads=HEADS)
    for variant in variants(flags.base):
        ledger.row(variant.label, partial(measure, subject, data, test, variant, flags.seeds))
    say.words(str(save(ledger.result(), name, record=flags.record)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
