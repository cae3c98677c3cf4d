"""Quantization-aware training: a network learns integers whose sums fit the accumulator that will hold them.

``prepare`` makes an ordinary module of a trained network; any loop trains it; ``convert`` makes the program whose
integers its forward pass used. ``OverflowController`` moves ranges by the paper's rule. See docs/how-to/train.md.
"""

from __future__ import annotations

from oaq.choose.target import Target
from oaq.qat.alpha import LayerState, OverflowController
from oaq.qat.checkpoint import Position, load_checkpoint, save_checkpoint
from oaq.qat.config import METHODS, Config, LayerRule, from_yaml, to_yaml
from oaq.qat.convert import TargetVerdict, certificate_parts, convert, targets, verdicts
from oaq.qat.cost import planned_cost
from oaq.qat.dither import Dither
from oaq.qat.dithered_module import DitheredModule, dithered
from oaq.qat.ditherer import DitherState, skipped
from oaq.qat.log import CsvLog, plot, read_log
from oaq.qat.loop import Loop, Training, cosine, fit, resume
from oaq.qat.masks import LayerSparsity, forget, prune_to, rewind, snapshot, sparsity
from oaq.qat.network import QatNetwork
from oaq.qat.prepare import parameter_groups, prepare
from oaq.qat.prune import Prune
from oaq.qat.stages import fold, measured_rates, overflow_rates, press, require_gate
from oaq.qat.statistics import reestimate
from oaq.qat.teacher import Teacher
from oaq.qat.wrap import Wrapping

__all__ = [
    "METHODS",
    "Config",
    "CsvLog",
    "Dither",
    "DitherState",
    "DitheredModule",
    "LayerRule",
    "LayerSparsity",
    "LayerState",
    "Loop",
    "OverflowController",
    "Position",
    "Prune",
    "QatNetwork",
    "Target",
    "TargetVerdict",
    "Teacher",
    "Training",
    "Wrapping",
    "certificate_parts",
    "convert",
    "cosine",
    "dithered",
    "fit",
    "fold",
    "forget",
    "from_yaml",
    "load_checkpoint",
    "measured_rates",
    "overflow_rates",
    "parameter_groups",
    "planned_cost",
    "plot",
    "prepare",
    "press",
    "prune_to",
    "read_log",
    "reestimate",
    "require_gate",
    "resume",
    "rewind",
    "save_checkpoint",
    "skipped",
    "snapshot",
    "sparsity",
    "targets",
    "to_yaml",
    "verdicts",
]
