"""``dithered``: dithered backprop (``qat.dither``) for any float module, by hooks on its layers."""

from __future__ import annotations

from math import prod
from typing import Any, Final

import torch
from torch import nn

from oaq.errors import ConfigError
from oaq.qat.dither import Dither
from oaq.qat.ditherer import Ditherer

TRANSPOSED: Final = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS: Final = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)
"""Modules that are dithered."""


class DitheredModule(nn.Module):
    """A float module whose convolutions and linear layers get dithered gradients in training; see ``dithered``.

    Attributes:
        module: what it wraps; its tensors are its own.
        ditherer: clock and counts.
    """

    def __init__(self, module: nn.Module, dither: Dither) -> None:
        super().__init__()
        self.module = module
        layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, LAYERS)}
        if not layers:
            raise ConfigError(f"dither: {type(module).__name__} has no convolution and no linear layer")
        products = {name: _products(layer) for name, layer in layers.items()}
        self.ditherer = Ditherer(dither, products)
        self._hooks = [layer.register_forward_hook(_Hook(name, self.ditherer)) for name, layer in layers.items()]

    def forward(self, *inputs: Any, **keywords: Any) -> Any:  # noqa: ANN401
        """What the module gives."""
        if self.training and torch.is_grad_enabled():
            self.ditherer.begin()
        return self.module(*inputs, **keywords)

    def remove(self) -> nn.Module:
        """The module as it was, its weights as they are."""
        for hook in self._hooks:
            hook.remove()
        return self.module


class _Hook:
    """On the output of a layer; an object, so that a deep copy of the module dithers by its own clock."""

    def __init__(self, name: str, ditherer: Ditherer) -> None:
        self._name, self._ditherer = name, ditherer

    def __call__(self, layer: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        return self._ditherer.through(self._name, output) if layer.training else output


def _products(layer: nn.Module) -> int:
    """K: products that an element of the output sums; of a transposed convolution, on average."""
    weight: Any = layer.weight
    if not isinstance(layer, TRANSPOSED):
        return weight[0].numel()
    return max(weight[:, 0].numel() // (layer.groups * prod(layer.stride)), 1)


def dithered(module: nn.Module, dither: Dither | None = None) -> DitheredModule:
    """A module that trains ``module`` with dithered gradients; any loop, any optimizer.

    Layers that a module runs through a function instead of calling them (``nn.MultiheadAttention``'s projections) keep
    their gradients; ``ditherer.states`` lists those that do not.

    Args:
        module: trained in place; ``remove`` takes the hooks off it.
        dither: how; None is ``Dither()``.

    Raises:
        ConfigError: it has no convolution or linear layer, or a pattern matches none.
    """
    return DitheredModule(module, dither or Dither())
