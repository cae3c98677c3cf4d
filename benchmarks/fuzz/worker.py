"""A process that breaks and judges files one after the other; the parent reads its lines and watches it.

    python -m benchmarks.fuzz.worker SEEDS SEED FIRST LAST STATUS [NATIVE]

Before each file its number is written into STATUS (8 bytes), so that a death has a culprit. Each line on standard
output is one JSON document: counts since the last one, defects, and the number of the next file.
"""

from __future__ import annotations

import json
import mmap
import resource
import struct
import sys
from collections import Counter
from pathlib import Path
from typing import Final

CHUNK: Final = 500
"""Files between two lines."""
MEMORY: Final = 1 << 30
"""Bytes by which one file may raise the peak of the process."""


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(arguments: list[str]) -> int:
    """Judge files FIRST to LAST."""
    folder, seed, first, last, status = Path(arguments[0]), *map(int, arguments[1:4]), Path(arguments[4])
    if len(arguments) > 5:
        from benchmarks.native_module import load_native

        load_native(Path(arguments[5]), "address")
    from benchmarks.fuzz.mutants import mutant
    from benchmarks.fuzz.seeds import read_seeds
    from benchmarks.fuzz.stages import judge

    seeds = read_seeds(folder)
    counts, defects = Counter[str](), []
    with status.open("r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
        for index in range(first, last):
            shared[:] = struct.pack("<q", index)
            broken = mutant(seeds, seed, index)
            before = _peak()
            outcome = judge(broken, index)
            growth = _peak() - before
            if growth > MEMORY:
                defects.append([index, f"took {growth >> 20} MiB at stage {outcome.stage} {outcome.kind}"])
            counts[f"{broken.kind}|{outcome.stage}|{outcome.kind}"] += 1
            if outcome.detail:
                defects.append([index, f"stage {outcome.stage}: {outcome.detail}"])
            if (index + 1 - first) % CHUNK == 0 or index + 1 == last or growth > MEMORY:
                sys.stdout.write(json.dumps({"next": index + 1, "counts": counts, "defects": defects}) + "\n")
                sys.stdout.flush()
                counts, defects = Counter[str](), []
                if growth > MEMORY:
                    return 0  # a fresh process, so that the next growth shows
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
