"""The largest radius that is proved: bisection between a proof and a counterexample, both kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ConfigError
from oaq.program.int_program import IntProgram
from oaq.robust.prove import Options, robustness
from oaq.robust.verdict import Robustness


@dataclass(frozen=True, eq=False)
class LargestRadius:
    """What bisection ended with.

    Attributes:
        proved: the largest radius proved; 0 at least, a single input.
        proof: of that radius.
        unproved: the least radius tried that is not proved; None if ``proved`` is the most asked for.
        obstacle: the answer at ``unproved``: refuted, so that ``proved`` is the largest there is, or undecided.
    """

    proved: int
    proof: Robustness
    unproved: int | None
    obstacle: Robustness | None

    @property
    def is_exact(self) -> bool:
        """Whether the next radius is refuted."""
        return self.obstacle is not None and self.obstacle.state == "refuted" and self.unproved == self.proved + 1


def largest_radius(
    program: IntProgram, x: NDArray[np.uint8], most: int = 255, options: Options | None = None
) -> LargestRadius:
    """Bisect the radius of balls around ``x``.

    Args:
        program: of one input and one output.
        x: one sample.
        most: largest radius tried.
        options: effort per radius.

    Raises:
        ConfigError: ``most`` is less than 1.
    """
    if most < 1:
        raise ConfigError(f"largest radius {most}: at least 1 has to be tried")
    proved, proof = 0, robustness(program, x, 0, options)
    unproved, obstacle, radius = most + 1, None, 1
    while unproved - proved > 1:
        answer = robustness(program, x, radius, options)
        if answer.is_robust:
            proved, proof = radius, answer
        else:
            unproved, obstacle = radius, answer
        radius = min(2 * radius, most) if obstacle is None else (proved + unproved) // 2
    return LargestRadius(proved, proof, None if obstacle is None else unproved, obstacle)
