"""Two threads beside busy neighbours: what a session loses, and what ONNX Runtime loses, in one run.

    python -m benchmarks.contended [efficientnet-lite0 mobilenet-v2 resnet18] [--seconds 12] [--isa avx2]

One and two threads of ours and of ONNX Runtime, on the same exported file, take turns on two CPUs: while nothing else
runs, beside one busy process bound to one of the CPUs, beside one on each, and while a pool of another library lives in
the same process and has just been used (ONNX Runtime's or torch's threads spin for a while then). Every load is there
for all four. Before what is timed as quiet all pools have gone to sleep, and the CPUs are at their speed again. The
median, the 90th and the 99th percentile of every one, and three floors: two threads of ours are not slower than 1.15
times one thread at the median; they lose no more milliseconds at the 90th percentile than ONNX Runtime's two, each
against its own when it is quiet; quiet, they are 1.75 times as fast as one.

Milliseconds, not times as long: the system takes a CPU away from each for the same few milliseconds, so by the second
measure the faster of two loses more for the same loss, even with one thread.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import numpy as np

import oaq
from benchmarks.busy import BusyMachine, Disturbance, Watch
from benchmarks.harness import Result, add_record, save, stamp
from oaq.data.batches import Batches
from oaq.program.int_program import IntProgram
from oaq.report.latency import pinned
from oaq.terminal import say
from oaq.terminal.table import Table, render
from recipes.data.photos import calibration
from recipes.networks import NETWORKS

SECONDS: Final = 12.0
"""Length of what is timed of one network under one load: some 300 calls of each of a small network."""
CALLS: Final = 5
"""Timed calls of a turn, after an untimed one."""
REST: Final = 0.05
"""Pause before a turn that is timed as quiet, in seconds: pools spin for a while after the turn of another."""
WARM_UP: Final = 0.02
"""Seconds of untimed calls after a rest: a CPU that slept computes slower for some milliseconds."""
MOST_SLOWER, LEAST_QUIET = 1.15, 1.75
"""Floors: two threads beside one of ours at the median under every load, and by how much faster they are quiet."""
OURS_1, OURS_2, PEER_1, PEER_2 = "oaq, 1 thread", "oaq, 2 threads", "onnxruntime, 1 thread", "onnxruntime, 2 threads"
QUIET: Final = "quiet"
NEIGHBOUR: Final = """
import os, sys
if sys.argv[1:]:
    os.sched_setaffinity(0, {int(sys.argv[1])})
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(1_000_000):
        pass
"""
Call = Callable[[], object]
Row = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Figures:
    """Milliseconds of calls of one executor under one load."""

    median: float
    p90: float
    p99: float
    calls: int


def figures(seconds: Sequence[float]) -> Figures:
    """Percentiles of at least two calls (inclusive method)."""
    cuts = quantiles(seconds, n=100, method="inclusive")
    return Figures(median(seconds) * 1e3, cuts[89] * 1e3, cuts[98] * 1e3, len(seconds))


@contextmanager
def neighbours(cpus: Sequence[int | None]) -> Iterator[None]:
    """A busy process on each of these CPUs, None being any. They end with this process, however it ends."""
    places = [() if cpu is None else (str(cpu),) for cpu in cpus]
    children = [subprocess.Popen([sys.executable, "-c", NEIGHBOUR, *place]) for place in places]
    try:
        time.sleep(0.3 if children else 0.0)
        yield
    finally:
        for child in children:
            child.kill()
            child.wait()


def onnxruntime_session(model: Path, threads: int) -> tuple[Any, Call]:
    """A session of ONNX Runtime with its defaults but for the number of threads; they spin after each call."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    (port,) = session.get_inputs()
    return session, port


def torch_pool() -> Call:
    """Work that torch shares between two threads of its own."""
    import torch

    torch.set_num_threads(2)
    a = torch.randn(256, 256)

    def use() -> None:
        with torch.inference_mode():
            torch.mm(a, a)

    return use


@dataclass(frozen=True, eq=False)
class Subject:
    """A network: the calls that are timed, and a call that leaves another pool of ONNX Runtime spinning."""

    name: str
    calls: Mapping[str, Call]
    other_pool: Call


def subject(name: str, program: IntProgram, folder: Path, isa: str | None) -> Subject:
    """Sessions of ours and of ONNX Runtime on the same network, compared with each other.

    Raises:
        RuntimeError: sessions of one and two threads compute different integers.
    """
    model = folder / f"{name}.onnx"
    oaq.export.onnx(program, model)
    plan = oaq.plan(program, isa)
    spec = program.tensors[program.inputs[0]]
    integers = np.random.default_rng(0).integers(spec.range.lo, spec.range.hi + 1, (1, *spec.shape)).astype(np.uint8)
    x = np.ascontiguousarray(spec.affine.dequantize(integers).transpose(0, 3, 1, 2), np.float32)
    single, double = oaq.Session(plan, threads=1), oaq.Session(plan, threads=2)
    if any(
        not np.array_equal(*pair)
        for pair in zip(single.run_integers(integers), double.run_integers(integers), strict=True)
    ):
        raise RuntimeError(f"{name}: one and two threads compute different integers")
    peers = [onnxruntime_session(model, threads) for threads in (1, 2, 2)]
    runs = [lambda session=session, port=port: session.run(None, {port.name: x}) for session, port in peers]
    calls = {OURS_1: lambda: single.run(x), OURS_2: lambda: double.run(x), PEER_1: runs[0], PEER_2: runs[1]}
    return Subject(name, calls, runs[2])


