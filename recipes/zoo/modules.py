"""Every architecture as a module by its name, for command lines: ``oaq quantize recipes.zoo.modules:resnet_basic``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recipes.zoo.table import ARCHITECTURES

if TYPE_CHECKING:
    from torch import nn


def __getattr__(name: str) -> nn.Module:
    """The network of an architecture, in evaluation."""
    if name not in ARCHITECTURES:
        raise AttributeError(name)
    return ARCHITECTURES[name].network()
