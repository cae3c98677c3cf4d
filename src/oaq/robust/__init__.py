"""Proofs that every input of a set gets the label that its centre gets: ``robustness`` and what belongs to it."""

from oaq.robust.certificate import Certificate, load_certificate
from oaq.robust.conditional import ConditionalRanges, conditional_ranges
from oaq.robust.equivalence import Equivalence, equivalence
from oaq.robust.prove import Options, robustness
from oaq.robust.radius import LargestRadius, largest_radius
from oaq.robust.region import Region, ball, box, brightness, contrast, input_list, patch, real_ball
from oaq.robust.verdict import OpenCase, Robustness

__all__ = [
    "Certificate",
    "ConditionalRanges",
    "Equivalence",
    "LargestRadius",
    "OpenCase",
    "Options",
    "Region",
    "Robustness",
    "ball",
    "box",
    "brightness",
    "conditional_ranges",
    "contrast",
    "equivalence",
    "input_list",
    "largest_radius",
    "load_certificate",
    "patch",
    "real_ball",
    "robustness",
]
