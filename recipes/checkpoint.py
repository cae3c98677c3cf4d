"""Training by steps: its loop, its weights, and the file beside them from which it goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from oaq.errors import FormatError
from oaq.terminal import say


@dataclass(frozen=True)
class BySteps:
    """A training by steps of Adam, gradients clipped to a norm of 1.

    Attributes:
        title: of its progress.
        steps: of the whole.
        rate: of Adam, by the number of a step.
        loss: of a step: what training makes small.
        words: of a loss, for progress.
        save_every: steps between two writes.
        saved: told the steps done and the last loss after each write.
    """

    title: str
    steps: int
    rate: Callable[[int], float]
    loss: Callable[[int], torch.Tensor]
    words: Callable[[float], str]
    save_every: int
    saved: Callable[[int, float], None] = lambda _step, _loss: None


def train_by_steps(net: nn.Module, training: BySteps, path: Path) -> None:
    """Train, or go on; in eval mode at the end. Weights go to ``path``, what another run goes on from beside it.

    Raises:
        FormatError: what an earlier run left is damaged, or of another network.
    """
    net.train()
    optimizer = torch.optim.Adam(net.parameters())  # its rate is set at every step
    start = restore_state(path, {"net": net.load_state_dict, "optimizer": optimizer.load_state_dict})
    steps = training.steps
    with say.stages(training.title) as report:
        for step in range(start, steps):
            for group in optimizer.param_groups:
                group["lr"] = training.rate(step)
            loss = training.loss(step)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            report("train", f"step {step + 1} of {steps}, {training.words(loss.item())}", (step + 1) / steps)
            if (step + 1) % training.save_every == 0 or step + 1 == steps:
                weights = net.state_dict()
                save_state(path, weights, {"net": weights, "optimizer": optimizer.state_dict()}, step + 1)
                training.saved(step + 1, loss.item())
    net.eval()


def warmed_cosine(step: int, steps: int, warm: int) -> float:
    """Part of the highest rate: half a cosine over all steps, of which the first ``warm`` grow."""
    return min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / steps))


def save_state(path: Path, weights: Mapping[str, Any], state: Mapping[str, Any], step: int) -> None:
    """Write ``weights`` to ``path`` and, beside it, what another run goes on from after ``step`` steps."""
    for target, content in ((path.with_suffix(".state.pt"), {**state, "step": step}), (path, dict(weights))):
        scratch = target.with_suffix(".part")
        torch.save(content, scratch)
        scratch.replace(target)


def is_trained(path: Path, steps: int) -> bool:
    """Whether ``path`` holds weights of ``steps`` steps, or weights that nothing is left to go on from.

    Raises:
        FormatError: what an earlier run left is damaged.
    """
    done = steps_done(path)
    return path.exists() and (done is None or done >= steps)


def steps_done(path: Path) -> int | None:
    """Steps that the weights at ``path`` were trained; None if nothing beside them says so.

    Raises:
        FormatError: what an earlier run left is damaged.
    """
    state = path.with_suffix(".state.pt")
    return int(_read(state)["step"]) if state.exists() else None


def require_steps(path: Path, steps: int) -> None:
    """Refuse weights that went on beyond ``steps``: a row that names so many must not be of more.

    Raises:
        FormatError: they did, or what an earlier run left is damaged.
    """
    done = steps_done(path)
    if done is not None and done > steps:
        state = path.with_suffix(".state.pt").name
        raise FormatError(f"{path}: holds weights of {done} steps, not {steps}. Delete it and {state}, or move it")


def restore_state(path: Path, loads: Mapping[str, Callable[[Any], object]]) -> int:
    """Steps done by an earlier run that wrote to ``path``; 0 if there was none.

    Args:
        path: of the weights.
        loads: what takes each part of the state.

    Raises:
        FormatError: what the earlier run left is damaged, or of another network.
    """
    path = path.with_suffix(".state.pt")
    if not path.exists():
        return 0
    state = _read(path)
    try:
        for name, load in loads.items():
            load(state[name])
    except Exception as error:  # whatever torch makes of another network's state
        raise FormatError(f"{path}: is of another network: {error}. Delete it to begin anew") from error
    return int(state["step"])


def _read(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, weights_only=True)
        int(state["step"])
        return state
    except Exception as error:  # torch raises its own, zipfile's and pickle's errors here
        raise FormatError(f"{path}: is not what an earlier run left: {error}. Delete it to begin anew") from error
