"""DAQ: levels of a channel from its mean and deviation (2012.11230), as options; docs/math/daq.md has the formulas."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from oaq.errors import CalibrationError

Mode = Literal["static", "dynamic"]
Table = Literal["paper", "gauss", "laplace", "mse", "minmax", "minmax_tensor"]
WeightLevels = Literal["symmetric", "midrise"]
MODES: Final[tuple[Mode, ...]] = ("static", "dynamic")
TABLES: Final[tuple[Table, ...]] = ("paper", "gauss", "laplace", "mse", "minmax", "minmax_tensor")
WEIGHT_LEVELS: Final[tuple[WeightLevels, ...]] = ("symmetric", "midrise")
FEWEST_BITS, MOST_BITS = 2, 6
GAUSS: Final = (2.0, 1.596, 0.996, 0.586, 0.335, 0.188, 0.104, 0.057, 0.031)
"""Steps of least error for 2**b equal levels of a normal density of deviation 1, by b; the released code's entries."""
LAPLACE: Final = (2.0, 1.414, 1.087, 0.731, 0.461, 0.280, 0.166, 0.096, 0.055)
"""Steps of least error for a Laplace density of deviation 1, by b; from a numerical search."""
SHIFTS: Final[Mapping[Table, int]] = {"paper": 1}
"""Bits by which a table is entered too low: the released code takes the step of one bit less everywhere."""


@dataclass(frozen=True)
class Daq:
    """Few levels for each channel that some layers read, placed by the channel's own distribution.

    Attributes:
        bits: 2..6, of what the layers read; 2**bits levels a channel.
        mode: "static": levels of calibration, their steps folded into the next weights, so that operands are small
            integers and proved runs get longer; "dynamic": levels of each image, on the 256 integers of the tensor,
            which saves memory and no arithmetic.
        table: what a step is in deviations: "paper" (the released code's, of one bit less), "gauss", "laplace", "mse"
            (least error on calibration data, channel by channel); static only, for comparison: "minmax" (from least to
            most) and "minmax_tensor" (the same for all channels of a tensor).
        sigma_bits: 2..8: deviations of a tensor are rounded to so many bits first, as the released code does; None:
            they are not. Static only: dynamic steps are whole numbers already.
        weights: of those layers: "symmetric" (a scale per output, holds 0) or "midrise" (odd multiples of half a step
            per layer, as released).
        weight_bits: of those layers' weights, 2..8; midrise 2..7.
        mixed: channels get one bit more or less by deviation times what reads them; ``bits`` on average.
        layers: regular expression for the whole names of the layers; None: all that neither read an input of the
            network nor come last before an output.
    """

    bits: int = 4
    mode: Mode = "static"
    table: Table = "mse"
    sigma_bits: int | None = None
    weights: WeightLevels = "symmetric"
    weight_bits: int = 8
    mixed: bool = False
    layers: str | None = None

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("mode", self.mode, MODES),
            ("table", self.table, TABLES),
            ("weights", self.weights, WEIGHT_LEVELS),
        ):
            if value not in allowed:
                raise CalibrationError(f"daq: {name} is one of {', '.join(allowed)}, not {value!r}")
        _check_bits("bits", self.bits, MOST_BITS)
        _check_bits("weight_bits", self.weight_bits, 7 if self.weights == "midrise" else 8)
        if self.sigma_bits is not None:
            _check_bits("sigma_bits", self.sigma_bits, 8)
        if self.mode == "dynamic" and self.sigma_bits is not None:
            raise CalibrationError("daq: dynamic steps are whole numbers already: leave sigma_bits out")
        if self.mode == "dynamic" and self.table.startswith("minmax"):
            raise CalibrationError(f"daq: {self.table} is of calibration data: mode static, or another table")
        try:
            re.compile(self.layers or "")
        except re.error as error:
            raise CalibrationError(f"daq: layers: {self.layers!r} is not a regular expression: {error}") from error

    def __str__(self) -> str:
        parts = [f"DAQ {self.mode} W{self.weight_bits}A{self.bits}", self.table]
        parts += [] if self.sigma_bits is None else [f"deviations of {self.sigma_bits} bits"]
        parts += [] if self.weights == "symmetric" else [f"{self.weights} weights"]
        return ", ".join([*parts, *(["mixed"] if self.mixed else [])])


def _check_bits(name: str, value: object, most: int) -> None:
    if type(value) is not int or not FEWEST_BITS <= value <= most:
        raise CalibrationError(f"daq: {name}: {FEWEST_BITS} to {most} bits, not {value!r}")


def step_of(table: Table, bits: int) -> float:
    """What a step is in deviations for 2**bits levels; others than its own are the normal density's."""
    return (LAPLACE if table == "laplace" else GAUSS)[bits - SHIFTS.get(table, 0)]


def rounded_deviations(deviation: NDArray[np.float64], table: Table, bits: int) -> NDArray[np.float64]:
    """(C,) deviations on a mid-rise grid of 2**bits levels about their mean; what would not be positive is not moved.

    The released code leaves such a channel nothing but its mean.
    """
    if len(deviation) < 2:
        return deviation
    mean, spread = float(deviation.mean()), float(deviation.std(ddof=1))
    step = step_of(table, bits) * spread
    if step == 0.0:
        return deviation
    most = (2**bits / 2 - 0.5) * step
    moved = np.clip((np.rint((deviation - mean) / step + 0.5) - 0.5) * step, -most, most) + mean
    return np.where(moved > 0, moved, deviation)


def midrise_step(rows: NDArray[np.float64], daq: Daq) -> float:
    """Half of a step between weights of a layer: they are odd multiples of it."""
    return max(step_of(daq.table, daq.weight_bits) * float(rows.std(ddof=min(1, rows.size - 1))) / 2, 1e-12)


def midrise_weights(rows: NDArray[np.float64], scale: NDArray[np.float64], bits: int) -> NDArray[np.int8]:
    """(N, K) odd integers in [-(2**bits - 1), 2**bits - 1], the nearest to rows / scale."""
    most = 2**bits - 1
    odd = 2 * np.floor(rows / (2 * scale[:, None])) + 1
    return np.clip(odd, -most, most).astype(np.int8)


def mixed_bits(weight: NDArray[np.float64], bits: int) -> NDArray[np.int64]:
    """(C,) bits - 1, bits or bits + 1 by the logarithm of what a channel weighs; ``bits`` on average.

    The largest remainders get what rounding down leaves.
    """
    alive = weight > 0
    if not alive.any():
        return np.full(len(weight), bits)
    logarithm = np.log2(np.where(alive, weight, 1.0))
    target = bits + np.where(alive, logarithm - logarithm[alive].mean(), -1.0)
    target = np.clip(target, bits - 1, bits + 1)
    result = np.floor(target).astype(np.int64)
    while (missing := bits * len(weight) - int(result.sum())) != 0:
        direction = 1 if missing > 0 else -1
        room = (result < bits + 1) if missing > 0 else (result > bits - 1)
        remainder = np.where(room, direction * (target - result), -np.inf)
        result[np.argsort(-remainder, kind="stable")[: min(abs(missing), int(room.sum()))]] += direction
    return result
