"""Means that training begins with, or measures anew: of sums behind batch norms, and of what rounding moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import torch

from oaq.ptq.bias import correct_biases, mean_inputs
from oaq.ptq.execute import layers
from oaq.ptq.samples import Chunk
from oaq.qat.convert import layer_params
from oaq.qat.layer import EPS, QatLayer
from oaq.qat.network import QatNetwork


@torch.no_grad()
def reestimate(network: QatNetwork, batches: Iterable[torch.Tensor | tuple[torch.Tensor, ...]]) -> None:
    """Measure the statistics of every batch norm anew, on the integers as they are now: the mean over ``batches``.

    Nothing happens to networks whose config folds them.
    """
    was_training = network.training
    normalizing = [layer for layer in network.layer.values() if layer.normalizes and layer.norm is layer]
    network.train()
    try:
        for layer in normalizing:
            layer.averaged = 0
        for batch in batches if normalizing else ():
            network(*(batch if isinstance(batch, tuple | list) else (batch,)))
    finally:
        network.train(was_training)
        for layer in normalizing:
            layer.averaged = None


@torch.no_grad()
def correct_means(network: QatNetwork, samples: list[Chunk]) -> None:
    """Take back, in the biases, what rounding does to the mean of each channel."""
    grids = network.grids()
    tensors = {name: grid.params() for name, grid in grids.items()}
    params = {node.name: layer_params(network, node, grids) for node, _ in layers(network.graph)}
    holders = Counter(layer.norm for layer in network.layer.values())
    mended = correct_biases(network.graph, mean_inputs(network.graph, samples), tensors, params)
    for node, _ in layers(network.graph):
        layer, step = network.layer[node.name], float(grids[node.inputs[0]].scale)
        moved = (mended[node.name].bias - params[node.name].bias).astype(np.float64)
        shift = torch.from_numpy((moved * params[node.name].weight_scale * step).astype(np.float32))
        layer.bias.add_(shift / holders[layer.norm])  # the mean of what the layers of one batch norm want


@torch.no_grad()
def begin_statistics(network: QatNetwork, samples: list[Chunk]) -> None:
    """Batch norms that begin as what they were: their statistics are those of the sums, their gain undoes them.

    Of a batch norm that several layers have, the mean over them.
    """
    holders: dict[QatLayer, list[str]] = {}
    for name, layer in network.layer.items():
        if layer.normalizes:
            holders.setdefault(layer.norm, []).append(name)
    moments = _measured(network, samples) if holders else {}
    for holder, names in holders.items():
        assert holder.gain is not None
        gain, shift = holder.affine()
        means, squares = torch.stack([moments[name] for name in names], dim=1)
        mean, variance = means.mean(dim=0), (squares - means**2).clamp_min(0.0).mean(dim=0)
        holder.mean.copy_(mean)
        holder.variance.copy_(variance)
        holder.gain.copy_(gain * torch.sqrt(variance + EPS))
        holder.bias.copy_(shift + mean * gain)


def _measured(network: QatNetwork, samples: list[Chunk]) -> dict[str, torch.Tensor]:
    """(2, N) mean and mean square of every layer's real sums, before its batch norm, on the network as it runs."""
    network.eval()
    sums = {name: torch.zeros(2, len(layer.bias)) for name, layer in network.layer.items()}
    hooks = [layer.register_forward_hook(_noting(layer, sums[name])) for name, layer in network.layer.items()]
    for chunk in samples:
        network.run(chunk)
    for hook in hooks:
        hook.remove()
    network.train()
    return {name: total / len(samples) for name, total in sums.items()}


def _noting(layer: QatLayer, moments: torch.Tensor) -> Callable[..., None]:
    """A hook that adds a batch's mean and mean square."""
    gain, shift = layer.affine()

    def note(_module: object, inputs: tuple[object, ...], steps: torch.Tensor) -> None:
        channel, y_scale = (-1, *(1,) * (steps.ndim - 2)), inputs[2].scale  # type: ignore[attr-defined]
        real = (steps * y_scale - shift.reshape(channel)) / gain.reshape(channel)
        axes = [axis for axis in range(real.ndim) if axis != 1]
        moments.add_(torch.stack([real.mean(dim=axes), real.square().mean(dim=axes)]))

    return note
