"""How close the outputs of a quantized file are to those of the float network, on the calibration samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from oaq.mixed.program import Values
from oaq.regions.calibrate import FloatRunner
from oaq.regions.quantize import QuantizedFile
from oaq.regions.samples import Feed


@dataclass(frozen=True)
class OutputAgreement:
    """One output of the file.

    Attributes:
        name: in the file.
        sqnr_db: 10 log10(sum of squares / sum of squared differences); None if it holds integers, or its size differs.
        rows: rows of numbers compared by their largest; 0 where the output is no (batch, classes).
        matches: of them, those whose largest is at the same place; of integers, how many are equal.
        numbers: compared.
    """

    name: str
    sqnr_db: float | None
    rows: int
    matches: int
    numbers: int

    def __str__(self) -> str:
        if self.sqnr_db is None:
            return (
                f"{self.name}: {self.matches} of {self.numbers} integers equal"
                if self.numbers
                else f"{self.name}: of other sizes"
            )
        text = f"{self.name}: {self.sqnr_db:.1f} dB"
        return f"{text}, {self.matches} of {self.rows} of the same class" if self.rows else text


def agreement(file: QuantizedFile, track: Callable[[Iterable[Feed]], Iterable[Feed]] = iter) -> list[OutputAgreement]:
    """Compare every output on every sample; ``track`` is told of each."""
    # The tensors that were looked at while calibrating: what ONNX Runtime ran then it runs now.
    exact = FloatRunner(file.file, [end.file for end in file.split.entries], file.session.threads)
    sums = [_Sums(name) for name in exact.outputs]
    for feed in track(file.samples):
        reference = exact.run(feed)
        results = file.session.run(None, feed)
        for output, result in zip(sums, results, strict=True):
            output.add(reference[output.name], result)
    return [output.value() for output in sums]


class _Sums:
    def __init__(self, name: str) -> None:
        self.name = name
        self._signal = self._noise = 0.0
        self._rows = self._matches = self._numbers = 0
        self._comparable = True

    def add(self, exact: Values, result: Values) -> None:
        if exact.shape != result.shape:
            self._comparable = False
            return
        self._numbers += exact.size
        if exact.dtype.kind != "f":
            self._comparable = False
            self._matches += int(np.sum(exact == result))
            return
        a, b = exact.astype(np.float64), result.astype(np.float64)
        with np.errstate(invalid="ignore"):
            difference = np.where(a == b, 0.0, a - b)  # infinities that agree differ by nothing
        self._signal += float(np.sum(np.square(a[np.isfinite(a)])))
        self._noise += float(np.sum(np.square(difference)))
        if a.ndim == 2 and a.shape[1] > 1:
            self._rows += len(a)
            self._matches += int(np.sum(a.argmax(axis=1) == b.argmax(axis=1)))

    def value(self) -> OutputAgreement:
        if not self._comparable:
            return OutputAgreement(self.name, None, 0, self._matches, self._numbers)
        if self._noise == 0:
            db = math.inf
        else:
            db = 10 * math.log10(self._signal / self._noise) if self._signal else -math.inf
        return OutputAgreement(self.name, db, self._rows, self._matches, self._numbers)
