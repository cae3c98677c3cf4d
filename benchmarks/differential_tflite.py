"""Random TFLite graphs: does oaq give LiteRT's integers, or name the operator that may be a step away?

    python -m benchmarks.differential_tflite [--graphs 20000] [--seed 0] [--processes 1] [--out DIR] [--only 4711]

Draws int8 and uint8 graphs of every operator that the importer takes, with all options, scales that make ties and
scales that are far off. Each tensor is computed by the reference from LiteRT's own integers before it; the outputs of a
native session are compared with the reference. A difference is explained if the import's notes name the tensor and it
is one step. What LiteRT itself refuses or dies of is counted. Progress is kept in --out and taken up again; files of
graphs that differ are written there. Needs ai-edge-litert.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import Result, add_record, save, stamp
from benchmarks.tflite_random.graphs import CRASHED, Tally, draw, judge
from oaq.errors import OaqError
from oaq.terminal import say

GRAPHS: Final = 20000
KEPT_EVERY: Final = 25
"""Graphs between two writings of the progress."""


def judge_safely(seed: int, number: int) -> Tally:
    """``judge``; an error of the importer's is a difference."""
    try:
        return judge(seed, number)
    except OaqError as error:
        tally = Tally()
        tally.graphs["differ"] += 1
        tally.unexplained[number] = f"{type(error).__name__}: {error}"[:600]
        return tally


def write_state(path: Path, following: int, tally: Tally) -> None:
    """Keep progress: the next graph and what was counted."""
    plain = {"next": following, **vars(tally)}
    path.with_suffix(".new").write_text(json.dumps(plain))
    path.with_suffix(".new").replace(path)


def read_state(path: Path, first: int) -> tuple[int, Tally]:
    """The next graph and what was counted so far."""
    if not path.exists():
        return first, Tally()
    plain: dict[str, Any] = json.loads(path.read_text())
    following = plain.pop("next")
    unexplained = {int(number): text for number, text in plain.pop("unexplained").items()}
    return following, Tally(**{name: Counter(value) for name, value in plain.items()}, unexplained=unexplained)


def work(out: Path, seed: int, part: int, parts: int, graphs: int) -> None:
    """Judge every graph of one part."""
    state, current = out / f"part{part}.json", out / f"part{part}.now"
    number, tally = read_state(state, part)
    while number < graphs:
        current.write_text(str(number))
        result = judge_safely(seed, number)
        for failing in result.unexplained:
            (out / f"{seed}-{failing}.tflite").write_bytes(draw(seed, failing)[0])
        tally.add(result)
        number += parts
        if result.unexplained or number % (KEPT_EVERY * parts) < parts or number >= graphs:
            write_state(state, number, tally)
    write_state(state, number, tally)


def campaign(out: Path, seed: int, processes: int, graphs: int) -> Tally:
    """All parts, each in a process that is started again behind a graph that LiteRT dies of."""
    out.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    running: dict[int, Any] = {}
    begin = last = time.monotonic()
    waiting = list(range(processes))
    while waiting or running:
        for part in waiting:
            running[part] = context.Process(target=work, args=(out, seed, part, processes, graphs))
            running[part].start()
        waiting = []
        time.sleep(0.2)
        for part in [part for part, process in running.items() if not process.is_alive()]:
            code = running.pop(part).exitcode
            if code > 0:
                raise RuntimeError(f"part {part} failed at graph {(out / f'part{part}.now').read_text()}; see above")
            if code < 0:
                _skip(out, seed, part, processes)
                waiting.append(part)
        if time.monotonic() - last > 30:
            last = time.monotonic()
            done = sum(sum(read_state(out / f"part{part}.json", 0)[1].graphs.values()) for part in range(processes))
            say.words(f"{done} of {graphs} graphs, {last - begin:.0f} s")
    total = Tally()
    for part in range(processes):
        total.add(read_state(out / f"part{part}.json", 0)[1])
    return total


def _skip(out: Path, seed: int, part: int, parts: int) -> None:
    """Go on behind the graph during which a process died; graphs since the last writing are judged again."""
    state, died = out / f"part{part}.json", int((out / f"part{part}.now").read_text())
    number, tally = read_state(state, part)
    while number < died:
        tally.add(judge_safely(seed, number))
        number += parts
    tally.graphs[CRASHED] += 1
    write_state(state, died + parts, tally)


def result_of(total: Tally, seed: int, graphs: int) -> Result:
    """What is stored."""
    facts = [("seed", str(seed)), ("graphs", str(graphs)), *((name, str(n)) for name, n in total.graphs.most_common())]
    facts.append(("integers compared", str(sum(total.integers.values()))))
    tables = (("integers", total.integers), ("one step away", total.explained), ("outside", total.outside))
    rows = [
        (("table", table), ("of", name), ("count", str(count)))
        for table, counter in tables
        for name, count in counter.most_common()
    ]
    command = f"python -m benchmarks.differential_tflite --graphs {graphs} --seed {seed}"
    return Result("differential_tflite", command, stamp(), facts=tuple(facts), rows=tuple(rows))


def main() -> int:
    """Run, print, write the result; 1 if something is not explained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graphs", type=int, default=GRAPHS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, help="keeps progress and failing files; a new folder if left out")
    parser.add_argument("--only", type=int, help="one graph, by number")
    add_record(parser)
    arguments = parser.parse_args()
    if arguments.only is not None:
        say.words(str(judge_safely(arguments.seed, arguments.only)))
        return 0
    out = arguments.out or Path(tempfile.mkdtemp(prefix="differential_tflite-"))
    total = campaign(out, arguments.seed, arguments.processes, arguments.graphs)
    for number, text in sorted(total.unexplained.items())[:40]:
        say.words(f"graph {number}: {text}")
    say.words(f"{dict(total.graphs)}\n{dict(total.integers)}\n{dict(total.explained)}")
    if not total.unexplained and arguments.graphs == GRAPHS:
        save(result_of(total, arguments.seed, arguments.graphs), "differential_tflite", record=arguments.record)
    return int(bool(total.unexplained))


if __name__ == "__main__":
    raise SystemExit(main())
