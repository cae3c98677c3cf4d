r"""Predicted against measured time, node by node and for whole networks, on every instruction set.

    python -m benchmarks.cost_model [NETWORK ...] [--costs calibrated] [--keep DIR]

The costs are fitted to synthetic layers (``oaq calibrate``), never to these networks. Times are of the session's own
clock, one thread, one sample; plans are those of the default budget, and on AVX2 also the network with 32-bit sums.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

import oaq
from benchmarks.harness import Result, add_record, save, stamp
from benchmarks.unseen_networks import UNSEEN
from oaq.data.batches import Batches
from oaq.kernels.cost import CostTable
from oaq.kernels.cost_files import costs_from
from oaq.kernels.plan import Plan
from oaq.kernels.table import cpu_isas
from oaq.report.latency import pinned
from oaq.report.profile import profile
from oaq.terminal import say
from oaq.terminal.table import Table, render
from recipes.data.photos import calibration
from recipes.networks import NETWORKS

DEFAULT = ("efficientnet-lite0", "mobilenet-v2", "resnet18", *UNSEEN)
WIDE = ("gemm_u8s8_avx2_acc32", "depthwise_u8s8_avx2_exact")
LEAST_NS = 1000
"""Nodes below a microsecond are left out of per-node errors: the clock itself takes a tenth of that."""


@dataclass(frozen=True)
class Point:
    """One node: seconds predicted and measured."""

    node: str
    row: str
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        """Relative."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True)
class Subject:
    """One plan of one network and what its nodes took."""

    network: str
    plan: str
    points: tuple[Point, ...]

    @property
    def whole_error(self) -> float:
        """Relative, of the sum of all nodes."""
        return sum(point.predicted for point in self.points) / sum(point.measured for point in self.points) - 1

    @property
    def errors(self) -> list[float]:
        """Absolute relative errors of nodes that take at least ``LEAST_NS``."""
        return [abs(point.error) for point in self.points if point.measured * 1e9 >= LEAST_NS]


def program_of(name: str, keep: Path | None) -> tuple[oaq.IntProgram, np.ndarray]:
    """A network quantized to the default budget, and one photo as it wants it."""
    network = NETWORKS.get(name) or UNSEEN[name]
    batches = list(Batches(calibration(16 if name in UNSEEN else 64), network.preprocess, 8))
    file = keep / f"{name}.oaq" if keep is not None else None
    if file is not None and file.exists():
        return oaq.load(file), batches[0][:1]
    program = oaq.quantize(network.load(), batches)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        oaq.save(program, file)
    return program, batches[0][:1]


def plans(program: oaq.IntProgram, costs: CostTable) -> Iterator[tuple[str, Plan]]:
    """Plans by name: one per instruction set here, and 32-bit sums."""
    for isa in cpu_isas():
        if isa != "scalar":
            yield isa, oaq.plan(program, isa, costs=costs)
    if "avx2" in cpu_isas():
        yield "avx2, 32-bit sums", oaq.plan(program, "avx2", WIDE, costs=costs)


def subjects(name: str, costs: CostTable, keep: Path | None, repeats: int) -> Iterator[Subject]:
    """Predict and time every plan of one network."""
    program, x = program_of(name, keep)
    with pinned(1):
        for label, plan in plans(program, costs):
            times = profile(plan, x, 1, repeats)
            points = [
                Point(node_time.name, node_time.row, planned.cost, node_time.microseconds * 1e-6)
                for planned, node_time in zip(plan.nodes, times, strict=True)
                if node_time.microseconds
            ]
            yield Subject(name, label, tuple(points))


def table(subjects: Sequence[Subject]) -> str:
    """One line per plan."""
    rows = tuple(
        (
            subject.network,
            subject.plan,
            f"{1e3 * sum(p.measured for p in subject.points):.2f}",
            f"{1e3 * sum(p.predicted for p in subject.points):.2f}",
            f"{100 * subject.whole_error:+.1f} %",
            f"{100 * median(subject.errors):.1f} %",
            f"{100 * float(np.quantile(subject.errors, 0.9)):.1f} %",
            str(len(subject.errors)),
        )
        for subject in subjects
    )
    head = ("network", "plan", "measured ms", "predicted ms", "whole", "median node", "nine in ten below", "nodes")
    return render([Table("Predicted against measured", head, rows, frozenset(range(2, 8)))])


def draw(subjects: Sequence[Subject], path: Path) -> None:
    """Every node as a point, one panel per network."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "oaq"
    from matplotlib import pyplot

    names = list(dict.fromkeys(subject.network for subject in subjects))
    figure, panels = pyplot.subplots(1, len(names), figsize=(3.4 * len(names), 3.6), squeeze=False, sharey=True)
    for panel, name in zip(panels[0], names, strict=True):
        for panel_subject in (subject for subject in subjects if subject.network == name):
            timed = [p for p in panel_subject.points if p.measured * 1e9 >= LEAST_NS]
            x, y = [1e6 * p.measured for p in timed], [1e6 * p.predicted for p in timed]
            panel.plot(x, y, ".", markersize=4, label=panel_subject.plan, alpha=0.7)
        ends = np.array([1.0, 2000.0])
        panel.plot(ends, ends, "k-", linewidth=0.6)
        panel.fill_between(ends, ends * 0.85, ends * 1.15, color="k", alpha=0.08, linewidth=0)
        panel.set(xscale="log", yscale="log", title=name, xlabel="measured, us")
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("predicted, us (band: 15 %)")
    panels[0][0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def rows_of(subjects: Sequence[Subject]) -> tuple[tuple[tuple[str, str], ...], ...]:
    """A summary per plan, then every node of every plan."""
    summary = [
        (
            ("network", subject.network),
            ("plan", subject.plan),
            ("measured_ms", f"{1e3 * sum(p.measured for p in subject.points):.4f}"),
            ("predicted_ms", f"{1e3 * sum(p.predicted for p in subject.points):.4f}"),
            ("whole_error", f"{subject.whole_error:.4f}"),
            ("median_node_error", f"{median(subject.errors):.4f}"),
        )
        for subject in subjects
    ]
    nodes = [
        (
            ("network", subject.network),
            ("plan", subject.plan),
            ("node", p.node),
            ("row", p.row),
            ("measured_us", f"{1e6 * p.measured:.2f}"),
            ("predicted_us", f"{1e6 * p.predicted:.2f}"),
        )
        for subject in subjects
        for p in subject.points
    ]
    return (*summary, *nodes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write the result file and the picture."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.cost_model", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=list(DEFAULT), metavar="NETWORK", help=", ".join(DEFAULT))
    parser.add_argument("--costs", default="shipped", help="shipped, calibrated or a file (default: shipped)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="quantized networks: read from here, or written")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--out", default="cost_model", help="name of the files in benchmarks/results")
    add_record(parser)
    flags = parser.parse_args(arguments)
    costs = costs_from(flags.costs)
    measured: list[Subject] = []
    for name in say.track(flags.networks, "networks"):
        measured += subjects(name, costs, flags.keep, flags.repeats)
    facts = (("costs of", costs.cpu), *costs.stamp)
    result = Result("cost_model", "python -m benchmarks.cost_model", stamp(), facts=facts, rows=rows_of(measured))
    path = save(result, flags.out, record=flags.record)
    draw(measured, path.with_suffix(".svg"))
    say.words(f"{table(measured)}\n{path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
