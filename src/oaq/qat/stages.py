"""Stages of method "wrap": wide sums, a penalty on what leaves the registers, a gate, the cyclic activation.

The gate asks of every layer how many of its sums leave their register before the activation is switched on: what it
lets through loses little then and on unseen data, and the penalty that opens it does so by sparser weights. What each
stage gives, and training without it, is in docs/accuracy/wrap.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch

from oaq.errors import ConfigError, TrainingError
from oaq.qat.distributed import total
from oaq.qat.layer import QatLayer
from oaq.qat.network import QatNetwork

GATE: Final = 0.02
"""Most of a layer's sums that may leave its register when the cyclic activation is switched on."""
RAISE: Final = 3.0
"""What the pressure is multiplied by for every epoch that ends above the gate."""


def press(network: QatNetwork, pressure: float) -> None:
    """Weigh what leaves the registers by ``pressure`` in ``network.penalty()``, and begin to count anew.

    Args:
        network: of method "wrap".
        pressure: at least 0, of the sum over layers of the mean of max(|z| - 2**(bits - 1), 0).

    Raises:
        ConfigError: the network is of another method, or the pressure is below 0.
    """
    layers = _wrapped(network)
    if not 0.0 <= pressure < float("inf"):
        raise ConfigError(f"the pressure is at least 0 and finite, not {pressure!r}")
    network.pressure.fill_(pressure)
    for layer in layers.values():
        layer.counts.zero_()


def fold(network: QatNetwork, *, on: bool = True) -> None:
    """Switch the cyclic activation on, or off, in every layer that wraps.

    Right after it is switched on, batch norms have the statistics of other numbers: train on, or ``reestimate``.

    Raises:
        ConfigError: the network is of another method.
    """
    for layer in _wrapped(network).values():
        layer.folds.fill_(on)


def overflow_rates(network: QatNetwork) -> dict[str, float]:
    """Share of sums outside their register, by layer, since ``press`` was last called; over all processes.

    Raises:
        ConfigError: the network is of another method, or nothing has been counted: call it after training batches.
    """
    rates = {}
    for name, layer in _wrapped(network).items():
        count, sums = total(layer.counts).tolist()
        if not sums:
            raise ConfigError(f"{name}: no sum has been counted since press(); overflows are counted in train()")
        rates[name] = count / sums
    return rates


@torch.no_grad()
def measured_rates(network: QatNetwork, batches: list[torch.Tensor]) -> dict[str, float]:
    """Share of sums outside their register, by layer, of the network as it runs: statistics do not move."""
    layers = _wrapped(network)
    counts = {name: layer.counts.clone() for name, layer in layers.items()}
    rates, was_training = dict.fromkeys(layers, 0.0), network.training
    try:
        network.eval()
        for layer in layers.values():
            layer.counts.zero_()
            layer.counts_in_eval = True
        for batch in batches:
            network(batch)
        rates = overflow_rates(network)
    finally:
        network.train(was_training)
        for name, layer in layers.items():
            layer.counts.copy_(counts[name])
            layer.counts_in_eval = False
    return rates


def require_gate(network: QatNetwork, rates: Mapping[str, float], gate: float = GATE) -> None:
    """Refuse to switch the cyclic activation on while a layer overflows too often.

    Raises:
        TrainingError: a layer's rate is above ``gate``; names all of them, and what may help.
    """
    above = {name: rate for name, rate in rates.items() if rate > gate}
    if not above:
        return
    lines = [
        f"{name}: {rate:.1%} of its sums leave {layer.wrapping.bits} bits"
        for name, rate in above.items()
        if (layer := network.layer[name]).wrapping is not None
    ]
    raise TrainingError(
        f"{len(above)} layers overflow too often to switch the cyclic activation on (the gate is {gate:.0%}):\n"
        + "\n".join(lines)
        + "\nTrain on under more pressure, use fewer activation_bits, sparser weights, or one more bit for these "
        "layers (layers: [{pattern: ..., wrap_bits: ...}])"
    )


def _wrapped(network: QatNetwork) -> dict[str, QatLayer]:
    if network.config.method != "wrap":
        raise ConfigError(f"stages are of method 'wrap'; this network trains by {network.config.method!r}")
    return {name: layer for name, layer in network.layer.items() if layer.wrapping is not None}
