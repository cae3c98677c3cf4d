"""Seed defects one at a time into what proofs and integers rest on, and count those that a test notices.

    python -m benchmarks.mutants --count 320 --processes 2
    python -m benchmarks.mutants --survivors                 what survived, with its lines
    python -m benchmarks.mutants --again                     survivors once more, after tests were added
    python -m benchmarks.mutants --again --tests FILE...     the same by these tests alone: others had their turn
    python -m benchmarks.mutants --seeded                    the defects of ``seeded.py``, into a result of their own

Mutants are picked evenly over files and kinds by a seed, each tried in a copy of the source: first programs against the
oracle of ``benchmarks.soundness``, then those tests of its package that enter the function it is in, the fastest first,
then more programs. What tests enter is recorded once, without a defect (build/mutants). The file given by --out is the
checkpoint too. ``equivalent.json`` lists mutants that change no result, with the reason; they are not counted.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from queue import Queue
from typing import Any, Final

from benchmarks.harness import SCRATCH, stamp
from benchmarks.mutants.choice import edits, in_turn
from benchmarks.mutants.edit import Edit
from benchmarks.mutants.seeded import seeded_edits
from benchmarks.mutants.tree import NOT_COMPILED, SURVIVED, Tree, copied, require_unharmed, try_out
from oaq.program.atomic import write_atomically
from oaq.report import codec
from oaq.terminal import say

ROOT: Final = Path(__file__).parents[2]
EQUIVALENT: Final = Path(__file__).parent / "equivalent.json"
"""{name of a mutant: why it changes no result}."""
FLOOR: Final = 0.95
Entry = dict[str, Any]


def main() -> int:
    """Try mutants, write the result; 1 if too many survive."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=320)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, help="the result, by default build/results/mutants.json")
    parser.add_argument("--only", help="mutants of files whose path holds this text")
    parser.add_argument("--again", action="store_true", help="try survivors once more, after tests were added")
    parser.add_argument("--tests", nargs="+", default=[], help="files of tests, instead of all that guard a file")
    parser.add_argument("--survivors", action="store_true", help="only print what survived")
    parser.add_argument("--seeded", action="store_true", help="the defects listed by hand, all of them")
    options = parser.parse_args()
    options.out = options.out or SCRATCH / ("seeded_defects.json" if options.seeded else "mutants.json")
    entries = _checkpoint(options.out)
    if not options.survivors:
        reasons = _equivalent()
        again = {name for name, entry in entries.items() if entry["outcome"] == SURVIVED and name not in reasons}
        if options.again:
            entries = {name: entry for name, entry in entries.items() if name not in again}
        mutants = seeded_edits(ROOT) if options.seeded else in_turn(edits(ROOT), options.seed)
        picked = [mutant for mutant in mutants if (options.only or "") in mutant.path]
        if options.tests:  # of other mutants these tests alone would say nothing
            picked = [mutant for mutant in picked if mutant.name in again]
        _try_all(picked, options, entries)
    return _summary(entries)


def _try_all(picked: list[Edit], options: argparse.Namespace, entries: dict[str, Entry]) -> None:
    """Try mutants until ``count`` of them compile, each thread in a tree of its own."""
    current = {mutant.name for mutant in picked}
    count = sum(entry["outcome"] != NOT_COMPILED for name, entry in entries.items() if name in current)
    untried = [mutant for mutant in picked if mutant.name not in entries]
    trees: Queue[Tree] = Queue()
    with tempfile.TemporaryDirectory(prefix="oaq-mutants-") as folder:
        for number in range(options.processes):
            tree = copied(ROOT, Path(folder) / str(number), tuple(options.tests))
            if not number:
                require_unharmed(tree, native=False)
            trees.put(tree)
        with ThreadPoolExecutor(options.processes) as pool:
            running: set[Future[Entry]] = set()
            while running or (count < options.count and untried):
                while len(running) < options.processes and count + len(running) < options.count and untried:
                    running.add(pool.submit(_try_one, trees, untried.pop(0)))
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for entry in (future.result() for future in done):
                    entries[entry["name"]] = entry
                    count += entry["outcome"] != NOT_COMPILED
                    say.words(f"{count:>4} {entry['outcome']}: {entry['path']}:{entry['line']} {entry['after']}")
                    sys.stdout.flush()
                _write(options, entries)


def _try_one(trees: Queue[Tree], mutant: Edit) -> Entry:
    tree, begun = trees.get(), time.monotonic()
    try:
        outcome = try_out(tree, mutant)
    finally:
        trees.put(tree)
    return {
        "name": mutant.name,
        "path": mutant.path,
        "line": mutant.line,
        "kind": mutant.kind,
        "before": mutant.before,
        "after": mutant.after,
        "outcome": outcome,
        "seconds": round(time.monotonic() - begun, 1),
    }


def _checkpoint(path: Path) -> dict[str, Entry]:
    if not path.exists():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return {entry["name"]: entry for entry in content["mutants"]}


def _equivalent() -> dict[str, str]:
    return json.loads(EQUIVALENT.read_text(encoding="utf-8"))


def _write(options: argparse.Namespace, entries: dict[str, Entry]) -> None:
    content = {
        "benchmark": "mutants",
        "command": "python -m benchmarks.mutants "
        + ("--seeded" if options.seeded else f"--count {options.count} --seed {options.seed}"),
        "environment": codec.encode(stamp()),
        **_figures(entries),
        "mutants": sorted(entries.values(), key=lambda entry: (entry["path"], entry["line"], entry["name"])),
    }
    write_atomically(options.out, [(json.dumps(content, indent=1) + "\n").encode()])


def _figures(entries: dict[str, Entry]) -> dict[str, Any]:
    reasons = _equivalent()
    compiled = [entry for entry in entries.values() if entry["outcome"] != NOT_COMPILED]
    counted = [entry for entry in compiled if entry["outcome"] != SURVIVED or entry["name"] not in reasons]
    killed = sum(entry["outcome"] != SURVIVED for entry in counted)
    return {
        "tried": len(compiled),
        "equivalent": len(compiled) - len(counted),
        "killed": killed,
        "survived": len(counted) - killed,
        "share": round(killed / max(len(counted), 1), 4),
        "kinds": dict(sorted(Counter(entry["kind"] for entry in compiled).items())),
    }


def _summary(entries: dict[str, Entry]) -> int:
    reasons = _equivalent()
    for entry in entries.values():
        if entry["outcome"] == SURVIVED:
            reason = reasons.get(entry["name"], "SURVIVED")
            say.words(f"{entry['name']} {entry['path']}:{entry['line']} ({entry['kind']}): {reason}")
            say.words(f"    - {entry['before']}\n    + {entry['after']}")
    figures = _figures(entries)
    say.words(f"{figures['killed']} of {figures['killed'] + figures['survived']} killed, {figures['share']:.1%}")
    return int(figures["share"] < FLOOR)


if __name__ == "__main__":
    raise SystemExit(main())
