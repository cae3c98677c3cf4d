"""A training loop that can be killed: epochs, accumulation, autocast, checkpoints, and a stop when the loss is lost.

``QatNetwork`` trains with any loop; this one is what the recipes use. Batches must depend on seed and epoch only, so
that a resumed run sees what the uninterrupted one would have seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from oaq.errors import ConfigError, TrainingError
from oaq.qat.alpha import OverflowController
from oaq.qat.checkpoint import Position, load_checkpoint, save_checkpoint
from oaq.qat.distributed import greatest, is_first
from oaq.qat.network import QatNetwork
from oaq.qat.teacher import Lesson, Teacher

LabelledBatch = tuple[torch.Tensor, torch.Tensor]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Loop:
    """How long and in what portions.

    Attributes:
        epochs: passes over the data.
        accumulate: batches per optimizer step; those left over at the end of an epoch make one step more.
        bf16: run under bfloat16 autocast; the integers of a ``QatNetwork`` stay exact all the same.
        clip_gradient: most the norm of all gradients may be; None does not look.
        checkpoint: file to write and to resume from; None writes none.
        checkpoint_every: optimizer steps between two checkpoints; one is written at the end too.
        stop_after: optimizer steps after which to stop as if killed, without a last checkpoint.
    """

    epochs: int
    accumulate: int = 1
    bf16: bool = False
    clip_gradient: float | None = None
    checkpoint: Path | None = None
    checkpoint_every: int = 200
    stop_after: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "accumulate", "checkpoint_every"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise ConfigError(f"{name} is a whole number, at least 1; not {getattr(self, name)!r}")


@dataclass
class Training:
    """What is trained, and with what.

    Attributes:
        network: the module, or its DDP wrapper.
        optimizer: over its parameters.
        loss: of outputs and labels, a mean over the batch.
        epoch: the batches of an epoch from a batch on, by their numbers.
        controller: stepped after the optimizer.
        factor: of the learning rate, by iteration; None keeps it.
        on_step: called after every optimizer step with the iteration, the loss and the learning rate.
        on_epoch: called after every epoch with its number.
        teacher: what the loss is distilled from besides; None: the labels alone.
        position: where training stands.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Loss
    epoch: Callable[[int, int], Iterable[LabelledBatch]]
    controller: OverflowController | None = None
    factor: Callable[[int], float] | None = None
    on_step: Callable[[int, float, float], None] | None = None
    on_epoch: Callable[[int], None] | None = None
    teacher: Teacher | None = None
    position: Position = field(default_factory=Position)
    lesson: Lesson | None = field(default=None, init=False, repr=False)

    @property
    def plain(self) -> nn.Module:
        """The network without its wrapper."""
        return self.network.module if isinstance(self.network, DistributedDataParallel) else self.network


def resume(run: Training, loop: Loop) -> bool:
    """Go on from the loop's checkpoint if there is one.

    Raises:
        FormatError, TrainingError: see ``load_checkpoint``.
    """
    if loop.checkpoint is None or not loop.checkpoint.exists():
        return False
    run.position, extra = load_checkpoint(loop.checkpoint, run.plain, run.optimizer, controller=run.controller)
    if extra != _extra(run):
        taught = extra.get("teacher", "labels alone"), _extra(run).get("teacher", "labels alone")
        raise TrainingError(
            f"{loop.checkpoint}: the checkpoint is of another run: it was taught by {taught[0]}, this run is by "
            f"{taught[1]}. Resume with the settings it was made with, or start anew"
        )
    return True


def _extra(run: Training) -> dict[str, Any]:
    """What a checkpoint holds beside network, optimizer and controller."""
    return {} if run.teacher is None else {"teacher": str(run.teacher)}


def fit(run: Training, loop: Loop) -> None:
    """Train from ``run.position`` to the end.

    Raises:
        TrainingError: the loss is not finite (a checkpoint from before that step is written and named), or an epoch
            holds no batch.
    """
    for group in run.optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    while run.position.epoch < loop.epochs:
        run.network.train()
        if not _epoch(run, loop):
            return
        run.position = Position(run.position.epoch + 1, 0, run.position.iteration)
        if run.on_epoch is not None:
            run.on_epoch(run.position.epoch - 1)
    if run.lesson is not None:
        run.lesson.end()
    _save(run, loop)


