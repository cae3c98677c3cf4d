"""A segmenter as proved integers beside ordinary int8 of the same float network: what masks are worth, what they take.

    python -m recipes.segmentation --qat                     first: it trains the network and writes the programs
    python -m benchmarks.segmentation accuracy unet --record
    python -m benchmarks.segmentation time unet --record

Ordinary int8 (``benchmarks.ordinary_int8``) is calibrated on the same samples. ``accuracy`` needs no quiet machine;
``time`` does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

import oaq
from benchmarks.harness import Result, save, stamp
from benchmarks.ordinary_int8 import HELD, SIDES, answers_of, int8_files
from benchmarks.process_peer import LEAST_HELD_SQNR_DB, ProcessPeer, child_contender
from benchmarks.side_by_side import add_timing, timed, written
from oaq.data.photos import prepare
from oaq.errors import FormatError
from oaq.report.comparison import our_contenders, peer_contender
from oaq.report.latency import pinned
from oaq.report.peers import openvino_peer
from oaq.runtime import Session
from oaq.tasks import Task
from oaq.tasks.segment import mean_iou_of, pixel_accuracy_of
from oaq.terminal import say
from oaq.terminal.table import Table
from recipes.exit_code import exit_code
from recipes.segmentation.networks import NETWORKS, OUTPUT, SegmentationNetwork, load_float
from recipes.segmentation.samples import Masked
from recipes.segmentation.scoring import FLOAT, Runner, score_set

IMAGES: Final = 64
"""Samples that the peers' int8 is calibrated on."""
PTQ, TRAINED = "int16, proved", "int16, trained, proved"
Batch = NDArray[np.float32]


def peer_files(net: torch.nn.Module, task: Task, network: SegmentationNetwork, folder: Path) -> dict[str, Path]:
    """Ordinary int8 files by name, calibrated on samples that the network is trained on."""
    batches = [x.numpy() for x, _ in network.source(task.preprocess.size[0], IMAGES).batches(8)]
    return int8_files(net, batches, folder, (OUTPUT,))


def programs_of(folder: Path, name: str) -> dict[str, oaq.IntProgram]:
    """What the recipe left in its folder: quantized, and trained if it was.

    Raises:
        FormatError: it left nothing.
    """
    paths = {PTQ: folder / f"{name}.oaq", TRAINED: folder / f"{name}.trained.oaq"}
    if not paths[PTQ].exists():
        raise FormatError(f"{paths[PTQ]}: no such file; it is written by: python -m recipes.segmentation {name}")
    return {title: oaq.load(str(path)) for title, path in paths.items() if path.exists()}


def runners_of(
    net: torch.nn.Module, programs: Mapping[str, oaq.IntProgram], files: Mapping[str, Path], x: Batch
) -> dict[str, Runner]:
    """Everything that answers, by name; peers have answered all samples of ``x`` and give their answers in order."""

    def run_float(row: Batch) -> Batch:
        with torch.inference_mode():
            return net(torch.from_numpy(row)).numpy()

    runners: dict[str, Runner] = {FLOAT: run_float}
    for side in (side for side in SIDES if side.file in files):
        (maps,) = answers_of(side, files, x)
        answers = iter(np.split(maps, len(maps)))
        runners[side.title] = lambda row, answers=answers: next(answers)
    for title, program in programs.items():
        session = Session(oaq.plan(program, "avx2"))
        runners[title] = lambda row, session=session: np.asarray(session.run(row))
    return runners


def accuracy_rows(
    net: torch.nn.Module,
    task: Task,
    programs: Mapping[str, oaq.IntProgram],
    files: Mapping[str, Path],
    sets: Mapping[str, Sequence[Masked]],
) -> tuple[tuple[tuple[str, str], ...], ...]:
    """A line per set and side: mIoU, pixel accuracy, mIoU with float's masks for the truth, in percent."""
    rows = []
    for name, samples in sets.items():
        x = np.stack([prepare(sample.photo, task.preprocess) for sample in samples])
        scored = score_set(runners_of(net, programs, files, x), task, samples, name)
        for title, counts in scored.counts.items():
            values = mean_iou_of(counts), pixel_accuracy_of(counts), mean_iou_of(scored.agreement[title])
            figures = (f"{100 * value:.2f}" for value in values)
            columns = ("mIoU", "pixel accuracy", "agreement")
            rows.append(
                (("set", name), ("photos", str(scored.photos)), ("network", title), *zip(columns, figures, strict=True))
            )
    return tuple(rows)


