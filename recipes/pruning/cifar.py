"""CIFAR-10: single weights against blocks that kernels leave out, at the same share of zeros and as many passes.

A small residual network in float, then W8A8 integers that are pruned in rounds. Every stage has a checkpoint of its own
in the folder, so that a run that was killed goes on; programs are kept, and timed in turns with ``times``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch

import oaq
from oaq.errors import FormatError
from oaq.program.int_program import IntProgram
from oaq.qat import Config, Prune, QatNetwork, convert, prepare, prune_to, reestimate
from oaq.report.density import density
from oaq.report.latency import interleave, turn
from oaq.terminal import say
from recipes.data.labelled import Labelled, cifar10
from recipes.ledger import Ledger, Row
from recipes.models.small import SmallResNet, published_init
from recipes.training import Stage, first_inputs, right_as_integers, train_float, train_stage

SHARES: Final = (0.5, 0.75, 0.875)
PATTERNS: Final = {
    "single weights": Prune(SHARES, "layer", exempt=("conv", "fc")),
    "blocks": Prune(SHARES, "layer", pattern="quad-tile", outputs=16, steps=4, exempt=("conv", "fc")),
    "blocks, by bound": Prune(
        SHARES, "layer", "bound", pattern="quad-tile", outputs=16, steps=4, exempt=("conv", "fc")
    ),
}
"""The first layer and the last keep their weights."""
FLOAT: Final = Stage(6, 128, 0.1, 5e-4, warmup=50)
ROUND: Final = Stage(1, 128, 5e-4, 0.0)
CPU: Final = torch.device("cpu")


@dataclass(frozen=True)
class Course:
    """What is trained on and where files go.

    Attributes:
        train, test: images.
        folder: of checkpoints and programs.
        seed: of first weights and orders.
    """

    train: Labelled
    test: Labelled
    folder: Path
    seed: int = 0


def course(folder: Path, images: int | None, seed: int) -> Course:
    """On the first so many training images, or on all."""
    return Course(cifar10("train").first(images), cifar10("test"), folder, seed)


def add_rows(on: Course, ledger: Ledger) -> None:
    """Rows of the network before pruning, of every pattern and share, and of the control."""
    torch.manual_seed(on.seed)
    net = published_init(SmallResNet(1, width=32, stem_stride=2))
    stage = Stage(FLOAT.epochs, FLOAT.batch, FLOAT.lr, FLOAT.weight_decay, FLOAT.warmup, on.seed)
    net = train_float(net, on.train, stage, on.folder / "float.ckpt", CPU)
    for name, prune in PATTERNS.items():
        network = _prepared(net, on, prune)
        _round(network, on, f"{name}-0")
        ledger.row((name, "0 %"), lambda network=network, name=name: _row(network, on, f"{name}-0"))  # type: ignore[misc]
        for number, share in enumerate(SHARES, 1):
            prune_to(network, share)
            _round(network, on, f"{name}-{number}")
            label = f"{name}-{number}"
            ledger.row((name, f"{share * 100:g} %"), lambda network=network, label=label: _row(network, on, label))  # type: ignore[misc]
    network = _prepared(net, on, PATTERNS["single weights"])
    for number in range(len(SHARES) + 1):
        _round(network, on, f"control-{number}")
    ledger.row(("dense control", "0 %"), lambda: _row(network, on, "control"))


def _prepared(net: torch.nn.Module, on: Course, prune: Prune) -> QatNetwork:
    calibration = first_inputs(on.train, 512)
    return prepare(net, calibration[0][:1], Config("none", prune=prune), calibration=calibration)


def _round(network: QatNetwork, on: Course, label: str) -> None:
    """One round of training, or what is still to do of it."""
    stage = Stage(ROUND.epochs, ROUND.batch, ROUND.lr, ROUND.weight_decay, 0, on.seed)
    train_stage(network, on.train, stage, on.folder / f"{label.replace(' ', '-')}.ckpt", CPU)
    reestimate(network, first_inputs(on.train, 512))
    network.eval()


def _row(network: QatNetwork, on: Course, label: str) -> Row:
    program = convert(network)
    oaq.save(program, on.folder / f"{label.replace(' ', '-')}.oaq")
    correct = right_as_integers(program, on.test)
    return (("accuracy, %", f"{correct / len(on.test) * 100:.2f}"), *costs(program))


def costs(program: IntProgram) -> Row:
    """What a program takes on AVX2, as planned."""
    planned = oaq.plan(program, isa="avx2")
    zeros = [
        density(
            node.products,
            program.tensors[node.inputs[0]].range,
            program.tensors[node.output].shape,
            planned[node.name].schedule,
        )
        for node in program.summing_nodes()
    ]
    weights = sum(layer.weights for layer in zeros)
    steps = sum(layer.steps or 0 for layer in zeros)
    rows = [planned[node.name].row.name for node in program.summing_nodes()]
    return (
        ("zeros, %", f"{sum(layer.zeros for layer in zeros) / weights * 100:.1f}"),
        ("bit operations, M", f"{sum(layer.bit_operations for layer in zeros) / 1e6:.0f}"),
        ("products, M", f"{sum(layer.products for layer in zeros) / 1e6:.2f}"),
        ("steps left out, %", f"{sum(layer.skipped or 0 for layer in zeros) / steps * 100:.1f}"),
        ("average run, quads", f"{planned.average_run:.2f}"),
        ("layers in 16 bits", f"{sum('acc16' in row for row in rows)} of {len(rows)}"),
        ("predicted, us", f"{planned.seconds * 1e6:.0f}"),
    )


def add_times(folder: Path, rounds: int, ledger: Ledger) -> None:
    """Measured times of the programs of a finished run, in turns, one thread, AVX2.

    Raises:
        FormatError: there is no program in the folder.
    """
    files = sorted(folder.glob("*.oaq"))
    if not files:
        raise FormatError(f"{folder}: holds no program: run `python -m recipes.pruning cifar10` first")
    turns, predicted = {}, {}
    for path in files:
        program = oaq.load(path)
        planned = oaq.plan(program, isa="avx2")
        session = oaq.Session(planned, threads=1)
        spec = program.tensors[program.inputs[0]]
        x = (np.random.default_rng(0).integers(spec.range.lo, spec.range.hi + 1, (1, *spec.shape)).astype(np.uint8),)
        turns[path.stem] = turn(lambda session=session, x=x: session.run_integers(x))  # type: ignore[misc]
        predicted[path.stem] = planned.seconds * 1e6
    seconds = interleave(turns, rounds, 20, 2, lambda numbers: say.track(numbers, "time"))
    for name, times in seconds.items():
        low, middle, high = (float(value) * 1e6 for value in np.percentile(times, (25, 50, 75)))
        cells = (
            ("median, us", f"{middle:.1f}"),
            ("quartiles, us", f"{low:.1f}..{high:.1f}"),
            ("predicted, us", f"{predicted[name]:.0f}"),
        )
        ledger.row(name, lambda cells=cells: cells)  # type: ignore[misc]
