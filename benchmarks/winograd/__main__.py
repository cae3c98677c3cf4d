"""Are Winograd's products worth kernel rows? Speed beside our own rows, and the SQNR that the bounds cost.

    python -m benchmarks.winograd [--rounds 60] [--record]               speed
    python -m benchmarks.winograd --edsr FILE --yolo FILE [--record]     SQNR of networks that recipes.superres and
                                                                         recipes.detection trained

F(2, 3) along rows takes four products where a 3 x 3 layer takes six. It is exact where operands have 7 bits and the
three
taps of each row of weights sum to at most 127; F(2 x 2, 3 x 3) where operands have 6 bits and all nine do. The
kernel (``kernel.cc``) transforms, multiplies and requantizes; its integers are compared with the reference first. It is
timed in turns with the row of the same instruction set, each by one thread, the layer without padding.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from benchmarks.busy import BusyMachine, Disturbance, Watch, until_quiet
from benchmarks.harness import Result, add_record, save, stamp
from benchmarks.kernels import plan_with_run
from benchmarks.winograd.accuracy import sqnr_rows
from benchmarks.winograd.layers import drawn_layer, kernel, library
from oaq import reference
from oaq.errors import Mismatch
from oaq.kernels.table import KernelRow, native_rows
from oaq.report.latency import pinned, quartiles
from oaq.runtime import Session
from oaq.terminal import say
from oaq.terminal.table import Table, render

SHAPES: Final = ((56, 64, 64), (28, 128, 128), (14, 256, 256), (80, 64, 64), (160, 32, 32))
"""(side, channels, outputs): the 3 x 3 layers of ResNet-18 at 224 and of a YOLO-shaped network at 640."""
ROWS: Final = {"vnni": "gemm_u8s8_vnni", "avxvnni": "gemm_u8s8_avxvnni"}
Row = tuple[tuple[str, str], ...]


def time_layer(shape: tuple[int, int, int], row: KernelRow, native: ctypes.CDLL, rounds: int) -> tuple[Row, float]:
    """Microseconds of both in turns, and the larger spread.

    Raises:
        Mismatch: one of them computes other integers than the reference.
    """
    program = drawn_layer(*shape)
    x = np.random.default_rng(1).integers(0, 128, program.tensors["x"].shape).astype(np.uint8)
    x[0], x[1] = 127, 0
    forms = kernel(program, native, x)
    session = Session(plan_with_run(program, row, None), threads=1)
    expected = reference.run(program, x[None]).outputs[0][0]
    forms.run()
    for name, actual in (("F(2, 3)", forms.y), (row.name, session.run_integers(x[None])[0][0])):
        if not np.array_equal(actual, expected):
            raise Mismatch(f"{name}: {np.sum(actual != expected)} of {actual.size} integers differ")
    direct, forms_ns = [], []
    for index in range(-5, rounds):
        session.run_integers(x[None])
        begin = time.perf_counter_ns()
        forms.run()
        if index >= 0:
            forms_ns.append(float(time.perf_counter_ns() - begin))
            direct.append(float(session.profile()[0].nanoseconds))
    macs = shape[0] ** 2 * 9 * shape[1] * shape[2]
    figures = (
        ("instruction set", row.isa),
        ("layer", program.name),
        ("direct, us", f"{median(direct) / 1e3:.1f}"),
        ("F(2, 3), us", f"{median(forms_ns) / 1e3:.1f}"),
        ("times as fast", f"{median(direct) / median(forms_ns):.3f}"),
        ("direct, GMAC/s", f"{macs / median(direct):.0f}"),
    )
    return figures, max((high - low) / median(v) for v in (direct, forms_ns) for low, high in [quartiles(v)])


def measure(rounds: int) -> tuple[list[Row], Disturbance]:
    """Rows of figures on a quiet machine."""
    available = {row.name: row for row in native_rows() if row.available}
    usable = {isa: name for isa, name in ROWS.items() if name in available}
    for isa in ROWS.keys() - usable.keys():
        say.warn(f"not run: this CPU has no {isa}")

    def timed() -> tuple[list[Row], Disturbance]:
        watch, results = Watch(cpus), []
        for isa, name in usable.items():
            native = library(isa, Path(folder))
            results += [time_layer(shape, available[name], native, rounds) for shape in SHAPES]
        return [figures for figures, _ in results], watch.disturbance([spread for _, spread in results])

    with tempfile.TemporaryDirectory() as folder, pinned(1) as cpus:
        return until_quiet(timed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write the result file."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.winograd", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--edsr", type=Path, metavar="FILE", help="weights of edsr-mini-x2: SQNR instead of speed")
    parser.add_argument("--yolo", type=Path, metavar="FILE", help="weights of the YOLO-shaped network: likewise")
    add_record(parser)
    flags = parser.parse_args(arguments)
    disturbance = None
    if flags.edsr or flags.yolo:
        title, rows = "winograd_sqnr", sqnr_rows(flags.edsr, flags.yolo)
    else:
        title, (rows, disturbance) = "winograd", measure(flags.rounds)
    head = tuple(key for key, _ in rows[0])
    values = tuple(tuple(value for _, value in row) for row in rows)
    say.words(render([Table(title, head, values, frozenset(range(1, len(head))))]))
    command = " ".join(["python -m benchmarks.winograd", *(sys.argv[1:] if arguments is None else arguments)])
    notes = (disturbance.words,) if disturbance else ()
    try:
        say.words(
            str(
                save(
                    Result(title, command, stamp(), rows=tuple(rows), notes=notes),
                    title,
                    record=flags.record,
                    disturbance=disturbance,
                )
            )
        )
    except BusyMachine as busy:
        say.warn(str(busy))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
