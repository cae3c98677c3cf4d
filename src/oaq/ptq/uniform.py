"""Precision by hand: the same bits in every layer, and an accumulator that every layer keeps, instead of a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from oaq.capture.graph import FloatGraph, TensorParams
from oaq.choose.target import Target
from oaq.errors import CalibrationError
from oaq.ptq.clip import ClipMethod, choose_clip
from oaq.ptq.curves import Layer
from oaq.ptq.observe import Histogram

FEWEST_BITS: Final = 2


@dataclass(frozen=True)
class Uniform:
    """Bits and accumulator of every layer.

    Attributes:
        weight_bits: 2..8; weights lie in [-c, c], c = 2**(bits - 1) - 1.
        activation_bits: 2..8; what a layer reads lies in [0, 2**bits - 1].
        target: the accumulator that all keep, by coarser scales or budgeted rounding; None: 32 bits.
        first_last_bits: of layers that read an input of the network or write an output; None: like all others.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    target: Target | None = None
    first_last_bits: int | None = 8

    def __post_init__(self) -> None:
        for name in ("weight_bits", "activation_bits", "first_last_bits"):
            value = getattr(self, name)
            if value is None and name == "first_last_bits":
                continue
            if type(value) is not int or not FEWEST_BITS <= value <= 8:
                raise CalibrationError(f"{name}: {FEWEST_BITS} to 8 bits, not {value!r}")

    def __str__(self) -> str:
        accumulator = "32 bits" if self.target is None else str(self.target)
        return f"W{self.weight_bits}A{self.activation_bits} in {accumulator}"

    def bits(self, graph: FloatGraph, layer: Layer) -> tuple[int, int]:
        """Bits of the layer's weights and of what it reads."""
        node = layer.node
        at_an_end = node.output in graph.outputs or any(name in graph.inputs for name in node.inputs)
        if at_an_end and self.first_last_bits is not None:
            return self.first_last_bits, self.first_last_bits
        return self.weight_bits, self.activation_bits


def uniform_tensors(
    uniform: Uniform,
    graph: FloatGraph,
    layers: list[Layer],
    *,
    roots: Mapping[str, str],
    histograms: Mapping[str, Histogram],
    calibration: ClipMethod,
) -> dict[str, TensorParams]:
    """Integers by root tensor: the most bits that any layer reads it with, 8 if none does."""
    bits: dict[str, int] = {}
    for layer in layers:
        root = roots[layer.node.inputs[0]]
        bits[root] = max(bits.get(root, 0), uniform.bits(graph, layer)[1])
    return {
        root: choose_clip(histogram, (1 << bits.get(root, 8)) - 1, calibration).params
        for root, histogram in histograms.items()
    }
