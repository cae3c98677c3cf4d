"""Whole networks for Arm, planned here and run under an emulator: integers beside the reference, instructions counted.

    python -m benchmarks.arm.networks [--keep build/arm/networks] [--record]

Networks are quantized for the target neon on the photos of the recipes. Each plan runs on every emulated CPU that has
its instructions; all outputs of all photos have to equal the reference's. An emulator says nothing of time: what is
counted is how many instructions one photo takes.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import oaq
from benchmarks.arm.count import instructions
from benchmarks.arm.emulator import CPUS, Case, run_cases
from benchmarks.harness import Result, add_record, save, stamp
from oaq.data.batches import Batches
from oaq.kernels.plan import Plan, plan
from oaq.kernels.targets import SCALAR_OTHERS
from oaq.ptq.quantize import quantize
from oaq.reference import run
from oaq.runtime.plan_file import proved_bytes
from oaq.runtime.values import by_affine, to_integers
from oaq.terminal import say
from recipes.data import photos
from recipes.networks import NETWORKS

NAMES = ("efficientnet-lite0", "mobilenet-v2")
PHOTOS, CALIBRATION = 2, 64
SCALAR_STEPS = tuple(row.name for row in SCALAR_OTHERS)
PLANS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "16-bit sums": ("neon", (), CPUS),
    "32-bit sums": ("neon", ("gemm_s8s8_neon_acc32", "depthwise_s8s8_neon_exact"), CPUS),
    "exact": ("neon", ("gemm_s8s8_neon_exact", "depthwise_s8s8_neon_exact"), CPUS),
    "dot products": ("dotprod", (), ("max",)),
    "matrix products": ("i8mm", (), ("max",)),
    "16-bit sums, steps without sums by rows for any CPU": ("neon", SCALAR_STEPS, ("cortex-a53",)),
}
"""Target, forced rows and emulated CPUs of each plan."""
NOTES = (
    "integers are compared on emulated CPUs; instructions are counted there, one photo, one thread; neither is a time",
    "instructions do not depend on which emulated CPU of a plan counts them: it is the first one",
)


def program_of(name: str, folder: Path) -> oaq.IntProgram:
    """The network quantized for NEON, from ``folder`` if it is there already, else made and kept there."""
    file = folder / f"{name}.oaq"
    if file.exists():
        return oaq.load(file)
    network = NETWORKS[name]
    batches = list(Batches(photos.calibration(CALIBRATION), network.preprocess, 8))
    program = dataclasses.replace(quantize(network.load(), batches, target="neon"), name=name)
    folder.mkdir(parents=True, exist_ok=True)
    oaq.save(program, file)
    return program


def case_of(planned: Plan, x: NDArray[np.uint8]) -> Case:
    """A plan and what it runs on."""
    program = planned.program
    sizes = tuple(int(np.prod(program.tensors[output].shape)) for output in program.outputs)
    return Case(proved_bytes(planned), (x,), sizes)


def lines(name: str, program: oaq.IntProgram, x: NDArray[np.uint8]) -> Iterator[tuple[tuple[str, str], ...]]:
    """A line per plan and CPU."""
    expected = run(program, (x,)).outputs
    for label, (target, rows, cpus) in PLANS.items():
        planned = plan(program, table=target, rows=rows)
        counted = instructions(case_of(planned, x[:1]), cpus[0])
        for cpu in cpus:
            (answer,) = run_cases([case_of(planned, x)], cpu)
            if isinstance(answer, str):
                raise RuntimeError(f"{name}, {label}, {cpu}: {answer}")
            wrong = sum(
                int((computed.reshape(-1) != right.reshape(-1)).sum())
                for computed, right in zip(answer, expected, strict=True)
            )
            yield (
                ("network", name),
                ("plan", label),
                ("emulated CPU", cpu),
                ("outputs compared", str(sum(right.size for right in expected))),
                ("integers that differ", str(wrong)),
                ("instructions of a photo", str(counted)),
                ("average run", f"{planned.average_run:.1f}"),
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Quantize, plan, run, count; write the result file."""
    parser = argparse.ArgumentParser("python -m benchmarks.arm.networks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NAMES, metavar="NETWORK", help="default: all of them")
    parser.add_argument("--keep", type=Path, default=Path("build/arm/networks"), metavar="DIR", help="quantized files")
    add_record(parser)
    flags = parser.parse_args(arguments)
    rows: list[tuple[tuple[str, str], ...]] = []
    for name in flags.networks:
        program = program_of(name, flags.keep)
        batch = np.concatenate(list(Batches(photos.comparison()[:PHOTOS], NETWORKS[name].preprocess, PHOTOS)))
        (x,) = to_integers(program, batch, by_affine)
        for fields in lines(name, program, x):
            rows.append(fields)
            sys.stdout.write("  ".join(f"{key} {value}" for key, value in fields) + "\n")
            sys.stdout.flush()
    command = " ".join(["python -m benchmarks.arm.networks", *sys.argv[1:]])
    path = save(
        Result("arm_networks", command, stamp(), rows=tuple(rows), notes=NOTES), "arm_networks", record=flags.record
    )
    say.words(str(path))
    return int(any(dict(fields)["integers that differ"] != "0" for fields in rows))


if __name__ == "__main__":
    sys.exit(main())
