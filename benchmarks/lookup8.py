"""Rows that look sums up beside rows that multiply: one layer, and a network shaped like ResNet-20 for CIFAR-10.

Weights are of two bits (-1, 0, 1, equally likely), operands of one, two and three; all integers are compared with the
reference before anything is timed, by the session's own clock. The network has 8 bits where its branches meet an
addition and in its first and last layer; each of its plans takes the cheapest of the matrix rows it is named for, by
the shipped costs, and no others.

    python -m benchmarks.lookup8 [--rounds 25] [--out lookup8]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Final

import numpy as np

from benchmarks.busy import Disturbance, Watch, until_quiet
from benchmarks.harness import Result, add_record, save, stamp
from oaq import operators as ops
from oaq import reference
from oaq.errors import Mismatch
from oaq.kernels.plan import plan
from oaq.kernels.table import native_rows
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec, output_shape
from oaq.operators.tensor import Shape
from oaq.program.int_program import IntProgram, Node
from oaq.report.latency import pinned, quartiles
from oaq.runtime import Session

LAYER: Final = (32, 32, 64)
"""(H, W, C) of a 3 x 3 convolution's input and output."""
STAGES: Final = ((16, 1), (32, 2), (64, 2))
"""Channels and stride of each stage of three blocks."""
BLOCKS: Final = 3
BITS: Final = (1, 2, 3)
PLANS: Final = {
    "vnni": ("vnni", ("gemm_u8s8_vnni",)),
    "acc16, avx512bw": ("avx512bw", ("gemm_u8s8_avx512bw_acc16",)),
    "acc16, avx2": ("avx2", ("gemm_u8s8_avx2_acc16",)),
    "lookup8 or vnni, vbmi": (None, ("gemm_u2s8_vbmi_lookup8", "gemm_u8s8_vnni")),
    "lookup8 or acc16, vbmi": (None, ("gemm_u2s8_vbmi_lookup8", "gemm_u8s8_avx512bw_acc16")),
    "lookup8 or acc16, avx2": ("avx2", ("gemm_u2s8_avx2_lookup8", "gemm_u8s8_avx2_acc16")),
}
"""Plans of the network: instruction set, and the matrix rows it may use."""
MULTIPLYING: Final = frozenset(names[0] for _, names in PLANS.values() if len(names) == 1)


@dataclass(frozen=True)
class Timed:
    """One measurement.

    Attributes:
        subject: the layer, by the bits of its operands, or the network.
        rows: by which it was computed.
        macs: multiply-accumulates of a sample.
        median_ns: of a sample on one thread.
        low_ns: lower quartile.
        high_ns: upper quartile.
        looked_up: layers whose sums were looked up.
    """

    subject: str
    rows: str
    macs: int
    median_ns: float
    low_ns: float
    high_ns: float
    looked_up: int

    @property
    def gmacs(self) -> float:
        """Multiply-accumulates per nanosecond."""
        return self.macs / self.median_ns


