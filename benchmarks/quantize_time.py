"""How long quantizing takes: ``oaq quantize`` alone and beside a busy neighbour, and ONNX Runtime's static int8.

    python -m benchmarks.quantize_time [NETWORK ...] [--photos 64] [--alone] [--record]

Each network is exported to ONNX in float and quantized by the command line, as a user does it: 64 photos, defaults, a
new process; its seconds are those from start to end, its memory the most that was resident. Then the same while one
other process computes without a rest on any CPU of this one's. ONNX Runtime's static quantization of the same file with
the same photos, already decoded, stands beside it. Networks take tens of seconds, so each is timed once.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from torch import nn

from benchmarks.busy import BusyMachine, Disturbance, Watch
from benchmarks.contended import neighbours
from benchmarks.harness import Result, add_record, save, stamp
from oaq.data.batches import Batches
from oaq.data.preprocess import Preprocess
from oaq.report.peers import quantize_by_onnxruntime
from oaq.terminal import say
from oaq.terminal.table import Table, render
from recipes.data.photos import calibration
from recipes.detection import yolo
from recipes.float_onnx import export_float
from recipes.models.resnet import resnet50
from recipes.networks import IMAGENET, NETWORKS

NEIGHBOUR_COSTS: Final = 1.5
"""Times as long as alone that quantizing may take beside one busy process."""
Row = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Subject:
    """A network to quantize.

    Attributes:
        load: builds it.
        preprocess: how its photos go in.
        outputs: how many it has.
        seconds: most that quantizing may take on two quiet CPUs; None: nothing is asked.
    """

    load: Callable[[], nn.Module]
    preprocess: Preprocess
    outputs: int
    seconds: float | None


SUBJECTS: Final[Mapping[str, Subject]] = {
    "efficientnet-lite0": Subject(
        NETWORKS["efficientnet-lite0"].load, NETWORKS["efficientnet-lite0"].preprocess, 1, 25.0
    ),
    "mobilenet-v2": Subject(NETWORKS["mobilenet-v2"].load, NETWORKS["mobilenet-v2"].preprocess, 1, None),
    "resnet18": Subject(NETWORKS["resnet18"].load, IMAGENET, 1, 40.0),
    "resnet50": Subject(resnet50, IMAGENET, 1, 90.0),
    "yolov8n-shaped": Subject(lambda: yolo.load()[0], yolo.task_of(yolo.SIDE).preprocess, 6, 90.0),
}


def flags_of(preprocess: Preprocess) -> list[str]:
    """The flags of ``oaq quantize`` that say how photos are prepared."""
    named = {
        "--size": "x".join(map(str, preprocess.size)),
        "--resize": preprocess.resize,
        "--mean": ",".join(f"{value:.9g}" for value in preprocess.mean),
        "--std": ",".join(f"{value:.9g}" for value in preprocess.std),
        "--interpolation": preprocess.interpolation,
        "--fit": preprocess.fit,
    }
    return [text for flag, value in named.items() if value is not None for text in (flag, str(value))]


def run(command: Sequence[str]) -> tuple[float, float]:
    """Seconds of a process, and the MiB it had resident at most.

    Raises:
        RuntimeError: it failed; its words follow.
    """
    with tempfile.TemporaryFile() as words:
        begin = time.perf_counter()
        child = subprocess.Popen(command, stdout=words, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            words.seek(0)
            raise RuntimeError(words.read().decode(errors="replace"))
    return seconds, usage.ru_maxrss / 1024


def time_subject(name: str, folder: Path, photos: Sequence[Path], *, alone: bool) -> Row:
    """Figures of one network."""
    subject, model = SUBJECTS[name], folder / f"{name}.onnx"
    samples = Batches(photos, subject.preprocess, 8)
    shape = next(iter(Batches(photos[:1], subject.preprocess))).shape
    names = [f"output{index}" for index in range(subject.outputs)]
    export_float(subject.load(), np.zeros(shape, np.float32), model, outputs=names)
    pictures = folder / "photos"
    pictures.mkdir(exist_ok=True)
    for index, photo in enumerate(photos):
        if not (link := pictures / f"{index:03d}{photo.suffix}").exists():
            link.symlink_to(photo)
    command = [sys.executable, "-m", "oaq.cli", "quantize", str(model), "--calibrate", str(pictures)]
    command += ["--out", str(folder / f"{name}.oaq"), *flags_of(subject.preprocess)]
    seconds, memory = run(command)
    row = [("network", name), ("oaq, s", f"{seconds:.1f}"), ("at most", f"{subject.seconds or '-'}")]
    if not alone:
        with neighbours([None]):
            beside, _ = run(command)
        row += [("beside a neighbour, s", f"{beside:.1f}"), ("times", f"{beside / seconds:.2f}")]
    decoded = list(samples)
    begin = time.perf_counter()
    quantize_by_onnxruntime(model, folder / f"{name}.int8.onnx", decoded)
    row += [("onnxruntime, s", f"{time.perf_counter() - begin:.1f}"), ("oaq, MiB", f"{memory:.0f}")]
    return tuple(row)


def misses(rows: Sequence[Row]) -> list[str]:
    """What takes longer than it may."""
    result = []
    for figures in map(dict, rows):
        limit = SUBJECTS[figures["network"]].seconds
        if limit is not None and float(figures["oaq, s"]) > limit:
            result.append(f"{figures['network']} takes {figures['oaq, s']} s, more than {limit:g}")
        if float(figures.get("times", 0)) > NEIGHBOUR_COSTS:
            result.append(f"{figures['network']} takes {figures['times']} times as long beside a neighbour")
    return result


def measure(flags: argparse.Namespace) -> tuple[list[Row], Disturbance]:
    """Rows of figures, and what other processes did meanwhile."""
    watch = Watch(tuple(sorted(os.sched_getaffinity(0))))
    with tempfile.TemporaryDirectory() as folder:
        photos = calibration(flags.photos)
        names = say.track(flags.networks or list(SUBJECTS), "network")
        rows = [time_subject(name, Path(folder), photos, alone=flags.alone) for name in names]
    return rows, watch.disturbance([0.0])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write the result file of an undisturbed run; 1 if something takes longer than it may."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.quantize_time", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=[], metavar="NETWORK", help=f"of {', '.join(SUBJECTS)}")
    parser.add_argument("--photos", type=int, default=64)
    parser.add_argument("--alone", action="store_true", help="not beside a neighbour")
    add_record(parser)
    flags = parser.parse_args(arguments)
    if unknown := set(flags.networks) - set(SUBJECTS):
        parser.error(f"{min(unknown)!r} is not a network to quantize: {', '.join(SUBJECTS)}")
    rows, disturbance = measure(flags)
    head = tuple(key for key, _ in rows[0])
    values = tuple(tuple(value for _, value in row) for row in rows)
    say.words(render([Table("quantizing", head, values, frozenset(range(1, len(head))))]) + f"\n{disturbance.words}")
    command = " ".join(["python -m benchmarks.quantize_time", *(sys.argv[1:] if arguments is None else arguments)])
    result = Result("quantize_time", command, stamp(), rows=tuple(rows), notes=(disturbance.words,))
    try:
        say.words(str(save(result, "quantize_time", record=flags.record, disturbance=disturbance)))
    except BusyMachine as busy:
        say.warn(str(busy))
        return 1
    for miss in misses(rows):
        say.warn(miss)
    return int(bool(misses(rows)))


if __name__ == "__main__":
    sys.exit(main())
