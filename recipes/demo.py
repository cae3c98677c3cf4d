r"""One real network, from photos to a proof to a table: what oaq does, on one page.

    make demo                      EfficientNet-Lite0
    make demo NET=mobilenet-v2
    python -m recipes.demo resnet18 --budget 1.0 --threads 2

Needs no photo of yours: weights and photos are fetched (recipes/data), checked and cached. Everything it writes goes to
``out/NETWORK``: the network as ``.oaq`` and ``.onnx``, ``report.html``, and every figure of the table in
``result.json``.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import oaq
from oaq import reference
from oaq.data.batches import Batch, Batches, read
from oaq.data.preprocess import KEY
from oaq.kernels.plan import Plan
from oaq.kernels.table import cpu_isas
from oaq.program.int_program import IntProgram
from oaq.ptq.execute import float_values
from oaq.ptq.options import Options
from oaq.ptq.quantize import QuantizeReport, quantize_with_report
from oaq.report import Evidence, ReportData, build_report, to_html
from oaq.report.agreement import compare
from oaq.report.build import verification
from oaq.report.comparison import distinct_plans
from oaq.report.evidence import lanes_of, layer_sqnr, observe
from oaq.report.evidence_part import EVIDENCE, evidence_part
from oaq.report.scores import Agreement
from oaq.report.text import execution_table, headline, latency_table
from oaq.runtime.values import to_integers
from oaq.terminal import say
from oaq.terminal.table import Table
from recipes import beside_onnxruntime, result_file
from recipes.data import photos
from recipes.exit_code import exit_code
from recipes.float_onnx import run_float
from recipes.integers import parse_budget
from recipes.networks import NETWORKS, Network
from recipes.result_file import Result, stamp

BATCH = 8
RECORDED = Path(__file__).parents[1] / "benchmarks" / "results"
"""Where --record puts the figures of README.md."""
OBSERVED = 4
"""Photos on which every register of every layer is watched: the reference is slow."""


class Steps:
    """Says which step runs, shows a moving bar while it does, and keeps how long each took."""

    def __init__(self) -> None:
        self.seconds: list[tuple[str, float]] = []

    @contextmanager
    def step(self, name: str, *, has_bars: bool = False) -> Iterator[None]:
        """Time one step, under a bar that moves unless the step ``has_bars`` of its own (a terminal shows one)."""
        start = time.perf_counter()
        with nullcontext() if has_bars else say.bar(name, None):
            yield
        seconds = time.perf_counter() - start
        self.seconds.append((name, round(seconds, 3)))
        say.words(f"  {name:<52} {seconds:7.2f} s")


@dataclass(frozen=True, eq=False)
class Data:
    """Photos as tensors.

    Attributes:
        calibration: batches to quantize on.
        test: (20, 3, H, W), the labelled photos, and their classes.
        views: five views each of the photos that calibration never sees, the labelled ones first.
    """

    calibration: Sequence[Batch]
    test: Batch
    labels: NDArray[np.int64]
    views: Batch


def load_data(network: Network, images: int) -> Data:
    """Fetch and decode every photo."""
    calibration = Batches(photos.calibration(images), network.preprocess, BATCH)
    labelled = photos.labelled()
    return Data(
        calibration=list(say.track(calibration, "decode photos to calibrate on")),
        test=np.concatenate([read(photo.path, network.preprocess) for photo in labelled]),
        labels=np.array([photo.label for photo in labelled]),
        views=np.concatenate(
            [
                photos.views(path, network.preprocess)
                for path in say.track(photos.comparison(), "decode photos to test on")
            ]
        ),
    )


def in_batches(x: Batch, label: str) -> Iterator[Batch]:
    """Cut ``x`` into batches, with a progress bar."""
    yield from say.track([x[start : start + BATCH] for start in range(0, len(x), BATCH)], label)


def agreement(net: torch.nn.Module, session: oaq.Session, data: Data, network: Network) -> tuple[Agreement, Agreement]:
    """Integers beside float: on the labelled photos, and on all views of all photos that calibration never saw."""
    exact = np.concatenate([run_float(net, x) for x in in_batches(data.views, "float network")])
    rounded = np.concatenate([np.asarray(session.run(x)) for x in in_batches(data.views, "integer network")])
    count = 5 * len(data.test)
    labels = data.labels.tolist() if network.trained else None
    on_labelled = compare({"y": exact[:count:5]}, {"y": rounded[:count:5]}, network.task, labels)
    return on_labelled, compare({"y": exact}, {"y": rounded}, network.task)


def quantize(
    net: torch.nn.Module, network: Network, data: Data, flags: argparse.Namespace
) -> tuple[IntProgram, QuantizeReport]:
    """oaq.quantize, what it did, and how photos are prepared noted in the program."""
    options = Options() if flags.budget is ... else Options(budget=flags.budget)
    program, quantized = quantize_with_report(net, data.calibration, options)
    metadata = {**program.metadata, KEY: network.preprocess.to_json(), "source": f"recipes.networks, {network.name}"}
    return dataclasses.replace(program, name=network.name, metadata=metadata), quantized


def layers_beside_float(
    program: IntProgram, quantized: QuantizeReport, x: Batch, integers: NDArray[np.uint8]
) -> dict[str, float]:
    """Decibels at every layer's output."""
    return layer_sqnr(program, reference.run(program, integers).tensors, float_values(quantized.graph, x))


