"""Frames of 1920 x 1080 enlarged by proved integers beside ONNX Runtime and OpenVINO, as they are and held to AVX2.

    python -m recipes.superres --network espcn                        first: it trains and writes the program
    python -m benchmarks.superres out/espcn-x2/espcn-x2.oaq --record
    python -m benchmarks.superres FILE --keep DIR --prepare           makes the peers' files before a run that is timed

The network reads a frame of 1080 / scale rows of luma and answers 1080 rows. Every contender does that frame at once;
ours also pane by pane. Peers' int8 is ONNX Runtime's static QDQ of the float network (U8S8, a scale per channel),
calibrated on frames of the photos that ours is calibrated on. Held to AVX2, sums of peers may saturate: how near their
frame comes to float's stands in the notes, by the task's metrics. Ours is checked integer by integer: a square against
the reference, the frame against panes on the scalar rows, or those of another instruction set where --check names one.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import oaq
from benchmarks.busy import Disturbance
from benchmarks.child import held_to
from benchmarks.harness import Result, stamp
from benchmarks.held_onnxruntime import held_environment
from benchmarks.process_peer import LEAST_HELD_SQNR_DB, ProcessPeer, child_contender
from benchmarks.session import peak
from benchmarks.side_by_side import add_timing, timed, written
from oaq import reference
from oaq.data.photos import read_pixels
from oaq.errors import FormatError, Mismatch
from oaq.program.frames import at_size
from oaq.program.int_program import IntProgram
from oaq.report.comparison import Contender
from oaq.report.data import Latency
from oaq.report.latency import pinned, turn
from oaq.report.peers import quantize_by_onnxruntime
from oaq.runtime import Session
from oaq.runtime.frames import FrameSession
from oaq.tasks import Task
from oaq.terminal import say
from recipes.checkpoint import steps_done
from recipes.exit_code import exit_code
from recipes.float_onnx import export_float
from recipes.superres import train
from recipes.superres.integers import task_of
from recipes.superres.networks import NETWORKS, build
from recipes.superres.pictures import brightness, eight_bits, resized, training_photos

ROWS, COLUMNS = 1080, 1920
IMAGES: Final = 4
"""Frames that peers' int8 is calibrated on."""
PANE: Final = (96, 240)
Frame = NDArray[np.float32]
"""(1, 1, rows, columns) luma in 0..1."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What is timed.

    Attributes:
        title: of the network and its scale.
        net: the float network.
        program: for the frame as a whole.
        x: the frame.
        y: what the float network makes of it.
        task: what the network is for.
    """

    title: str
    net: nn.Module
    program: IntProgram
    x: Frame
    y: Frame
    task: Task


def prepare(flags: argparse.Namespace) -> Subject:
    """Load the program and the network that it was made of.

    Raises:
        FormatError: the program is of no network of the recipe.
    """
    program = oaq.load(flags.program)
    name, _, scale = program.name.rpartition("-x")
    if name not in NETWORKS:
        raise FormatError(f"{flags.program}: is of {program.name!r}; it is written by python -m recipes.superres")
    net = build(name, int(scale), weights_of(flags))
    rows, columns = ROWS // int(scale), COLUMNS // int(scale)
    x = frames(1, rows, columns)[0]
    with torch.inference_mode():
        y = net(torch.from_numpy(x)).numpy()
    return Subject(program.name, net, at_size(program, rows, columns), x, y, task_of(int(scale)))


def weights_of(flags: argparse.Namespace) -> Path:
    """Where the float network's weights lie."""
    return flags.weights or flags.program.with_name(train.WEIGHTS)


