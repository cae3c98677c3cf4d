r"""Precision against predicted cost: ``oaq.quantize`` over budgets, beside plain rounding to fewer bits.

    python -m benchmarks.ptq_pareto [efficientnet-lite0 mobilenet-v2] [--out ptq_pareto]

Accuracy is of the labelled photos and of views of photos that calibration never saw; costs are those of the AVX2 plan.
Plain rounding is per channel, to nearest, at the ranges seen: what one would do without a budget.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import torch

import oaq
from benchmarks.harness import Result, add_record, save, stamp
from oaq.capture.from_torch import normalize
from oaq.capture.graph import FloatGraph, LayerParams, TensorParams
from oaq.capture.lower import lower, same_affine_groups
from oaq.choose.round import nearest, packed_rows, unpacked, whole_scale
from oaq.program.int_program import IntProgram
from oaq.ptq.clip import affine_range
from oaq.ptq.execute import layers
from oaq.ptq.observe import observe
from oaq.ptq.options import DEFAULT_BUDGET
from oaq.ptq.quantize import quantize
from oaq.ptq.samples import chunks
from oaq.report.agreement import compare
from oaq.terminal import say
from recipes.demo import Data, load_data
from recipes.float_onnx import run_float
from recipes.networks import NETWORKS

BUDGETS = (1.0, 1.05, DEFAULT_BUDGET, 1.15, 1.25, 1.4, 1.6, None)
PLAIN = ((8, 8), (7, 8), (7, 7), (6, 7), (6, 6))
"""Bits of weights and activations."""
Row = tuple[tuple[str, str], ...]


def plain(graph: FloatGraph, data: Data, weight_bits: int, bits: int) -> IntProgram:
    """Round to nearest at the ranges seen."""
    stats, tensors, parameters = observe(graph, chunks(graph, data.calibration)), dict[str, TensorParams](), {}
    for group in same_affine_groups(graph):
        ends = min(stats[name].lo.min() for name in group), max(stats[name].hi.max() for name in group)
        tensors |= dict.fromkeys(group, affine_range(*ends, (1 << bits) - 1))
    for node, op in layers(graph):
        rows = packed_rows(op).astype(np.float64)
        step = tensors[node.inputs[0]].affine.scale
        full_scale = whole_scale(rows) * 127 / ((1 << (weight_bits - 1)) - 1)
        scale = np.maximum(full_scale, np.abs(op.bias) / (step * 2.0**28)).astype(np.float32)
        weight = unpacked(nearest(rows, scale.astype(np.float64)), op)
        bias = np.rint(op.bias / (step * scale.astype(np.float64))).astype(np.int32)
        parameters[node.name] = LayerParams(weight, scale, bias)  # type: ignore[arg-type]
    return lower(graph, tensors, parameters)


def point(label: str, program: IntProgram, data: Data, exact: np.ndarray, trained: bool) -> Row:
    """Everything about one program."""
    planned = oaq.plan(program, "avx2")
    session = oaq.Session(oaq.plan(program), threads=2)
    logits = np.concatenate([np.asarray(session.run(x)) for x in np.array_split(data.views, 20)])
    count = 5 * len(data.test)
    task, labels = NETWORKS["efficientnet-lite0"].task, data.labels.tolist() if trained else None
    labelled = compare({"y": exact[:count:5]}, {"y": logits[:count:5]}, task, labels)
    unseen = compare({"y": exact}, {"y": logits}, task)
    right = labelled.scores[0].int_value
    return (
        ("what", label),
        ("cost", f"{planned.cost:.4f}"),
        ("average_run", f"{planned.average_run:.2f}"),
        ("labelled_right", "None" if right is None else f"{right:.0f}"),
        ("labelled_sqnr_db", f"{labelled.least_sqnr_db:.2f}"),
        ("unseen_sqnr_db", f"{unseen.least_sqnr_db:.2f}"),
        ("unseen_agree", f"{unseen.scores[0].agreement:.0f}/{unseen.images}"),
    )


def points(name: str) -> Iterator[Row]:
    """One network at every budget, then rounded plainly."""
    network = NETWORKS[name]
    net = network.load()
    data = load_data(network, 64)
    exact = np.concatenate([run_float(net, x) for x in np.array_split(data.views, 20)])
    graph = normalize(net, torch.from_numpy(data.test[:1]), name)
    for budget in say.track(BUDGETS, f"{name}, budgets"):
        program = quantize(graph, data.calibration, budget=budget)
        label = "budget none" if budget is None else f"budget {budget:g}"
        yield (("network", name), *point(label, program, data, exact, network.trained))
    for weights, bits in say.track(PLAIN, f"{name}, plain rounding"):
        program = plain(graph, data, weights, bits)
        yield (("network", name), *point(f"plain W{weights}A{bits}", program, data, exact, network.trained))


def draw(rows: Sequence[Row], path: str) -> None:
    """SQNR against cost, one panel per network."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "oaq"
    from matplotlib import pyplot

    names = list(dict.fromkeys(dict(row)["network"] for row in rows))
    figure, panels = pyplot.subplots(1, len(names), figsize=(5 * len(names), 3.6), squeeze=False, sharey=True)
    for panel, name in zip(panels[0], names, strict=True):
        for kind, label, style in (("budget", "oaq", "o-"), ("plain", "plain rounding", "s--")):
            points_of_kind = [
                dict(row) for row in rows if dict(row)["network"] == name and dict(row)["what"].startswith(kind)
            ]
            points_of_kind.sort(key=lambda row: float(row["cost"]))
            panel.plot(
                [float(row["cost"]) for row in points_of_kind],
                [float(row["unseen_sqnr_db"]) for row in points_of_kind],
                style,
                label=label,
            )
        panel.set(title=name, xlabel="predicted cost (16-bit sums without a spill = 1)")
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("logit SQNR, dB, photos never seen")
    panels[0][0].legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write the result file and the picture."""
    parser = argparse.ArgumentParser("python -m benchmarks.ptq_pareto", description=__doc__)
    parser.add_argument("networks", nargs="*", default=["efficientnet-lite0", "mobilenet-v2"])
    parser.add_argument("--out", default="ptq_pareto", help="name of the files in benchmarks/results")
    add_record(parser)
    flags = parser.parse_args(arguments)
    rows = []
    for name in flags.networks:
        for row in points(name):
            rows.append(row)
            say.words("  ".join(value for _, value in row))
    result = Result("ptq_pareto", "python -m benchmarks.ptq_pareto", stamp(), rows=tuple(rows))
    path = save(result, flags.out, record=flags.record)
    say.words(str(path))
    draw(rows, str(path.with_suffix(".svg")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
