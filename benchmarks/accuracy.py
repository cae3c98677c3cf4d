r"""Accuracy of trained integers under narrow accumulators: one campaign, resumable, each cell stored as it is done.

    python -m benchmarks.accuracy cifar10 --folder runs/cifar10 [--steps 200] [--minutes 60]
    python -m benchmarks.accuracy_table

Every cell starts from the same float network, which the first call trains. A cell that is in the result file already is
not run again, so the campaign can be stopped anywhere and widened later.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from torch import nn

import oaq
from benchmarks.harness import RESULTS, Result, load, save, stamp
from benchmarks.wrapped import wrapping
from oaq.capture.from_torch import normalize
from oaq.capture.graph import FloatGraph
from oaq.cli import say
from oaq.errors import OaqError
from oaq.overflow.analyze import analyze
from oaq.program.int_program import IntProgram
from oaq.ptq.execute import layers
from oaq.ptq.quantize import quantize
from oaq.ptq.uniform import Uniform
from oaq.qat import Config, OverflowController, QatNetwork, Target, convert, targets, verdicts
from recipes.data.labelled import Labelled, cifar10, fashion_mnist
from recipes.models.small import SmallResNet, published_init
from recipes.training import Stage, first_inputs, right, right_as_integers, train_float, train_integers

ACCUMULATORS = {
    "32": None,
    "16": Target("pure", 16),
    "14": Target("pure", 14),
    "12": Target("pure", 12),
    "lanes, runs of 8": Target("avx2", 16, 8),
    "lanes, runs of 16": Target("avx2", 16, 16),
}
"""Pure accumulators exempt the first and the last layer, whose operands have 8 bits, from the narrow register."""
COUNTED_IN_LANES = 500
"""Test images: forming every lane takes many times as long as the network itself."""
PRECISIONS = (8, 4)
TRAINED = ("none", "oaq", "a2q", "a2q+", "proved")
METHODS = (*TRAINED, "axe")
HEADLINE = (("none", "32"), *((m, "16") for m in ("oaq", "a2q+", "proved")), ("proved", "lanes, runs of 8"))
DATA = {"cifar10": cifar10, "fashion-mnist": fashion_mnist}
Row = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Cell:
    """One training, or one rounding.

    Attributes:
        bits: of weights and operands.
        method: of ``METHODS``.
        accumulator: key of ``ACCUMULATORS``.
        seed: of order and augmentation.
    """

    bits: int
    method: str
    accumulator: str
    seed: int = 0

    @property
    def target(self) -> Target | None:
        """What is to be kept."""
        return ACCUMULATORS[self.accumulator]

    @property
    def key(self) -> tuple[str, ...]:
        """What tells its row from others."""
        return (f"W{self.bits}A{self.bits}", self.accumulator, self.method, str(self.seed))

    def place(self, folder: Path) -> Path:
        """Where its files go."""
        return folder / "-".join(self.key).replace(", ", "_").replace(" ", "_")


def cells() -> list[Cell]:
    """The grid, most telling first; headline rows come with three seeds."""
    headline = [Cell(bits, method, accumulator) for bits in PRECISIONS[::-1] for method, accumulator in HEADLINE]
    every = [
        Cell(bits, method, accumulator)
        for accumulator, bits, method in product(ACCUMULATORS, PRECISIONS[::-1], METHODS)
        if possible(method, accumulator)
    ]
    telling = [one for one in every if one.bits == 4 or one.accumulator in ("16", "lanes, runs of 8")]
    more = [Cell(one.bits, one.method, one.accumulator, seed) for seed in (1, 2) for one in headline]
    return list(dict.fromkeys([*headline, *telling, *more, *every]))


def possible(method: str, accumulator: str) -> bool:
    """Whether the method can be asked for that accumulator, and is not the same as another cell."""
    if ACCUMULATORS[accumulator] is None:
        return method == "none"
    if method == "none":
        return False  # the baseline is looked at under every accumulator: see ``baseline_rows``
    return not (method.startswith("a2q") and accumulator.startswith("lanes"))


@dataclass(frozen=True, eq=False)
class Bench:
    """What every cell starts from.

    Attributes:
        graph: the float network.
        train, test: images.
        folder: for checkpoints and programs.
        steps: of the optimizer in each cell.
        float_right: test images that the float network classifies right.
    """

    graph: FloatGraph
    train: Labelled
    test: Labelled
    folder: Path
    steps: int
    float_right: int


def prepared(name: str, folder: Path, epochs: int, steps: int) -> Bench:
    """Train the float network, or take it from the folder."""
    train, test = DATA[name]("train"), DATA[name]("test")
    net = network(name)
    stage = Stage(epochs, 128, 0.1, 5e-4, warmup=390)
    folder.mkdir(parents=True, exist_ok=True)
    net = train_float(net, train, stage, folder / "float.ckpt", torch.device("cpu"))
    graph = normalize(net, first_inputs(train, 1)[0], name)
    return Bench(graph, train, test, folder, steps, right(net, test))


def network(name: str) -> nn.Module:
    """ResNet-20 whose stem has stride 2 for CIFAR-10 (a quarter of the work), ResNet-8 for Fashion-MNIST."""
    torch.manual_seed(0)
    if name == "cifar10":
        return published_init(SmallResNet(3, stem_stride=2))
    return published_init(SmallResNet(1, channels=1, stem_stride=2))


def run_cell(bench: Bench, cell: Cell) -> Iterator[Row]:
    """Train or round, convert, test: one row; the baseline of seed 0 is looked at under every accumulator."""
    start = time.monotonic()
    folder = cell.place(bench.folder)
    if cell.method == "axe":
        uniform = Uniform(cell.bits, cell.bits, cell.target)
        calibration = [x.numpy() for x in first_inputs(bench.train, 512)]
        program = quantize(bench.graph, calibration, rounding="axe", uniform=uniform)
        found: QatNetwork | None = None
        wanted = {node.name: cell.target for node in program.summing_nodes()}
    else:
        found = trained(bench, cell, folder)
        program, wanted = convert(found), targets(found)
    folder.mkdir(parents=True, exist_ok=True)
    oaq.save(program, folder / "net.oaq")
    top1 = right_as_integers(program, bench.test)
    steps = "0" if found is None else str(bench.steps)
    facts = (("steps", steps), ("float", str(bench.float_right)), ("seconds", f"{time.monotonic() - start:.0f}"))
    if cell.method == "none" and found is not None:
        for accumulator in ACCUMULATORS if cell.seed == 0 else (cell.accumulator,):
            one = Cell(cell.bits, "none", accumulator, cell.seed)
            yield row(bench, one, program, found, top1=top1) + facts
    else:
        yield row(bench, cell, program, found, top1=top1, wanted=wanted) + facts


def trained(bench: Bench, cell: Cell, folder: Path) -> QatNetwork:
    """A short training of the integers."""
    target = cell.target or Target("pure", 32)
    config = Config(
        cell.method,  # type: ignore[arg-type]
        cell.bits,
        cell.bits,
        target,
        count="register",
        first_last_exempt=target.register == "pure",
    )
    source = bench.train.part(bench.steps * 128, cell.seed)
    stage = Stage(1, 128, 3e-4, 1e-4, seed=cell.seed)
    return train_integers(bench.graph, source, config, stage, folder, device=torch.device("cpu"), every=10)


def row(
    bench: Bench,
    cell: Cell,
    program: IntProgram,
    found: QatNetwork | None,
    *,
    top1: int,
    wanted: dict[str, Target | None] | None = None,
) -> Row:
    """What is known of one program under one accumulator."""
    ends = end_layers(bench.graph)
    exempt = cell.target is None or cell.target.register == "pure"
    wanted = wanted or {
        node.name: None if exempt and node.name in ends else cell.target for node in program.summing_nodes()
    }
    said = verdicts(program, wanted)
    asked = [one for one in said if one.target is not None]
    proved = sum(one.proved for one in asked)
    overflows, wrapped = "0", str(top1)
    if found is not None and asked and proved < len(asked):
        overflows, wrapped = observed(bench, found, wanted, cell.target)
    weights = [node.op.weight for node in program.summing_nodes()]  # type: ignore[union-attr]
    zeros = sum(int((w == 0).sum()) for w in weights) / sum(w.size for w in weights)
    planned = oaq.plan(program, "avx2")
    return (
        *zip(("precision", "accumulator", "method", "seed"), cell.key, strict=True),
        ("top1", str(top1)),
        ("of", str(len(bench.test))),
        ("sparsity", f"{zeros:.3f}"),
        ("proved", f"{proved}/{len(asked)}"),
        ("overflows", overflows),
        ("wrapped_top1", wrapped),
        ("most_bits", str(max(analyze(program)[one.layer].bits for one in said))),
        ("cost", f"{planned.cost:.4f}"),
        ("average_run", f"{planned.average_run:.2f}"),
    )


def end_layers(graph: FloatGraph) -> set[str]:
    """Layers that read an input or write an output."""
    return {node.name for node, _ in layers(graph) if node.inputs[0] in graph.inputs or node.output in graph.outputs}


def observed(
    bench: Bench, found: QatNetwork, wanted: dict[str, Target | None], target: Target | None
) -> tuple[str, str]:
    """Overflows on all test images, and top-1 with registers that wrap (pure registers only)."""
    for name, layer in found.layer.items():
        layer.target, layer.count_final = wanted[name], False
        layer._cells = None
    pure = target is not None and target.register == "pure"
    seen = bench.test if pure else bench.test.first(COUNTED_IN_LANES)
    counts = OverflowController(found, rate=1.0).count(x for x, _ in seen.batches(250))
    overflows = f"{sum(one.wrong for name, one in counts.items() if wanted[name] is not None)} in {len(seen)}"
    if target is None or not pure:
        return overflows, "-"
    with wrapping(found.eval(), {name: target.bits for name, one in wanted.items() if one is not None}):
        return overflows, str(right(found, bench.test))  # type: ignore[arg-type]


def stored(name: str) -> tuple[Row, ...]:
    """Rows of the result file, () if there is none."""
    path = RESULTS / f"{file_name(name)}.json"
    return load(path).rows if path.exists() else ()


def file_name(name: str) -> str:
    """Of the result file."""
    return f"accuracy_{name.replace('-', '_')}"


def key_of(one: Row) -> tuple[str, ...]:
    """As ``Cell.key``."""
    found = dict(one)
    return tuple(found[name] for name in ("precision", "accumulator", "method", "seed"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing until the time is up."""
    parser = argparse.ArgumentParser("python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("data", choices=sorted(DATA))
    parser.add_argument("--folder", type=Path, required=True, help="checkpoints and programs")
    parser.add_argument("--epochs", type=int, default=20, help="of the float network")
    parser.add_argument("--steps", type=int, default=200, help="of each cell, 128 images each")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no cell after that")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    end = time.monotonic() + 60 * given.minutes
    bench = prepared(given.data, given.folder, given.epochs, given.steps)
    say.words(f"float: {bench.float_right} of {len(bench.test)}")
    command = f"python -m benchmarks.accuracy {given.data} --epochs {given.epochs} --steps {given.steps}"
    for cell in cells():
        rows = stored(given.data)
        if cell.key in {key_of(one) for one in rows}:
            continue
        if time.monotonic() > end:
            break
        try:
            new = tuple(run_cell(bench, cell))
        except OaqError as error:
            new = (
                (
                    *zip(("precision", "accumulator", "method", "seed"), cell.key, strict=True),
                    ("failed", " ".join(str(error).split())[:300]),
                ),
            )
        result = Result("accuracy", command, stamp(), facts=(("network", bench.graph.name),), rows=(*rows, *new))
        save(result, file_name(given.data))
        for one in new:
            say.words("  ".join(value for _, value in one))
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
