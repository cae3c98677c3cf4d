"""What a session costs besides its time: loading, memory, batches, threads.

    python -m benchmarks.session [efficientnet-lite0 mobilenet-v2 resnet18]

Loading is ``oaq.load``, ``oaq.plan`` and ``oaq.Session`` (the independent check of the plan included), each in a
process of its own, median of several. Memory is by how much a session's peak exceeds what was resident before it,
beside the bound asked of it: weights, twice the largest pair of live activations, 8 MiB. Batch 8 and two threads are
beside batch 1 and one thread, in turns. Writes ``results/session.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

import oaq
from benchmarks.busy import Disturbance, Watch
from benchmarks.harness import Result, add_record, save, stamp
from oaq.data.batches import Batches
from oaq.program.int_program import IntProgram
from oaq.report.latency import interleave, pinned, quartiles, turn
from oaq.terminal import say
from recipes.data.photos import calibration
from recipes.networks import NETWORKS

REPEATS = 5
ROUNDS = 15
MIB = 1 << 20
Row = tuple[tuple[str, str], ...]


def child(path: str) -> None:
    """Load, plan, build, run once; say what each took."""
    np.zeros(1).sum()
    start = time.perf_counter()
    program = oaq.load(path)
    loaded = time.perf_counter()
    plan = oaq.plan(program)
    planned = time.perf_counter()
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    session = oaq.Session(plan, threads=1)
    built = time.perf_counter()
    spec = program.tensors[program.inputs[0]]
    session.run_integers(np.full((1, *spec.shape), spec.range.lo, np.uint8))
    after = _status("VmHWM")
    answer = {"load": loaded - start, "plan": planned - loaded, "session": built - planned, "growth": after - before}
    sys.stdout.write(json.dumps(answer) + "\n")


def _status(field: str) -> int:
    """Bytes, as the kernel says: VmRSS is resident now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def in_a_process(path: Path) -> dict[str, float]:
    """``child`` in a fresh interpreter."""
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.session", "--child", str(path)],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(process.stdout.splitlines()[-1])


def peak(program: IntProgram) -> str:
    """Memory by which a session of one thread exceeds what was resident before it, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        oaq.save(program, path := Path(folder) / "net.oaq")
        return f"{in_a_process(path)['growth'] / MIB:.1f} MiB"


def allowed(program: IntProgram) -> int:
    """Bytes a session may add: weights, twice the largest pair of tensors that live at once, 8 MiB."""
    weights = sum(node.products.weight.size + 4 * node.products.bias.size for node in program.summing_nodes())
    sizes = {name: int(np.prod(spec.shape)) for name, spec in program.tensors.items()}
    pair = max(sum(sizes[name] for name in {*node.inputs, node.output}) for node in program.nodes)
    return weights + 2 * pair + 8 * MIB


def throughput(program: IntProgram) -> tuple[dict[str, float], Disturbance]:
    """Milliseconds per sample: batch 1, batch 8, and batch 1 on two threads; what the machine did besides."""
    spec = program.tensors[program.inputs[0]]
    x = np.random.default_rng(0).integers(spec.range.lo, spec.range.hi + 1, (8, *spec.shape)).astype(np.uint8)
    plan = oaq.plan(program)
    with pinned(2) as cpus:
        single, double = oaq.Session(plan, threads=1), oaq.Session(plan, threads=2)
        turns = {
            "batch 1": turn(lambda: single.run_integers(x[:1])),
            "batch 8": turn(lambda: single.run_integers(x)),
            "2 threads": turn(lambda: double.run_integers(x[:1])),
        }
        watch = Watch(cpus)
        seconds = interleave(turns, ROUNDS, 3, warm_up=2)
        ends = {name: quartiles(values) for name, values in seconds.items()}
        disturbance = watch.disturbance([(high - low) / median(seconds[name]) for name, (low, high) in ends.items()])
    milliseconds = {name: median(values) * 1e3 for name, values in seconds.items()}
    return {**milliseconds, "batch 8": milliseconds["batch 8"] / 8}, disturbance


def measure(name: str, folder: Path) -> Row:
    """One network."""
    network = NETWORKS[name]
    with say.bar(name, None):
        program = oaq.quantize(network.load(), Batches(calibration(16), network.preprocess, 8))
        oaq.save(program, path := folder / f"{name}.oaq")
        runs = [in_a_process(path) for _ in range(REPEATS)]
        times, disturbance = throughput(program)
    disturbance.require_quiet()
    seconds = {key: median(run[key] for run in runs) for key in runs[0]}
    return (
        ("network", name),
        ("load ms", f"{seconds['load'] * 1e3:.0f}"),
        ("plan ms", f"{seconds['plan'] * 1e3:.0f}"),
        ("session ms", f"{seconds['session'] * 1e3:.0f}"),
        ("resident growth MiB", f"{seconds['growth'] / MIB:.1f}"),
        ("growth allowed MiB", f"{allowed(program) / MIB:.1f}"),
        *((f"{key}, ms per sample", f"{value:.3f}") for key, value in times.items()),
        ("2 threads, times faster", f"{times['batch 1'] / times['2 threads']:.2f}"),
        ("batch 8, times faster", f"{times['batch 1'] / times['batch 8']:.2f}"),
        ("repeats", disturbance.words),
    )


def main() -> None:
    """Measure and write ``results/session.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=["efficientnet-lite0", "mobilenet-v2", "resnet18"])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    add_record(parser)
    flags = parser.parse_args()
    if flags.child:
        child(flags.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = tuple(measure(name, Path(folder)) for name in flags.networks)
    say.words("\n".join(str(dict(row)) for row in rows))
    save(Result("session", "python -m benchmarks.session", stamp(), rows=rows), "session", record=flags.record)


if __name__ == "__main__":
    main()
