"""What ``quantize`` tells while it runs: the stage, the layer or batch, and how much of the whole is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any, Final, Self, TypeAlias

OBSERVE: Final = "observe the float network"
MEASURE: Final = "measure what rounding costs"
CHOOSE: Final = "choose integers"
CORRECT: Final = "correct biases"
SHARES: Final[Mapping[str, tuple[float, float]]] = {
    OBSERVE: (0.0, 0.12),
    MEASURE: (0.12, 0.45),
    CHOOSE: (0.45, 0.99),
    CORRECT: (0.99, 1.0),
}
"""Where each stage begins and ends, in parts of the time of a usual network."""


class Step(str):
    """A stage as text, and how far it is.

    Attributes:
        item: the layer or batch that is next; "" where the stage begins.
        done: part of the whole, 0 to 1; an estimate.
    """

    __slots__ = ("done", "item")
    item: str
    done: float

    def __new__(cls, stage: str, item: str = "", done: float = 0.0) -> Self:
        """``stage`` is the text."""
        step = super().__new__(cls, stage)
        step.item, step.done = item, done
        return step


Progress: TypeAlias = Callable[[Step], None]


class Steps:
    """Tells a caller of every stage and of what is done in it."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress or (lambda _: None)
        self._stage = OBSERVE
        self._done = 0.0

    def note(self, text: str) -> None:
        """Something else that the caller should know."""
        self._progress(Step(text, done=self._done))

    def begin(self, stage: str) -> None:
        """One of ``SHARES``."""
        self._stage, self._done = stage, SHARES[stage][0]
        self._progress(Step(stage, done=self._done))

    def reach(self, item: str, part: float) -> None:
        """``item`` is next; ``part`` of the stage is done. What was said to be done stays done."""
        start, end = SHARES[self._stage]
        self._done = max(self._done, start + (end - start) * min(part, 1.0))
        self._progress(Step(self._stage, item, self._done))

    def count(self, batches: Iterable[Any], kind: str) -> Iterator[Any]:
        """``batches``, told of one by one; the part is known where their number is."""
        total = len(batches) if isinstance(batches, Sized) else 0
        for index, batch in enumerate(batches):
            self.reach(f"{kind} {index + 1}" + (f" of {total}" if total else ""), index / total if total else 0.0)
            yield batch
