"""The two stages of every training recipe: a float network, then its integers. Both can be killed and go on.

Under ``torchrun`` every process takes its share of each batch; files and tables are the first one's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import oaq
from oaq.capture.graph import FloatGraph
from oaq.data.preprocess import Preprocess
from oaq.program.int_program import IntProgram
from oaq.qat import (
    Config,
    CsvLog,
    Dither,
    DitheredModule,
    DitherState,
    LayerState,
    Loop,
    OverflowController,
    QatNetwork,
    Teacher,
    Training,
    cosine,
    dithered,
    fit,
    parameter_groups,
    prepare,
    reestimate,
    resume,
)
from oaq.qat.distributed import is_first, processes
from oaq.report.agreement import decode_all
from oaq.tasks import Task, classify
from oaq.terminal import say
from recipes.board import Board, overflow_table

Batch = tuple[torch.Tensor, torch.Tensor]
Told = Callable[[Sequence[LayerState]], None]
Loss = Callable[[Any, torch.Tensor], torch.Tensor]
"""What a network answers, and the truths, to what training makes small."""
Answers = torch.Tensor | np.ndarray | Sequence[torch.Tensor] | Sequence[np.ndarray]
ARRAY = (torch.Tensor, np.ndarray)
DITHER_EVERY = 50
"""Steps between two lines of the log of dithering."""
CLASSES = classify(Preprocess((1, 1)))
"""The task of sources whose truths are classes."""


class Source(Protocol):
    """Images with labels, in memory or in files."""

    def __len__(self) -> int: ...

    def epoch(
        self, size: int, seed: int, number: int, *, skip: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
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
        clip_gradient: most the norm of all gradients may be; None does not look.
    """

    epochs: int
    batch: int = 128
    lr: float = 0.1
    weight_decay: float = 5e-4
    warmup: int = 0
    seed: int = 0
    accumulate: int = 1
    bf16: bool = False
    clip_gradient: float | None = None


@contextmanager
def together() -> Iterator[torch.device]:
    """The device to train on; joins the group of processes if ``torchrun`` started this one."""
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else None
    if device is not None:
        torch.cuda.set_device(device)
    if "RANK" in os.environ:
        dist.init_process_group("gloo" if device is None else "nccl")
    try:
        yield torch.device("cpu") if device is None else device
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def share() -> tuple[int, int]:
    """(rank, processes)."""
    return (dist.get_rank() if processes() > 1 else 0), processes()


