"""Which layers train one set of weights, and what must hold for that."""

from __future__ import annotations

from collections.abc import Mapping

from oaq.capture.graph import FloatGraph
from oaq.capture.shared import SharedWeights, shared_weights
from oaq.errors import ConfigError
from oaq.qat.config import Config, LayerSettings

NAMED = 8
"""Channels that a message lists at most."""


def sharing_of(graph: FloatGraph, config: Config, settings: Mapping[str, LayerSettings]) -> dict[str, SharedWeights]:
    """The parameter of every layer that shares one, by name.

    Weights whose layers turn channels over in different ways are each layer's own, unless ``batch_norm`` is "levels".

    Raises:
        ConfigError: rules give layers of one parameter different bits of weights or accumulators; or ``batch_norm`` is
            "levels" and no weights are shared, or levels have a batch norm together, or turn channels over.
    """
    parameters = shared_weights(graph)
    if config.batch_norm == "levels":
        _require_levels(graph, parameters)
    joint = [parameter for parameter in parameters if not parameter.turned]
    for parameter in joint:
        chosen = {name: settings[name] for name in parameter.gains}
        kinds = {(item.weight_bits, item.target, item.wrapping) for item in chosen.values()}
        if len(kinds) > 1:
            raise ConfigError(
                f"{', '.join(chosen)} share their weights, and rules give them different bits, accumulators or "
                "registers: write one pattern that matches them all"
            )
    return {name: parameter for parameter in joint for name in parameter.gains}


def _require_levels(graph: FloatGraph, parameters: tuple[SharedWeights, ...]) -> None:
    if not parameters:
        raise ConfigError(
            f"{graph.name}: batch_norm levels is for convolutions that several levels share, and none is shared; use "
            "reestimate. (Channel equalization gives every level weights of its own)"
        )
    for parameter in parameters:
        names = ", ".join(parameter.gains)
        norms = [norm for norm in parameter.norms.values() if norm]
        if len(set(norms)) < len(norms):
            raise ConfigError(
                f"{names} share their weights and a batch norm, whose running statistics fit no level: give each level "
                "its own nn.BatchNorm2d, told by the level, or train them together with batch_norm reestimate"
            )
        if parameter.turned:
            channels = ", ".join(map(str, parameter.turned[:NAMED]))
            raise ConfigError(
                f"{names} share their weights, and their batch norms' weights differ in sign, or are 0, in channels "
                f"{channels}: no multiplier is negative. Train the float network with their absolute values"
            )
