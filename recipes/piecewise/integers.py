"""Whole networks of integers, W4 piecewise beside W8, W6 and W5: precision, run lengths, predicted time, bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

import oaq
from oaq.choose.published import Breakpoint
from oaq.data.batches import Batch
from oaq.kernels.plan import Plan
from oaq.program.int_program import IntProgram
from oaq.ptq.exact import quantize_exact
from oaq.ptq.options import Options
from oaq.ptq.pieces import Piecewise
from oaq.ptq.quantize import QuantizeReport, quantize_with_report
from oaq.ptq.uniform import Uniform
from oaq.reference import run, run_exact
from oaq.report.agreement import sqnr_db
from oaq.runtime.values import to_floats, to_integers
from oaq.terminal import say
from recipes.data.labelled import cifar10
from recipes.demo import Data, in_batches
from recipes.float_onnx import run_float
from recipes.networks import Network

ISA = "avx2"
LANES = ("gemm_u8s8_avx2_acc16",)
"""The row whose runs are compared."""
WHOLE = "W8A8"
"""The row that bytes are compared with."""
CHOICES: dict[str, Options] = {
    WHOLE: Options(budget=None),
    "W6A8": Options(uniform=Uniform(6, 8, first_last_bits=None)),
    "W5A8": Options(uniform=Uniform(5, 8, first_last_bits=None)),
    "piecewise 4, no budget": Options(budget=None, weights=Piecewise(4)),
    "piecewise 4": Options(weights=Piecewise(4)),
    "piecewise 5": Options(weights=Piecewise(5)),
    "whole bytes": Options(),
}
"""Under a budget activations may have fewer steps; without one, and with bits by hand, they have 255."""
CIFAR = 200
"""Images of CIFAR-10, enlarged."""


@dataclass(frozen=True, eq=False)
class Quantized:
    """A network's integers, and what they are like.

    Attributes:
        name: of ``CHOICES``.
        program: the integers.
        report: how they were chosen.
        plan: for AVX2.
        bytes: of the file.
    """

    name: str
    program: IntProgram
    report: QuantizeReport
    plan: Plan
    bytes: int

    def layer_run(self) -> float:
        """Steps per spill in 16-bit lanes, of every layer summed as a matrix product, each tile counted once.

        Where the plan has another row, as for a single row of A, whose weights come from memory, the lanes' is taken.
        """
        lanes = oaq.plan(self.program, ISA, LANES)
        schedules = [
            planned.schedule for planned in lanes.nodes if planned.schedule is not None and planned.row.name in LANES
        ]
        spills = sum(schedule.spills for schedule in schedules)
        return sum(schedule.tiles * schedule.steps for schedule in schedules) / spills if spills else 0.0


def quantized(net: torch.nn.Module, calibration: Sequence[Batch], name: str) -> Quantized:
    """The integers of one of ``CHOICES``."""
    with say.stages(name) as told:
        program, report = quantize_with_report(
            net, calibration, CHOICES[name], progress=lambda step: told(str(step), step.item, step.done)
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.oaq"
        oaq.save(program, path)
        size = path.stat().st_size
    return Quantized(name, program, report, oaq.plan(program, ISA), size)


def exact_rows(net: torch.nn.Module, data: Data) -> list[dict[str, str]]:
    """The published form of 4 bits as integers, by its law, beside the form of one sum: nearest, activations of 8 bits.

    Both by the reference, on the labelled photos.
    """
    exact = run_float(net, data.test)
    lines = []
    for rule in get_args(Breakpoint):
        options = Options(budget=None, weights=Piecewise(4, form="exact"))
        with say.bar(f"published, {rule}", None):
            three = quantize_exact(net, data.calibration, options, rule)
            tensors = run_exact(three, to_integers(three.program, data.test))
        written = [tensors[name] for name in three.program.outputs]
        lines.append(_exact_line(f"published 4, {rule}", "3", to_floats(three.program, written)[0], (exact, data)))
    with say.bar("one sum", None):
        program, _ = quantize_with_report(
            net, data.calibration, Options(budget=None, weights=Piecewise(4), rounding="nearest")
        )
        outputs = run(program, to_integers(program, data.test)).outputs
    lines.append(_exact_line("integer 4", "1", to_floats(program, outputs)[0], (exact, data)))
    return lines


def _exact_line(name: str, sums: str, y: Batch, beside: tuple[Batch, Data]) -> dict[str, str]:
    exact, data = beside
    return {
        "weights": name,
        "sums of an output": sums,
        "logit SQNR": f"{sqnr_db(exact, y):.2f} dB",
        f"right of {len(y)}": str(int((y.argmax(axis=1) == data.labels).sum())),
        f"float's class first, of {len(y)}": str(same_first(exact, y)),
    }


def row(integers: Quantized, whole: int, data: Data, network: Network, exact: dict[str, Batch]) -> dict[str, str]:
    """Figures of a network's integers.

    Args:
        integers: to describe.
        whole: bytes of the file of 8 bits.
        data: photos.
        network: which.
        exact: the float network's outputs by the name of the data.
    """
    session = oaq.Session(integers.plan)

    def outputs(x: Batch, label: str) -> Batch:
        return np.concatenate([np.asarray(session.run(part)) for part in in_batches(x, label)])

    views = outputs(data.views, f"{integers.name}: views")
    enlarged = outputs(enlarged_cifar(network), f"{integers.name}: CIFAR-10")
    right = int((views[: 5 * len(data.test) : 5].argmax(axis=1) == data.labels).sum())
    codebooks = integers.report.codebooks
    steps = np.sum([facts.outputs for facts in codebooks], axis=0) if codebooks else []
    return {
        "right of 20": str(right),
        f"same class first, of {len(views)} views": str(same_first(exact["views"], views)),
        "logit SQNR, views": f"{sqnr_db(exact['views'], views):.2f} dB",
        f"same class first, of {CIFAR} CIFAR-10 images": str(same_first(exact["cifar"], enlarged)),
        "logit SQNR, CIFAR-10": f"{sqnr_db(exact['cifar'], enlarged):.2f} dB",
        "average run, quads": f"{integers.layer_run():.2f}",
        "average run by positions, quads": f"{integers.plan.average_run:.2f}",
        "predicted ms, AVX2": f"{integers.plan.seconds * 1e3:.3f}",
        "file bytes": str(integers.bytes),
        "part of W8A8's": f"{integers.bytes / whole:.3f}",
        "outputs with r = 1, 2, 3, 4": ", ".join(map(str, steps)),
    }


def float_outputs(net: torch.nn.Module, data: Data, network: Network) -> dict[str, Batch]:
    """The float network's outputs on what its integers are compared on."""
    return {
        name: np.concatenate([run_float(net, part) for part in in_batches(x, f"float network: {name}")])
        for name, x in (("views", data.views), ("cifar", enlarged_cifar(network)))
    }


def same_first(exact: Batch, rounded: Batch) -> int:
    """How many samples have the same class first."""
    return int((exact.argmax(axis=1) == rounded.argmax(axis=1)).sum())


def enlarged_cifar(network: Network) -> NDArray[np.float32]:
    """(CIFAR, 3, H, W) test images, enlarged, as the network takes photos: none of its classes need fit."""
    preprocess = network.preprocess
    pixels = cifar10("test").pixels[:CIFAR] / 255
    large = torch.nn.functional.interpolate(pixels, size=preprocess.size, mode="bilinear", align_corners=False)
    mean, std = (torch.tensor(numbers).reshape(-1, 1, 1) for numbers in (preprocess.mean, preprocess.std))
    return ((large - mean) / std).numpy().astype(np.float32)
