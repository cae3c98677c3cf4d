"""How often ONNX Runtime's integers differ from the reference's, operator by operator, on random scales.

    python -m benchmarks.onnxruntime_equality

Each trial builds a program of one operator with scales drawn log-uniformly in [e**-5, e), random zero points and
results that fill the output's range, exports it and compares every integer, given ONNX Runtime's own inputs to the
node. Add, Mul and Concat see all 65536 pairs of integers. "ties" are Adds whose scales are powers of two, where exact
ties are common.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import onnxruntime

from benchmarks.harness import Result, add_record, save, stamp
from oaq import operators as ops
from oaq.export.onnx_qdq.model import build
from oaq.numerics.affine import Affine
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec
from oaq.program.int_program import IntProgram, Node
from oaq.reference import compute

TRIALS = 60
LEVELS = {
    "optimized": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "as written": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
Inputs = tuple[np.ndarray, ...]
Case = tuple[IntProgram, Inputs]
A = np.repeat(np.arange(256), 256).astype(np.uint8).reshape(1, 256, 256, 1)
B = np.tile(np.arange(256), 256).astype(np.uint8).reshape(1, 256, 256, 1)


def program(
    op: ops.Op, inputs: list[tuple[tuple[int, ...], Affine]], output: tuple[tuple[int, ...], Affine]
) -> IntProgram:
    """One node."""
    specs = [TensorSpec(f"x{index}", shape, affine) for index, (shape, affine) in enumerate(inputs)]
    y = TensorSpec("y", *output)
    names = tuple(spec.name for spec in specs)
    return IntProgram("one", names, ("y",), {s.name: s for s in (*specs, y)}, (Node("node", op, names, "y"),))


def scale(value: float) -> float:
    """As float32."""
    return float(np.float32(value))


def ratio(*scales: float, over: float) -> Requantize:
    """S / s_y in float32."""
    return Requantize(np.array(scales, np.float32) / np.float32(over))


def draw(rng: np.random.Generator) -> tuple[Affine, Affine, float, int]:
    """Two input maps, a ratio and an output zero point."""
    first, second = (Affine(scale(v), int(rng.integers(256))) for v in np.exp(rng.uniform(-5, 1, 2)))
    return first, second, float(rng.uniform(0.3, 1.5)), int(rng.integers(256))


def add(rng: np.random.Generator, *, ties: bool = False) -> Case:
    """All pairs."""
    a, b, fill, zero = draw(rng)
    s_y = scale(max(a.scale, b.scale) / fill)
    if ties:
        a, b = (
            Affine(2.0 ** -int(k), affine.zero_point) for k, affine in zip(rng.integers(2, 6, 2), (a, b), strict=True)
        )
        s_y = 2.0 ** -int(rng.integers(1, 5))
    op = ops.Add(ratio(a.scale, b.scale, over=s_y))
    return program(op, [((256, 256, 1), a), ((256, 256, 1), b)], ((256, 256, 1), Affine(s_y, zero))), (A, B)


def mul(rng: np.random.Generator) -> Case:
    """All pairs."""
    a, b, fill, zero = draw(rng)
    product = float(np.float32(a.scale) * np.float32(b.scale))
    s_y = scale(product / fill * 100)
    op = ops.Mul(ratio(product, over=s_y))
    return program(op, [((256, 256, 1), a), ((256, 256, 1), b)], ((256, 256, 1), Affine(s_y, zero))), (A, B)


def concat(rng: np.random.Generator) -> Case:
    """All integers."""
    a, b, fill, zero = draw(rng)
    s_y = scale(max(a.scale, b.scale) / fill)
    op = ops.Concat(ratio(a.scale, b.scale, over=s_y))
    return program(op, [((256, 256, 1), a), ((256, 256, 1), b)], ((256, 256, 2), Affine(s_y, zero))), (A, B)


def avg_pool(rng: np.random.Generator) -> Case:
    """Windows of 1 to 4, asymmetric padding, counted or not."""
    a, _, fill, zero = draw(rng)
    size = int(rng.integers(1, 5))
    s_y, half = scale(a.scale / fill), size // 2
    requantize = Requantize(np.float32(a.scale) / np.float32(s_y) / np.arange(1, size * size + 1, dtype=np.float32))
    op = ops.AvgPool((size, size), (1, 1), requantize, (half, 0, 0, half), bool(rng.integers(2)))
    side = 128 + half - size + 1
    x = rng.integers(0, 256, (1, 128, 128, 1)).astype(np.uint8)
    return program(op, [((128, 128, 1), a)], ((side, side, 1), Affine(s_y, zero))), (x,)


def global_avg_pool(rng: np.random.Generator) -> Case:
    """Images of 1 to 8 pixels a side."""
    a, _, fill, zero = draw(rng)
    size = int(rng.integers(1, 9))
    s_y = scale(a.scale / fill)
    op = ops.GlobalAvgPool(Requantize(np.array([a.scale], np.float32) / np.float32(s_y) / np.float32(size * size)))
    x = rng.integers(0, 256, (8, size, size, 512)).astype(np.uint8)
    return program(op, [((size, size, 512), a)], ((1, 1, 512), Affine(s_y, zero))), (x,)


def bilinear(rng: np.random.Generator) -> Case:
    """Any size to any size."""
    a, _, _, _ = draw(rng)
    size, height, width = (int(value) for value in rng.integers(2, 60, 3))
    x = rng.integers(0, 256, (2, size, size, 8)).astype(np.uint8)
    return program(ops.Resize(height, width, "bilinear"), [((size, size, 8), a)], ((height, width, 8), a)), (x,)


def conv2d(rng: np.random.Generator) -> Case:
    """3 x 3 over 16 channels: sums that only integers hold exactly."""
    a, b, _, zero = draw(rng)
    weight = rng.integers(-127, 128, (32, 3, 3, 16)).astype(np.int8)
    spread = np.abs(weight.astype(np.int64)).sum(axis=(1, 2, 3)) * 255
    s_w = (rng.uniform(0.5, 4.0, 32) * 255 / spread * b.scale / a.scale).astype(np.float32)
    multiplier = np.float32(a.scale) * s_w / np.float32(b.scale)
    bias = (rng.uniform(-0.3, 0.3, 32) * spread).astype(np.int32)
    op = ops.Conv2d(weight, bias, Requantize(multiplier), padding=(1, 1, 1, 1))
    x = rng.integers(0, 256, (2, 24, 24, 16)).astype(np.uint8)
    return program(op, [((24, 24, 16), a)], ((24, 24, 32), Affine(b.scale, zero))), (x,)


CASES: dict[str, Callable[[np.random.Generator], Case]] = {
    "Conv2d": conv2d,
    "Add": add,
    "Add, ties": lambda rng: add(rng, ties=True),
    "Mul": mul,
    "Concat": concat,
    "AvgPool": avg_pool,
    "GlobalAvgPool": global_avg_pool,
    "Resize bilinear": bilinear,
}


def distance(case: Case, level: object) -> np.ndarray:
    """Steps between ONNX Runtime and the reference, every integer."""
    net, inputs = case
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    model = build(net, taps=["y"]).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    real = [net.tensors[name].affine.dequantize(x) for name, x in zip(net.inputs, inputs, strict=True)]
    feed = {name: np.ascontiguousarray(x.transpose(0, 3, 1, 2)) for name, x in zip(net.inputs, real, strict=True)}
    (result,) = session.run(None, feed)[1:]
    node = net.nodes[0]
    law, _ = compute(node, inputs, net.specs(node), net.tensors["y"])
    return np.abs(law.astype(np.int16) - np.asarray(result).transpose(0, 2, 3, 1))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write ``results/onnxruntime_equality.json``."""
    parser = argparse.ArgumentParser("python -m benchmarks.onnxruntime_equality", description=__doc__)
    add_record(parser)
    flags = parser.parse_args(arguments)
    rows = []
    for name, make in CASES.items():
        for label, level in LEVELS.items():
            rng, counts_seen = np.random.default_rng(0), Counter[str]()
            most = 0
            for _ in range(TRIALS):
                steps = distance(make(rng), level)
                counts_seen["integers"] += steps.size
                counts_seen["differ"] += int(np.count_nonzero(steps))
                most = max(most, int(steps.max()))
            counts = (
                ("integers", str(counts_seen["integers"])),
                ("differ", str(counts_seen["differ"])),
                ("most steps", str(most)),
            )
            rows.append((("operator", name), ("graph", label), *counts))
    save(
        Result(
            "onnxruntime_equality",
            "python -m benchmarks.onnxruntime_equality",
            stamp(),
            facts=(("trials", str(TRIALS)),),
            rows=tuple(rows),
        ),
        "onnxruntime_equality",
        record=flags.record,
    )


if __name__ == "__main__":
    main()