def run(network: Network, flags: argparse.Namespace) -> int:
    """The whole path; returns the exit code."""
    steps = Steps()
    folder = flags.out / network.name
    folder.mkdir(parents=True, exist_ok=True)  # a folder that cannot be written to is said now, not in two minutes
    say.words(f"{network.name}, on {stamp().cpu}\n")
    with steps.step("fetch and load the weights", has_bars=True):
        net = network.load()
    with steps.step("fetch and decode the photos", has_bars=True):
        data = load_data(network, flags.images)
    with steps.step(f"quantize on {sum(map(len, data.calibration))} photos"):
        program, quantized = quantize(net, network, data, flags)
    with steps.step("analyze"):
        proof = oaq.analyze(program)
    with steps.step("plan"):
        plan = oaq.plan(program, proof=proof)
    plans = distinct_plans(oaq.plan(program, isa, proof=proof) for isa in cpu_isas() if isa != "scalar")
    session = oaq.Session(plan)
    with steps.step("compare with the float network", has_bars=True):
        labelled, unseen = agreement(net, session, data, network)
    with steps.step("watch the registers of every layer"):
        integers = to_integers(program, data.test[:OBSERVED])[0]
        observed = observe(program, [integers], lanes_of(plan))
        noise = layers_beside_float(program, quantized, data.test[:OBSERVED], integers)
    with steps.step("verify every executor here against the reference"):
        verified = oaq.verify(program, data.test)
    with steps.step("time, beside ONNX Runtime", has_bars=True):
        sample = data.test[:1], data.calibration
        timed = beside_onnxruntime.measure(net, plans, sample, threads=flags.threads, rounds=flags.rounds)
    evidence = Evidence(
        agreement=labelled,
        observed=tuple(observed.items()),
        sqnr_db=tuple(noise.items()),
        budget=None if flags.budget is ... else flags.budget,
        seconds=tuple(steps.seconds),
        notes=(
            "Agreement: the 20 labelled photos, none of which was calibrated on.",
            f"On {unseen.images} views of {unseen.images // 5} photos that calibration never saw: same class first on "
            f"{unseen.scores[0].agreement:.0f}, logit SQNR {unseen.least_sqnr_db:.2f} dB.",
            *(() if network.trained else ("The weights are random: classes mean nothing.",)),
        ),
    )
    report = build_report(plan, evidence, latency=timed, verification=verification(verified))
    write(folder, program, report, evidence)
    figures = figures_of(network, report, plans, unseen)
    written = result(network, flags, report, figures)
    result_file.write(written, folder / "result.json")
    if flags.record:
        result_file.store(written, RECORDED, f"demo_{network.name}")
    show(report, figures, folder)
    return 0 if verified.is_safe and report.proved_layers == len(report.layers) else 1


