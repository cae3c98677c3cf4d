"""What networks that enlarge score and how long they take: the table of docs/accuracy/super-resolution.md.

``python -m benchmarks.accuracy_table`` writes it; networks that no file holds are "not run".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks.harness import RESULTS, Result, load
from benchmarks.performance_table import table
from oaq.report.data import Latency

NAME: Final = "superres"
"""Name of the markers between which the tables stand."""
NETWORKS: Final = ("espcn", "fsrcnn", "edsr-mini")
SETS: Final = ("Set5", "Set14", "scikit-image")
NOT_RUN: Final = "not run"
OURS: Final = {"oaq avx2": "oaq, AVX2", "oaq vnni": "oaq, VNNI"}


def block(folder: Path = RESULTS) -> str:
    """What belongs between the markers: scores, then times."""
    titles = [f"{name}-x{scale}" for scale in (2, 4) for name in NETWORKS]
    columns = ("network", *(f"{name}: PSNR" for name in SETS), *(f"{name}: SSIM" for name in SETS))
    scores = table(columns, [(title, *scores_of(folder / f"superres_{title}.json")) for title in titles])
    timed = [(title, path) for title in titles for path in sorted(folder.glob(f"*/superres_{title}_1t.json"))]
    if not timed:
        return f"{scores}\nTimes: not run.\n"
    head = ("network", "CPU", *OURS.values(), "ONNX Runtime", "OpenVINO", "OpenVINO at AVX2", "ONNX Runtime at AVX2")
    rows = [(title, *_row(load(path))) for title, path in timed]
    return f"{scores}\n{table(head, rows)}"


def scores_of(path: Path) -> tuple[str, ...]:
    """PSNR of every set, then SSIM, each bicubic / float / int16."""
    facts: Mapping[str, str] = dict(load(path).facts) if path.exists() else {}
    starts = [f"{metric} on {name}," for metric in ("PSNR", "SSIM") for name in SETS]
    return tuple(next((value for fact, value in facts.items() if fact.startswith(start)), NOT_RUN) for start in starts)


def _row(result: Result) -> tuple[str, ...]:
    latency = result.latency
    return (result.environment.cpu, *(("",) * 6 if latency is None else times_of(latency)))


def times_of(latency: Latency) -> tuple[str, ...]:
    """Milliseconds of a frame: ours by instruction set, then peers."""
    by_name = {timing.name: f"{timing.median_ms:.1f}" for timing in latency.timings}
    ours = tuple(by_name.get(name, NOT_RUN) for name in OURS)
    peers = []
    for runtime, held in (("onnxruntime", False), ("openvino", False), ("openvino", True), ("onnxruntime", True)):
        names = [name for name in by_name if name.startswith(runtime) and name.endswith("held to AVX2") == held]
        peers.append(by_name[names[0]] if names else NOT_RUN)
    return (*ours, *peers)
