"""Scores of a task, of the float network and of the integers: values of a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Score:
    """A metric of a task on the same images for both networks. Observed.

    Attributes:
        metric: its name: "top-1", "mAP".
        unit: "images" for a count of them, "dB"; "" for a share in 0..1.
        better: which way is better.
        agreement: of the integers if what the float network answers is the truth.
        float_value, int_value: of each against the truth; None where the truth is not known.
    """

    metric: str
    unit: str
    better: Literal["higher", "lower"]
    agreement: float
    float_value: float | None = None
    int_value: float | None = None


@dataclass(frozen=True)
class Agreement:
    """Float network against integer network on the same images. Observed.

    Attributes:
        images: how many.
        task: what the network is for; "" if nothing says so, and then there are no scores.
        scores: metrics of the task, the first being the one that speaks for it.
        sqnr_db: (output, signal to noise of its values over all images), in the network's order.
        points: (float, int) pairs of outputs, a sample for the scatter plot.
    """

    images: int
    task: str
    scores: tuple[Score, ...]
    sqnr_db: tuple[tuple[str, float], ...]
    points: tuple[tuple[float, float], ...] = ()

    @property
    def least_sqnr_db(self) -> float:
        """Signal to noise of the least precise output."""
        return min(decibels for _, decibels in self.sqnr_db)