def write(folder: Path, program: IntProgram, report: ReportData, evidence: Evidence) -> None:
    """Everything a user takes away."""
    oaq.save(program, folder / f"{program.name}.oaq", {EVIDENCE: evidence_part(evidence)})
    oaq.export.onnx(program, folder / f"{program.name}.onnx")
    to_html(report, folder / "report.html")


def figures_of(
    network: Network, report: ReportData, plans: dict[str, Plan], unseen: Agreement
) -> tuple[tuple[str, str], ...]:
    """The lines of the final table, (what, figure)."""
    scores, checks = report.agreement, report.verification
    lines = [("layers proved, for every input", f"{report.proved_layers} of {len(report.layers)}")]
    if checks is not None:
        lines.append(("integers that differ, all executors", f"{checks.mismatches} of {checks.integers:,}"))
    for name, plan in plans.items():
        spills = f", average run {plan.average_run:.1f} quads" if plan.average_run else ""
        lines.append((f"{name}: predicted cost", f"{plan.cost:.2f}{spills}"))
    if scores is not None and network.trained:
        first = scores.scores[0]
        right = f"{first.float_value:.0f} / {first.int_value:.0f} of {scores.images}"
        lines.append(("labelled photos right, float / integers", right))
    if scores is not None:
        lines.append(("logit SQNR on the labelled photos", f"{scores.least_sqnr_db:.1f} dB"))
    lines.append((f"same class first on {unseen.images} unseen views", f"{unseen.scores[0].agreement:.0f}"))
    lines.append((f"logit SQNR on {unseen.images} unseen views", f"{unseen.least_sqnr_db:.1f} dB"))
    seconds = dict(report.seconds)
    lines.append(("analyze + plan", f"{seconds['analyze'] + seconds['plan']:.2f} s"))
    return tuple(lines)


def result(
    network: Network, flags: argparse.Namespace, report: ReportData, figures: tuple[tuple[str, str], ...]
) -> Result:
    """The figures with the command and the machine that made them."""
    command = f"python -m recipes.demo {network.name}"
    if flags.budget is not ...:
        command += f" --budget {'none' if flags.budget is None else flags.budget}"
    if flags.threads != 1:
        command += f" --threads {flags.threads}"
    rows = tuple((("step", name), ("seconds", f"{seconds:.3f}")) for name, seconds in report.seconds)
    return Result("demo", command, report.environment, report.latency, figures, rows, report.notes)


def show(report: ReportData, figures: tuple[tuple[str, str], ...], folder: Path) -> None:
    """The table."""
    tables = []
    if report.verification is not None:
        tables.append(execution_table(report.verification))
    if report.latency is not None:
        tables.append(latency_table(report.latency))
    tables.append(Table(report.name, ("", "figure"), figures, frozenset({1})))
    say.words(f"\n{headline(report)}\n")
    say.tables(tables)
    if report.verification is not None:
        say.words(f"\nsignature: {report.verification.signature}")
    say.words(f"\n{folder / 'report.html'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run; every refusal is one line."""
    parser = argparse.ArgumentParser(
        "python -m recipes.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", nargs="?", default="efficientnet-lite0", choices=sorted(NETWORKS))
    parser.add_argument(
        "--budget", type=parse_budget, default=..., metavar="B", help="see docs/how-to/choose-a-budget.md"
    )
    parser.add_argument("--images", type=int, default=64, metavar="N", help="photos to calibrate on (default 64)")
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="threads of every timed executor (default 1)"
    )
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="rounds of timing (default 20)")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="default: out")
    parser.add_argument("--record", action="store_true", help="also write the figures to benchmarks/results")
    flags = parser.parse_args(arguments)
    return exit_code("demo", lambda: run(NETWORKS[flags.network], flags))


if __name__ == "__main__":
    sys.exit(main())
