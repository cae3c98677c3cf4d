r"""Accuracy of trained integers under narrow accumulators: one campaign, resumable, each cell stored as it is done.

    python -m benchmarks.accuracy cifar10 --folder runs/cifar10 [--minutes 60]
    python -m benchmarks.accuracy_table

Every cell starts from the same float network, which the first call trains. A cell that is in the result file already is
not run again, so a campaign can be stopped anywhere and widened later; several processes may work at different ones.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import oaq
from benchmarks.accuracy_cells import ACCUMULATORS, TRAINED, Cell, depthwise, grid, longer, published
from benchmarks.harness import Result, add_record, load, place, save, stamp
from benchmarks.wrapped import wrapping
from oaq.capture.from_torch import normalize
from oaq.capture.graph import FloatGraph
from oaq.errors import OaqError
from oaq.overflow.analyze import analyze
from oaq.program.int_program import IntProgram
from oaq.ptq.execute import layers
from oaq.ptq.quantize import quantize
from oaq.ptq.uniform import Uniform
from oaq.qat import Config, OverflowController, QatNetwork, Target, convert, targets, verdicts
from oaq.terminal import say
from recipes.cifar10 import resnet18
from recipes.data.labelled import Labelled, cifar10, fashion_mnist
from recipes.models.small import SmallMobileNet, SmallResNet, published_init
from recipes.training import Stage, first_inputs, right, right_as_integers, train_float, train_integers

COUNTED_IN_LANES = 500
"""Test images: forming every lane takes many times as long as the network itself."""
CPU = torch.device("cpu")
Row = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Campaign:
    """One table.

    Attributes:
        data: training or test images.
        network: the float one.
        label: of its checkpoint; campaigns of one label share it.
        cells: in the order in which they are run.
        epochs: of the float network.
        steps: of the optimizer in each cell, 128 images each; whole epochs if they are more than one.
    """

    data: Callable[[Any], Labelled]
    network: Callable[[], nn.Module]
    label: str
    cells: Callable[[], list[Cell]]
    epochs: int
    steps: int


def resnet20() -> nn.Module:
    """ResNet-20 whose stem has stride 2: a quarter of the work of the published one."""
    return SmallResNet(3, stem_stride=2)


def mobilenet() -> nn.Module:
    """MobileNetV2's blocks after a stem of stride 2."""
    return SmallMobileNet(stem_stride=2)


def resnet8() -> nn.Module:
    """Three blocks, for images of one channel."""
    return SmallResNet(1, channels=1, stem_stride=2)


CAMPAIGNS = {
    "cifar10": Campaign(cifar10, resnet20, "resnet20", grid, 20, 200),
    "cifar10-longer": Campaign(cifar10, resnet20, "resnet20", longer, 20, 1170),
    "cifar10-mobilenet": Campaign(cifar10, mobilenet, "mobilenet", depthwise, 5, 200),
    "cifar10-resnet18": Campaign(cifar10, resnet18, "resnet18", published, 30, 1170),
    "fashion-mnist": Campaign(fashion_mnist, resnet8, "resnet8", grid, 10, 468),
}


@dataclass(frozen=True, eq=False)
class Bench:
    """What every cell starts from.

    Attributes:
        graph: the float network.
        train, test: images.
        folder: for the cells' checkpoints and programs.
        steps: of the optimizer in each cell.
        float_right: test images that the float network classifies right.
        device: where cells are trained; their integers run natively on the CPU.
    """

    graph: FloatGraph
    train: Labelled
    test: Labelled
    folder: Path
    steps: int
    float_right: int
    device: torch.device = CPU


def prepared(name: str, folder: Path, device: torch.device = CPU) -> Bench:
    """Train the float network, or take it from the folder."""
    campaign = CAMPAIGNS[name]
    train, test = campaign.data("train").to(device), campaign.data("test")
    torch.manual_seed(0)
    net = published_init(campaign.network())
    stage = Stage(campaign.epochs, 128, 0.1, 5e-4, warmup=390, bf16=device.type == "cuda")
    folder.mkdir(parents=True, exist_ok=True)
    net = train_float(net, train, stage, folder / f"{campaign.label}.ckpt", device)
    graph = normalize(net, first_inputs(train, 1)[0], name)
    float_right = right(net.to(device), test.to(device))
    return Bench(graph, train, test, folder / name, campaign.steps, float_right, device)


def run_cell(bench: Bench, cell: Cell) -> Iterator[Row]:
    """Train or round, convert, test: one row; the baseline of seed 0 is looked at under every accumulator."""
    start = time.monotonic()
    folder = cell.place(bench.folder)
    if cell.method == "axe":
        uniform = Uniform(cell.bits, cell.bits, cell.target)
        calibration = [x.numpy() for x in first_inputs(bench.train, 512)]
        program = quantize(bench.graph, calibration, rounding="axe", uniform=uniform)
        network: QatNetwork | None = None
        requested = {node.name: cell.target for node in program.summing_nodes()}
    else:
        network = trained(bench, cell, folder)
        program, requested = convert(network), targets(network)
    folder.mkdir(parents=True, exist_ok=True)
    oaq.save(program, folder / "net.oaq")
    top1 = right_as_integers(program, bench.test)
    steps = "0" if network is None else str(bench.steps)
    facts = (("steps", steps), ("float", str(bench.float_right)), ("seconds", f"{time.monotonic() - start:.0f}"))
    if cell.method == "none" and network is not None:
        for accumulator in ACCUMULATORS if cell.seed == 0 else (cell.accumulator,):
            observed_cell = Cell(cell.bits, "none", accumulator, cell.seed)
            yield row(bench, observed_cell, program, network, top1=top1) + facts
    else:
        yield row(bench, cell, program, network, top1=top1, requested=requested) + facts


