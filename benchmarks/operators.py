"""Each operator against what memory allows, and against ONNX Runtime's same operator.

    python -m benchmarks.operators [add lookup ...] [--isa avx2] [--rounds 20] [--sizes "in cache"] [--linear]

A program of one node, by every instruction set of this CPU (or by those named), in a tensor that lies in the second
cache and in one that no cache holds. The limit is a copy of as many bytes as the operator touches: half of them read,
half written. ONNX Runtime runs the same operator between quantizers on u8 tensors bound to it; what its call takes
without an operator is subtracted. All take turns on one CPU; integers are compared before anything is timed. Floors:
half of the limit for what streams, ONNX Runtime's speed for each. ``--linear`` times layers of few rows whose weights
come from memory: the limit is then a read of the weights, the floor 0.8. ``--least`` takes the least of all repeats,
which says something on a busy machine too, and writes nothing.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import oaq
from benchmarks.busy import BusyMachine, Watch
from benchmarks.harness import Result, add_record, save, stamp
from benchmarks.operator_edges import Edge, edge_turns, edges
from benchmarks.operator_subjects import Arrays, Subject, integer_model, linear, linear_model, subjects
from oaq import reference
from oaq.errors import Mismatch
from oaq.kernels.table import cpu_isas
from oaq.report.latency import Turn, interleave, pinned, quartiles, turn
from oaq.terminal import say
from oaq.terminal.table import Table, render

LIMIT, PEER, EMPTY = "limit", "onnxruntime", "onnxruntime, empty"
LEAST_SHARE, LEAST_LINEAR, LEAST_TIMES = 0.5, 0.8, 1.0
"""Floors: of the memory limit, of it for layers of few rows, and against ONNX Runtime."""
LINEAR: Final = tuple((rows, 4096, 16384) for rows in (1, 2, 4, 8, 16))
"""Rows, terms and outputs: 64 MB of weights."""
REFERENCE_BYTES: Final = 1 << 20
"""Larger subjects are compared with scalar code, which is compared with the reference on smaller ones."""
Row = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Figure:
    """One operator by one instruction set, in microseconds.

    Attributes:
        subject: what ran.
        isa: by which instruction set.
        step: median of the step's own clock.
        limit: median of the memory limit.
        peer: median of ONNX Runtime's operator; None where it has none.
    """

    subject: Subject | Edge
    isa: str
    step: float
    limit: float
    peer: float | None

    @property
    def share(self) -> float:
        """Speed as a part of the memory limit."""
        return self.limit / self.step

    @property
    def times(self) -> float | None:
        """How many times as fast as ONNX Runtime."""
        return None if self.peer is None else self.peer / self.step


def step_turn(session: oaq.Session, x: Arrays) -> Turn:
    """A turn that returns the seconds of the only step, by the session's clock."""

    def take(count: int) -> list[float]:
        seconds = []
        for index in range(count + 1):
            session.run_integers(x)
            if index:
                seconds.append(session.profile()[0].nanoseconds * 1e-9)
        return seconds

    return take


