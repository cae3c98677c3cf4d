"""Random valid ONNX graphs through ONNX Runtime, at both levels of optimization, and through oaq.

    python -m benchmarks.differential_onnx                            20,000 graphs
    python -m benchmarks.differential_onnx --graphs 500 --seed 7 --processes 2
    python -m benchmarks.differential_onnx --only 4711                graph 4711 of that seed alone, made small

Graph ``i`` is a function of (seed, i): operators, attributes, opset (10 to 27), form (QDQ per tensor and per channel,
QLinear, integer operators, com.microsoft's, float) and quantizers are drawn. Every integer that both sides have is
compared and falls under a rule (``judge``) or is a defect; graphs with defects lie in OUT/defects, as small as their
steps allow. A run that is stopped goes on where it stopped: its state is OUT/state-SEED.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import onnx

from benchmarks.differential_onnx.campaign import FULL, judged, run, smallest, write_result
from benchmarks.differential_onnx.graphs import draw
from benchmarks.harness import add_record
from oaq.terminal import say


def main() -> int:
    """Judge, print, write the result; 1 if there was a defect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graphs", type=int, default=FULL, help=f"how many (default {FULL})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/differential_onnx"), help="folder of state and defects")
    parser.add_argument("--only", type=int, help="one graph, by number")
    add_record(parser)
    arguments = parser.parse_args()
    if arguments.only is not None:
        return _only(arguments.seed, arguments.only)
    state = run(arguments.graphs, arguments.seed, arguments.processes, arguments.out)
    say.words("\n".join(state.lines()))
    if state.graphs >= FULL and not state.defects:
        write_result(state, arguments.seed, record=arguments.record)
    return int(bool(state.defects))


def _only(seed: int, index: int) -> int:
    recipe = draw(seed, index)
    _, verdict = judged(recipe, index)
    if verdict.is_defect:
        recipe = smallest(recipe, index, verdict.kind)
    model, verdict = judged(recipe, index)
    say.words(f"{recipe}\n{verdict.kind}: {verdict.detail}")
    if model is not None:
        say.words(onnx.printer.to_text(model))
    return int(verdict.is_defect)


if __name__ == "__main__":
    raise SystemExit(main())
