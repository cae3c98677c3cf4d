"""Train the linear form for minutes of one core: float, then with weights of few bits in the forward pass.

What is drawn depends on the seed and the step, so that a run that stopped goes on as it would have.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F

from oaq.modules.proximal import PENALTIES, Penalty
from recipes.checkpoint import BySteps, is_trained, require_steps, train_by_steps, warmed_cosine
from recipes.networks import load_weights
from recipes.qpan.networks import LinearPhase, Unfolded
from recipes.qpan.training_data import Problem, TaskName, problem_of
from recipes.qpan.weights import quantize_weights

SAVE_EVERY: Final = 40
WARM: Final = 30
"""Steps in which the rate grows."""
STEPS: Final = {"mri": 160, "blocks": 320}
"""Steps of a row in float: minutes of one core."""
BATCH: Final = {"mri": 1, "blocks": 8}
"""Images of a step."""
SETS: Final[dict[str, tuple[Penalty, ...]]] = {"soft": ("soft",), "average": PENALTIES}
"""Penalties by the name of their activation."""


@dataclass(frozen=True)
class Course:
    """What is trained, and how long.

    Attributes:
        task: whose data.
        activation: a key of ``SETS``.
        bits: of weights; None: float.
        seed: of the first weights and of what is drawn.
        phases, width: of the network.
        steps: of training in float; half as many with weights of few bits.
        batch: images of a step.
        rate: of Adam at the start; a third with weights of few bits.
    """

    task: TaskName
    activation: str
    bits: int | None = None
    seed: int = 0
    phases: int = 5
    width: int = 16
    steps: int = 600
    batch: int = 16
    rate: float = 4e-3

    @property
    def name(self) -> str:
        """For files and tables."""
        return f"{self.task}-{self.activation}-{'float' if self.bits is None else f'w{self.bits}'}-seed{self.seed}"


def fresh(course: Course) -> Unfolded:
    """The network untrained: the same filters for every activation."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(course.seed)
        return Unfolded([LinearPhase(course.width, SETS[course.activation]) for _ in range(course.phases)])


def trained(course: Course, folder: Path) -> Unfolded:
    """The network of a course, its weights those of an earlier run in ``folder`` or trained now; in eval mode.

    Weights of few bits are still parametrized: ``settle_weights`` makes them the weights.

    Raises:
        FetchError: data cannot be fetched.
        FormatError: what an earlier run left is damaged.
    """
    path = folder / f"{course.name}.pt"
    net, steps = fresh(course), course.steps
    if course.bits is not None:
        net.load_state_dict(trained(float_course(course), folder).state_dict())
        equalize_shrink(net, problem_of(course.task), course.batch)
        quantize_weights(net, course.bits)
        steps = course.steps // 2
    if is_trained(path, steps):
        require_steps(path, steps)
        load_weights(net, path)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        _train(net, course, steps, path)
    return net.eval()


def float_course(course: Course) -> Course:
    """The course that weights of few bits begin from."""
    return replace(course, bits=None)


@torch.no_grad()
def equalize_shrink(net: Unfolded, problem: Problem, count: int) -> None:
    """Bring what all channels of a shrinkage give to like size; the weights that read them take it back.

    Weights of few bits in one row share a scale, so that none should be small for its channel's sake.
    """
    x = problem.images[:count]
    start = problem.starts(x)
    sizes: list[torch.Tensor] = []
    hooks = [
        phase.shrink.register_forward_hook(lambda _m, _x, y: sizes.append(y.abs().amax((0, 2, 3))))  # type: ignore[union-attr]
        for phase in net.phases
    ]
    net(start, problem.starts(x), problem.normal)
    for hook in hooks:
        hook.remove()
    for phase, size in zip(net.phases, sizes, strict=True):
        column = phase.synthesize.weight.abs().amax((0, 2, 3))  # type: ignore[union-attr, operator]
        factor = torch.where((size > 0) & (column > 0), column * size.clamp_min(1e-12), torch.ones_like(size))
        factor = (factor / factor.max()).clamp_min(1e-2)  # each channel's share of the sum, in parts of the largest
        share = factor / column.clamp_min(1e-12)
        phase.shrink.gain.div_(share)  # type: ignore[union-attr, operator]
        phase.synthesize.weight.mul_(share[None, :, None, None])  # type: ignore[union-attr, operator]


def _train(net: Unfolded, course: Course, steps: int, path: Path) -> None:
    problem, few = problem_of(course.task), course.bits is not None
    training = BySteps(
        course.name,
        steps,
        rate=lambda step: course.rate * warmed_cosine(step, steps, WARM) / (3 if few else 1),
        loss=lambda step: loss_of(net, problem, course, step),
        words=lambda loss: f"{_decibels(loss):.2f} dB",
        save_every=SAVE_EVERY,
        saved=lambda step, loss: _log(path, step, _decibels(loss)),
    )
    train_by_steps(net, training, path)


def _decibels(loss: float) -> float:
    return -10 * math.log10(max(loss, 1e-12))


def loss_of(net: Unfolded, problem: Problem, course: Course, step: int) -> torch.Tensor:
    """The mean squared error of one batch, turned and mirrored."""
    rng = np.random.default_rng((course.seed, step))
    index = rng.choice(len(problem.images), course.batch, replace=False)
    x = torch.rot90(problem.images[torch.from_numpy(index)], int(rng.integers(4)), (2, 3))
    x = x.flip(3) if rng.integers(2) else x
    start = problem.starts(x)
    measured = start if course.task == "mri" else problem.normal(x)
    return F.mse_loss(net(start, measured, problem.normal), x)


def _log(path: Path, step: int, decibels: float) -> None:
    log = path.with_suffix(".csv")
    lines = log.read_text(encoding="utf-8") if log.exists() else "step,psnr\n"
    log.write_text(f"{lines}{step},{decibels:.3f}\n", encoding="utf-8")


def courses(tasks: Sequence[TaskName], seeds: int) -> list[Course]:
    """Every row of the comparison, float first."""
    return [
        Course(task, activation, bits, seed, steps=STEPS[task], batch=BATCH[task])
        for task in tasks
        for seed in range(seeds)
        for bits in (None, 4, 2)
        for activation in SETS
    ]