def _epoch(run: Training, loop: Loop) -> bool:
    """One epoch from where it stands; False: stopped on the way."""
    epoch, skip = run.position.epoch, run.position.batch
    pending: list[LabelledBatch] = []
    number = skip - 1
    for number, batch in enumerate(run.epoch(epoch, skip), skip):
        pending.append(batch)
        if len(pending) == loop.accumulate:
            _step(run, loop, pending, number + 1)
            pending = []
            if loop.stop_after is not None and run.position.iteration >= loop.stop_after:
                return False
    if number < 0:
        raise TrainingError(f"epoch {epoch} holds no batch: the loader is empty, or its batches are larger than it")
    if pending:
        _step(run, loop, pending, number + 1)
    return True


def _step(run: Training, loop: Loop, batches: list[LabelledBatch], batch: int) -> None:
    """One optimizer step on the mean over ``batches``."""
    if run.factor is not None:
        for group in run.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * run.factor(run.position.iteration)
    run.optimizer.zero_grad(set_to_none=True)
    total, lesson = 0.0, _lesson(run, batches[0][0].device)
    for index, (x, y) in enumerate(batches):
        with _without_sync(run.network, index < len(batches) - 1):
            with _autocast(x, loop.bf16):
                outputs = run.network(x)
                loss = run.loss(outputs, y)
                if lesson is not None:
                    loss = lesson.loss(x, outputs, loss)
                if isinstance(run.plain, QatNetwork):
                    loss = loss + run.plain.penalty()
            _check_finite(run, loop, float(loss.detach()))
            (loss / len(batches)).backward()  # outside of autocast, which would reach the gradients of the integers
        total += float(loss.detach()) / len(batches)
    if loop.clip_gradient is not None:
        nn.utils.clip_grad_norm_(run.network.parameters(), loop.clip_gradient)
    run.optimizer.step()
    if run.controller is not None:
        run.controller.step()
    run.position = Position(run.position.epoch, batch, run.position.iteration + 1)
    if run.on_step is not None:
        run.on_step(run.position.iteration, total, float(run.optimizer.param_groups[0]["lr"]))
    if run.position.iteration % loop.checkpoint_every == 0:
        _save(run, loop)


def _lesson(run: Training, device: torch.device) -> Lesson | None:
    """The teacher with its pupil, made before the first batch."""
    if run.teacher is not None and (run.lesson is None or run.lesson.teacher is not run.teacher):
        run.lesson = Lesson(run.teacher, run.plain, device)
    return run.lesson


def _check_finite(run: Training, loop: Loop, loss: float) -> None:
    not_finite = torch.tensor([0.0 if math.isfinite(loss) else 1.0])
    if float(greatest(not_finite)[0]) == 0.0:
        return
    saved = "No checkpoint was asked for"
    if loop.checkpoint is not None:
        path = loop.checkpoint.with_name(f"{loop.checkpoint.name}.lost")
        if is_first():
            save_checkpoint(path, run.plain, run.optimizer, run.position, controller=run.controller, extra=_extra(run))
        saved = f"The state before this step is in {path}"
    raise TrainingError(
        f"the loss is {loss} at iteration {run.position.iteration} (epoch {run.position.epoch}); training stops. "
        f"{saved}. Lower the learning rate, clip the gradient, or look for NaN in the data"
    )


def _save(run: Training, loop: Loop) -> None:
    if loop.checkpoint is not None and is_first():
        save_checkpoint(
            loop.checkpoint, run.plain, run.optimizer, run.position, controller=run.controller, extra=_extra(run)
        )


def _without_sync(network: nn.Module, enabled: bool) -> AbstractContextManager[Any]:
    if enabled and isinstance(network, DistributedDataParallel):
        return cast(AbstractContextManager[Any], network.no_sync())
    return nullcontext()


def _autocast(x: torch.Tensor, enabled: bool) -> AbstractContextManager[Any]:
    return torch.autocast(x.device.type, dtype=torch.bfloat16) if enabled else nullcontext()


def cosine(iterations: int, warmup: int = 0) -> Callable[[int], float]:
    """A learning rate that rises over ``warmup`` iterations and then falls to nothing as half a cosine."""

    def factor(iteration: int) -> float:
        if iteration < warmup:
            return (iteration + 1) / warmup
        return 0.5 * (1.0 + math.cos(math.pi * min((iteration - warmup) / max(iterations - warmup, 1), 1.0)))

    return factor
