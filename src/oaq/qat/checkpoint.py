"""Checkpoints: everything a run needs to go on as if it had not stopped, written whole or not at all."""

from __future__ import annotations

import hashlib
import io
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from oaq.errors import FormatError, TrainingError
from oaq.program.atomic import write_atomically
from oaq.program.files import content_of
from oaq.qat.alpha import OverflowController
from oaq.qat.config import to_yaml
from oaq.qat.dithered_module import DitheredModule
from oaq.qat.network import QatNetwork

SCHEMA: Final = 1
KEYS: Final = {"schema", "identity", "position", "network", "optimizer", "controller", "random", "extra"}
CUDA_RANDOM: Final = "cuda_random"
"""Key of the state of the GPU's generator, where the network is on one."""


@dataclass(frozen=True)
class Position:
    """Where training stands.

    Attributes:
        epoch: current, from 0.
        batch: batches of it that are done.
        iteration: optimizer steps done, over all epochs.
    """

    epoch: int = 0
    batch: int = 0
    iteration: int = 0


def identity(network: nn.Module) -> str:
    """Hash of what a checkpoint must share with the network it is loaded into: its tensors' shapes, its config."""
    lines = [f"{name} {tuple(value.shape)} {value.dtype}" for name, value in network.state_dict().items()]
    if isinstance(network, QatNetwork):
        lines += [network.graph.name, to_yaml(network.config)]
    if isinstance(network, DitheredModule):
        lines.append(to_yaml(network.ditherer.dither))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def save_checkpoint(
    path: str | Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    position: Position,
    *,
    controller: OverflowController | None = None,
    extra: dict[str, Any] | None = None,
) -> None:
    """Write a checkpoint.

    Args:
        path: of the file.
        network: without its DDP wrapper.
        optimizer: its state goes along.
        position: where training stands.
        controller: its state goes along.
        extra: plain values and tensors of the caller's own.

    Raises:
        FormatError: ``path`` cannot be written.
    """
    content = {
        "schema": SCHEMA,
        "identity": identity(network),
        "position": asdict(position),
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "controller": None if controller is None else controller.state_dict(),
        "random": torch.get_rng_state(),
        "extra": extra or {},
    }
    device = _device(network)
    if device.type == "cuda":
        content[CUDA_RANDOM] = torch.cuda.get_rng_state(device)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, [buffer.getvalue()])


def load_checkpoint(
    path: str | Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    controller: OverflowController | None = None,
) -> tuple[Position, dict[str, Any]]:
    """Load a checkpoint into a run that was set up in the same way; nothing of the file is executed.

    Returns:
        where training stands, and the caller's ``extra``.

    Raises:
        FormatError: the file is missing, damaged, or no checkpoint of this version.
        TrainingError: it is of another network, config or optimizer.
    """
    content = _read(Path(path))
    if content["identity"] != identity(network):
        stored, current = content["network"], network.state_dict()
        different = [name for name in {**stored, **current} if _shape(stored, name) != _shape(current, name)]
        difference = (
            f"its tensors differ: {', '.join(sorted(different)[:4])}" if different else "its config or name differs"
        )
        raise TrainingError(
            f"{path}: the checkpoint is of another run: {difference}. Resume with the settings it was made with, or "
            "start anew"
        )
    if (content["controller"] is None) != (controller is None) and optimizer is not None:
        has = "no" if content["controller"] is None else "a"
        raise TrainingError(f"{path}: the checkpoint holds {has} controller's state, this run is set up otherwise")
    network.load_state_dict(content["network"])
    if optimizer is not None:
        try:
            optimizer.load_state_dict(content["optimizer"])
        except (ValueError, KeyError) as error:
            raise TrainingError(f"{path}: the checkpoint is of another optimizer: {error}") from error
        torch.set_rng_state(content["random"])
        device = _device(network)
        if device.type == "cuda" and CUDA_RANDOM in content:
            torch.cuda.set_rng_state(content[CUDA_RANDOM], device)
    if controller is not None and content["controller"] is not None:
        controller.load_state_dict(content["controller"])
    return Position(**content["position"]), content["extra"]


def _device(network: nn.Module) -> torch.device:
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))


def _shape(tensors: dict[str, torch.Tensor], name: str) -> object:
    return (tuple(tensors[name].shape), tensors[name].dtype) if name in tensors else None


def _read(path: Path) -> dict[str, Any]:
    file = content_of(path)
    try:
        content = torch.load(io.BytesIO(file), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise FormatError(f"{path}: is not a checkpoint, or is damaged: {lines[0]}") from error
    if not isinstance(content, dict) or set(content) - {CUDA_RANDOM} != KEYS or content["schema"] != SCHEMA:
        raise FormatError(f"{path}: is not a checkpoint of schema {SCHEMA}")
    return content
