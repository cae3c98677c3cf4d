"""What ``tune`` has to reach, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from math import log10

from oaq.errors import ConfigError
from oaq.program.int_program import IntProgram
from oaq.tune.decide import Candidate
from oaq.tune.record import Record
from oaq.tune.tune import DEFAULT_BUDGET


@dataclass(frozen=True)
class Goal:
    """What a choice has to reach.

    Attributes:
        isas: instruction sets, all of whose budgets hold at once.
        budget: most seconds on each, as a multiple of the fastest choice there is: no spill where 16 bits are narrow.
        seconds: most seconds of one sample on one thread on each; instead of ``budget``.
        sqnr: least signal to noise of the outputs beside the given program's, in dB; time is minimised then.

    Raises:
        ConfigError: a number means nothing.
    """

    isas: tuple[str, ...] = ("avx2",)
    budget: float | None = DEFAULT_BUDGET
    seconds: float | None = None
    sqnr: float | None = None

    def __post_init__(self) -> None:
        if not self.isas:
            raise ConfigError("tune needs an instruction set to tune for")
        if self.budget is not None and not self.budget >= 1.0:
            raise ConfigError(f"a budget is at least 1.0, not {self.budget!r}")
        if self.seconds is not None and not self.seconds > 0:
            raise ConfigError(f"seconds are positive, not {self.seconds!r}")

    @property
    def words(self) -> str:
        """The goal in words, for metadata and people."""
        if self.sqnr is not None:
            number = f"sqnr {self.sqnr:g} dB"
        else:
            number = f"{self.seconds:g} s" if self.seconds is not None else f"budget {self.budget:g}"
        return f"{number} on {', '.join(self.isas)}"

    @property
    def most_noise(self) -> float | None:
        """Noise of the outputs in parts of their power; None if time is what is limited."""
        return None if self.sqnr is None else 10 ** (-self.sqnr / 10)


@dataclass(frozen=True, eq=False)
class Tuned:
    """What ``tune`` chose.

    Attributes:
        program: the result; the one given if nothing could be gained.
        goal: what it had to reach.
        choice: None if nothing could be gained.
        candidates: what was built and measured.
        before: seconds of the given program by instruction set, measured in the same run as the candidates.
        least: seconds of the fastest choice there is, by instruction set: predicted, corrected by the candidates.
        record: everything measured; a second run with it repeats the choice.
        synthetic: no data were given.
        notes: what a reader should know.
    """

    program: IntProgram
    goal: Goal
    choice: Candidate | None
    candidates: tuple[Candidate, ...]
    before: tuple[float, ...]
    least: tuple[float, ...]
    record: Record
    synthetic: bool
    notes: tuple[str, ...]

    @property
    def sqnr(self) -> float:
        """Signal to noise of the result's outputs beside the given program's, dB; infinity if they are equal."""
        return decibels(0.0 if self.choice is None else self.choice.noise)


def decibels(noise: float) -> float:
    """Noise in parts of power as a ratio of signal to noise."""
    return -10 * log10(noise) if noise > 0 else float("inf")
