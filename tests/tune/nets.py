"""A small classifier in integers, its numbers drawn by NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec
from oaq.program.int_program import IntProgram, Node

SIZE = 16


def small_network() -> IntProgram:
    """Convolution, depthwise, pointwise, addition, global average, linear; activations clamp at zero."""
    rng = np.random.default_rng(3)

    def requantize(weight: NDArray[np.int8], gain: float) -> Requantize:
        spread = np.sqrt((weight.astype(np.float64) ** 2).sum(axis=tuple(range(1, weight.ndim)))) * 60
        return Requantize((gain / spread).astype(np.float32))

    def weights(*shape: int) -> NDArray[np.int8]:
        return np.clip(np.rint(rng.normal(0, 45, shape)), -127, 127).astype(np.int8)

    first, depth, point, last = weights(16, 3, 3, 3), weights(16, 3, 3, 1), weights(16, 1, 1, 16), weights(10, 16)
    relu, signed = (Affine(0.02), IntRange(0, 255)), (Affine(0.05, 128), IntRange(0, 255))
    kinds = {"x": signed, "a": relu, "b": relu, "c": relu, "d": relu, "e": relu, "y": signed}
    shapes = dict.fromkeys("abcd", (SIZE, SIZE, 16)) | {
        "x": (SIZE, SIZE, 3),
        "e": (1, 1, 16),
        "f": (16,),
        "y": (10,),
    }
    kinds["f"] = kinds["e"]
    tensors = {name: TensorSpec(name, shapes[name], *kinds[name]) for name in shapes}
    pad = (1, 1, 1, 1)
    nodes = (
        Node("stem", ops.Conv2d(first, _bias(16, rng), requantize(first, 60), padding=pad), ("x",), "a"),
        Node("depth", ops.Conv2d(depth, _bias(16, rng), requantize(depth, 60), padding=pad, groups=16), ("a",), "b"),
        Node("point", ops.Conv2d(point, _bias(16, rng), requantize(point, 60)), ("b",), "c"),
        Node("add", ops.Add(Requantize(np.array([0.5, 0.5], np.float32))), ("a", "c"), "d"),
        Node("mean", ops.GlobalAvgPool(Requantize(np.array([2.0 / SIZE**2], np.float32))), ("d",), "e"),
        Node("flat", ops.Reshape((16,)), ("e",), "f"),
        Node("head", ops.Linear(last, _bias(10, rng), requantize(last, 40)), ("f",), "y"),
    )
    return IntProgram("small", ("x",), ("y",), tensors, nodes)


def _bias(count: int, rng: np.random.Generator) -> NDArray[np.int32]:
    return rng.integers(-2000, 2000, count).astype(np.int32)


def small_samples(count: int = 6) -> NDArray[np.uint8]:
    """(count, SIZE, SIZE, 3)."""
    return np.random.default_rng(4).integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.uint8)