def copy_turn(size: int) -> Turn:
    """A copy that touches ``size`` bytes."""
    source, target = (np.ones(max(size // 2, 1), np.uint8) for _ in range(2))
    return turn(lambda: np.copyto(target, source))


def read_turn(size: int) -> Turn:
    """A search through ``size`` bytes by the C library, which reads them as fast as any loop does."""
    block = np.ones(size, np.uint8)
    search = ctypes.CDLL(None).memchr
    search.restype, search.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    return turn(lambda: (search(block.ctypes.data, 0, block.size), block))


def peer_session(content: bytes | str) -> Any:  # noqa: ANN401 (a class of onnxruntime)
    """ONNX Runtime on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def bound(session: Any, x: Sequence[NDArray[Any]]) -> Callable[[], Any]:  # noqa: ANN401
    """A run without copies of its ends; returns what holds the outputs."""
    import onnxruntime

    binding = session.io_binding()
    for port, array in zip(session.get_inputs(), x, strict=True):
        binding.bind_ortvalue_input(port.name, onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array)))
    for port in session.get_outputs():
        binding.bind_output(port.name)

    def run() -> Any:  # noqa: ANN401
        session.run_with_iobinding(binding)
        return binding

    return run


def empty_call() -> Callable[[], Any]:
    """A run of ONNX Runtime that does nothing but hand on one byte."""
    from onnx import TensorProto, helper

    ports = [helper.make_tensor_value_info(name, TensorProto.UINT8, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "empty", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bound(peer_session(model.SerializeToString()), [np.zeros(1, np.uint8)])


def channels_first(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A batch in the order of ONNX."""
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


def peer_call(subject: Subject, x: Arrays, expected: NDArray[np.uint8]) -> Callable[[], Any] | None:
    """ONNX Runtime's operator, compared; None where it computes something else, which is said."""
    write = linear_model if subject.is_linear else integer_model
    with tempfile.TemporaryDirectory() as folder:
        session = peer_session(str(write(subject, Path(folder) / "operator.onnx")))
    ends = [(array[0] if subject.is_linear else channels_first(array)) for array in (*x, expected)]
    run = bound(session, ends[:-1])
    actual = run().copy_outputs_to_cpu()[0]
    difference = int(np.abs(actual.astype(np.int16) - ends[-1]).max())
    if difference > subject.most_apart:
        say.warn(f"{subject.name}: ONNX Runtime's integers differ by up to {difference}: it is not timed")
        return None
    return run


def sessions_of(subject: Subject, isas: Sequence[str], x: Arrays) -> dict[str, oaq.Session]:
    """A session by instruction set, compared with the reference, or with scalar code where tensors are large.

    Raises:
        Mismatch: other integers.
    """
    program = subject.program
    sessions = {isa: oaq.Session(oaq.plan(program, isa), threads=1) for isa in isas}
    if subject.bytes <= REFERENCE_BYTES:
        expected = reference.run(program, tuple(x)).outputs[0]
    else:
        expected = oaq.Session(oaq.plan(program, "scalar"), threads=1).run_integers(x)[0]
    for isa, session in sessions.items():
        if not np.array_equal(session.run_integers(x)[0], expected):
            raise Mismatch(f"{subject.name} on {isa}: other integers than the reference")
    return sessions


def measure(
    subject: Subject | Edge, isas: list[str], rounds: int, typical: Callable[[Sequence[float]], float] = median
) -> tuple[list[Figure], list[float]]:
    """Figures by instruction set, and by how much repeats disagree.

    Args:
        subject: what runs.
        isas: by which instruction sets.
        rounds: turns of each.
        typical: which of the repeats stands for all.
    """
    turns = edge_turns(subject, isas, bound_model) if isinstance(subject, Edge) else step_turns(subject, isas)
    turns[LIMIT] = read_turn(subject.bytes) if subject.is_linear else copy_turn(subject.bytes)
    if PEER in turns:
        turns[EMPTY] = turn(empty_call())
    seconds = interleave(turns, rounds)
    figures = {name: typical(values) * 1e6 for name, values in seconds.items()}
    spreads = [(high - low) / median(values) for values in seconds.values() for low, high in [quartiles(values)]]
    of_peer = max(figures[PEER] - figures[EMPTY], 0.0) if PEER in figures else None
    return [Figure(subject, isa, figures[isa], figures[LIMIT], of_peer) for isa in isas], spreads


def step_turns(subject: Subject, isas: Sequence[str]) -> dict[str, Turn]:
    """A turn for each instruction set, and ONNX Runtime's unless it computes something else."""
    x = subject.inputs()
    sessions = sessions_of(subject, isas, x)
    turns: dict[str, Turn] = {isa: step_turn(session, x) for isa, session in sessions.items()}
    peer = peer_call(subject, x, next(iter(sessions.values())).run_integers(x)[0])
    return turns if peer is None else turns | {PEER: turn(peer)}


def bound_model(content: bytes, x: NDArray[Any]) -> Callable[[], Any]:
    """A run of a model of one input."""
    return bound(peer_session(content), [x])


def row_of(figure: Figure) -> Row:
    """One line of the result file."""
    subject, share, times = figure.subject, figure.share, figure.times
    least = LEAST_LINEAR if subject.is_linear else LEAST_SHARE
    verdict = "no floor" if not subject.streams else "yes" if share >= least else "NO"
    return (
        ("operator", subject.name),
        ("size", subject.size),
        ("isa", figure.isa),
        ("us", f"{figure.step:.1f}"),
        ("GB/s", f"{subject.bytes / figure.step / 1e3:.1f}"),
        ("of the limit", f"{share:.2f}"),
        (f"limit >= {least}", verdict),
        ("onnxruntime us", "-" if figure.peer is None else f"{figure.peer:.1f}"),
        ("times its speed", "-" if times is None else f"{times:.2f}"),
        ("as fast", "-" if times is None else "yes" if times >= LEAST_TIMES else "NO"),
    )


def selected(flags: argparse.Namespace) -> Iterator[Subject | Edge]:
    """The subjects asked for."""
    candidates = (linear(*shape) for shape in LINEAR) if flags.linear else chain(subjects(), edges())
    for subject in candidates:
        is_named = not flags.operators or any(subject.name.startswith(name) for name in flags.operators)
        if is_named and (flags.linear or not flags.sizes or subject.size in flags.sizes):
            yield subject


def table(rows: Sequence[Mapping[str, str] | Row]) -> Table:
    """All columns but the first three to the right."""
    lines = [dict(row) for row in rows]
    head = tuple(lines[0])
    return Table("operators", head, tuple(tuple(line.values()) for line in lines), frozenset(range(3, len(head))))


def main(arguments: Sequence[str] | None = None) -> int:
    """Time, print, write the result file of a quiet run; 1 if the machine was busy."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.operators", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("operators", nargs="*", help="beginnings of names; all without one")
    parser.add_argument("--isa", action="append", help="instruction sets; all of this CPU that differ without one")
    parser.add_argument("--sizes", action="append", choices=("in cache", "in memory"))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--linear", action="store_true", help="layers of few rows instead")
    parser.add_argument("--least", action="store_true", help="the least of all repeats; writes nothing")
    add_record(parser)
    flags = parser.parse_args(arguments)
    isas = flags.isa or [isa for isa in cpu_isas() if flags.linear or isa in ("scalar", "avx2", "avx512bw", "neon")]
    rows: list[Row] = []
    with pinned(1) as cpus:
        watch, spreads = Watch(cpus), []
        for subject in selected(flags):
            figures, repeats = measure(subject, isas, flags.rounds, min if flags.least else median)
            rows += [row_of(figure) for figure in figures]
            spreads += repeats
            say.words(render([table(rows[-len(figures) :])]))
        disturbance = watch.disturbance(spreads)
    if flags.least:
        say.words(disturbance.words)
        return 0
    command = "python -m benchmarks.operators " + " ".join(sys.argv[1:] if arguments is None else arguments)
    parts = ["linear"] if flags.linear else [size.replace(" ", "_") for size in flags.sizes or ()]
    name = "_".join(["operators", *parts])
    result = Result("operators", command.strip(), stamp(), rows=tuple(rows), notes=(disturbance.words,))
    try:
        say.words(str(save(result, name, record=flags.record, disturbance=disturbance)))
    except BusyMachine as error:
        say.warn(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
