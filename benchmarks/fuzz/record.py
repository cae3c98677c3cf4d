"""The result file of a campaign."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from benchmarks.fuzz.campaign import Campaign, State
from benchmarks.fuzz.stages import LARGE, SECONDS, SMALL, VERIFIED
from benchmarks.fuzz.worker import MEMORY
from benchmarks.harness import Result, save, stamp


def write_result(campaign: Campaign, state: State, *, record: bool) -> Path:
    """Write ``results/fuzz_files.json``."""
    kinds = Counter[str]()
    stages: dict[tuple[str, str], int] = {}
    errors = Counter[str]()
    for key, count in state.counts.items():
        kind, stage, error = key.split("|")
        kinds[kind] += count
        stages[kind, stage] = stages.get((kind, stage), 0) + count
        errors[error or "went through"] += count
    rows = tuple(
        (("broken", kind), ("last stage", stage), ("files", str(count)))
        for (kind, stage), count in sorted(stages.items())
    )
    facts = (
        ("files", str(state.judged)),
        ("defects", str(len(state.defects))),
        ("judged again after a defect was mended", str(state.again)),
        *((name, str(count)) for name, count in sorted(errors.items())),
    )
    notes = (
        f"limits: {SECONDS:.0f} s of CPU time, {MEMORY >> 20} MiB more at the peak, for each file",
        f"every {VERIFIED}th file was verified too if it ran and holds fewer than {SMALL:,} integers in tensors",
        f"programs of more than {LARGE:,} integers in tensors: opened, not run",
        "float parts were computed by oaq's own operators: ONNX Runtime itself ends the process on some damaged files",
        "native code built with AddressSanitizer and UndefinedBehaviorSanitizer; the first report ends the process",
    )
    command = (
        f"python -m benchmarks.fuzz --cases {campaign.cases} --seed {campaign.seed} --native build/sanitized/build"
    )
    return save(Result("fuzz", command, stamp(), facts=facts, rows=rows, notes=notes), "fuzz_files", record=record)
