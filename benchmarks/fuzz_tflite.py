"""Break TFLite files at random and import them: each must end in an import or in one ``OaqError``, soon.

    python -m benchmarks.fuzz_tflite [--files 100000] [--only 4711]

Bytes, aligned words (offsets, sizes, shapes) and stretches of files that hold every kind of layer are changed, cut out,
doubled or exchanged. Judged as ``benchmarks.fuzz_onnx`` judges. Needs ai-edge-litert, to write the unbroken files.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np

from benchmarks.fuzz.tflite_bytes import break_tflite
from benchmarks.fuzz_onnx import FILES, SECONDS, WHERE, judge
from benchmarks.harness import Result, add_record, save, stamp
from benchmarks.tflite_files import network
from benchmarks.tflite_operators import CASES, operator
from oaq.capture.from_tflite import import_tflite
from oaq.capture.imported import Imported
from oaq.terminal import say


def unbroken() -> list[bytes]:
    """Files to break."""
    return [network(0, np.int8), network(1, np.uint8), *(operator(name) for name in CASES)]


def load(content: bytes) -> Imported:
    """Read and import."""
    return import_tflite(content, where=WHERE)


def broken(files: list[bytes], seed: int, index: int) -> bytes:
    """File number ``index``."""
    rng = np.random.default_rng([seed, index])
    return break_tflite(files, rng)


def main() -> int:
    """Break, import, print, write the result; 1 if there was a defect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="one file, by number")
    add_record(parser)
    given = parser.parse_args()
    files, counts, defects = unbroken(), Counter[str](), 0
    numbers = range(given.files) if given.only is None else [given.only]
    for index in say.track(numbers, "broken files"):
        outcome = judge(broken(files, given.seed, index), SECONDS, load)
        counts[outcome.kind] += 1
        if outcome.detail or given.only is not None:
            defects += bool(outcome.detail)
            say.words(f"file {index}: {outcome.kind} {outcome.detail}")
    facts = tuple((name, str(number)) for name, number in sorted(counts.items()))
    say.words("  ".join(f"{name} {number}" for name, number in facts))
    if given.only is None and given.files == FILES and given.seed == 0 and not defects:
        note = f"from {len(files)} unbroken files; limit: {SECONDS:.0f} s a file"
        command = "python -m benchmarks.fuzz_tflite"
        save(Result("fuzz_tflite", command, stamp(), facts=facts, notes=(note,)), "fuzz_tflite", record=given.record)
    return int(bool(defects))


if __name__ == "__main__":
    raise SystemExit(main())
