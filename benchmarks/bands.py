"""An expanding, a depthwise and a projecting layer: over the whole image, and over a few lines at a time.

    python -m benchmarks.bands [--rounds 15]

If what the first layer writes left the caches before the second reads it, computing a band of lines through all three
would be faster. A band is timed as an image of its own, in turns with the whole one, and its time is taken per line of
output: neither the lines that neighbouring bands would share nor their bookkeeping are in it, so this is the most that
bands could gain. Blocks are the inner ones of EfficientNet-Lite0 and MobileNetV2 at 224 and the first ones of
MobileNetV2 at 640, with weights in [-1, 1].
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
from oaq.kernels.plan import plan
from oaq.kernels.table import cpu_isas
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec
from oaq.program.int_program import IntProgram, Node
from oaq.report.latency import pinned, quartiles
from oaq.runtime import Session

Row = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Block:
    """Size of the image, channels before, between and after, side of the depthwise window, lines of a band, stride."""

    side: int
    channels: int
    expanded: int
    projected: int
    window: int
    band: int
    stride: int = 1

    @property
    def name(self) -> str:
        """For people."""
        sizes = f"{self.channels} to {self.expanded} to {self.projected} channels"
        steps = f" by {self.stride}" if self.stride > 1 else ""
        return f"{self.side} x {self.side}, {sizes}, {self.window} x {self.window}{steps}"


BLOCKS = (
    Block(112, 16, 96, 24, 3, 14),
    Block(56, 24, 144, 24, 3, 14),
    Block(56, 24, 144, 40, 5, 14),
    Block(28, 40, 240, 40, 5, 14),
    Block(14, 112, 672, 112, 5, 7),
    Block(320, 16, 96, 24, 3, 20, 2),
    Block(160, 24, 144, 24, 3, 20),
    Block(160, 24, 144, 32, 3, 20, 2),
)


def program(block: Block, lines: int) -> IntProgram:
    """The three layers on so many lines."""
    rng = np.random.default_rng(0)
    pad = block.window // 2
    layers = (
        ("expand", block.channels, block.expanded, 1),
        ("depthwise", block.expanded, block.expanded, block.window),
        ("project", block.expanded, block.projected, 1),
    )
    shape = (lines, block.side)
    tensors, nodes, before = {"x": TensorSpec("x", (*shape, block.channels), Affine(0.05), IntRange(0, 127))}, [], "x"
    for name, inputs, outputs, window in layers:
        deep = name == "depthwise"
        op = ops.Conv2d(
            weight=rng.integers(-1, 2, (outputs, window, window, 1 if deep else inputs)).astype(np.int8),
            bias=rng.integers(-100, 100, outputs).astype(np.int32),
            requantize=Requantize(np.full(outputs, 0.05, np.float32)),
            stride=(block.stride, block.stride) if deep else (1, 1),
            padding=(pad, pad, pad, pad) if deep else (0, 0, 0, 0),
            groups=outputs if deep else 1,
        )
        if deep:
            shape = (-(-shape[0] // block.stride), -(-shape[1] // block.stride))
        tensors[name] = TensorSpec(name, (*shape, outputs), Affine(0.05), IntRange(0, 127))
        nodes.append(Node(name, op, (before,), name))
        before = name
    return IntProgram(f"{lines} lines", ("x",), (before,), tensors, tuple(nodes))


def measured(block: Block, isa: str, rounds: int) -> tuple[Row, float]:
    """One row of the result, and how far its repeats disagree.

    Raises:
        Mismatch: a session computes other integers than the reference.
    """
    programs = [program(block, lines) for lines in (block.side, block.band)]
    x = np.random.default_rng(1).integers(0, 128, (1, block.side, block.side, block.channels)).astype(np.uint8)
    inputs = [x, np.ascontiguousarray(x[:, : block.band])]
    sessions = [Session(plan(whole_or_band, isa), threads=1) for whole_or_band in programs]
    for whole_or_band, session, integers in zip(programs, sessions, inputs, strict=True):
        if not np.array_equal(session.run_integers(integers)[0], reference.run(whole_or_band, integers).outputs[0]):
            raise Mismatch(f"{block.name}, {isa}, {whole_or_band.name}: other integers than the reference")
    bands = block.side // block.band
    microseconds: list[list[float]] = [[], []]
    for _ in range(rounds):
        for index, session in enumerate(sessions):
            for repeat in range(1 + (bands if index else 1) * 4):
                session.run_integers(inputs[index])
                if repeat:  # the first finds the caches full of the other's
                    microseconds[index].append(sum(node.nanoseconds for node in session.profile()) / 1e3)
    whole_time, band = median(microseconds[0]), median(microseconds[1]) * bands
    low, high = quartiles(microseconds[0])
    row = (
        ("block", block.name),
        ("isa", isa),
        ("whole us", f"{whole_time:.1f}"),
        ("bands", str(bands)),
        ("in bands us", f"{band:.1f}"),
        ("bands / whole", f"{band / whole_time:.3f}"),
    )
    return row, (high - low) / whole_time


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every block on every instruction set, print, write the result file."""
    parser = argparse.ArgumentParser("python -m benchmarks.bands", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    add_record(parser)
    flags = parser.parse_args(arguments)
    isas = [isa for isa in cpu_isas() if isa != "scalar"]

    def measure_all() -> tuple[list[tuple[Row, float]], Disturbance]:
        watch = Watch(cpus)
        rows = [measured(block, isa, flags.rounds) for block in BLOCKS for isa in isas]
        return rows, watch.disturbance([spread for _, spread in rows])

    with pinned(1) as cpus:
        rows, disturbance = until_quiet(measure_all)
    for row, _ in rows:
        sys.stdout.write(", ".join(f"{name} {value}" for name, value in row) + "\n")
    command = "python -m benchmarks.bands"
    result = Result("bands", command, stamp(), rows=tuple(row for row, _ in rows), notes=(disturbance.words,))
    sys.stdout.write(f"{disturbance.words}\n{save(result, 'bands', record=flags.record, disturbance=disturbance)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
