"""Quantization-aware training: a network learns integers whose sums fit the accumulator that will hold them.

``prepare`` makes an ordinary module of a trained network; any loop trains it; ``convert`` makes the program whose
integers its forward pass used. ``OverflowController`` moves ranges by the paper's rule. See docs/how-to/train.md.
"""

from __future__ import annotations

from oaq.ptq.target import Target
from oaq.qat.config import METHODS, Config, LayerRule, from_yaml, to_yaml
from oaq.qat.convert import Verdict, certificate_parts, convert, targets, verdicts
from oaq.qat.network import QatNetwork
from oaq.qat.prepare import parameter_groups, prepare, reestimate

__all__ = [
    "METHODS",
    "Config",
    "LayerRule",
    "QatNetwork",
    "Target",
    "Verdict",
    "certificate_parts",
    "convert",
    "from_yaml",
    "parameter_groups",
    "prepare",
    "reestimate",
    "targets",
    "to_yaml",
    "verdicts",
]
