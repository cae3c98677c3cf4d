"""Masks of a network in training: what is pruned, in which order, and how training goes on.

A mask is a buffer of its layer, so checkpoints hold it. It multiplies the weights in the graph, before projection and
rounding: gradients of pruned weights are 0, and their integers are 0 in every program that ``convert`` makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from oaq.choose.target import Target, make_cells
from oaq.errors import ConfigError
from oaq.ptq.device_cells import on_device
from oaq.ptq.execute import layers
from oaq.qat.grid import Grid
from oaq.qat.layer import QatLayer
from oaq.qat.network import QatNetwork
from oaq.qat.prune import Prune, Units, crowding, keep, units

MASK = "mask"
"""Last part of a mask's name in a state dictionary."""


@dataclass(frozen=True)
class LayerSparsity:
    """What of one layer is zero.

    Attributes:
        layer: its name.
        weights: how many it has.
        pruned: how many are masked.
    """

    layer: str
    weights: int
    pruned: int


@torch.no_grad()
def prune_to(network: QatNetwork, share: float) -> list[LayerSparsity]:
    """Prune until about ``share`` of the weights that may go are zero; what is pruned already stays so.

    A layer keeps its last unit: a network whose layer is all zero learns nothing any more.

    Args:
        network: whose config has ``prune``.
        share: of zeros, between 0 and 1.

    Returns:
        what is zero, layer by layer.

    Raises:
        ConfigError: the config prunes nothing, every layer is exempt, or the share is none.
    """
    prune = _settings(network)
    if not 0.0 <= share < 1.0:
        raise ConfigError(f"a share of zeros is at least 0 and below 1, not {share!r}")
    grids = network.grids()
    candidates: dict[str, tuple[Units, torch.Tensor]] = {}
    for node, op in layers(network.graph):
        layer = network.layer[node.name]
        if layer.first is layer and not prune.spares(node.name, depthwise=layer.depthwise):
            grouping = units(prune, (len(layer.weight), layer.terms), op.channel_groups, layer.weight.device)
            candidates[node.name] = grouping, grouping.mean(_scores(network, node.name, grids, prune))
    if not candidates:
        raise ConfigError("prune: every layer is exempt (depthwise ones have no blocks); nothing can go")
    for names in [list(candidates)] if prune.scope == "global" else [[name] for name in candidates]:
        _prune_together([network.layer[name] for name in names], [candidates[name] for name in names], share)
    return sparsity(network)


def _prune_together(layers: list[QatLayer], candidates: list[tuple[Units, torch.Tensor]], share: float) -> None:
    """Prune layers whose units are compared with one another."""
    first = [grouping.mean(_mask(layer).float()) == 0 for layer, (grouping, _) in zip(layers, candidates, strict=True)]
    scores, sizes = [score for _, score in candidates], [grouping.sizes for grouping, _ in candidates]
    for at, score in enumerate(scores):  # the last unit of a layer
        scores[at] = score.index_fill(0, torch.where(first[at], -torch.inf, score).argmax(), torch.inf)
    remaining = keep(torch.cat(scores), torch.cat(sizes), torch.cat(first), share).split([len(size) for size in sizes])
    for layer, (grouping, _), stay, score in zip(layers, candidates, remaining, scores, strict=True):
        stay = stay | (score == torch.inf)
        _mask(layer).copy_(_mask(layer) & stay[grouping.index])


def _scores(network: QatNetwork, name: str, grids: Mapping[str, Grid], prune: Prune) -> torch.Tensor:
    """(N, K): what has least goes first."""
    layer = network.layer[name]
    if prune.criterion == "magnitude":
        return layer.float_rows().abs()
    target = layer.target or Target()
    cells = on_device(make_cells(layer.terms, target, depthwise=layer.depthwise), layer.weight.device)
    x_hi = network.widest(name, grids)
    fullness = crowding(network.numbers(name, grids).rows, cells, target.budgets(x_hi))
    return -torch.where(fullness > 0, fullness, fullness.max())  # what is 0 already costs nothing


def sparsity(network: QatNetwork) -> list[LayerSparsity]:
    """What is masked, layer by layer; weights that several layers share are the first one's."""
    result = []
    for name, layer in network.layer.items():
        if layer.first is not layer:
            continue
        mask = layer.mask
        pruned = 0 if mask is None else int((~mask).sum())
        result.append(LayerSparsity(name, layer.weight.numel(), pruned))
    return result


def share_of(layers: list[LayerSparsity]) -> float:
    """Share of zeros over all layers."""
    return sum(layer.pruned for layer in layers) / sum(layer.weights for layer in layers)


def snapshot(network: QatNetwork) -> dict[str, torch.Tensor]:
    """Copies of everything that training moves, masks left out: what ``rewind`` goes back to."""
    return {name: value.detach().clone() for name, value in network.state_dict().items() if not _is_mask(name)}


def rewind(network: QatNetwork, start: Mapping[str, torch.Tensor]) -> None:
    """Go back to ``snapshot``'s weights, scales and statistics under the masks as they are now.

    Raises:
        ConfigError: the snapshot is of another network.
    """
    masks = {name: value for name, value in network.state_dict().items() if _is_mask(name)}
    try:
        network.load_state_dict({**start, **masks})
    except RuntimeError as error:
        raise ConfigError(f"the snapshot is of another network: {str(error).splitlines()[-1].strip()}") from error


@torch.no_grad()
def forget(network: QatNetwork, optimizer: torch.optim.Optimizer) -> None:
    """Set to 0 what an optimizer keeps of pruned weights (moments, momentum), so that none of it is spent on them.

    Call it after ``prune_to`` if the optimizer goes on.
    """
    for layer in network.layer.values():
        if layer.mask is None:
            continue
        mask = layer.unpacked(layer.mask.to(layer.weight.dtype))
        for name, value in optimizer.state.get(layer.weight, {}).items():
            if isinstance(value, torch.Tensor) and value.shape == layer.weight.shape and name != "step":
                value.mul_(mask)


def _settings(network: QatNetwork) -> Prune:
    if network.config.prune is None:
        raise ConfigError("this network is not pruned: give Config(prune=Prune(...)) to prepare")
    return network.config.prune


def _mask(layer: QatLayer) -> torch.Tensor:
    assert layer.mask is not None  # the config prunes
    return layer.mask


def _is_mask(name: str) -> bool:
    return name.rpartition(".")[2] == MASK
