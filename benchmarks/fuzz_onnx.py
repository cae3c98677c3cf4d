"""Break ONNX files at random and import them: each ends in an import or in one ``OaqError``, soon, in little memory.

    python -m benchmarks.fuzz_onnx                    100,000 files made from one of every form
    python -m benchmarks.fuzz_onnx --files 2000 --seed 7
    python -m benchmarks.fuzz_onnx --only 4711        file 4711 of that seed alone, with its traceback

File ``i`` is a function of (seed, i): mutations of bytes, of protobuf fields, of nodes and tensors, one to four at once
(``benchmarks.file_mutations``). Processes of their own import them, each with a limit of memory; a file that takes
longer than the limit of time is a defect, and so is an error whose message does not begin with the file's name, and an
import whose parts contradict each other.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import numpy as np

from benchmarks.file_mutations import mutate, pick
from benchmarks.harness import Result, add_record, save, stamp
from benchmarks.onnx_files import every, with_function
from oaq import operators as ops
from oaq.capture.from_onnx import decode, import_graph
from oaq.capture.imported import Imported, weight_from_file, weight_to_file
from oaq.errors import OaqError
from oaq.terminal import say

FILES: Final = 100_000
CHUNK: Final = 250
SECONDS: Final = 5.0
"""For one file; unbroken ones take a hundredth of that."""
MEMORY: Final = 1 << 30
"""Bytes that a process may take beyond what it has before the first file."""
WHERE: Final = "broken.onnx"


class TooSlow(BaseException):
    """The limit of time is over; no ``except Exception`` on the way may keep it."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Attributes:
        kind: "imported", the class of its ``OaqError``, or "DEFECT".
        detail: of a defect: the traceback, or what contradicts what.
    """

    kind: str
    detail: str = ""


def broken(files: dict[str, bytes], seed: int, index: int) -> bytes:
    """File number ``index``."""
    rng = np.random.default_rng([seed, index])
    contents = list(files.values())
    return mutate(pick(rng, contents), contents, rng)


def load_onnx(content: bytes) -> Imported:
    """Read and import."""
    return import_graph(decode(content, WHERE))


def judge(content: bytes, seconds: float = SECONDS, load: Callable[[bytes], Imported] = load_onnx) -> Outcome:
    """Import one file under a limit of time."""
    signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        why = contradiction(load(content))
    except OaqError as error:
        text = str(error)
        misplaced = not text.startswith(WHERE) or "\n" in text.strip()
        return Outcome("DEFECT", f"unclear message: {text!r}") if misplaced else Outcome(type(error).__name__)
    except TooSlow:
        return Outcome("DEFECT", f"slower than {seconds} s\n{traceback.format_exc()}")
    except (Exception, RecursionError, MemoryError):
        return Outcome("DEFECT", traceback.format_exc())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return Outcome("DEFECT", why) if why else Outcome("imported")


def _stop(signum: int, frame: FrameType | None) -> None:
    raise TooSlow


def contradiction(imported: Imported) -> str:
    """What in an import does not fit the rest; "" if all does."""
    program = imported.program
    layers = {node.name: node for node in program.summing_nodes()}
    if set(layers) != set(imported.sources):
        return f"sources of {sorted(imported.sources)} for layers {sorted(layers)}"
    for name, source in imported.sources.items():
        op = layers[name].op
        assert isinstance(op, ops.Products)
        if (source.input, source.output) != (layers[name].inputs[0], layers[name].output):
            return f"{name}: reads and writes {layers[name]}, its source says {source.input}, {source.output}"
        stored = weight_to_file(source, op.weight)
        if not np.array_equal(weight_from_file(source, stored, op.weight.shape), op.weight):
            return f"{name}: its weights do not survive the way to the file and back"
    if set(imported.tensors) != set(program.tensors):
        return f"places of tensors {sorted(set(imported.tensors) ^ set(program.tensors))} are wanting or superfluous"
    written = [name for island in imported.islands for name in island.writes]
    if len(set(written)) != len(written) or not set(written) <= set(program.inputs):
        return f"islands write {written}, the program's inputs are {program.inputs}"
    for island in imported.islands:
        if not set(island.reads) <= set(program.tensors):
            return f"an island reads {island.reads}, which are not all tensors of the program"
    return ""


def chunk(job: tuple[dict[str, bytes], int, int, int]) -> list[tuple[int, Outcome]]:
    """Outcomes of files ``first`` to ``last``, in a process of its own."""
    files, seed, first, last = job
    return [(index, judge(broken(files, seed, index))) for index in range(first, last)]


def _limit_memory() -> None:
    import_graph(decode(with_function().SerializeToString(), WHERE))  # loads what is loaded late
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def outcomes(files: dict[str, bytes], seed: int, count: int, workers: int) -> Iterator[tuple[int, Outcome]]:
    """Outcomes of ``count`` files, in order.

    Raises:
        BrokenProcessPool: a file has killed the process that imported it.
    """
    jobs = [(files, seed, first, min(first + CHUNK, count)) for first in range(0, count, CHUNK)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_limit_memory) as pool:
        for results in say.track(pool.map(chunk, jobs), "chunks of broken files"):
            yield from results


def main() -> int:
    """Break, import, print, write the result; 1 if there was a defect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", type=int, help="one file, by number")
    add_record(parser)
    given = parser.parse_args()
    files = every()
    if given.only is not None:
        outcome = judge(broken(files, given.seed, given.only))
        say.words(f"{outcome.kind}\n{outcome.detail}")
        return int(outcome.kind == "DEFECT")
    counts, defects = Counter[str](), []
    for index, outcome in outcomes(files, given.seed, given.files, given.workers):
        counts[outcome.kind] += 1
        if outcome.detail:
            defects.append((index, outcome.detail))
            say.words(f"file {index}: {outcome.detail}")
    facts = tuple((name, str(number)) for name, number in sorted(counts.items()))
    say.words("  ".join(f"{name} {number}" for name, number in facts))
    if given.files == FILES and given.seed == 0 and not defects:
        notes = (
            f"from {len(files)} unbroken files: {', '.join(files)}",
            f"limits: {SECONDS:.0f} s a file, {MEMORY >> 20} MiB a process",
        )
        save(
            Result("fuzz_onnx", "python -m benchmarks.fuzz_onnx", stamp(), facts=facts, notes=notes),
            "fuzz_onnx",
            record=given.record,
        )
    return int(bool(defects))


if __name__ == "__main__":
    raise SystemExit(main())