def trained(bench: Bench, cell: Cell, folder: Path) -> QatNetwork:
    """A short training of the integers."""
    target = cell.target or Target("pure", 32)
    method, changes = TRAINED[cell.method]
    exempt = target.register == "pure"
    config = Config(method, cell.bits, cell.bits, target, "register", first_last_exempt=exempt, **changes)  # type: ignore[arg-type]
    epochs = -(-bench.steps // (len(bench.train) // 128))
    source = bench.train.part(bench.steps * 128 if epochs == 1 else len(bench.train), cell.seed)
    stage = Stage(epochs, 128, 3e-4, 1e-4, seed=cell.seed)
    count_every = 10 if method == "oaq" else bench.steps  # where nothing moves, counting only takes time
    return train_integers(bench.graph, source, config, stage, folder, device=bench.device, interval=count_every)


def row(
    bench: Bench,
    cell: Cell,
    program: IntProgram,
    network: QatNetwork | None,
    *,
    top1: int,
    requested: dict[str, Target | None] | None = None,
) -> Row:
    """What is known of one program under one accumulator."""
    ends = end_layers(bench.graph)
    exempt = cell.target is None or cell.target.register == "pure"
    requested = requested or {
        node.name: None if exempt and node.name in ends else cell.target for node in program.summing_nodes()
    }
    outcomes = verdicts(program, requested)
    targeted = [outcome for outcome in outcomes if outcome.target is not None]
    proved = sum(outcome.proved for outcome in targeted)
    overflows, wrapped = "0", str(top1)
    if network is not None and targeted and proved < len(targeted):
        overflows, wrapped = observed(bench, network, requested, cell.target)
    weights = [node.op.weight for node in program.summing_nodes()]  # type: ignore[union-attr]
    zeros = sum(int((w == 0).sum()) for w in weights) / sum(w.size for w in weights)
    return (
        *zip(("precision", "accumulator", "method", "seed"), cell.key, strict=True),
        ("top1", str(top1)),
        ("of", str(len(bench.test))),
        ("sparsity", f"{zeros:.3f}"),
        ("proved", f"{proved}/{len(targeted)}"),
        ("overflows", overflows),
        ("wrapped_top1", wrapped),
        ("most_bits", str(max(analyze(program)[outcome.layer].bits for outcome in outcomes))),
    )


def end_layers(graph: FloatGraph) -> set[str]:
    """Layers that read an input or write an output."""
    return {node.name for node, _ in layers(graph) if node.inputs[0] in graph.inputs or node.output in graph.outputs}


def observed(
    bench: Bench, network: QatNetwork, requested: dict[str, Target | None], target: Target | None
) -> tuple[str, str]:
    """Overflows on all test images, and top-1 with registers that wrap (pure registers only)."""
    for name, layer in network.layer.items():
        layer.target, layer.count_final = requested[name], False
        layer._cells = None
    pure = target is not None and target.register == "pure"
    images = bench.test if pure else bench.test.first(COUNTED_IN_LANES)
    network.to(bench.device)
    counts = OverflowController(network, rate=1.0).count(x for x, _ in images.to(bench.device).batches(250))
    overflows = f"{sum(count.wrong for name, count in counts.items() if requested[name] is not None)} in {len(images)}"
    if target is None or not pure:
        return overflows, "-"
    with wrapping(
        network.eval(),
        {name: target.bits for name, target_of_layer in requested.items() if target_of_layer is not None},
    ):
        return overflows, str(right(network, bench.test.to(bench.device)))  # type: ignore[arg-type]


def trained_on(device: torch.device) -> Row:
    """A fact for the result file where that was a GPU."""
    return (("device", torch.cuda.get_device_name(device)),) if device.type == "cuda" else ()


def stored(name: str, *, record: bool) -> tuple[Row, ...]:
    """Rows of the result file, () if there is none."""
    path = place(Result("accuracy", "", stamp()), file_name(name), record=record)
    return load(path).rows if path.exists() else ()


def file_name(name: str) -> str:
    """Name of the result file, without its suffix."""
    return f"accuracy_{name.replace('-', '_')}"


def key_of(result_row: Row) -> tuple[str, ...]:
    """As ``Cell.key``."""
    columns = dict(result_row)
    return tuple(columns[name] for name in ("precision", "accumulator", "method", "seed"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing until the time is up."""
    parser = argparse.ArgumentParser("python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("campaign", choices=sorted(CAMPAIGNS))
    parser.add_argument("--folder", type=Path, required=True, help="checkpoints and programs")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no cell after that")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", type=torch.device, default="cpu", help="where to train: cpu, cuda")
    add_record(parser)
    flags = parser.parse_args(arguments)
    torch.set_num_threads(flags.threads)
    end = time.monotonic() + 60 * flags.minutes
    bench = prepared(flags.campaign, flags.folder, flags.device)
    say.words(f"float: {bench.float_right} of {len(bench.test)}")
    command = f"python -m benchmarks.accuracy {flags.campaign}" + (
        "" if flags.device.type == "cpu" else " --device cuda"
    )
    for cell in CAMPAIGNS[flags.campaign].cells():
        if cell.key in {key_of(result_row) for result_row in stored(flags.campaign, record=flags.record)}:
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
        facts = (("network", CAMPAIGNS[flags.campaign].label), ("steps", str(bench.steps)), *trained_on(flags.device))
        result = Result(
            "accuracy", command, stamp(), facts=facts, rows=(*stored(flags.campaign, record=flags.record), *new)
        )
        save(result, file_name(flags.campaign), record=flags.record)
        for result_row in new:
            say.words("  ".join(value for _, value in result_row))
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