def frames(count: int, rows: int, columns: int) -> list[Frame]:
    """Photos that training had, as frames."""
    photos = training_photos()[1 :: len(training_photos()) // count][:count]
    return [eight_bits(brightness(resized(read_pixels(path), rows, columns)))[None, None] for path in photos]


def ours(subject: Subject, flags: argparse.Namespace) -> Iterator[Contender]:
    """A session per instruction set for the whole frame, and one pane by pane.

    Raises:
        Mismatch: a square has other integers than the reference.
    """
    program, x = subject.program, subject.x
    square = at_size(program, 64, 72)
    part = np.random.default_rng(0).integers(0, 256, (1, 64, 72, 1)).astype(np.uint8)
    (law,) = reference.run(square, part).outputs
    check = FrameSession(program, PANE, threads=flags.threads, isa=flags.check).run(x)
    for isa in flags.isa:
        plan = oaq.plan(program, isa)
        if not np.array_equal(Session(oaq.plan(square, isa), 1).run_integers(part)[0], law):
            raise Mismatch(f"{subject.title}, {isa}: a square of 64 x 72 has other integers than the reference")
        whole = Session(plan, flags.threads)
        panes = FrameSession(program, PANE, threads=flags.threads, isa=isa)
        for name, session in ((f"oaq {isa}", whole), (f"oaq {isa}, in panes", panes)):
            yield Contender(
                name=name,
                ours=True,
                precision="int8",
                isa=plan.isa,
                take=turn(lambda session=session: session.run(x)),
                outputs=lambda session=session: session.run(x),
                reference=np.asarray(check),
                least_sqnr_db=None,
                against=f"panes on {flags.check}",
                also=_near(subject, np.asarray(check)),
            )


def peer_files(subject: Subject, flags: argparse.Namespace, folder: Path) -> tuple[Path, dict[str, str]]:
    """The peers' int8 network, and the environment of ONNX Runtime held to AVX2 if that is asked for."""
    floats, int8 = folder / f"{subject.title}.onnx", folder / f"{subject.title}.int8.onnx"
    if not int8.exists():
        folder.mkdir(parents=True, exist_ok=True)
        say.words(f"{int8}: quantized by ONNX Runtime")
        export_float(subject.net, subject.x, floats)
        rows, columns = subject.x.shape[2:]
        quantize_by_onnxruntime(floats, int8, frames(IMAGES, rows, columns))
    return int8, {} if "onnxruntime" not in flags.held else held_environment(folder.resolve())


def peers(subject: Subject, flags: argparse.Namespace, folder: Path, stack: ExitStack) -> Iterator[Contender]:
    """ONNX Runtime and OpenVINO, each in a process of its own, as they are and held to AVX2."""
    int8, held_copy = peer_files(subject, flags, folder)
    for runtime, held, environment in (
        ("onnxruntime", "", {}),
        ("openvino", "", {}),
        *((("openvino", "AVX2", held_to("AVX2")),) if "openvino" in flags.held else ()),
        *((("onnxruntime", "AVX2", held_copy),) if held_copy else ()),
    ):
        child = stack.enter_context(ProcessPeer(int8, subject.x, runtime, "int8", flags.threads, environment))
        y = child.outputs().reshape(subject.y.shape)
        yield dataclasses.replace(
            child_contender(child, subject.y, held),
            outputs=lambda y=y: y,
            least_sqnr_db=LEAST_HELD_SQNR_DB,
            also=_near(subject, y),
        )


def _near(subject: Subject, y: Frame) -> str:
    """What the task's metrics say of a frame if float's is the truth."""
    exact, rounded = ([subject.task.decode({"y": side[0]})] for side in (subject.y, y))
    values = ((metric, metric.agreement(exact, rounded)) for metric in subject.task.metrics)
    return ", ".join(f"{metric.name} {metric.text(value, 1)}" for metric, value in values) + " with float's frame"


def measure(flags: argparse.Namespace) -> tuple[Subject, Latency, Disturbance]:
    """Check and time all of them, side by side; what else ran meanwhile."""
    subject = prepare(flags)
    with ExitStack() as stack:
        folder = flags.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cpus = stack.enter_context(pinned(flags.threads))
        contenders = [*ours(subject, flags), *peers(subject, flags, folder, stack)]
        last = contenders[-1].name
        say.words(f"{subject.title}: {len(contenders)} contenders, {flags.rounds} rounds")
        latency, disturbance = timed(
            contenders, subject.title, threads=flags.threads, rounds=flags.rounds, baseline=last, pinned=cpus
        )
        return subject, latency, disturbance


def run(flags: argparse.Namespace) -> int:
    """Measure and write the result file; returns the exit code."""
    if flags.prepare:
        if flags.keep is None:
            raise FormatError("--prepare: --keep DIR says where the peers' files are to lie")
        peer_files(prepare(flags), flags, flags.keep)
        return 0
    subject, latency, disturbance = measure(flags)
    command = f"python -m benchmarks.superres {flags.program.name} --threads {flags.threads} --rounds {flags.rounds}"
    command += f" --isa {' '.join(flags.isa)} --check {flags.check} --held {' '.join(flags.held)}".rstrip()
    steps = steps_done(weights_of(flags))
    facts = (("frame", f"{COLUMNS} x {ROWS} out"), ("pane", f"{PANE[0]} x {PANE[1]}"))
    facts += (("memory of a session, at its peak", peak(subject.program)),)
    facts += (("steps of training", "not known" if steps is None else str(steps)),)
    result = Result("networks", command, stamp(), latency, facts)
    return 0 if written(result, f"superres_{subject.title}_{flags.threads}t", disturbance, record=flags.record) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure; every refusal is one line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.superres", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program", type=Path, metavar="FILE", help="written by recipes.superres")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="if they do not lie beside the program")
    parser.add_argument("--isa", nargs="+", default=["avx2"], help="of ours (default avx2)")
    parser.add_argument("--check", default="scalar", metavar="ISA", help="rows that the frame is checked by")
    parser.add_argument(
        "--held", nargs="*", default=["openvino"], choices=("openvino", "onnxruntime"), help="peers held to AVX2 too"
    )
    parser.add_argument("--prepare", action="store_true", help="make the peers' files in --keep, and time nothing")
    add_timing(parser, rounds=5)
    flags = parser.parse_args(arguments)
    return exit_code("superres", lambda: run(flags))


if __name__ == "__main__":
    sys.exit(main())