def steps_of(source: Source, stage: Stage) -> int:
    """Steps of the optimizer in the whole stage."""
    return stage.epochs * -(-(len(source) // stage.batch) // stage.accumulate)


def train_float(
    net: nn.Module,
    source: Source,
    stage: Stage,
    checkpoint: Path,
    device: torch.device,
    *,
    loss: Loss = F.cross_entropy,
    dither: Dither | None = None,
) -> nn.Module:
    """Train a float network, or go on with it; in eval mode on the CPU at the end.

    Args:
        net: trained in place.
        source: training images.
        stage: how long and how fast.
        checkpoint: file to write and to go on from.
        device: where.
        loss: is made small.
        dither: of the gradients; None: they stay as they are.

    Raises:
        TrainingError, FormatError: see ``oaq.qat.fit``.
    """
    net.to(device)
    if device.type == "cuda":
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trained = net if dither is None else dithered(net, dither)
    optimizer = torch.optim.SGD(net.parameters(), stage.lr, 0.9, weight_decay=stage.weight_decay, nesterov=True)
    run = Training(_wrapped(trained, device), optimizer, loss, _epochs(source, stage, device))
    _fit(run, source, stage, checkpoint, "float")
    if isinstance(trained, DitheredModule):
        trained.remove()
    return net.cpu().eval()


def train_integers(
    net: nn.Module | FloatGraph,
    source: Source,
    config: Config,
    stage: Stage,
    folder: Path,
    *,
    device: torch.device,
    interval: int = 50,
    speed: float | None = None,
    loss: Loss = F.cross_entropy,
    teacher: Teacher | None = None,
) -> QatNetwork:
    """Train the integers of a trained network, or go on with them; in eval mode on the CPU at the end.

    Args:
        net: float.
        source: training images; the first 512 choose the first ranges.
        config: see ``oaq.qat.Config``.
        stage: its learning rate is that of the weights.
        folder: for ``integers.ckpt`` and ``layers.csv``.
        device: where.
        interval: steps between two counts of overflows.
        speed: see ``OverflowController``.
        loss: is made small.
        teacher: what the loss is distilled from besides.

    Raises:
        ConfigError, TrainingError, FormatError: see ``prepare``, ``fit`` and ``OverflowController.finish``.
    """
    calibration = first_inputs(source, 512)
    network = prepare(net, calibration[0][:1], config, calibration=calibration, device=device).to(device)
    # Adam: folded batch norms leave weights of very unlike size, on which plain SGD diverges at any useful rate
    optimizer = torch.optim.AdamW(parameter_groups(network, stage.lr, stage.weight_decay), stage.lr)
    steps = steps_of(source, stage)
    controller = OverflowController(
        network, optimizer, interval=interval, freeze_at=steps * 3 // 4, rate=0.5, speed=speed
    )
    run = Training(_wrapped(network, device), optimizer, loss, _epochs(source, stage, device), controller)
    run.teacher = teacher
    folder.mkdir(parents=True, exist_ok=True)
    _fit(run, source, stage, folder / "integers.ckpt", "integers", log=folder / "layers.csv")
    inputs = [x.to(device) for x in calibration]
    reestimate(network, inputs)
    if controller.moves:
        states = controller.finish(inputs)
        if is_first():
            say.tables([overflow_table(states)])
    return network.cpu().eval()


def train_stage(
    network: QatNetwork,
    source: Source,
    stage: Stage,
    checkpoint: Path,
    device: torch.device,
    *,
    loss: Loss = F.cross_entropy,
) -> None:
    """One stage of several of a network's integers, or what is still to do of it.

    Raises:
        TrainingError, FormatError: see ``oaq.qat.fit``.
    """
    optimizer = torch.optim.AdamW(parameter_groups(network, stage.lr, stage.weight_decay), stage.lr)
    run = Training(_wrapped(network, device), optimizer, loss, _epochs(source, stage, device))
    _fit(run, source, stage, checkpoint, checkpoint.stem)


def first_inputs(source: Source, count: int) -> list[torch.Tensor]:
    """The first ``count`` images without labels, in batches of 128, on the CPU."""
    inputs: list[torch.Tensor] = []
    for x, _ in source.batches(128):
        inputs.append(x[: count - sum(map(len, inputs))].cpu())
        if sum(map(len, inputs)) == count:
            break
    return inputs


def score(network: Callable[[torch.Tensor], Answers], source: Source, task: Task, size: int = 250) -> float:
    """The first metric of ``task`` over a source, whose labels are the truths.

    Args:
        network: a batch to its output, or its outputs in order.
        source: of images and truths.
        task: what the outputs mean.
        size: of a batch.
    """
    answers, truths = [], []
    with torch.inference_mode():
        for x, y in source.batches(size):
            outputs = network(x)
            arrays = [np.asarray(values) for values in ([outputs] if isinstance(outputs, ARRAY) else outputs)]
            answers += decode_all(task, {str(at): values for at, values in enumerate(arrays)})
            truths += list(y.cpu().numpy())
    return task.metrics[0].compute(answers, truths)


def score_integers(program: IntProgram, source: Source, task: Task, size: int = 250) -> float:
    """``score`` of the native session that runs a program with the plan for this CPU."""
    session = oaq.Session(oaq.plan(program))
    return score(lambda x: session.run(x.numpy()), source, task, size)


def right(logits: Callable[[torch.Tensor], torch.Tensor], source: Source, size: int = 250) -> int:
    """How many images are classified right."""
    return int(score(lambda x: logits(x).cpu(), source, CLASSES, size))


def right_as_integers(program: IntProgram, source: Source, size: int = 250) -> int:
    """Images whose class comes out first when the native session runs the program with the plan for this CPU."""
    return int(score_integers(program, source, CLASSES, size))


def _epochs(source: Source, stage: Stage, device: torch.device) -> Callable[[int, int], Iterable[Batch]]:
    return lambda number, skip: (
        (x.to(device), y.to(device)) for x, y in source.epoch(stage.batch, stage.seed, number, skip=skip, share=share())
    )


def _wrapped(net: nn.Module, device: torch.device) -> nn.Module:
    if processes() == 1:
        return net
    return DistributedDataParallel(net, [device] if device.type == "cuda" else None)


def _fit(run: Training, source: Source, stage: Stage, checkpoint: Path, label: str, *, log: Path | None = None) -> None:
    """``fit`` under a board, with a CSV of what was counted."""
    loop = Loop(stage.epochs, stage.accumulate, stage.bf16, stage.clip_gradient, checkpoint=checkpoint)
    steps = steps_of(source, stage)
    run.factor = cosine(steps, stage.warmup)
    resumed = resume(run, loop)
    after = run.position.iteration if resumed else None
    written = CsvLog(log, after) if log is not None and is_first() else None
    events = checkpoint.parent / "events"
    with Board(label, steps - run.position.iteration, events, silent=not is_first()) as board:
        run.on_step = _dither_log(run, board.on_step, checkpoint, after)
        if run.controller is not None:
            run.controller.log = _to_both(board.counted, written)
        fit(run, loop)


def _dither_log(
    run: Training, told: Callable[[int, float, float], None], checkpoint: Path, after: int | None
) -> Callable[[int, float, float], None]:
    """``told``, and every so many steps what dithering did to each layer, in a CSV beside the checkpoint."""
    ditherer = getattr(run.plain, "ditherer", None)
    if ditherer is None or not is_first():
        return told
    written = CsvLog(checkpoint.with_name(f"{checkpoint.stem}-dither.csv"), after, DitherState)

    def on_step(iteration: int, loss: float, rate: float) -> None:
        told(iteration, loss, rate)
        if iteration % DITHER_EVERY == 0:
            written(ditherer.states(iteration))

    return on_step


def _to_both(board_log: Told, written: Told | None) -> Told:
    def log(states: Sequence[LayerState]) -> None:
        board_log(states)
        if written is not None:
            written(states)

    return log
