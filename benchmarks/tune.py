r"""``oaq tune`` on real networks: what it costs in decibels, what it saves in seconds, how long it takes.

    python -m benchmarks.tune [--keep build/tune] [--only own vendor vnni both]

* own: EfficientNet-Lite0 with 8 bits in every layer, tuned for AVX2 without data, in a process that cannot load torch.
  Beside it: the same program on its own 32-bit sums, and the float network on views of photos that nothing has seen.
  Floors: 16.3 dB to float, 25 % less time than on 32-bit sums, 180 s.
* vendor: EfficientNet-Lite3 as its vendor quantized it (int8 TFLite), tuned for AVX2 with photos.
* vnni: nothing to gain; the file is left alone.
* both: one file for AVX2 and AVX-512BW, beside the one for AVX2 only.

``--keep`` holds the programs that are tuned, so that a second run does not quantize again. Writes
``results/tune.json``; parts that did not run are named in it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import oaq
from benchmarks.harness import Result, add_record, save, stamp
from benchmarks.networks import WIDE
from oaq.data.batches import Batches
from oaq.kernels.plan import Plan, plan
from oaq.kernels.table import cpu_isas
from oaq.report.agreement import compare, sqnr_db
from oaq.runtime.values import to_integers
from oaq.terminal import say
from oaq.tune.choice import PROBES
from oaq.tune.decide import timed
from oaq.tune.synthetic import synthetic_integers
from recipes.data.photos import calibration
from recipes.data.quantized import efficientnet_lite3
from recipes.demo import load_data
from recipes.float_onnx import run_float
from recipes.networks import NETWORKS

NETWORK = "efficientnet-lite0"
ALONE = "import sys; sys.modules['torch'] = None; from oaq.cli import main; sys.exit(main(sys.argv[1:]))"
"""The command in a process where torch cannot be loaded."""
BUDGET = 1.25
"""A multiple of the fastest choice that leaves more time than the floor takes, and buys decibels with it."""
LEAST_DB, LEAST_SAVED, MOST_SECONDS = 16.3, 0.25, 180.0
SUMS_32 = WIDE["oaq avx2, 32-bit sums"]
VENDOR_SIDE, VENDOR_PHOTOS = 280, 8
Row = tuple[tuple[str, str], ...]
Integers = NDArray[np.uint8]


@dataclass(frozen=True)
class Run:
    """One call of ``oaq tune``.

    Attributes:
        answer: its JSON.
        seconds: of the whole process.
        out: the file it was asked to write.
    """

    answer: dict[str, Any]
    seconds: float
    out: Path

    @property
    def cost(self) -> tuple[tuple[str, str], ...]:
        """What the run took, for a row."""
        return (("seconds of the run", f"{self.seconds:.0f}"),)


def tuned(file: Path, out: Path, *options: str) -> Run:
    """Run the command with two threads; its progress goes to this terminal.

    Raises:
        CalledProcessError: it did not end with 0.
    """
    out.unlink(missing_ok=True)
    command = [sys.executable, "-c", ALONE, "tune", str(file), "--out", str(out), "--threads", "2", "--json", *options]
    begin = time.perf_counter()
    process = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Run(json.loads(process.stdout), time.perf_counter() - begin, out)


def w8a8(folder: Path) -> Path:
    """The network that is tuned: 8 bits in every layer, made once per folder."""
    path = folder / f"{NETWORK}-w8a8.oaq"
    if not path.exists():
        network = NETWORKS[NETWORK]
        batches = list(Batches(calibration(64), network.preprocess, 8))
        oaq.save(oaq.quantize(network.load(), batches, budget=None), path)
    return path


def seconds_of(plans: Sequence[Plan], x: Integers) -> list[float]:
    """Seconds of one sample on one thread, all plans interleaved."""
    return [times[0].seconds for times in timed([[one_plan] for one_plan in plans], [x], say.track)]


def tune_own(folder: Path) -> Iterator[Row]:
    """The floors."""
    file = w8a8(folder)
    run = tuned(file, folder / "tuned.oaq", "--isa", "avx2", "--budget", f"{BUDGET:g}")
    before, after = oaq.load(file), oaq.load(run.out)
    network = NETWORKS[NETWORK]
    views, net = load_data(network, 8).views, network.load()
    exact = np.concatenate([run_float(net, x) for x in np.array_split(views, 20)])
    x = to_integers(before, views[:1])[0]
    plans = [plan(before, "avx2", SUMS_32), plan(before, "avx2"), plan(after, "avx2")]
    on_sums_32, unchanged, narrow = seconds_of(plans, x)
    saved = 1 - narrow / on_sums_32
    programs = {"8 bits in every layer": before, "tuned without data": after}
    logits = {name: _logits(program, views) for name, program in programs.items()}
    for name, values in logits.items():
        agreement = compare({"y": exact}, {"y": values}, NETWORKS[NETWORK].task)
        row = [
            ("part", "own"),
            ("network", NETWORK),
            ("what", name),
            ("budget", "none" if name == "8 bits in every layer" else f"{BUDGET:g}"),
        ]
        row += [("SQNR to float, dB", f"{agreement.least_sqnr_db:.2f}")]
        row += [("same class first", f"{agreement.scores[0].agreement:.0f} of {agreement.images}")]
        if name == "8 bits in every layer":
            row += [("ms on 32-bit sums", f"{on_sums_32 * 1e3:.3f}"), ("ms", f"{unchanged * 1e3:.3f}")]
        else:
            to_own = sqnr_db(logits["8 bits in every layer"], values)
            row += [("SQNR to its own integers, dB", f"{to_own:.2f}"), ("ms", f"{narrow * 1e3:.3f}")]
            row += [("less time than on 32-bit sums", f"{saved:.1%}"), *run.cost, *_predicted(run)]
            holds = agreement.least_sqnr_db >= LEAST_DB and saved >= LEAST_SAVED and run.seconds <= MOST_SECONDS
            floors = f"{LEAST_DB} dB, {LEAST_SAVED:.0%} less time, {MOST_SECONDS:.0f} s"
            row += [(f"floors ({floors})", "reached" if holds else "missed")]
        yield tuple(row)


def _predicted(run: Run) -> tuple[tuple[str, str], ...]:
    """How far predictions of the last candidates were from what was measured."""
    last = run.answer["candidates"][PROBES:] or run.answer["candidates"]
    misses = [
        seconds / predicted - 1
        for candidate in last
        for seconds, predicted in zip(candidate["seconds"], candidate["predicted_seconds"], strict=True)
    ]
    noise = [candidate["sqnr_db"] - candidate["predicted_db"] for candidate in last if candidate["predicted_db"]]
    return (
        ("seconds beyond predicted, median", f"{np.median(misses):+.1%}"),
        ("dB beyond predicted, median", f"{np.median(noise):+.1f}" if noise else "no noise"),
    )


def _logits(program: oaq.IntProgram, views: NDArray[np.float32], parts: int = 20) -> NDArray[np.float32]:
    session = oaq.Session(oaq.plan(program), threads=2)
    return np.concatenate([np.asarray(session.run(x)) for x in np.array_split(views, parts)])


def tune_vendor(folder: Path) -> Iterator[Row]:
    """A file of another maker."""
    file = efficientnet_lite3()
    program = oaq.import_model(file).program
    preprocess = replace(NETWORKS[NETWORK].preprocess, size=(VENDOR_SIDE, VENDOR_SIDE), resize=None)
    photos = np.concatenate(list(Batches(calibration(2 * VENDOR_PHOTOS), preprocess, VENDOR_PHOTOS)))
    photos = np.ascontiguousarray(photos.transpose(0, 2, 3, 1))  # the file takes channels last
    np.save(folder / "photos.npy", photos[:VENDOR_PHOTOS])
    run = tuned(file, folder / "vendor.oaq", "--isa", "avx2", "--data", str(folder / "photos.npy"))
    after = oaq.load(run.out)
    plans = [plan(program, "avx2", SUMS_32), plan(program, "avx2"), plan(after, "avx2")]
    on_sums_32, unchanged, narrow = seconds_of(plans, to_integers(program, photos[:1])[0])
    to_own = sqnr_db(*(_logits(integers, photos[VENDOR_PHOTOS:], 2) for integers in (program, after)))
    yield (
        ("part", "vendor"),
        ("network", "EfficientNet-Lite3, int8 TFLite of its vendor"),
        ("SQNR to its own integers on other photos, dB", f"{to_own:.2f}"),
        ("ms on 32-bit sums", f"{on_sums_32 * 1e3:.3f}"),
        ("ms before", f"{unchanged * 1e3:.3f}"),
        ("ms", f"{narrow * 1e3:.3f}"),
        ("less time", f"{1 - narrow / unchanged:.1%}"),
        *run.cost,
        *_predicted(run),
    )


def tune_for_vnni(folder: Path) -> Iterator[Row]:
    """Sums are exact there."""
    run = tuned(w8a8(folder), folder / "vnni.oaq", "--isa", "vnni")
    outcome = "written" if run.out.exists() or run.answer["gained"] else "left as it is"
    yield (("part", "vnni"), ("file", outcome), ("note", run.answer["notes"][0]), *run.cost)


def tune_for_two(folder: Path) -> Iterator[Row]:
    """One file for two instruction sets, beside the one that was made for AVX2 only, timed on both."""
    file = w8a8(folder)
    runs = {
        "avx2": tuned(file, folder / "avx2.oaq", "--isa", "avx2"),
        "avx2 and avx512bw": tuned(file, folder / "both.oaq", "--isa", "avx2", "--isa", "avx512bw"),
    }
    program = oaq.load(file)
    x = synthetic_integers(program.tensors[program.inputs[0]], 1)
    plans = [plan(oaq.load(run.out), isa) for run in runs.values() for isa in ("avx2", "avx512bw")]
    seconds = seconds_of(plans, x)
    for at, (name, run) in enumerate(runs.items()):
        yield (
            ("part", "both"),
            ("tuned for", name),
            ("SQNR to its own integers, dB", f"{run.answer['sqnr_db']:.2f}"),
            ("ms on avx2", f"{seconds[2 * at] * 1e3:.3f}"),
            ("ms on avx512bw", f"{seconds[2 * at + 1] * 1e3:.3f}"),
            *run.cost,
        )


PARTS: dict[str, tuple[str, Callable[[Path], Iterator[Row]]]] = {
    "own": ("avx2", tune_own),
    "vendor": ("avx2", tune_vendor),
    "vnni": ("vnni", tune_for_vnni),
    "both": ("avx512bw", tune_for_two),
}
"""Instruction set that a part needs, and what it runs, by its name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts, write the result file."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.tune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="where programs are kept (default: a temporary folder)"
    )
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), default=tuple(PARTS), help="some of the parts")
    add_record(parser)
    flags = parser.parse_args(arguments)
    rows: list[Row] = []
    notes = ["times are medians of one sample on one thread; all programs of a row were timed in turn"]
    with ExitStack() as stack:
        folder = flags.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        for name, (isa, part) in PARTS.items():
            if name not in flags.only or isa not in cpu_isas():
                notes.append(f"not run: {name}{'' if isa in cpu_isas() else f' (this CPU has no {isa})'}")
                continue
            for row in part(folder):
                rows.append(row)
                say.words("  ".join(f"{key}: {value}" for key, value in row))
    command = " ".join(["python -m benchmarks.tune", *sys.argv[1:]])
    say.words(
        str(save(Result("tune", command, stamp(), rows=tuple(rows), notes=tuple(notes)), "tune", record=flags.record))
    )
    return int(any(value == "missed" for row in rows for _, value in row))


if __name__ == "__main__":
    sys.exit(main())
