"""The rows of both experiments: which levels, from one grid for a whole tensor to a grid for each image and channel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from oaq.ptq import Daq

BITS: Final = (4, 3, 2)
ROWS: Final = (
    ("min-max, tensor", Daq(table="minmax_tensor")),
    ("min-max, channel", Daq(table="minmax")),
    ("DAQ static, released table", Daq(table="paper")),
    ("DAQ static, mse", Daq(table="mse")),
    ("DAQ dynamic, released table", Daq(mode="dynamic", table="paper")),
    ("DAQ dynamic, mse", Daq(mode="dynamic", table="mse")),
)
"""Labels and levels, whatever the bits; weights of 8 bits."""
MORE: Final = (
    ("DAQ static, released table, q = 4", Daq(table="paper", sigma_bits=4)),
    ("DAQ static, gauss", Daq(table="gauss")),
    ("DAQ static, laplace", Daq(table="laplace")),
    ("DAQ static, mse, mixed", Daq(table="mse", mixed=True)),
)
"""Further ones, of the most bits only."""
BY_WEIGHTS: Final = (
    ("min-max, tensor", Daq(table="minmax_tensor")),
    ("min-max, channel", Daq(table="minmax")),
    ("DAQ static, mse", Daq(table="mse")),
    ("DAQ dynamic, mse", Daq(mode="dynamic", table="mse")),
)
"""Those that are run with weights of as many bits too."""


def rows_of(bits: int, layers: str, only: str = "") -> Iterator[tuple[str, Daq]]:
    """Labels and levels for some bits: weights of 8 bits, then of as many.

    Args:
        bits: of what the layers read.
        layers: their names, as ``Daq.layers``.
        only: a part of the labels that are wanted; "" for all.
    """
    more = MORE if bits == max(BITS) else ()
    for rows, weight_bits in (((*ROWS, *more), 8), (BY_WEIGHTS, bits)):
        for label, daq in rows:
            title = f"{label}, W{weight_bits}A{bits}"
            if only in title:
                yield title, replace(daq, bits=bits, weight_bits=weight_bits, layers=layers)