class Net:
    """A program in the making: one node after the other, seeded weights."""

    def __init__(self, name: str, shape: Shape, operands: IntRange) -> None:
        self.rng = np.random.default_rng(8)
        self.name = name
        self.tensors = {"x": TensorSpec("x", shape, Affine(1.0), operands)}
        self.nodes: list[Node] = []

    def add(self, op: ops.Op, inputs: Sequence[str], reach: IntRange, zero: int = 0) -> str:
        """A node and its output, of integers in ``reach``; returns the output's name."""
        name = f"t{len(self.nodes)}"
        shape = output_shape(op, [self.tensors[source].shape for source in inputs])
        self.tensors[name] = TensorSpec(name, shape, Affine(1.0, zero), reach)
        self.nodes.append(Node(f"n{len(self.nodes)}", op, tuple(inputs), name))
        return name

    def convolution(self, source: str, outputs: int, side: int, stride: int = 1) -> ops.Conv2d:
        """Weights of two bits; results that use a few steps of the output."""
        channels = self.tensors[source].shape[-1]
        weight = self.rng.integers(-1, 2, (outputs, side, side, channels)).astype(np.int8)
        scale = 1.5 / np.sqrt(side * side * channels) / max(self.tensors[source].range.hi / 3, 1)
        return ops.Conv2d(
            weight,
            self.rng.integers(-3, 4, outputs).astype(np.int32),
            Requantize(np.full(outputs, scale, np.float32)),
            stride=(stride, stride),
            padding=(side // 2,) * 4,
        )

    def finish(self) -> IntProgram:
        """The program."""
        return IntProgram(self.name, ("x",), (self.nodes[-1].output,), self.tensors, tuple(self.nodes))


def layer(bits: int) -> IntProgram:
    """A 3 x 3 convolution on operands of ``bits`` bits, whose results have as many."""
    few = IntRange(0, 2**bits - 1)
    net = Net(f"conv, {bits} bits", LAYER, few)
    net.add(net.convolution("x", LAYER[-1], 3), ["x"], few)
    return net.finish()


def network() -> IntProgram:
    """Nineteen convolutions and a linear layer; the operands of all but the first and the last have two bits."""
    few, wide = IntRange(0, 3), IntRange(0, 255)
    net = Net("ResNet-20, W2A2", (32, 32, 3), wide)
    x = net.add(net.convolution("x", STAGES[0][0], 3), ["x"], few)
    half = Requantize(np.full(2, 0.5, np.float32))
    for channels, first_stride in STAGES:
        for block in range(BLOCKS):
            stride = first_stride if block == 0 else 1
            inner = net.add(net.convolution(x, channels, 3, stride), [x], few)
            branch = net.add(net.convolution(inner, channels, 3), [inner], wide, zero=128)
            if stride > 1:
                x = net.add(net.convolution(x, channels, 1, stride), [x], wide, zero=128)
            x = net.add(ops.Add(half), [x, branch], few)
    pooled = net.add(ops.GlobalAvgPool(Requantize(np.full(1, 1.0, np.float32))), [x], wide)
    flat = net.add(ops.Reshape((STAGES[-1][0],)), [pooled], wide)
    weight = net.rng.integers(-127, 128, (10, STAGES[-1][0])).astype(np.int8)
    head = ops.Linear(weight, np.zeros(10, np.int32), Requantize(np.full(10, 0.01, np.float32)))
    net.add(head, [flat], wide, zero=128)
    return net.finish()


def macs_of(program: IntProgram) -> int:
    """Multiply-accumulates of a sample."""
    summing = [node for node in program.nodes if isinstance(node.op, ops.Products)]
    return sum(int(np.prod(program.tensors[n.output].shape)) * n.products.terms for n in summing)


def measure(program: IntProgram, rows: tuple[str, tuple[str, ...] | str], isa: str | None, rounds: int) -> Timed:
    """Compare with the reference, then time.

    Raises:
        Mismatch: the plan computes other integers.
    """
    label, names = rows
    table = [row for row in native_rows() if row.available and (row.family != "gemm" or row.name in names)]
    planned = plan(program, isa=isa, table=table, costs="shipped")
    session = Session(planned, threads=1)
    spec = program.tensors["x"]
    x = np.random.default_rng(1).integers(0, spec.range.hi + 1, (1, *spec.shape)).astype(np.uint8)
    actual, expected = session.run_integers(x)[0], reference.run(program, x).outputs[0]
    if not np.array_equal(actual, expected):
        raise Mismatch(f"{program.name}, {label}: {np.sum(actual != expected)} of {actual.size} integers differ")
    times = []
    for index in range(-3, rounds):
        session.run_integers(x)
        if index >= 0:
            times.append(float(sum(node.nanoseconds for node in session.profile())))
    low, high = quartiles(times)
    looked_up = sum(node.row.looks_up for node in planned.nodes)
    return Timed(program.name, label, macs_of(program), median(times), low, high, looked_up)


def points(rounds: int) -> list[Timed]:
    """Every row on the layers, then every plan of the network; what this CPU cannot run is left out."""
    here = {row.name: row for row in native_rows() if row.available and row.family == "gemm"}
    result = []
    for bits in BITS:
        program, most = layer(bits), 2**bits - 1
        fitting = [name for name, row in here.items() if row.x_range.hi == most or name in MULTIPLYING]
        result += [measure(program, (name, name), None, rounds) for name in fitting]
    program = network()
    for label, (isa, names) in PLANS.items():
        if set(names) <= set(here):
            result.append(measure(program, (label, names), isa, rounds))
    return result


def table(results: Sequence[Timed]) -> str:
    """Text: microseconds, and how many times as fast as each of the rows that multiply."""
    lines = [f"{'subject':<16} {'rows':<26} {'us':>8} {'GMAC/s':>8} {'looked up':>10}   times as fast as"]
    for point in results:
        others = [other for other in results if other.subject == point.subject and other.looked_up == 0]
        ratios = ", ".join(
            f"{other.rows.removeprefix('gemm_')} {other.median_ns / point.median_ns:.2f}" for other in others
        )
        lines.append(
            f"{point.subject:<16} {point.rows:<26} {point.median_ns / 1e3:>8.1f} {point.gmacs:>8.1f} "
            f"{point.looked_up:>10}   {ratios if point.looked_up else ''}".rstrip()
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write the result file."""
    parser = argparse.ArgumentParser("python -m benchmarks.lookup8", description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--out", default="lookup8", help="name of the file in benchmarks/results")
    add_record(parser)
    flags = parser.parse_args(arguments)

    def measured() -> tuple[list[Timed], Disturbance]:
        watch = Watch(cpus)
        timed = points(flags.rounds)
        return timed, watch.disturbance([(point.high_ns - point.low_ns) / point.median_ns for point in timed])

    with pinned(1) as cpus:
        results, disturbance = until_quiet(measured)
    rows = tuple(
        tuple((key, f"{value:.4g}" if isinstance(value, float) else str(value)) for key, value in pairs)
        for pairs in ((*asdict(point).items(), ("gmacs", point.gmacs)) for point in results)
    )
    result = Result("kernels", "python -m benchmarks.lookup8", stamp(), rows=rows, notes=(disturbance.words,))
    sys.stdout.write(f"{table(results)}\n{disturbance.words}\n")
    sys.stdout.write(f"{save(result, flags.out, record=flags.record, disturbance=disturbance)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