def timed(calls: Mapping[str, Call], before: Call | None, seconds: float, rest: float = 0.0) -> dict[str, Figures]:
    """Calls in turns, the order of which rotates, until so many seconds have passed and each had four turns.

    Args:
        calls: by name.
        before: done before every call, untimed.
        seconds: least length of all.
        rest: seconds without any work before every turn, which then begins with ``WARM_UP``.
    """
    names, spent = list(calls), {name: [] for name in calls}
    end, turn = time.perf_counter() + seconds, 0
    while time.perf_counter() < end or turn < 4:
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            time.sleep(rest)
            warm = time.perf_counter() + (WARM_UP if rest else 0.0)
            while time.perf_counter() < warm:
                calls[name]()
            for index in range(CALLS + 1):
                if before is not None:
                    before()
                start = time.perf_counter()
                calls[name]()
                if index:
                    spent[name].append(time.perf_counter() - start)
        turn += 1
    return {name: figures(values) for name, values in spent.items()}


def loads(cpus: Sequence[int], network: Subject) -> list[tuple[str, Sequence[int], Call | None]]:
    """Name of each load, CPUs that get a busy process, and what is done before every call."""
    return [
        (QUIET, (), None),
        ("1 busy process", cpus[:1], None),
        ("2 busy processes", cpus[:2], None),
        ("a pool of onnxruntime", (), network.other_pool),
        ("a pool of torch", (), torch_pool()),
    ]


def floors(name: str, under: Mapping[str, Mapping[str, Figures]]) -> list[Row]:
    """Every floor of a network: under which load, what was measured, the limit, whether it holds."""
    quiet = under[QUIET]
    speed_up = quiet[OURS_1].median / quiet[OURS_2].median
    rows = [_floor(name, QUIET, "2 threads, times faster", speed_up, f">= {LEAST_QUIET}", speed_up >= LEAST_QUIET)]
    for load, measured in under.items():
        if load == QUIET:
            continue
        slower = measured[OURS_2].median / measured[OURS_1].median
        loss, limit = (measured[executor].p90 - quiet[executor].p90 for executor in (OURS_2, PEER_2))
        rows += [
            _floor(name, load, "median of 2 threads over 1", slower, f"<= {MOST_SLOWER}", slower <= MOST_SLOWER),
            _floor(name, load, "ms lost at the 90th", loss, f"<= {limit:.2f}, onnxruntime's", loss <= limit),
        ]
    return rows


def _floor(name: str, load: str, measure: str, value: float, limit: str, holds: bool) -> Row:
    return (
        ("network", name),
        ("load", load),
        ("floor", measure),
        ("measured", f"{value:.2f}"),
        ("asked for", limit),
        ("holds", "yes" if holds else "NO"),
    )


def rows_of(name: str, under: Mapping[str, Mapping[str, Figures]]) -> list[Row]:
    """A row for each load and executor."""
    return [
        (
            ("network", name),
            ("load", load),
            ("executor", executor),
            ("median ms", f"{measured.median:.2f}"),
            ("90th ms", f"{measured.p90:.2f}"),
            ("99th ms", f"{measured.p99:.2f}"),
            ("calls", str(measured.calls)),
        )
        for load, by_executor in under.items()
        for executor, measured in by_executor.items()
    ]


def table(title: str, rows: Sequence[Row]) -> Table:
    """Rows of the same keys; all columns but the first three to the right."""
    head = tuple(key for key, _ in rows[0])
    values = tuple(tuple(value for _, value in row) for row in rows)
    return Table(title, head, values, frozenset(range(3, len(head))))


def prepared(name: str, keep: Path | None) -> IntProgram:
    """The network as integers; read from the folder, or quantized and written there."""
    file = keep / f"{name}.oaq" if keep is not None else None
    if file is not None and file.exists():
        return oaq.load(file)
    network = NETWORKS[name]
    program = oaq.quantize(network.load(), Batches(calibration(8), network.preprocess, 8))
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        oaq.save(program, file)
    return program


def measure(flags: argparse.Namespace) -> tuple[list[Row], list[Row], Disturbance]:
    """Rows of figures, rows of floors, and what other processes did meanwhile."""
    figures_, floors_ = [], []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        programs = {name: prepared(name, flags.keep) for name in flags.networks}
        cpus = stack.enter_context(pinned(2))
        watch = Watch(cpus)
        for name, program in programs.items():
            network = subject(name, program, folder, flags.isa)
            under: dict[str, Mapping[str, Figures]] = {}
            for load, busy, before in say.track(loads(cpus, network), name):
                with neighbours(busy):
                    under[load] = timed(network.calls, before, flags.seconds, REST if load == QUIET else 0.0)
            figures_ += rows_of(name, under)
            floors_ += floors(name, under)
        disturbance = watch.disturbance([0.0])
    return figures_, floors_, disturbance


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write the result file of an undisturbed run; 1 if a floor does not hold."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.contended", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=["efficientnet-lite0", "mobilenet-v2", "resnet18"])
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each network under each load")
    parser.add_argument("--isa", help="hold ours to it (default: the best here)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="folder of prepared networks: read, or written to")
    add_record(parser)
    flags = parser.parse_args(arguments)
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two CPUs are needed")
    rows, judged, disturbance = measure(flags)
    say.words(render([table("milliseconds", rows), table("floors", judged)]) + f"\n{disturbance.words}")
    command = " ".join(["python -m benchmarks.contended", *(sys.argv[1:] if arguments is None else arguments)])
    result = Result("contended", command, stamp(), rows=(*rows, *judged), notes=(disturbance.words,))
    try:
        name = "contended" + (f"_{flags.isa}" if flags.isa else "")
        say.words(str(save(result, name, record=flags.record, disturbance=disturbance)))
    except BusyMachine as busy:
        say.warn(str(busy))
        return 1
    return int(any(dict(row)["holds"] != "yes" for row in judged))


if __name__ == "__main__":
    sys.exit(main())
