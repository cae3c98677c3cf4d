"""A detector as proved integers beside OpenVINO's int8 of the same network held to AVX2, in turns; accuracy beside it.

    python -m recipes.detection                              first: it writes the program
    python -m benchmarks.detection --program out/ssd-mobilenet-v2/ssd-mobilenet-v2.oaq --record

The peer's file is ONNX Runtime's static QDQ of the float network (U8S8, a scale per channel), calibrated on the same
photos. Each answers the raw maps; decoding is float code that all share. Held to AVX2, the peer's sums may saturate:
what its boxes are worth on composited scenes stands beside its time.
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
from benchmarks.busy import Disturbance
from benchmarks.child import held_to
from benchmarks.harness import Result, stamp
from benchmarks.process_peer import ProcessPeer, child_contender
from benchmarks.side_by_side import add_timing, timed, written
from oaq.data.batches import Batches
from oaq.data.photos import prepare, read_photo
from oaq.kernels.plan import Plan
from oaq.report.comparison import our_contenders
from oaq.report.data import Latency
from oaq.report.latency import pinned
from oaq.report.peers import quantize_by_onnxruntime
from oaq.runtime import Session
from oaq.tasks import Detections, Task
from oaq.terminal import say
from oaq.terminal.table import Table
from recipes.data import photos
from recipes.detection import composited, train
from recipes.detection.networks import NETWORKS, class_indices, outputs_of
from recipes.detection.scoring import Truth, coco_scores, known_of
from recipes.exit_code import exit_code
from recipes.float_onnx import export_float

IMAGES: Final = 64
"""Photos that the peer's int8 is calibrated on."""
Maps = Sequence[NDArray[np.float32]]
"""(n, ...) of every output."""
Facts = tuple[tuple[str, str], ...]


def peer_file(net: torch.nn.Module, task: Task, folder: Path) -> Path:
    """The int8 file; one that is in ``folder`` already is taken as it is."""
    floats, int8 = folder / "float.onnx", folder / "int8.onnx"
    if not int8.exists():
        folder.mkdir(parents=True, exist_ok=True)
        export_float(net, np.zeros((1, 3, *task.preprocess.size), np.float32), floats, outputs=outputs_of(task))
        batches = Batches(photos.calibration(IMAGES), task.preprocess, 8)
        quantize_by_onnxruntime(floats, int8, say.track(batches, "ONNX Runtime: calibrate"))
    return int8


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


def accuracy(task: Task, truths: Sequence[Truth], sides: Iterable[tuple[str, Maps]]) -> Facts:
    """(what, figure): mAP and mAP@.5 of every side, the float network first, and agreement with it."""
    names, float_answers, facts = outputs_of(task), list[Detections](), list[tuple[str, str]]()
    for title, maps in sides:
        answers = [task.decode(dict(zip(names, sample, strict=True))) for sample in zip(*maps, strict=True)]
        float_answers = float_answers or answers
        whole, at_half = coco_scores(truths, answers)
        agreement = task.metrics[1].agreement(float_answers, answers)
        facts.append(
            (f"mAP / mAP@.5 / agreement@.5, {title}", f"{100 * whole:.1f} / {100 * at_half:.1f} / {agreement:.3f}")
        )
    return tuple(facts)


def measure(flags: argparse.Namespace) -> tuple[Latency, Disturbance, Facts]:
    """Check and time both, side by side; what else ran meanwhile; what the boxes of each are worth.

    Raises:
        Mismatch: our integers are not those of the reference.
    """
    net, task = NETWORKS[flags.network].load(flags.weights, Path("out") / flags.network, train.STEPS)
    x = read_photo(photos.labelled()[0].path, task.preprocess)[None]
    program = oaq.load(flags.program)
    plans = {f"oaq {isa}": oaq.plan(program, isa) for isa in flags.isa}
    with torch.inference_mode():
        real = tuple(y.numpy() for y in net(torch.from_numpy(x)))
    with ExitStack() as stack:
        folder = flags.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        int8 = peer_file(net, task, folder)
        cpus = stack.enter_context(pinned(flags.threads))
        child = stack.enter_context(ProcessPeer(int8, x, "openvino", "int8", flags.threads, held_to("AVX2")))
        peer = child_contender(child, real[0], "AVX2", against="float, first map")
        facts: Facts = ()
        if flags.scenes:
            truths, samples = scenes_of(task, flags.scenes)
            sides = (
                ("float", run_all(net, samples)),
                (next(iter(plans)), _ours(next(iter(plans.values())), samples)),
                (peer.name, child.answers(samples)),
            )
            facts = accuracy(task, truths, sides)
        sessions, _ = our_contenders(plans, x, flags.threads, real)
        latency, disturbance = timed(
            [*sessions, peer],
            flags.network,
            threads=flags.threads,
            rounds=flags.rounds,
            baseline=peer.name,
            pinned=cpus,
        )
        return latency, disturbance, facts


def _ours(plan: Plan, samples: NDArray[np.float32]) -> Maps:
    """Outputs of our integers for every sample."""
    results = Session(plan).run(samples)
    return results if isinstance(results, tuple) else (results,)


def run(flags: argparse.Namespace) -> int:
    """Measure and write the result file; returns the exit code."""
    latency, disturbance, facts = measure(flags)
    if facts:
        say.tables([Table(f"{flags.scenes} composited scenes", ("", "figure"), facts)])
    command = f"python -m benchmarks.detection --program {flags.program.name} --threads {flags.threads}"
    command += f" --rounds {flags.rounds} --isa {' '.join(flags.isa)}"
    result = Result("networks", command, stamp(), latency, facts)
    return 0 if written(result, f"{flags.network}_{flags.threads}t", disturbance, record=flags.record) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure; every refusal is one line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.detection", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--program", type=Path, required=True, metavar="FILE", help="written by recipes.detection")
    parser.add_argument("--network", choices=NETWORKS, default="ssd-mobilenet-v2", help="that it is of")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="if not fetched, or trained in out/")
    parser.add_argument("--isa", nargs="+", default=["avx2"], help="of ours (default avx2)")
    parser.add_argument("--scenes", type=int, default=100, metavar="N", help="for accuracy; 0: none (default 100)")
    add_timing(parser)
    flags = parser.parse_args(arguments)
    return exit_code("detection", lambda: run(flags))


if __name__ == "__main__":
    sys.exit(main())
