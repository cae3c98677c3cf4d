"""A detector as proved integers beside ordinary int8 of the same float network: what boxes are worth, what they take.

    python -m recipes.detection                              first: it writes the program
    python -m benchmarks.detection accuracy --program out/ssd-mobilenet-v2/ssd-mobilenet-v2.oaq --record
    python -m benchmarks.detection time --program out/ssd-mobilenet-v2/ssd-mobilenet-v2.oaq --record

Ordinary int8 (``benchmarks.ordinary_int8``) is calibrated on the same photos. Each answers the raw maps; decoding is
float code that all share. ``accuracy`` needs no quiet machine; ``time`` does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

import oaq
from benchmarks.child import held_to
from benchmarks.harness import Result, save, stamp
from benchmarks.ordinary_int8 import SIDES, answers_of, int8_files
from benchmarks.process_peer import ProcessPeer, child_contender
from benchmarks.side_by_side import add_timing, timed, written
from oaq.data.batches import Batches
from oaq.data.photos import prepare, read_photo
from oaq.kernels.plan import Plan
from oaq.report.comparison import our_contenders
from oaq.report.latency import pinned
from oaq.runtime import Session
from oaq.tasks import Detections, Task
from oaq.terminal import say
from oaq.terminal.table import Table
from recipes.data import photos
from recipes.detection import composited, train
from recipes.detection.networks import NETWORKS, class_indices, outputs_of
from recipes.detection.scoring import Truth, coco_scores, known_of
from recipes.exit_code import exit_code

IMAGES: Final = 64
"""Photos that the peer's int8 is calibrated on."""
Maps = Sequence[NDArray[np.float32]]
"""(n, ...) of every output."""
Row = tuple[tuple[str, str], ...]


def peer_files(net: torch.nn.Module, task: Task, folder: Path) -> dict[str, Path]:
    """Ordinary int8 files by name, calibrated on photos."""
    batches = list(Batches(photos.calibration(IMAGES), task.preprocess, 8))
    return int8_files(net, batches, folder, outputs_of(task))


def scenes_of(task: Task, count: int) -> tuple[list[Truth], NDArray[np.float32]]:
    """What is known of ``count`` composited scenes, and (count, 3, H, W) of them."""
    samples = composited.scenes(composited.cut_outs(), composited.backgrounds(), count)
    indices, truths = class_indices(task), list[Truth]()
    x = np.empty((count, 3, *task.preprocess.size), np.float32)
    for at, sample in enumerate(say.track(samples, "composite scenes", count)):
        x[at] = prepare(sample.photo, task.preprocess)
        truths.append(known_of(sample, task, indices))
    return truths, x


def run_all(net: torch.nn.Module, x: NDArray[np.float32]) -> Maps:
    """Outputs of the float network for every sample."""
    with torch.inference_mode():
        rows = [[y.numpy() for y in net(torch.from_numpy(x[at : at + 1]))] for at in range(len(x))]
    return [np.concatenate(parts) for parts in zip(*rows, strict=True)]


def accuracy_rows(task: Task, truths: Sequence[Truth], sides: Iterable[tuple[str, Maps]]) -> tuple[Row, ...]:
    """A line per side, the float network's first: mAP, mAP@.5, mAP@.5 with float's boxes for the truth, in percent."""
    names, float_answers, rows = outputs_of(task), list[Detections](), list[Row]()
    for title, maps in sides:
        answers = [task.decode(dict(zip(names, sample, strict=True))) for sample in zip(*maps, strict=True)]
        float_answers = float_answers or answers
        overall, at_half = coco_scores(truths, answers)
        agreement = task.metrics[1].agreement(float_answers, answers)
        figures = (f"{100 * value:.1f}" for value in (overall, at_half, agreement))
        rows.append((("network", title), *zip(("mAP", "mAP@.5", "agreement@.5"), figures, strict=True)))
    return tuple(rows)


