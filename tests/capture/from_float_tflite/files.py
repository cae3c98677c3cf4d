"""Small float TFLite files: a chain of operators, and a network like MobileNet."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from benchmarks.tflite_files import Model, filled

SAME, VALID = 0, 1
RELU, RELU6 = 1, 3
IMAGE = (1, 9, 8, 6)


class Net:
    """A file while it is written; every method returns the tensor it writes."""

    def __init__(self, shape: tuple[int, ...] = IMAGE) -> None:
        self.rng, self.model = np.random.default_rng(1), Model()
        self.count = 0
        self.x = self.model.tensor("x", shape, np.float32)

    def constant(self, value: Any, kind: type[np.generic] = np.float32) -> int:
        """A constant."""
        array = np.asarray(value, kind)
        self.count += 1
        return self.model.tensor(f"c{self.count}", array.shape, kind, data=array)

    def weights(self, *shape: int) -> int:
        """Random numbers of a usual size."""
        return self.constant(self.rng.normal(size=shape) / np.sqrt(np.prod(shape[1:])))

    def op(self, code: str, inputs: list[int], shape: tuple[int, ...], table: str = "", **options: Any) -> int:
        """Apply an operator."""
        self.count += 1
        y = self.model.tensor(f"{code.lower()}{self.count}", shape, np.float32)
        entry = None
        if table:
            entry = (getattr(schema.BuiltinOptions, table), filled(getattr(schema, f"{table}T"), **options))
        self.model.operator(getattr(schema.BuiltinOperator, code), inputs, [y], entry)
        return y

    def conv(self, x: int, weight: tuple[int, ...], shape: tuple[int, ...], **options: Any) -> int:
        """CONV_2D with a bias."""
        given = {"padding": SAME, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1, **options}
        inputs = [x, self.weights(*weight), self.constant(self.rng.normal(size=weight[0]))]
        return self.op("CONV_2D", inputs, shape, "Conv2DOptions", **given)

    def depthwise(self, x: int, weight: tuple[int, ...], shape: tuple[int, ...], **options: Any) -> int:
        """DEPTHWISE_CONV_2D with a bias."""
        given = {"padding": SAME, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1, **options}
        inputs = [x, self.constant(self.rng.normal(size=weight) / 3), self.constant(self.rng.normal(size=weight[3]))]
        return self.op("DEPTHWISE_CONV_2D", inputs, shape, "DepthwiseConv2DOptions", **given)

    def content(self, *outputs: int) -> bytes:
        """The file."""
        return self.model.content([self.x], list(outputs))


def mobile() -> bytes:
    """A stem, a depthwise block with a gate and a residual, mean, a classifier, softmax."""
    net = Net((1, 16, 16, 3))
    stem = net.conv(net.x, (8, 3, 3, 3), (1, 8, 8, 8), strideH=2, strideW=2, fusedActivationFunction=RELU6)
    deep = net.depthwise(stem, (1, 3, 3, 8), (1, 8, 8, 8), depthMultiplier=1)
    swish = net.op("HARD_SWISH", [deep], (1, 8, 8, 8), "HardSwishOptions")
    axes = net.constant([1, 2], np.int32)
    pooled = net.op("MEAN", [swish, axes], (1, 1, 1, 8), "ReducerOptions", keepDims=True)
    gate = net.conv(pooled, (8, 1, 1, 8), (1, 1, 1, 8))
    gate = net.op("LOGISTIC", [gate], (1, 1, 1, 8))
    gated = net.op("MUL", [swish, gate], (1, 8, 8, 8), "MulOptions")
    project = net.conv(gated, (8, 1, 1, 8), (1, 8, 8, 8))
    added = net.op("ADD", [project, stem], (1, 8, 8, 8), "AddOptions", fusedActivationFunction=RELU)
    mean = net.op("MEAN", [added, axes], (1, 8), "ReducerOptions", keepDims=False)
    logits = net.op(
        "FULLY_CONNECTED", [mean, net.weights(5, 8), net.constant(np.ones(5))], (1, 5), "FullyConnectedOptions"
    )
    return net.content(net.op("SOFTMAX", [logits], (1, 5), "SoftmaxOptions", beta=1.0))


def litert(content: bytes, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first output of LiteRT, sample by sample."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (entry,), (result, *_) = interpreter.get_input_details(), interpreter.get_output_details()
    results = []
    for sample in x:
        interpreter.set_tensor(entry["index"], sample[None])
        interpreter.invoke()
        results.append(np.array(interpreter.get_tensor(result["index"])))
    return np.concatenate(results)
