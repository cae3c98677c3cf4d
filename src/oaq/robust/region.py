"""Sets of inputs around one input: boxes of integers, or lists. What a box says is exact: its ends are inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ConfigError
from oaq.numerics.ranges import IntRange
from oaq.program.inputs import checked
from oaq.program.int_program import IntProgram

Image = NDArray[np.uint8]
FARTHEST: Final = 255
"""Steps between the ends of 8 bits: a longer distance reaches no other integer."""
MOST_PERCENT: Final = 100 * (FARTHEST + 1)
"""From here on the least distance, 1, leaves 8 bits."""


@dataclass(frozen=True, eq=False)
class Region:
    """A set of inputs of one program, of one sample's shape.

    Attributes:
        centre: the input that the set surrounds.
        lo, hi: ends of the smallest box around the set.
        inputs: (n, ...) every member, for a list; None for a box, all of whose integers are members.
        description: what the set is, for people and certificates: JSON-able.
    """

    centre: Image
    lo: Image
    hi: Image
    inputs: Image | None
    description: Mapping[str, Any]

    @property
    def count(self) -> int:
        """Number of members; 2**63 - 1 stands for that many or more."""
        if self.inputs is not None:
            return len(self.inputs)
        bits = float(np.log2(self.hi.astype(np.float64) - self.lo + 1).sum())
        widths = self.hi.astype(object) - self.lo + 1
        return (1 << 63) - 1 if bits > 62 else int(np.prod(widths))

    @property
    def words(self) -> str:
        """The set for people: its kind and what it is made from."""
        details = ", ".join(f"{key} {value}" for key, value in self.description.items() if key != "kind")
        return f"{self.description['kind']}: {details}" if details else str(self.description["kind"])


def ball(program: IntProgram, x: Image, radius: int) -> Region:
    """Every input that differs from ``x`` by at most ``radius`` steps in each element, inside the effective range.

    Raises:
        ConfigError: the radius is negative.
        ProgramError: ``x`` is not an input of ``program``.
    """
    if radius < 0:
        raise ConfigError(f"radius {radius}: a distance is at least 0")
    radius = min(radius, FARTHEST)
    reach, wide = _reach(program, x), x.astype(np.int64)
    lo, hi = np.maximum(wide - radius, reach.lo), np.minimum(wide + radius, reach.hi)
    return _box(x, lo, hi, {"kind": "ball", "norm": "inf", "radius": int(radius)})


def real_ball(program: IntProgram, real: NDArray[np.float32], radius: float) -> Region:
    """The integers that a real input can quantize to when each element moves by at most ``radius`` either way.

    Exact, because quantizing is monotone: the ends of the box are what the ends of the interval quantize to.

    Args:
        program: whose input scale rounds.
        real: one sample in the program's own (NHWC) layout.
        radius: in real units.
    """
    spec = program.tensors[program.inputs[0]]
    wide = np.asarray(real, np.float64)
    ends = [
        spec.affine.quantize(part.astype(np.float32)[None], spec.range)[0] for part in (wide - radius, wide + radius)
    ]
    centre = spec.affine.quantize(np.asarray(real, np.float32)[None], spec.range)[0]
    _reach(program, centre)
    return _box(centre, ends[0], ends[1], {"kind": "box", "real_radius": float(radius)})


def patch(program: IntProgram, x: Image, rows: tuple[int, int], columns: tuple[int, int], radius: int = 255) -> Region:
    """Inputs that differ from ``x`` inside a rectangle only, by at most ``radius`` steps.

    Args:
        program: what is fed.
        x: (H, W, C).
        rows: first and one past the last row.
        columns: likewise.
        radius: 255 means any integer of the effective range.

    Raises:
        ConfigError: the input has no rows, or the rectangle is empty or outside.
    """
    if x.ndim != 3 or not 0 <= rows[0] < rows[1] <= x.shape[0] or not 0 <= columns[0] < columns[1] <= x.shape[1]:
        raise ConfigError(f"patch rows {rows}, columns {columns}: not a rectangle inside an input of shape {x.shape}")
    around = ball(program, x, radius)
    lo, hi = x.copy(), x.copy()
    inside = (slice(*rows), slice(*columns))
    lo[inside], hi[inside] = around.lo[inside], around.hi[inside]
    return _box(x, lo, hi, {"kind": "box", "patch": [*rows, *columns], "radius": min(int(radius), FARTHEST)})


def box(program: IntProgram, x: Image, lo: Image, hi: Image) -> Region:
    """Every input between ``lo`` and ``hi``, which hold ``x`` between them.

    Raises:
        ConfigError: they do not.
        ProgramError: one of the three is not an input of ``program``.
    """
    for end in (x, lo, hi):
        _reach(program, end)
    if (lo > x).any() or (x > hi).any():
        raise ConfigError("a box holds the input it surrounds: lo <= x <= hi in every element")
    return _box(x, lo, hi, {"kind": "box"})


def brightness(program: IntProgram, x: Image, steps: int) -> Region:
    """``x`` made darker or brighter by 0 to ``steps`` integer steps, each clipped to the effective range.

    Raises:
        ConfigError: ``steps`` is negative.
        ProgramError: ``x`` is not an input of ``program``.
    """
    if steps < 0:
        raise ConfigError(f"brightness {steps}: a distance is at least 0")
    reach, steps = _reach(program, x), min(steps, FARTHEST)
    moved = [np.clip(x.astype(np.int64) + move, reach.lo, reach.hi) for move in range(-steps, steps + 1)]
    return input_list(program, x, np.stack(moved).astype(np.uint8), {"kind": "list", "brightness": int(steps)})


def contrast(program: IntProgram, x: Image, percents: Sequence[int]) -> Region:
    """``x`` with its distance from the zero point times each percentage, rounded down after adding a half, clipped."""
    reach, zero = _reach(program, x), program.tensors[program.inputs[0]].affine.zero_point
    away = x.astype(np.int64) - zero
    percents = [min(max(percent, -MOST_PERCENT), MOST_PERCENT) for percent in percents]
    scaled = [np.clip(zero + (away * percent + 50) // 100, reach.lo, reach.hi) for percent in (100, *percents)]
    description = {"kind": "list", "contrast": [int(percent) for percent in percents]}
    return input_list(program, x, np.stack(scaled).astype(np.uint8), description)


def input_list(program: IntProgram, x: Image, inputs: Image, description: Mapping[str, Any] | None = None) -> Region:
    """Exactly these inputs, (n, ...) uint8, n >= 1."""
    _reach(program, x)
    if not len(inputs):
        raise ConfigError("a list of inputs holds at least one")
    checked(program, (inputs,))
    return Region(x, inputs.min(axis=0), inputs.max(axis=0), inputs, description or {"kind": "list"})


def _reach(program: IntProgram, x: Image) -> IntRange:
    if len(program.inputs) != 1:
        raise ConfigError(f"{program.name}: takes {len(program.inputs)} inputs; a set is of one")
    checked(program, (np.asarray(x)[None],))
    return program.tensors[program.inputs[0]].range


def _box(x: Image, lo: NDArray, hi: NDArray, description: Mapping[str, Any]) -> Region:
    return Region(x, lo.astype(np.uint8), hi.astype(np.uint8), None, description)
