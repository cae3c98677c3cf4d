"""The speed pictures of README.md, docs/images/speed-*.svg, one per CPU, drawn from the result files.

    python -m benchmarks.plot

Bars say how many times as fast oaq is as another executor in the same run, one thread, batch 1: one panel per
instruction set, one group per network. Colours follow the reader's light or dark setting by a style sheet inside.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from benchmarks.harness import RESULTS, Result, cpu_folders, load
from oaq.program.atomic import write_atomically
from oaq.report.data import Latency, Timing

IMAGES = Path(__file__).parent.parent / "docs" / "images"
DRAWN = "*-1t.json"
"""Result files of whole networks that are drawn: those on one thread."""
SAID = "How many times as fast oaq is as other runtimes, by instruction set and network"
WIDTH, LEFT, RIGHT, BAR, GAP, HEAD = 880, 170, 300, 15, 12, 30
HELD = ", held to "
STYLE = """
text { font: 13px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328; }
.title { font-weight: 600; font-size: 15px; }
.soft { fill: #59636e; }
.one { stroke: #1f2328; stroke-width: 1.2; }
.grid { stroke: #d1d9e0; stroke-width: 1; }
.peer { fill: #2f6fd0; }
.self { fill: #b07a1e; }
.slower { fill: #c0392b; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .soft { fill: #9198a1; }
  .one { stroke: #e6edf3; }
  .grid { stroke: #3d444d; }
  .peer { fill: #6ea8fe; }
  .self { fill: #d9a441; }
  .slower { fill: #ff7b72; }
}"""


@dataclass(frozen=True)
class Bar:
    """One ratio.

    Attributes:
        label: the executor we are compared with.
        ratio: its time over ours.
        own: it is a plan of ours.
    """

    label: str
    ratio: float
    own: bool


@dataclass(frozen=True)
class Panel:
    """Comparisons on one instruction set: (network, bars)."""

    title: str
    groups: tuple[tuple[str, tuple[Bar, ...]], ...]


def panels(results: Sequence[tuple[str, Latency]]) -> list[Panel]:
    """What is fair to compare: on AVX2 and AVX-512BW peers held to that instruction set; natively all.

    Args:
        results: (network, its latency).
    """
    titles = {
        "avx2": "AVX2: 16-bit sums against OpenVINO held to AVX2, and against our own wider sums",
        "avx512bw": "AVX-512BW without VNNI: against OpenVINO held to it",
        "vnni": "Whatever the CPU has (here VNNI): against int8 peers, and against the fastest float",
    }
    result = []
    for isa, title in titles.items():
        groups = [(name, tuple(_bars(latency, isa))) for name, latency in results]
        if any(bars for _, bars in groups):
            result.append(Panel(title, tuple((name, bars) for name, bars in groups if bars)))
    return result


def _bars(latency: Latency, isa: str) -> Iterator[Bar]:
    our_timing = next((timing for timing in latency.timings if timing.name == f"oaq {isa}"), None)
    if our_timing is None:
        return
    peer_timings = [timing for timing in latency.timings if not timing.ours]
    native = [timing for timing in peer_timings if HELD not in timing.name]
    if isa == "vnni":
        selected = [timing for timing in native if timing.precision == "int8"]
        selected += sorted(
            (timing for timing in native if timing.precision == "fp32"), key=lambda timing: timing.median_ms
        )[:1]
    else:
        selected = [timing for timing in peer_timings if HELD in timing.name and timing.isa == isa]
    selected += [timing for timing in latency.timings if timing.ours and timing.name.startswith(f"oaq {isa}, ")]
    for timing in selected:
        yield Bar(_label(timing), timing.median_ms / our_timing.median_ms, timing.ours)


def _label(timing: Timing) -> str:
    if timing.ours:
        return f"our {timing.name.partition(', ')[2].removesuffix(' sums')} sums"
    return timing.name.partition(HELD)[0]


def svg_of(panels_shown: Sequence[Panel], caption: str) -> str:
    """The picture as SVG."""
    most = max(bar.ratio for panel in panels_shown for _, bars in panel.groups for bar in bars)
    unit = (WIDTH - LEFT - RIGHT) / max(most, 1.5)
    body, top = [], 8
    for panel in panels_shown:
        height = sum(len(bars) * BAR + GAP for _, bars in panel.groups)
        body.append(_text(0, top + 18, panel.title, "title"))
        top += HEAD
        for tick in range(1, int(most * 2) + 1):
            x = LEFT + unit * tick / 2
            kind = "one" if tick == 2 else "grid"
            body.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + height}"/>')
            body.append(_text(x, top + height + 13, f"{tick / 2:g}x", "soft", "middle"))
        for name, bars in panel.groups:
            body.append(_text(LEFT - 10, top + len(bars) * BAR / 2 + 9, name, "", "end"))
            for bar in bars:
                kind = "slower" if bar.ratio < 1 else "self" if bar.own else "peer"
                length = unit * bar.ratio
                body.append(
                    f'<rect class="{kind}" x="{LEFT}" y="{top + 5}" width="{length:.1f}" height="{BAR - 3}" rx="1.5"/>'
                )
                body.append(_text(LEFT + length + 6, top + BAR, f"{bar.ratio:.2f}  {bar.label}", ""))
                top += BAR
            top += GAP
        top += 30
    body.append(_text(0, top + 6, caption, "soft"))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + 18}" width="{WIDTH}" role="img">'
    return "\n".join([head, f"<title>{SAID}</title>", f"<style>{STYLE}\n</style>", *body, "</svg>\n"])


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def picture_of(folder: Path) -> Path:
    """Where the picture of a CPU's folder of results lies."""
    return IMAGES / f"speed-{folder.name}.svg"


def picture(folder: Path) -> str | None:
    """The picture of the networks in a CPU's folder of results; None if there is no result file."""
    results = [(path, load(path)) for path in sorted(folder.glob(DRAWN))]
    timed = [(_network(stored, path), stored.latency) for path, stored in results if stored.latency is not None]
    if not timed:
        return None
    cpus = ", ".join(dict.fromkeys(result.environment.cpu for _, result in results))
    caption = f"Their median time over ours, 1 thread, batch 1, in turns in one run; above 1 oaq is faster. {cpus}."
    return svg_of(panels(timed), caption)


def _network(result: Result, path: Path) -> str:
    name = path.stem.rpartition("-")[0]
    return f"{name} (random)" if dict(result.facts).get("weights") == "random" else name


def main() -> int:
    """Write the pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for folder in cpu_folders(RESULTS, DRAWN):
        svg = picture(folder)
        if svg is not None:
            write_atomically(picture_of(folder), [svg.encode()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
