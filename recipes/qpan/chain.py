"""A network of phases as programs of integers, with a named float island before each: the data step.

    island k   "data step k: Fourier, float64"   r = x - step * (A'A x - A'y), by ``recipes.qpan.fourier``
    program k  "phase k"                         r in planes of 8 bits to what is added, 8 bits, proved

and x = r + what is added, which belongs to the island, too (``trunk="float"``), or is part of the program, which then
gives x in 8 bits (``trunk="u8"``). Every bit of the islands is the same everywhere, and so is every integer: a run by
the reference and a run by any native plan are equal to the last one.

``planes=2`` writes r as two numbers of 8 bits, its integer and ``FINE`` times what is left, which the first layer
weighs accordingly: about 12 bits of the image, though every operand has 8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import oaq
from oaq import reference
from oaq.errors import Mismatch
from oaq.program.frames import at_size
from oaq.program.int_program import IntProgram
from oaq.ptq.options import Options
from oaq.ptq.quantize import quantize_with_report
from oaq.terminal import say
from recipes.qpan.fourier import Real, project
from recipes.qpan.networks import Phase, Unfolded
from recipes.qpan.samples import Slice

CALIBRATED_SIDE: Final = 160
"""Rows and columns of the middle of an image that integers are chosen on; they hold at any size."""
FINE: Final = 16.0
"""Factor of what the first plane leaves."""
Trunk = Literal["float", "u8"]
Integers = NDArray[np.uint8]
Execute = Callable[[int, Integers], Integers]
"""The number of a phase and (n, rows, columns, planes) integers to (n, rows, columns, 1)."""


@dataclass(frozen=True)
class Form:
    """How phases become programs.

    Attributes:
        planes: of r, 1 or 2.
        trunk: where r is added.
        side: rows and columns of the middle of an image that integers are chosen on.
    """

    planes: int = 2
    trunk: Trunk = "float"
    side: int = CALIBRATED_SIDE


@dataclass(frozen=True, eq=False)
class Measurement:
    """What islands know of images that were measured.

    Attributes:
        start: (n, rows, columns) where the iteration starts.
        back: (n, rows, columns) A'y.
        normal: A'A of (n, rows, columns).
    """

    start: Real
    back: Real
    normal: Callable[[Real], Real]


def fourier_measurement(slices: Sequence[Slice], mask: Real) -> Measurement:
    """The measurement of MR slices, which start zero-filled."""
    start = np.stack([part.start for part in slices])
    return Measurement(start, start, partial(project, mask=mask))


@dataclass(frozen=True, eq=False)
class Island:
    """A data step, in float64.

    Attributes:
        name: of the island.
        step: factor.
    """

    name: str
    step: float

    def run(self, x: Real, measurement: Measurement) -> Real:
        """R of (n, rows, columns) images."""
        return x - self.step * (measurement.normal(x) - measurement.back)


@dataclass(frozen=True, eq=False)
class Chain:
    """Islands and programs in turns.

    Attributes:
        islands: the data steps.
        programs: behind each.
        form: of the programs.
    """

    islands: tuple[Island, ...]
    programs: tuple[IntProgram, ...]
    form: Form

    def at_size(self, rows: int, columns: int) -> Chain:
        """A chain of the same integers for images of another size."""
        return replace(self, programs=tuple(at_size(program, rows, columns) for program in self.programs))

    def run(self, measurement: Measurement, execute: Execute) -> tuple[Real, list[Integers]]:
        """Images (n, rows, columns) after all phases, and the integers that each program gave."""
        x, outputs = measurement.start, []
        for number, (island, program) in enumerate(zip(self.islands, self.programs, strict=True)):
            r = island.run(x, measurement)
            y = execute(number, in_planes(r, program, self.form.planes))
            outputs.append(y)
            affine = program.tensors[program.outputs[0]].affine
            real = (y[..., 0].astype(np.float64) - affine.zero_point) * float(affine.scale)
            x = r + real if self.form.trunk == "float" else real
        return x, outputs


def in_planes(r: Real, program: IntProgram, planes: int) -> Integers:
    """(n, rows, columns) reals as the (n, rows, columns, planes) integers that a program reads."""
    spec = program.tensors[program.inputs[0]]
    scale, zero = float(spec.affine.scale), spec.affine.zero_point
    steps = np.rint(r / scale) if planes == 1 else np.floor(r / scale)
    first = np.clip(steps + zero, spec.range.lo, spec.range.hi)
    parts = [first]
    if planes == 2:
        remainder = (r / scale - (first - zero)) * FINE
        parts.append(np.clip(np.rint(remainder) + zero, spec.range.lo, spec.range.hi))
    return np.stack(parts, axis=-1).astype(np.uint8)


def real_planes(r: Real, scale: float, planes: int) -> NDArray[np.float32]:
    """(n, planes, rows, columns) reals that ``in_planes`` would make integers of, for calibration."""
    if planes == 1:
        return r[:, None].astype(np.float32)
    first = np.floor(r / scale) * scale
    return np.stack([first, (r - first) * FINE], axis=1).astype(np.float32)


class Correction(nn.Module):
    """What becomes a program: a phase without its data step, of r in planes."""

    def __init__(self, phase: Phase, form: Form) -> None:
        super().__init__()
        self.phase, self.form = phase, form
        weight = phase.entry.weight.detach()
        self.entry = nn.Conv2d(form.planes, len(weight), weight.shape[-1], padding=weight.shape[-1] // 2, bias=False)
        with torch.no_grad():
            self.entry.weight.copy_(torch.cat([weight, weight / FINE], 1)[:, : form.planes])

    def forward(self, r: torch.Tensor) -> torch.Tensor:
        """(n, planes, rows, columns) to (n, 1, rows, columns)."""
        y = self.phase.correction(self.entry(r))
        if self.form.trunk == "float":
            return y
        return y + (r if self.form.planes == 1 else r[:, :1] + r[:, 1:] / FINE)


def float_run(net: Unfolded, measurement: Measurement) -> tuple[Real, list[Real]]:
    """Images (n, rows, columns) of the float network between the same islands, and r of every phase."""
    x, inputs = measurement.start, []
    with torch.inference_mode():
        for number, (phase, step) in enumerate(net.steps()):
            r = Island(f"data step {number}", step).run(x, measurement)
            inputs.append(r)
            x = phase(torch.from_numpy(r[:, None].astype(np.float32))).numpy()[:, 0].astype(np.float64)
    return x, inputs


def chain_of(
    net: Unfolded, inputs: Sequence[Real], form: Form, options: Options, island: str = "Fourier, float64"
) -> Chain:
    """Every phase, quantized on what it reads.

    Args:
        net: the network.
        inputs: r of every phase.
        form: of the programs.
        options: of ``oaq.quantize``.
        island: computation of the data steps, in words.
    """
    islands, programs = [], []
    for number, (phase, step) in enumerate(say.track(net.steps(), "quantize phases")):
        r = inputs[number]
        batch = real_planes(_middle(r, form.side), float(np.ptp(r)) / 255, form.planes)
        correction = Correction(phase, form).eval()
        program = quantize_with_report(correction, [batch], options, name=f"phase-{number}")[0]
        programs.append(at_size(program, *r.shape[1:]))
        islands.append(Island(f"data step {number}: {island}", step))
    return Chain(tuple(islands), tuple(programs), form)


def _middle(r: Real, side: int) -> Real:
    """The middle of images, where they are larger than what calibration needs."""
    top, first = (max(edge - side, 0) // 2 for edge in r.shape[1:])
    return r[:, top : top + side, first : first + side]


def natively(chain: Chain, isa: str | None = None) -> Execute:
    """Programs by native sessions, each with the plan for this CPU, proved again as it is opened."""
    sessions = [oaq.Session(oaq.plan(program, isa=isa)) for program in chain.programs]
    return lambda number, x: np.asarray(sessions[number].run_integers([x])[0])


def by_reference(chain: Chain) -> Execute:
    """Programs by the law itself, slowly."""

    def execute(number: int, x: Integers) -> Integers:
        return np.asarray(reference.run(chain.programs[number], [x]).outputs[0]).astype(np.uint8)

    return execute


def require_lawful(label: str, outputs: Sequence[Integers], lawful: Sequence[Integers]) -> None:
    """Compare integers of all programs with those of the reference, which ran as many of the first images as it has.

    Raises:
        Mismatch: an integer differs.
    """
    count = differing([native[: len(law)] for native, law in zip(outputs, lawful, strict=True)], lawful)
    if count:
        raise Mismatch(f"{label}: {count} integers differ from the reference")


def differing(first: Sequence[Integers], second: Sequence[Integers]) -> int:
    """How many integers of all programs differ."""
    return sum(int((a != b).sum()) for a, b in zip(first, second, strict=True))
