"""Float ONNX files against the torch modules they were exported from: the same graph, and so the same program?

    python -m benchmarks.float_capture [--programs] [efficientnet-lite0 mobilenet-v2]

Each network is exported twice: with its batch norms, and as torch's exporter writes it by default, which folds them in
float32 where oaq folds in float64. Compared are the graphs that calibration starts from, every float of every layer;
what ONNX Runtime computes in float and what the captured graph does; and, with ``--programs``, the integers chosen on
the same calibration data. Everything after the graph is deterministic: equal graphs are equal programs.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from benchmarks.harness import Result, add_record, save, stamp
from oaq.capture import from_float_onnx, from_torch
from oaq.capture.graph import FloatGraph
from oaq.data.batches import Batches
from oaq.program.int_program import IntProgram
from oaq.ptq.execute import float_outputs
from oaq.ptq.quantize import quantize
from oaq.terminal import say
from recipes.data.photos import calibration
from recipes.float_onnx import export_float
from recipes.networks import NETWORKS, Network

DEFAULT = ("efficientnet-lite0", "mobilenet-v2")
PHOTOS = 16
Reals = NDArray[np.float32]


@dataclass
class Difference:
    """How far two networks of one structure are apart.

    Attributes:
        numbers: compared.
        differ: how many of them are not equal.
        farthest: largest difference, in parts of the largest number of its array.
    """

    numbers: int = 0
    differ: int = 0
    farthest: float = 0.0

    def add(self, a: NDArray[np.generic], b: NDArray[np.generic]) -> None:
        """Two arrays of one shape."""
        distance = np.abs(a.astype(np.float64) - b.astype(np.float64))
        self.numbers += distance.size
        self.differ += int(np.count_nonzero(distance))
        self.farthest = max(self.farthest, float(distance.max(initial=0)) / float(np.abs(b).max(initial=1e-30)))


def compare_graphs(a: FloatGraph, b: FloatGraph) -> Difference:
    """Weights and biases of two graphs.

    Raises:
        ValueError: operators, geometry or clamps differ.
    """
    difference = Difference()
    for x, y in zip(a.nodes, b.nodes, strict=True):
        if type(x.op) is not type(y.op) or x.clamp != y.clamp:
            raise ValueError(f"{x.name} is {type(x.op).__name__}, {y.name} is {type(y.op).__name__}")
        for key, value in vars(x.op).items():
            partner = getattr(y.op, key)
            if isinstance(value, np.ndarray):
                difference.add(value, partner)
            elif value != partner:
                raise ValueError(f"{x.name}: {key} is {value} in one graph and {partner} in the other")
    return difference


def compare_programs(a: IntProgram, b: IntProgram) -> Difference:
    """Weights and biases, as integers, of two programs of one structure."""
    difference = Difference()
    for x, y in zip(a.nodes, b.nodes, strict=True):
        for key in ("weight", "bias"):
            if hasattr(x.op, key):
                difference.add(getattr(x.op, key), getattr(y.op, key))
    return difference


def measure(network: Network, folder: Path, *, programs: bool) -> list[tuple[tuple[str, str], ...]]:
    """One row per way of exporting."""
    net = network.load()
    data = list(Batches(calibration(PHOTOS), network.preprocess, 8))
    x = np.ascontiguousarray(data[0][:1])
    captured = from_torch.normalize(net, torch.from_numpy(x))
    rows = []
    for export, keeps_norms in (("batch norms kept", True), ("torch's default", False)):
        path = folder / "net.onnx"
        export_float(net, x, path, whole=keeps_norms)
        graph = from_float_onnx.normalize(path)
        difference = compare_graphs(graph, captured)
        (expected,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})
        distance = np.abs(float_outputs(graph, x)[0] - expected).max() / np.abs(expected).max()  # type: ignore[operator]
        row = [
            ("network", network.name),
            ("exported", export),
            ("floats", str(difference.numbers)),
            ("differ from torch's", str(difference.differ)),
            ("farthest, of the array's largest", f"{difference.farthest:.1e}"),
            ("outputs against ONNX Runtime, of the largest", f"{distance:.1e}"),
        ]
        if programs and difference.differ:
            integers = compare_programs(quantize(graph, data), quantize(captured, data))
            row += [("integers", str(integers.numbers)), ("differ from those of torch's", str(integers.differ))]
        rows.append(tuple(row))
    return rows


def main() -> None:
    """Measure and write ``results/float_capture.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"of {', '.join(NETWORKS)} (default: two)")
    parser.add_argument("--programs", action="store_true", help="quantize too, minutes per network")
    add_record(parser)
    flags = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in flags.networks or DEFAULT:
            rows += measure(NETWORKS[name], Path(folder), programs=flags.programs)
    for row in rows:
        say.words(", ".join(f"{key} {value}" for key, value in row))
    flag = " --programs" if flags.programs else ""
    result = Result("float_capture", f"python -m benchmarks.float_capture{flag}", stamp(), rows=tuple(rows))
    save(result, "float_capture", record=flags.record)


if __name__ == "__main__":
    main()
