"""Networks in headless Chromium: both builds of oaq-web beside onnxruntime-web, in one tab, each on one thread.

    python -m benchmarks.browser [--rounds 20] [--record]

Builds the demo page (``benchmarks.web.demo``) and opens it: how long from opening to the first result. Then, in one
tab, every contender of a network takes turns on one photo; oaq also on the threads that an isolated page gets. Before
anything is timed, both builds have to compute the same outputs and the signature of the reference. Needs Debian's
chromium, and onnxruntime-web (``npm install`` in ``web/``).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.busy import Disturbance, Watch
from benchmarks.harness import Result, add_record, save, stamp
from benchmarks.web.build import BUILDS, PACKAGE, packed_size
from benchmarks.web.demo import build_page
from benchmarks.web.node import NoChromium, chromium, run_script
from oaq.errors import ConfigError
from oaq.terminal import say

Row = tuple[tuple[str, str], ...]
SCRIPT: Final = Path(__file__).parent / "web" / "run_browser.mjs"
BASELINE: Final = "onnxruntime-web int8"
FLOORS: Final[Mapping[str, float]] = {"oaq relaxed": 5.0, "oaq simd128": 2.5}
"""Times as fast as onnxruntime-web's int8, at least."""
GOALS: Final[Mapping[str, float]] = {"oaq relaxed": 8.0, "oaq simd128": 4.0}
"""What is hoped for beyond the floors."""
RATIO: Final = f"times as fast as {BASELINE}"
LARGEST, SLOWEST = 150_000, 2000.0
"""Bytes of a module, compressed; milliseconds from opening the page to the first result."""
REST: Final = 4.0
"""Seconds for which the machine is watched before and after."""
NOTES: Final = (
    "times are of one tab of one Chromium, all contenders taking turns; photos are scaled before",
    "onnxruntime-web runs on one thread, oaq where nothing else is said; floors are those of one thread",
    "both builds computed the same outputs and the reference's signature before they were timed",
)


def rows_of(measured: Mapping[str, Any]) -> Iterator[Row]:
    """A row per network and contender."""
    for network, contenders in measured["networks"].items():
        medians = {contender["name"]: median(contender["times"]) for contender in contenders}
        for contender in contenders:
            name = contender["name"]
            yield (
                ("network", network),
                ("contender", name),
                ("milliseconds, median", f"{medians[name]:.2f}"),
                ("milliseconds, least", f"{min(contender['times']):.2f}"),
                (RATIO, f"{medians[BASELINE] / medians[name]:.2f}"),
                ("floor", f"{FLOORS[name]}" if name in FLOORS else ""),
                ("largest output", str(contender["best"])),
            )


def missed(rows: Sequence[Row], facts: Sequence[tuple[str, str]]) -> list[str]:
    """The floors that were not reached, in words."""
    fields = [dict(row) for row in rows]
    slow = [row for row in fields if row["floor"] and float(row[RATIO]) < float(row["floor"])]
    words = [f"{row['network']}, {row['contender']}: {row[RATIO]} times, not {row['floor']}" for row in slow]
    for name, value in facts:
        if name.endswith("bytes, compressed") and int(value) > LARGEST:
            words.append(f"{name}: {value}, not {LARGEST}")
        if name.startswith("milliseconds") and float(value) > SLOWEST:
            words.append(f"{name}: {value}, not {SLOWEST:.0f}")
    return words


def resting() -> Disturbance:
    """What others take of the CPUs while nothing of ours runs.

    A browser's processes leave their parents, so what they take during the run cannot be told from what others take.
    """
    watch = Watch(sorted(os.sched_getaffinity(0)))
    time.sleep(REST)
    return watch.disturbance([0.0])


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, open, measure; write the result file. Exit code 1: a floor was not reached."""
    parser = argparse.ArgumentParser("python -m benchmarks.browser", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="turns of three runs each (default %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/web-demo"), metavar="DIR", help="of the page")
    add_record(parser)
    flags = parser.parse_args(arguments)
    try:
        browser = chromium()
    except NoChromium as error:
        raise ConfigError(str(error)) from error
    if not (PACKAGE / "node_modules" / "onnxruntime-web").is_dir():
        raise ConfigError("onnxruntime-web is not installed; run npm install in web/")
    build_page(flags.out)
    before = resting()
    measured = json.loads(run_script([SCRIPT, flags.out.resolve() / "site", str(flags.rounds), browser]))
    disturbance = max(before, resting(), key=lambda rest: rest.others or 0.0)
    rows = tuple(rows_of(measured))
    facts = [("browser", measured["product"])]
    facts += [
        (f"oaq-{name}.wasm: bytes, compressed", str(packed_size(PACKAGE / "wasm" / f"oaq-{name}.wasm")))
        for name in BUILDS
    ]
    facts.append(("milliseconds from opening the page to the first result", f"{measured['first']:.0f}"))
    for line in (*facts, *(("  ".join(value for _, value in row), "") for row in rows)):
        say.words("  ".join(filter(None, line)))
    command = " ".join(["python -m benchmarks.browser", *sys.argv[1:]])
    result = Result(
        "browser",
        command,
        stamp(),
        facts=tuple(facts),
        rows=rows,
        notes=(*NOTES, f"at rest, before or after: {disturbance.words}"),
    )
    judged = disturbance if flags.record else None
    say.words(f"{disturbance.words}\n{save(result, 'browser', record=flags.record, disturbance=judged)}")
    floors = missed(rows, facts)
    say.words("\n".join(floors) or "every floor is reached")
    return int(bool(floors))


if __name__ == "__main__":
    sys.exit(main())
