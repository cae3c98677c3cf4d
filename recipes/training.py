"""The two stages of every training recipe: a float network, then its integers. Both can be killed and go on.

Under ``torchrun`` every process takes its share of each batch; files and tables are the first one's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import oaq
from oaq.capture.graph import FloatGraph
from oaq.cli import say
from oaq.program.int_program import IntProgram
from oaq.qat import (
    Config,
    CsvLog,
    LayerState,
    Loop,
    OverflowController,
    QatNetwork,
    Run,
    cosine,
    fit,
    parameter_groups,
    prepare,
    reestimate,
    resume,
)
from oaq.qat.distributed import is_first, processes
from oaq.qat.log import TABLE_HEADER, table
from oaq.report.text import Table

Batch = tuple[torch.Tensor, torch.Tensor]


class Source(Protocol):
    """Images with labels, in memory or in files."""

    def __len__(self) -> int: ...

    def epoch(self, size: int, seed: int, number: int, share: tuple[int, int] = (0, 1)) -> Iterator[Batch]:
        """Augmented batches that depend on the arguments only; ``size`` is of a batch over all processes."""
        ...

    def batches(self, size: int) -> Iterator[Batch]:
        """Everything in order, as it is."""
        ...


@dataclass(frozen=True)
class Stage:
    """How one stage trains.

    Attributes:
        epochs: passes over the data.
        batch: images per step, over all processes.
        lr: highest learning rate; it falls as half a cosine.
        weight_decay: of weights.
        warmup: steps over which the learning rate rises.
        seed: of order and augmentation.
        accumulate: batches per step of the optimizer.
        bf16: autocast; integers stay exact.
    """

    epochs: int
    batch: int = 128
    lr: float = 0.1
    weight_decay: float = 5e-4
    warmup: int = 0
    seed: int = 0
    accumulate: int = 1
    bf16: bool = False


@contextmanager
def together() -> Iterator[torch.device]:
    """The device to train on; joins the group of processes if ``torchrun`` started this one."""
    cuda = torch.cuda.is_available()
    if "RANK" in os.environ:
        dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def share() -> tuple[int, int]:
    """(rank, processes)."""
    return (dist.get_rank() if processes() > 1 else 0), processes()


def steps_of(source: Source, stage: Stage) -> int:
    """Steps of the optimizer in the whole stage."""
    return stage.epochs * -(-(len(source) // stage.batch) // stage.accumulate)


def train_float(net: nn.Module, source: Source, stage: Stage, checkpoint: Path, device: torch.device) -> nn.Module:
    """Train a float network, or go on with it; in eval mode on the CPU at the end.

    Raises:
        TrainingError, FormatError: see ``oaq.qat.fit``.
    """
    net.to(device)
    optimizer = torch.optim.SGD(net.parameters(), stage.lr, 0.9, weight_decay=stage.weight_decay, nesterov=True)
    run = Run(_wrapped(net, device), optimizer, F.cross_entropy, _epochs(source, stage, device))
    _fit(run, source, stage, checkpoint, "float")
    return net.cpu().eval()


def train_integers(
    net: nn.Module | FloatGraph,
    source: Source,
    config: Config,
    stage: Stage,
    folder: Path,
    *,
    device: torch.device,
    every: int = 50,
    speed: float | None = None,
) -> QatNetwork:
    """Train the integers of a trained network, or go on with them; in eval mode on the CPU at the end.

    Args:
        net: float.
        source: training images; the first 512 choose the first ranges.
        config: see ``oaq.qat.Config``.
        stage: its learning rate is that of the weights.
        folder: for ``integers.ckpt`` and ``layers.csv``.
        device: where.
        every: steps between two counts of overflows.
        speed: see ``OverflowController``.

    Raises:
        ConfigError, TrainingError, FormatError: see ``prepare``, ``fit`` and ``OverflowController.finish``.
    """
    calibration = first_inputs(source, 512)
    network = prepare(net, calibration[0][:1], config, calibration=calibration).to(device)
    # Adam: folded batch norms leave weights of very unlike size, on which plain SGD diverges at any useful rate
    optimizer = torch.optim.AdamW(parameter_groups(network, stage.lr, stage.weight_decay), stage.lr)
    steps = steps_of(source, stage)
    controller = OverflowController(network, optimizer, every=every, freeze_at=steps * 3 // 4, rate=0.5, speed=speed)
    run = Run(_wrapped(network, device), optimizer, F.cross_entropy, _epochs(source, stage, device), controller)
    folder.mkdir(parents=True, exist_ok=True)
    _fit(run, source, stage, folder / "integers.ckpt", config.method, log=folder / "layers.csv")
    inputs = [x.to(device) for x in calibration]
    reestimate(network, inputs)
    if controller.moves:
        states = controller.finish(inputs)
        if is_first():
            say.tables([overflow_table(states)])
    return network.cpu().eval()


def first_inputs(source: Source, count: int) -> list[torch.Tensor]:
    """The first ``count`` images without labels, in batches of 128."""
    found: list[torch.Tensor] = []
    for x, _ in source.batches(128):
        found.append(x[: count - sum(map(len, found))])
        if sum(map(len, found)) == count:
            break
    return found


def overflow_table(states: Sequence[LayerState]) -> Table:
    """What was counted last, by layer."""
    title = f"overflows at iteration {states[0].iteration}"
    return Table(title, TABLE_HEADER, tuple(table(states)), frozenset(range(1, len(TABLE_HEADER))))


def right(logits: Callable[[torch.Tensor], torch.Tensor], source: Source, size: int = 250) -> int:
    """How many images are classified right."""
    with torch.inference_mode():
        return sum(int((logits(x).argmax(dim=1) == y).sum()) for x, y in source.batches(size))


def right_as_integers(program: IntProgram, source: Source, size: int = 250) -> int:
    """The same, run by the native session with the plan for this CPU."""
    session = oaq.Session(oaq.plan(program))
    return right(lambda x: torch.from_numpy(np.asarray(session.run(x.numpy()))), source, size)


def _epochs(source: Source, stage: Stage, device: torch.device) -> Callable[[int], Iterable[Batch]]:
    return lambda number: (
        (x.to(device), y.to(device)) for x, y in source.epoch(stage.batch, stage.seed, number, share())
    )


def _wrapped(net: nn.Module, device: torch.device) -> nn.Module:
    if processes() == 1:
        return net
    return DistributedDataParallel(net, [device] if device.type == "cuda" else None)


def _fit(run: Run, source: Source, stage: Stage, checkpoint: Path, label: str, *, log: Path | None = None) -> None:
    """``fit`` with a bar, a CSV of losses beside the checkpoint, and the table of overflows as they are counted."""
    loop = Loop(stage.epochs, stage.accumulate, stage.bf16, checkpoint=checkpoint)
    run.factor = cosine(steps_of(source, stage), stage.warmup)
    resumed = resume(run, loop)
    if run.controller is not None and log is not None and is_first():
        run.controller.log = _teller(CsvLog(log, run.position.iteration if resumed else None))
    with say.bar(label, steps_of(source, stage) - run.position.iteration) as step:
        run.told = lambda iteration, loss, rate: step(1)
        fit(run, loop)


def _teller(log: CsvLog) -> Callable[[Sequence[LayerState]], None]:
    def told(states: Sequence[LayerState]) -> None:
        log(states)
        wrong = sum(one.overflows for one in states)
        say.warn(
            f"iteration {states[0].iteration}: {wrong} overflows, largest alpha {max(s.alpha for s in states):.2f}"
        )

    return told
