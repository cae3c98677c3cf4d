"""Proofs that every input of a set gets the label that its centre gets: ``robustness`` and what belongs to it."""

from oaq.robust.prove import Options, robustness
from oaq.robust.region import Region, ball, box, brightness, contrast, listed, patch, real_ball
from oaq.robust.verdict import Robustness

__all__ = [
    "Options",
    "Region",
    "Robustness",
    "ball",
    "box",
    "brightness",
    "contrast",
    "listed",
    "patch",
    "real_ball",
    "robustness",
]
