"""Piecewise weights as an option: bits of the codes, and the layers that differ."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from oaq.capture.graph import FloatGraph, FloatNode
from oaq.errors import CalibrationError
from oaq.numerics.codebook import FEWEST_BITS, MOST_BITS

WeightForm = Literal["uniform", "piecewise"]
WeightSums = Literal["integer", "exact"]
SUMS: Final[tuple[WeightSums, ...]] = ("integer", "exact")
FORMS: Final[tuple[WeightForm, ...]] = ("uniform", "piecewise")
WHOLE: Final = 8
"""Bits of the layers that are left out: any integer of int8."""


@dataclass(frozen=True)
class Piecewise:
    """Weights of a codebook with fine steps about zero and coarse ones in the tails (``numerics.codebook``).

    Attributes:
        bits: b, 2..6. Every weight is one of 2**(b + 1) - 1 integers and takes b + 1 bits of the file.
        first_last_bits: of layers that read an input of the network or write an output; None: like all others.
        form: "integer": one scale, one sum, what ``quantize`` makes programs of; "exact": the published form of three
            sums, 2..8 bits, which only the reference runs (``ptq.quantize_exact``).
        layers: (pattern, bits) of layers that differ, a regular expression for the whole name each; the last that
            matches counts, before ``first_last_bits`` too.

    Bits of exceptions are 2..6, or 8: any integer of int8, a byte each.

    Raises:
        CalibrationError: bits that no codebook has, or a pattern that is no regular expression.
    """

    bits: int = 4
    first_last_bits: int | None = None
    layers: tuple[tuple[str, int], ...] = ()
    form: WeightSums = "integer"

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple((pattern, bits) for pattern, bits in self.layers))
        if self.form not in SUMS:
            raise CalibrationError(f"form of piecewise weights is one of {', '.join(SUMS)}, not {self.form!r}")
        _check_bits(self.bits, "weights='piecewise'", () if self.form == "integer" else (7, WHOLE))
        if self.first_last_bits is not None:
            _check_bits(self.first_last_bits, "weights='piecewise', first and last layers", (WHOLE,))
        for pattern, bits in self.layers:
            _check_bits(bits, f"weights='piecewise', layers {pattern!r}", (WHOLE,))
            try:
                re.compile(pattern)
            except re.error as error:
                raise CalibrationError(f"layers: {pattern!r} is not a regular expression: {error}") from error

    def __str__(self) -> str:
        differing = "" if self.first_last_bits is None else f", {self.first_last_bits} at the ends"
        rules = "".join(f", {bits} in {pattern}" for pattern, bits in self.layers)
        return f"piecewise {self.bits}{differing}{rules}"

    def code_bits(self, graph: FloatGraph, node: FloatNode) -> int | None:
        """Bits of the codebook of a layer; None for one that is left out."""
        at_an_end = node.output in graph.outputs or any(name in graph.inputs for name in node.inputs)
        bits = self.first_last_bits if at_an_end and self.first_last_bits is not None else self.bits
        for pattern, exceptional in self.layers:
            if re.fullmatch(pattern, node.name):
                bits = exceptional
        return None if bits == WHOLE else bits

    def check_layers(self, names: Iterable[str]) -> None:
        """Refuse a pattern that no layer has.

        Raises:
            CalibrationError: one matches none of ``names``.
        """
        known_names = list(names)
        for pattern, _ in self.layers:
            if not any(re.fullmatch(pattern, name) for name in known_names):
                raise CalibrationError(
                    f"no layer is called {pattern!r} (a regular expression for the whole name); some of them: "
                    f"{', '.join(known_names[:5])}"
                )


def _check_bits(bits: object, where: str, further: tuple[int, ...]) -> None:
    if type(bits) is not int or not (FEWEST_BITS <= bits <= MOST_BITS or bits in further):
        also = "".join(f" (or {number}: any integer of int8)" for number in further)
        raise CalibrationError(
            f"{where}: codes of {FEWEST_BITS} to {MOST_BITS} bits are served{also}, not of {bits!r}: a codebook of 7 "
            "bits has integers beyond int8, and 8 bits are what weights='uniform' gives"
        )