def run_accuracy(flags: argparse.Namespace) -> int:
    """Score every side and write the result file; returns the exit code."""
    network, folder = NETWORKS[flags.network], flags.out / flags.network
    net, task = load_float(network, flags.weights, network.rows, folder, network.floating.epochs)
    with tempfile.TemporaryDirectory() as scratch:
        files = peer_files(net, task, network, flags.keep or Path(scratch))
        rows = accuracy_rows(net, task, programs_of(folder, network.name), files, network.tests(flags.scenes))
    titles = tuple(key for key, _ in rows[0])
    lines = tuple(tuple(value for _, value in row) for row in rows)
    say.tables([Table(network.name, titles, lines, frozenset(range(3, len(titles))))])
    command = f"python -m benchmarks.segmentation accuracy {network.name}"
    result = Result("segmentation_peers", command, stamp(), rows=rows, notes=(network.note,))
    say.words(f"{save(result, f'segmentation_peers_{network.name}', record=flags.record)}")
    return 0


def run_time(flags: argparse.Namespace) -> int:
    """Check and time ours and OpenVINO's int8, side by side, and write the result file; returns the exit code.

    Raises:
        Mismatch: our integers are not those of the reference.
    """
    network, folder = NETWORKS[flags.network], flags.out / flags.network
    net, task = load_float(network, flags.weights, network.rows, folder, network.floating.epochs)
    samples = next(iter(network.tests(1).values()))
    x = prepare(samples[len(samples) // 2].photo, task.preprocess)[None]
    program = programs_of(folder, network.name)[PTQ]
    isas = flags.isa or ("avx2", oaq.plan(program).isa)
    plans = {f"oaq {isa}": oaq.plan(program, isa) for isa in isas}
    with torch.inference_mode():
        real = net(torch.from_numpy(x)).numpy()
    with ExitStack() as stack:
        scratch = flags.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        int8 = peer_files(net, task, network, scratch)["int8"]
        cpus = stack.enter_context(pinned(flags.threads))
        child = stack.enter_context(ProcessPeer(int8, x, "openvino", "int8", flags.threads, HELD))
        peer = child_contender(child, real, "AVX2")
        sessions, _ = our_contenders(plans, x, flags.threads, real)
        natively = peer_contender(openvino_peer(int8, "int8", flags.threads), x, real, "float", LEAST_HELD_SQNR_DB)
        latency, disturbance = timed(
            [*sessions, peer, natively],
            network.name,
            threads=flags.threads,
            rounds=flags.rounds,
            baseline=peer.name,
            pinned=cpus,
        )
    command = f"python -m benchmarks.segmentation time {network.name} --threads {flags.threads}"
    command += f" --rounds {flags.rounds} --isa {' '.join(isas)}"
    result = Result("networks", command, stamp(), latency)
    name = f"{network.name}_{flags.threads}t"
    return 0 if written(result, name, disturbance, record=flags.record) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure; every refusal is one line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.segmentation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("measure", choices=("accuracy", "time"), help="masks of every side, or milliseconds")
    parser.add_argument("network", choices=NETWORKS, help="whose programs lie in OUT/NETWORK")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="of the float network, if not trained in OUT")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="of the recipe (default out)")
    parser.add_argument("--scenes", type=int, default=100, metavar="N", help="accuracy: composited (default 100)")
    parser.add_argument("--isa", nargs="+", help="time: of ours (default avx2, and the best of this CPU)")
    add_timing(parser)
    flags = parser.parse_args(arguments)
    return exit_code("segmentation", lambda: (run_accuracy if flags.measure == "accuracy" else run_time)(flags))


if __name__ == "__main__":
    sys.exit(main())
