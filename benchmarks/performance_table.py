"""The tables of docs/performance.md, written from the result files: ``python -m benchmarks.performance_table``.

Nothing is typed by hand between the markers; a test compares.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.harness import RESULTS, Result, cpu_folders, load
from oaq.program.atomic import write_atomically
from oaq.report.data import Latency

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
MARKED = re.compile(r"(<!-- (?P<name>[a-z0-9-]+): begin -->\n).*?(<!-- (?P=name): end -->)", re.DOTALL)
LOOP_TARGETS = (
    ("gemm_u8s8_avx2_acc16", "of the limit", "loop", 0.92),
    ("gemm_u8s8_avx2_acc16", "spill every 8, of the limit", "loop with a spill every 8 quads", 0.82),
    ("gemm_u8s8_avx512bw_acc16", "of the limit", "loop", 0.90),
    ("gemm_u8s8_vnni", "of the limit", "loop", 0.90),
)
"""(row, key of results/micro.json, words, least share of the port limit)."""
RATIO_TARGET = 1.65
NETWORK_TARGETS = {"efficientnet-lite0": (2.0, 1.35), "mobilenet-v2": (2.0, 1.35), "resnet18": (1.6, 1.5)}
"""Least (speed over OpenVINO's held to AVX2, speed over our own 32-bit sums), one thread, by network."""
ON_AMD = {"efficientnet-lite0": 2.2, "mobilenet-v2": 2.2}
"""Least speed over OpenVINO's on CPUs of AMD, where it is another."""
LONGEST = 64
"""The run of results/kernels.json that stands for no spill at all: the layer's whole K."""


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """In Markdown; every column but the first to the right."""
    rows = [head, ["---", *("---:" for _ in head[1:])], *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _stamp(path: Path, result: Result) -> str:
    env = result.environment
    remark = f"; {result.notes[-1]}" if result.notes else ""
    return (
        f"`benchmarks/results/{path.parent.name}/{path.name}`: {env.cpu}, {env.compiler.split(' Release')[0]}{remark}."
    )


def loops(folder: Path) -> str:
    """Every matrix row: what ports allow, the loop alone, the loop in a layer."""
    micro, kernels = load(folder / "micro.json"), load(folder / "kernels.json")
    layers = {(row["row"], row["run"]): float(row["gmacs"]) for row in map(dict, kernels.rows)}
    lines = []
    for loop in map(dict, micro.rows):
        if "limit" not in loop:
            continue
        row, spilled = loop["row"], loop.get("spill every 8")
        full_run = layers.get((row, str(LONGEST)), layers.get((row, "0")))
        eight = layers.get((row, "8"))
        lines.append(
            (
                f"`{row}`",
                loop["limit"],
                f"{loop['kernel']} ({float(loop['of the limit']):.2f})",
                f"{spilled} ({float(loop['spill every 8, of the limit']):.2f})" if spilled else "does not spill",
                "-" if full_run is None else f"{full_run:.0f}",
                "-" if eight is None else f"{eight:.0f}",
            )
        )
    head = ("row", "port limit", "loop (of the limit)", "spill every 8 quads", "layer", "layer, spill every 8")
    facts = "; ".join(f"{name} {value}" for name, value in micro.facts)
    stamps = f"{_stamp(folder / 'micro.json', micro)} {_stamp(folder / 'kernels.json', kernels)}"
    return f"{table(head, lines)}\n{facts}. {stamps}\n"


def networks(folder: Path) -> str:
    """How many times as fast we are, per network."""
    lines = []
    for path in sorted(folder.glob("*-[0-9]t.json")):
        result = load(path)
        if result.latency is not None and result.benchmark == "networks":
            name, _, threads = path.stem.rpartition("-")
            ratios = ("-" if ratio is None else f"{ratio:.2f}" for ratio in _ratios(result.latency))
            lines.append((name, threads.removesuffix("t"), *ratios))
    head = (
        "network",
        "threads",
        "the faster of OpenVINO and ONNX Runtime, int8, natively",
        "OpenVINO held to AVX512_CORE, ours on AVX-512BW",
        "OpenVINO held to AVX2, ours on AVX2",
        "our own 32-bit sums, AVX2",
        "our own exact sums, AVX2",
    )
    return table(head, lines)


def _ratios(latency: Latency) -> list[float | None]:
    """Speeds of oaq over those of the five executors of the table, in its order; None where one was not run."""
    times = {timing.name: timing.median_ms for timing in latency.timings}
    by_isa = {
        timing.isa: timing.median_ms for timing in latency.timings if not timing.ours and ", held to " in timing.name
    }
    int8 = [
        timing
        for timing in latency.timings
        if not timing.ours and timing.precision == "int8" and ", held to" not in timing.name
    ]
    pairs = (
        (min((timing.median_ms for timing in int8), default=None), "oaq vnni"),
        (by_isa.get("avx512bw"), "oaq avx512bw"),
        (by_isa.get("avx2"), "oaq avx2"),
        (times.get("oaq avx2, 32-bit sums"), "oaq avx2"),
        (times.get("oaq avx2, exact"), "oaq avx2"),
    )
    return [None if peer is None or name not in times else peer / times[name] for peer, name in pairs]


def plain_rows(folder: Path, name: str) -> str:
    """The rows of a result file as they are."""
    path = folder / f"{name}.json"
    result = load(path)
    head = tuple(key for key, _ in result.rows[0])
    lines = (tuple(value for _, value in row) for row in result.rows)
    return f"{table(head, lines)}\n{_stamp(path, result)}\n"


def compilers(folder: Path) -> str:
    """Clang beside GCC, row by row."""
    result = load(folder / "compilers.json")
    rows = [dict(row) for row in result.rows]
    head = ("row", *(key for key in rows[0] if key != "row"))
    lines = [(f"`{row['row'].removesuffix(', run -')}`", *(row[key] for key in head[1:])) for row in rows]
    return f"{table(head, lines)}\n{_stamp(folder / 'compilers.json', result)}\n"


def targets(folder: Path) -> str:
    """Every target beside its figure: met or missed."""
    micro = {row["row"]: row for row in map(dict, load(folder / "micro.json").rows) if "limit" in row}
    facts = dict(load(folder / "micro.json").facts)
    lines = []
    for row, key, name, target in LOOP_TARGETS:
        lines.append(_target(f"`{row}`: {name}, of the port limit", target, float(micro[row][key])))
    lines.append(_target("16-bit against 32-bit loops, AVX2", RATIO_TARGET, float(facts["avx2: acc16 / acc32"])))
    for network, (against_openvino, against_wide) in NETWORK_TARGETS.items():
        result = load(folder / f"{network}-1t.json")
        if result.latency is not None:
            ratios = _ratios(result.latency)
            if result.environment.cpu.startswith("AMD"):
                against_openvino = ON_AMD.get(network, against_openvino)
            lines.append(_target(f"{network}: times OpenVINO's speed, both on AVX2", against_openvino, ratios[2]))
            lines.append(_target(f"{network}: times our 32-bit sums, AVX2", against_wide, ratios[3]))
    return table(("target, one thread", "at least", "measured", ""), lines)


def _target(name: str, target: float, measured: float | None) -> tuple[str, str, str, str]:
    if measured is None:
        return name, f"{target:.2f}", "-", "not run"
    return name, f"{target:.2f}", f"{measured:.3f}", "met" if measured >= target else "**missed**"


NETWORKS = "*-[0-9]t.json"
BLOCKS: dict[str, tuple[Callable[[Path], str], tuple[str, ...]]] = {
    "targets": (targets, ("micro.json", *(f"{network}-1t.json" for network in NETWORK_TARGETS))),
    "networks": (networks, (NETWORKS,)),
    "loops": (loops, ("micro.json", "kernels.json")),
    "compilers": (compilers, ("compilers.json",)),
    "quantizing": (partial(plain_rows, name="quantize_time"), ("quantize_time.json",)),
}
"""Tables by name: what writes one from a CPU's folder of results, and the files that it needs there."""


def block(name: str, results: Path) -> str:
    """A table per CPU that has the files, under its name.

    Raises:
        KeyError: there is no such block.
    """
    write_table, files = BLOCKS[name]
    folders = cpu_folders(results, *files)
    return "\n".join(f"{_cpu(folder, files[0])}:\n\n{write_table(folder)}" for folder in folders)


def _cpu(folder: Path, pattern: str) -> str:
    return load(min(folder.glob(pattern))).environment.cpu


def replaced(text: str, folder: Path = RESULTS) -> str:
    """``text`` with every marked block written anew.

    Raises:
        KeyError: there is no such block.
    """
    return MARKED.sub(lambda match: match[1] + block(match["name"], folder) + match[3], text)


def main() -> int:
    """Rewrite docs/performance.md."""
    write_atomically(DOCUMENT, [replaced(DOCUMENT.read_text(encoding="utf-8")).encode()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
