r"""What steps of zeros are worth that a plan leaves out: layers of which a share of the blocks is zero, on every row.

    python -m benchmarks.skipped [--rounds 15] [--record]

Convolutions of 64 x 64 channels, 3 x 3, and of 256 x 256, 1 x 1, with weights in [-7, 7]. Blocks are
32 outputs by so many k-quads, at random places, so that every row here finds whole steps of zeros. Each row is timed in
turns with its dense self; the plan of each is checked and its integers compared with the reference first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from benchmarks.busy import Disturbance, Watch, until_quiet
from benchmarks.harness import Result, add_record, save, stamp
from oaq import operators as ops
from oaq import reference
from oaq.errors import Mismatch
from oaq.kernels.plan import Plan, plan
from oaq.kernels.table import native_rows
from oaq.numerics.affine import Affine
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec
from oaq.program.int_program import IntProgram, Node
from oaq.report.latency import interleave, pinned, quartiles, turn
from oaq.runtime import Session
from oaq.runtime.certify import check_plan

ROWS = ("gemm_u8s8_avx2_acc16", "gemm_u8s8_avx2_acc32", "gemm_u8s8_avx512bw_acc16", "gemm_u8s8_vnni")
OUTPUTS = 32
"""Outputs of a block: a multiple of every row's tile."""
Row = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Layer:
    """A convolution: side of the image, channels, side of the window."""

    side: int
    channels: int
    window: int

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.channels} x {self.channels}, {self.window} x {self.window}, at {self.side} x {self.side}"


LAYERS = (Layer(32, 64, 3), Layer(14, 256, 1))
SHARES = (0.0, 0.5, 0.75, 0.875)
BLOCKS = (1, 4)
"""k-quads of a block."""


def program(layer: Layer, share: float, steps: int) -> IntProgram:
    """One layer of which this share of the blocks is zero."""
    rng = np.random.default_rng([layer.side, steps])
    shape = (layer.channels, layer.window, layer.window, layer.channels)
    weight = rng.integers(-7, 8, shape)
    terms = layer.window**2 * layer.channels
    blocks = (layer.channels // OUTPUTS, terms // (4 * steps))
    zero = np.zeros(blocks[0] * blocks[1], np.bool_)
    zero[rng.permutation(zero.size)[: round(share * zero.size)]] = True
    mask = zero.reshape(blocks).repeat(OUTPUTS, axis=0).repeat(4 * steps, axis=1).reshape(shape)
    weight = np.where(mask, 0, weight).astype(np.int8)
    numbers = Requantize(np.full(layer.channels, 2e-3, np.float32))
    pad = layer.window // 2
    op = ops.Conv2d(weight, np.zeros(layer.channels, np.int32), numbers, padding=(pad,) * 4)
    size = (layer.side, layer.side, layer.channels)
    tensors = {name: TensorSpec(name, size, Affine(0.05, 0)) for name in ("x", "y")}
    return IntProgram("layer", ("x",), ("y",), tensors, (Node("conv", op, ("x",), "y"),))


def checked(network: IntProgram, row: str) -> tuple[Plan, Session, tuple[np.ndarray, ...]]:
    """The plan on one row, ready to run, and an input on which it equals the reference.

    Raises:
        Mismatch: it does not, or the checker refuses the plan.
    """
    planned = plan(network, rows=row)
    verdict = check_plan(planned)
    if not verdict.safe:
        raise Mismatch(f"{row}: {verdict.findings[0]}")
    session = Session(planned, threads=1)
    x = (np.random.default_rng(1).integers(0, 256, (1, *network.tensors["x"].shape)).astype(np.uint8),)
    if not np.array_equal(session.run_integers(x)[0], reference.run(network, x).outputs[0]):
        raise Mismatch(f"{row}: differs from the reference")
    return planned, session, x


def measure(layer: Layer, steps: int, row: str, rounds: int) -> list[tuple[Row, float]]:
    """A line, and how far repeats disagree, for each share of zeros."""
    plans, turns = {}, {}
    for share in SHARES:
        planned, session, x = checked(program(layer, share, steps), row)
        plans[share] = planned
        turns[f"{share:g}"] = turn(lambda session=session, x=x: session.run_integers(x))  # type: ignore[misc]
    seconds = interleave(turns, rounds, 20, 2)
    dense, lines = median(seconds["0"]), []
    for share, planned in plans.items():
        times = seconds[f"{share:g}"]
        middle, (low, high) = median(times), quartiles(times)
        schedule = planned.nodes[0].schedule
        assert schedule is not None
        row_cells = (
            ("layer", layer.name),
            ("row", row),
            ("quads of a block", str(steps)),
            ("zeros", f"{share * 100:g} %"),
            ("median, us", f"{middle * 1e6:.2f}"),
            ("speed", f"{dense / middle:.2f}"),
            ("predicted speed", f"{plans[0.0].seconds / planned.seconds:.2f}"),
            ("spills", str(schedule.spills)),
        )
        lines.append((row_cells, (high - low) / middle))
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Time; 1 if this CPU has none of the rows."""
    parser = argparse.ArgumentParser("python -m benchmarks.skipped", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each layer (default 15)")
    add_record(parser)
    flags = parser.parse_args(arguments)
    available = [row.name for row in native_rows() if row.available and row.name in ROWS]
    if not available:
        sys.stderr.write("benchmarks.skipped: this CPU runs none of the rows\n")
        return 1

    def measure_all() -> tuple[list[tuple[Row, float]], Disturbance]:
        watch = Watch(cpus)
        lines = [
            line
            for layer in LAYERS
            for steps in BLOCKS
            for row in available
            for line in measure(layer, steps, row, flags.rounds)
        ]
        return lines, watch.disturbance([spread for _, spread in lines])

    with pinned(1) as cpus:
        lines, disturbance = until_quiet(measure_all, 1)
    for line, _ in lines:
        sys.stdout.write("  ".join(value for _, value in line) + "\n")
    command = f"python -m benchmarks.skipped --rounds {flags.rounds}"
    result = Result("skipped", command, stamp(), rows=tuple(line for line, _ in lines), notes=(disturbance.words,))
    sys.stdout.write(f"{disturbance.words}\n{save(result, 'skipped', record=flags.record, disturbance=disturbance)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