def run_accuracy(flags: argparse.Namespace) -> int:
    """Score every side and write the result file; returns the exit code."""
    net, task = load(flags)
    truths, x = scenes_of(task, flags.scenes)
    with tempfile.TemporaryDirectory() as scratch:
        files = peer_files(net, task, flags.keep or Path(scratch))
        sides = [("float", run_all(net, x))]
        sides += [(side.title, answers_of(side, files, x)) for side in SIDES if side.file in files]
    sides.append(("int16, proved", _integers_of(oaq.plan(oaq.load(flags.program), "avx2"), x)))
    rows = accuracy_rows(task, truths, sides)
    titles = tuple(key for key, _ in rows[0])
    lines = tuple(tuple(value for _, value in row) for row in rows)
    say.tables([Table(f"{flags.scenes} composited scenes", titles, lines, frozenset(range(1, len(titles))))])
    command = f"python -m benchmarks.detection accuracy --program {flags.program.name} --scenes {flags.scenes}"
    facts = (("composited scenes", str(flags.scenes)),)
    result = Result("detection_peers", command, stamp(), facts=facts, rows=rows)
    say.words(f"{save(result, f'detection_peers_{flags.network}', record=flags.record)}")
    return 0


def run_time(flags: argparse.Namespace) -> int:
    """Check and time ours and OpenVINO's int8, held to AVX2 and not, and write the result file; returns the exit code.

    Raises:
        Mismatch: our integers are not those of the reference.
    """
    net, task = load(flags)
    x = read_photo(photos.labelled()[0].path, task.preprocess)[None]
    program = oaq.load(flags.program)
    isas = flags.isa or list(dict.fromkeys(("avx2", oaq.plan(program).isa)))
    plans = {f"oaq {isa}": oaq.plan(program, isa) for isa in isas}
    with torch.inference_mode():
        real = tuple(y.numpy() for y in net(torch.from_numpy(x)))
    with ExitStack() as stack:
        folder = flags.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        int8 = peer_files(net, task, folder)["int8"]
        cpus = stack.enter_context(pinned(flags.threads))
        peers = []
        for limit in ("AVX2", ""):
            child = ProcessPeer(int8, x, "openvino", "int8", flags.threads, held_to(limit))
            peers.append(child_contender(stack.enter_context(child), real[0], limit, against="float, first map"))
        sessions, _ = our_contenders(plans, x, flags.threads, real)
        latency, disturbance = timed(
            [*sessions, *peers],
            flags.network,
            threads=flags.threads,
            rounds=flags.rounds,
            baseline=peers[0].name,
            pinned=cpus,
        )
    command = f"python -m benchmarks.detection time --program {flags.program.name} --threads {flags.threads}"
    command += f" --rounds {flags.rounds} --isa {' '.join(isas)}"
    result = Result("networks", command, stamp(), latency)
    return 0 if written(result, f"{flags.network}_{flags.threads}t", disturbance, record=flags.record) else 1


def load(flags: argparse.Namespace) -> tuple[torch.nn.Module, Task]:
    """The float network and its task."""
    return NETWORKS[flags.network].load(flags.weights, flags.program.parent, train.STEPS)


def _integers_of(plan: Plan, samples: NDArray[np.float32]) -> Maps:
    """Outputs of our integers for every sample."""
    results = Session(plan).run(samples)
    return results if isinstance(results, tuple) else (results,)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure; every refusal is one line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.detection", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("measure", choices=("accuracy", "time"), help="boxes of every side, or milliseconds")
    parser.add_argument("--program", type=Path, required=True, metavar="FILE", help="written by recipes.detection")
    parser.add_argument("--network", choices=NETWORKS, default="ssd-mobilenet-v2", help="that it is of")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="if not fetched, or trained beside the program")
    parser.add_argument("--isa", nargs="+", help="time: of ours (default avx2, and the best of this CPU)")
    parser.add_argument("--scenes", type=int, default=100, metavar="N", help="accuracy: composited (default 100)")
    add_timing(parser)
    flags = parser.parse_args(arguments)
    return exit_code("detection", lambda: (run_accuracy if flags.measure == "accuracy" else run_time)(flags))


if __name__ == "__main__":
    sys.exit(main())
