"""Modelled speed of Arm's inner loops: llvm-mca's models of Cortex-A53, A55 and A72. No Arm machine is used.

    python -m benchmarks.arm.models [--record]

The model knows the latencies and units that a compiler schedules for; it knows no caches, and issues what a real core
may not. So its figures rank loops, and are never called times. The floors of the comparison are said beside it, met or
not.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.arm.loops import PAIRED, WIDENING, Loop, own_loops, paired_sums, widening_lanes
from benchmarks.harness import Result, add_record, save, stamp
from oaq.errors import OaqError

CPUS = ("cortex-a53", "cortex-a55", "cortex-a72")
DOT_PRODUCTS = "gemm_s8s8_dotprod"
MODELS_OF = {
    DOT_PRODUCTS: ("cortex-a55",),
    "gemm_u8s8_i8mm": (),
    PAIRED: ("cortex-a72",),
    WIDENING: ("cortex-a72",),
}
"""CPUs that have the instructions of a row, where not all three do; for sequences that are ordered for no pipeline, the
one that orders them itself. What is modelled on none is counted."""
TURNS = 1000
TOOL = "llvm-mca"
FLOORS = (
    ("gemm_s8s8_neon_acc16", "gemm_s8s8_neon_acc32", "cortex-a72", 1.45),
    ("gemm_s8s8_neon_acc16", WIDENING, "cortex-a72", 2.0),
)
"""(row, than what, on which model, times as many products in a cycle)."""
MULTIPLICATIONS = {
    "smlal, 8 lanes": ("smlal v{}.8h, v1.8b, v2.8b", 8),
    "mul of 16 bytes": ("mul v{}.16b, v1.16b, v2.16b", 16),
    "mla, 8 lanes of 16 bits": ("mla v{}.8h, v1.8h, v2.8h", 8),
    "smlal, 4 lanes of 32 bits": ("smlal v{}.4s, v1.4h, v2.4h", 4),
}
"""Every way to multiply integers by vectors before there were dot products: an instruction and its products."""
CEILING_CPU = "cortex-a72"
NOTE = (
    "modelled by llvm-mca from the loops that the cross compiler makes; nothing was run on an Arm machine",
    "on Cortex-A72 one of the two vector units multiplies: eight products in a cycle are the most of every form of "
    "multiplication of integers, and sadalp runs beside them on the other unit; so pairs spilled at every step reach "
    "the eight too, no 16-bit sum can pass them, and the floor of 1.45 cannot be met",
    "on Cortex-A53 and A55, which issue one vector instruction of 128 bits in a cycle, they gain what they save",
)


@dataclass(frozen=True)
class Modelled:
    """What the model says of one turn of a loop.

    Attributes:
        loop: the loop.
        cpu: the model.
        cycles: of a turn, many turns in a row.
        bound: cycles that the busiest unit alone needs.
    """

    loop: Loop
    cpu: str
    cycles: float
    bound: float

    @property
    def rate(self) -> float:
        """Products in a cycle."""
        return self.loop.products / self.cycles


def tool() -> str:
    """The path of llvm-mca.

    Raises:
        OaqError: it is not there.
    """
    path = shutil.which(TOOL)
    if path is None:
        raise OaqError(f"{TOOL} is not on PATH; on Debian: apt-get install llvm")
    return path


def model(loop: Loop, cpu: str) -> Modelled:
    """Ask llvm-mca about a loop: cycles are those of so many turns more, so that the first turns do not count.

    Raises:
        OaqError: it is not there, or does not know the CPU or an instruction.
    """
    (few, bound), (many, _) = (_cycles(loop, cpu, turns) for turns in (TURNS, 2 * TURNS))
    return Modelled(loop, cpu, (many - few) / TURNS, bound)


def _cycles(loop: Loop, cpu: str, turns: int) -> tuple[int, float]:
    command = [tool(), "-march=aarch64", f"-mcpu={cpu}", f"-iterations={turns}"]
    command += ["-mattr=+dotprod"] if loop.name == DOT_PRODUCTS else []
    process = subprocess.run(command, input=loop.text, capture_output=True, text=True)
    cycles = re.search(r"Total Cycles:\s+(\d+)", process.stdout)
    bound = re.search(r"Block RThroughput:\s+([\d.]+)", process.stdout)
    if process.returncode or cycles is None or bound is None:
        raise OaqError(f"{' '.join(command)} on {loop.name}: {process.stderr.strip()[-500:]}")
    return int(cycles[1]), float(bound[1])


def models(loops: Sequence[Loop]) -> list[Modelled]:
    """Every loop on every CPU that has its instructions."""
    return [model(loop, cpu) for loop in loops for cpu in MODELS_OF.get(loop.name, CPUS)]


def ceilings() -> list[tuple[str, str]]:
    """Products in a cycle that each kind of multiplication gives where nothing else is done; none has to wait."""
    facts = []
    for name, (instruction, products) in MULTIPLICATIONS.items():
        text = "".join(f"{instruction.format(register)}\n" for register in range(8, 24))
        rate = model(Loop(name, text, products * 16), CEILING_CPU).rate
        facts.append((f"{CEILING_CPU}, {name} and nothing else: products in a cycle", f"{rate:.2f}"))
    return facts


def line(modelled: Modelled) -> tuple[tuple[str, str], ...]:
    """One row of the result file."""
    loop = modelled.loop
    return (
        ("loop", loop.name),
        ("modelled CPU", modelled.cpu),
        ("products of a turn", str(loop.products)),
        ("instructions per product", f"{loop.instructions / loop.products:.3f}"),
        ("modelled cycles of a turn", f"{modelled.cycles:.1f}"),
        ("cycles of the busiest unit", f"{modelled.bound:.1f}"),
        ("modelled products in a cycle", f"{modelled.rate:.2f}"),
    )


def floors(all_modelled: Sequence[Modelled]) -> list[tuple[str, str]]:
    """Each floor, the modelled ratio, and whether it is met."""
    verdicts = []
    for row, rival, cpu, least in FLOORS:
        rates = {modelled.loop.name: modelled.rate for modelled in all_modelled if modelled.cpu == cpu}
        ratio = rates[row] / rates[rival]
        verdicts.append(
            (f"{row} over {rival}, {cpu}", f"{ratio:.2f}, floor {least}: {'met' if ratio >= least else 'NOT met'}")
        )
    return verdicts


def main(arguments: Sequence[str] | None = None) -> int:
    """Model every loop; write the result file."""
    parser = argparse.ArgumentParser("python -m benchmarks.arm.models", description=(__doc__ or "").splitlines()[0])
    add_record(parser)
    flags = parser.parse_args(arguments)
    loops = [*own_loops(), paired_sums(), widening_lanes()]
    all_modelled = models(loops)
    version = subprocess.run([tool(), "--version"], capture_output=True, text=True, check=True).stdout
    release = re.search(r"LLVM version [\d.]+", version)
    only_counted = (loop for loop in loops if not MODELS_OF.get(loop.name, CPUS))
    counts = tuple(
        (f"{loop.name}: instructions per product", f"{loop.instructions / loop.products:.3f}") for loop in only_counted
    )
    facts = (
        ("model", f"{TOOL}, {release[0] if release else 'version unknown'}"),
        *floors(all_modelled),
        *ceilings(),
        *counts,
    )
    rows = tuple(line(modelled) for modelled in all_modelled)
    command = " ".join(["python -m benchmarks.arm.models", *sys.argv[1:]])
    result = Result("arm_models", command, stamp(), facts=facts, rows=rows, notes=NOTE)
    path = save(result, "arm_models", record=flags.record)
    for fields in (*rows, *((fact,) for fact in facts)):
        sys.stdout.write("  ".join(" ".join(field) for field in fields) + "\n")
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
