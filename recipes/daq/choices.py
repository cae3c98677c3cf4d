"""The rows of both experiments: which levels, from one grid for a whole tensor to a grid for each image and channel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from oaq.ptq import Daq

BITS: Final = (4, 3, 2)
ROWS: Final = (
    ("min-max, tensor", Daq(table="minmax_tensor")),
    ("min-max, channel", Daq(table="minmax")),
    ("DAQ static, released table, q = 4", Daq(table="paper", sigma_bits=4)),
    ("DAQ static, released table", Daq(table="paper")),
    ("DAQ static, gauss", Daq(table="gauss")),
    ("DAQ static, mse", Daq(table="mse")),
    ("DAQ static, mse, mixed", Daq(table="mse", mixed=True)),
    ("DAQ dynamic, released table", Daq(mode="dynamic", table="paper")),
    ("DAQ dynamic, mse", Daq(mode="dynamic", table="mse")),
)
"""Labels and levels of a number of bits that is still to be said; weights of 8 bits."""
SHORT: Final = (
    "min-max, tensor",
    "min-max, channel",
    "DAQ static, released table",
    "DAQ static, mse",
    "DAQ dynamic, mse",
)
"""Labels of the rows that are run with weights of as many bits too."""


def rows_of(bits: int, layers: str, only: str = "") -> Iterator[tuple[str, Daq]]:
    """Labels and levels for some bits: weights of 8 bits, then of as many.

    Args:
        bits: of what the layers read.
        layers: their names, as ``Daq.layers``.
        only: a part of the labels that are wanted; "" for all.
    """
    for label, daq in ROWS:
        for weight_bits in (8, bits):
            title = f"{label}, W{weight_bits}A{bits}"
            if only in title and (weight_bits == 8 or label in SHORT):
                yield title, _with(daq, bits, weight_bits, layers)


def _with(daq: Daq, bits: int, weight_bits: int, layers: str) -> Daq:
    return Daq(bits, daq.mode, daq.table, daq.sigma_bits, weight_bits=weight_bits, mixed=daq.mixed, layers=layers)
