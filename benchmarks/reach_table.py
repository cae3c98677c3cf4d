"""What oaq does in a page, on Arm and as C: tables of README.md and of three how-tos, written from the result files.

``python -m benchmarks.readme`` writes them; a test compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from benchmarks.arm.loops import PAIRED, WIDENING
from benchmarks.browser import FLOORS, GOALS, RATIO
from benchmarks.harness import RESULTS, Result, load
from benchmarks.performance_table import MARKED, table
from oaq.program.atomic import write_atomically

DOCS: Final = Path(__file__).parent.parent / "docs" / "how-to"
CONTENDERS: Final = {
    "oaq relaxed": "**oaq, relaxed SIMD**",
    "oaq relaxed, 2 threads": "two threads",
    "oaq simd128": "**oaq, SIMD128**",
    "oaq simd128, 2 threads": "two threads",
    "onnxruntime-web int8": "onnxruntime-web, int8",
    "onnxruntime-web fp32": "onnxruntime-web, fp32",
}
"""Heads of columns by what ``benchmarks.browser`` calls its contenders."""
CORES: Final = {"cortex-a53": "Cortex-A53", "cortex-a55": "Cortex-A55", "cortex-a72": "Cortex-A72"}


def in_a_page(folder: Path = RESULTS) -> str:
    """Milliseconds of each network by contender; a table per CPU."""
    return "\n".join(_browser(load(path), path) for path in sorted(folder.glob("*/browser.json")))


def _browser(result: Result, path: Path) -> str:
    times: dict[str, dict[str, Mapping[str, str]]] = {}
    for row in map(dict, result.rows):
        times.setdefault(row["network"], {})[row["contender"]] = row
    here = [name for name in CONTENDERS if any(name in contenders for contenders in times.values())]
    lines = [
        (network, *(contenders[name]["milliseconds, median"] if name in contenders else "-" for name in here))
        for network, contenders in times.items()
    ]
    ratios = [
        f"{CONTENDERS[name].strip('*')} {', '.join(contenders[name][RATIO] for contenders in times.values())} "
        f"(floor {FLOORS[name]:g}, goal {GOALS[name]:g})"
        for name in FLOORS
    ]
    facts = dict(result.facts)
    said = [f"{name} {value}" for name, value in facts.items() if name != "browser"]
    words = f"{result.environment.cpu}, {facts['browser']}, headless, milliseconds on one thread where nothing is said"
    place = f"`benchmarks/results/{path.parent.name}/{path.name}`"
    stamp = f"{RATIO[0].upper()}{RATIO[1:]}: {'; '.join(ratios)}. {'; '.join(said)}. {place}."
    return f"{words}:\n\n{table(('network', *(CONTENDERS[name] for name in here)), lines)}\n{stamp}\n"


def modelled(folder: Path = RESULTS) -> str:
    """Products in a cycle by inner loop and core; instructions of one."""
    result = load(folder / "arm_models.json")
    loops: dict[str, dict[str, str]] = {}
    for row in map(dict, result.rows):
        line = loops.setdefault(row["loop"], {"instructions": row["instructions per product"]})
        line[row["modelled CPU"]] = f"{float(row['modelled products in a cycle']):.1f}"
    for name, value in result.facts:
        loop, is_count, _ = name.partition(": instructions per product")
        if is_count:
            loops[loop] = {"instructions": value}
    lines = [
        (_loop(name), *(line.get(cpu, "-") for cpu in CORES), line["instructions"]) for name, line in loops.items()
    ]
    head = ("inner loop; products per cycle", *CORES.values(), "instructions per product")
    return table(head, lines)


def _loop(name: str) -> str:
    return f"XNNPACK's: {name}" if name in (PAIRED, WIDENING) else f"`{name}`"


def counted(folder: Path = RESULTS) -> str:
    """Millions of instructions of a photo, by plan and network."""
    counts: dict[str, dict[str, float]] = {}
    for row in map(dict, load(folder / "arm_networks.json").rows):
        counts.setdefault(row["plan"], {})[row["network"]] = int(row["instructions of a photo"]) / 1e6
    networks = list(dict.fromkeys(network for line in counts.values() for network in line))
    lines = [(plan, *(f"{line[network]:.1f}" for network in networks)) for plan, line in counts.items()]
    return table(("millions of instructions, one photo", *networks), lines)


def in_c(folder: Path = RESULTS) -> str:
    """Bytes of each network as C, by machine, and whether its self-test gave the signature."""
    lines = []
    for row in map(dict, load(folder / "embedded.json").rows):
        sizes = (f"{int(row[key]):,}" if row[key] else "-" for key in ("text", "constants", "arena"))
        lines.append((row["network"], row["machine"], *sizes, row["signature"]))
    head = ("network", "machine", "code and constants, bytes", "constants alone", "arena", "signature")
    return table(head, lines)


BLOCKS: Final[Mapping[str, tuple[Path, Callable[[Path], str]]]] = {
    "in-a-page": (DOCS / "run-in-the-browser.md", in_a_page),
    "modelled": (DOCS / "run-on-arm.md", modelled),
    "counted": (DOCS / "run-on-arm.md", counted),
    "in-c": (DOCS / "embed-in-c.md", in_c),
}
"""Tables by name: the document that each stands in, between markers, and what writes it from the results."""


def block(folder: Path = RESULTS) -> str:
    """What README.md has of it: a page, and Arm. Empty where nothing has been measured."""
    if not (folder / "arm_models.json").exists() or not list(folder.glob("*/browser.json")):
        return ""
    model = dict(load(folder / "arm_models.json").facts)["model"]
    arm = f"On Arm, **modelled** by {model}; no Arm machine was used ([how](docs/how-to/run-on-arm.md)):"
    page = "In a page ([how](docs/how-to/run-in-the-browser.md))."
    return f"{page} {in_a_page(folder)}\n{arm}\n\n{modelled(folder)}\n{counted(folder)}"


def replaced(text: str, folder: Path = RESULTS) -> str:
    """A document's text with every marked block written anew.

    Raises:
        KeyError: there is no such block.
    """
    return MARKED.sub(lambda match: match[1] + BLOCKS[match["name"]][1](folder) + match[3], text)


def main() -> None:
    """Rewrite the tables of the how-tos."""
    for document in sorted({document for document, _ in BLOCKS.values()}):
        write_atomically(document, [replaced(document.read_text(encoding="utf-8")).encode()])
