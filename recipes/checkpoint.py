"""Weights of a training by steps, and the file beside them from which it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from oaq.errors import FormatError


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
    state = path.with_suffix(".state.pt")
    return path.exists() and (not state.exists() or int(_read(state)["step"]) >= steps)


def require_steps(path: Path, steps: int) -> None:
    """Refuse weights that went on beyond ``steps``: a row that names so many must not be of more.

    Raises:
        FormatError: they did, or what an earlier run left is damaged.
    """
    state = path.with_suffix(".state.pt")
    done = int(_read(state)["step"]) if state.exists() else steps
    if done > steps:
        raise FormatError(f"{path}: holds weights of {done} steps, not {steps}. Delete it and {state.name}, or move it")


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
