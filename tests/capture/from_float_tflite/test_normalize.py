"""Float TFLite files: every operator by itself computes what LiteRT does, and a whole network can be quantized."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="NOT RUN: ai-edge-litert writes these files")
pytest.importorskip("torch")

import oaq
from oaq.capture.from_float_tflite import declared_inputs, normalize
from oaq.errors import FormatError, OaqError, UnsupportedOp
from oaq.ptq.execute import float_outputs
from oaq.ptq.quantize import quantize
from tests.capture.from_float_tflite.files import IMAGE, RELU, RELU6, SAME, VALID, Net, litert, mobile

Chain = Callable[[Net], int]
LARGE = (1, 18, 16, 6)
POOL = {"strideH": 2, "strideW": 2, "filterHeight": 3, "filterWidth": 2}


def decibels(expected: np.ndarray, actual: np.ndarray) -> float:
    """Signal to noise."""
    noise = float(np.mean((expected.astype(np.float64) - actual) ** 2))
    return 200.0 if noise == 0 else 10 * np.log10(float(np.mean(expected.astype(np.float64) ** 2)) / noise)


def flat(net: Net, outputs: int = 5) -> int:
    """FULLY_CONNECTED on a whole image, which it flattens row by row."""
    return net.op("FULLY_CONNECTED", [net.x, net.weights(outputs, 432)], (1, outputs), "FullyConnectedOptions")


def reshaped(net: Net) -> int:
    """RESHAPE of an image, then a layer that reads every value by its place."""
    lines = net.op("RESHAPE", [net.x, net.constant([1, 36, 12], np.int32)], (1, 36, 12), "ReshapeOptions")
    vector = net.op("RESHAPE", [lines, net.constant([1, 432], np.int32)], (1, 432), "ReshapeOptions")
    return net.op("FULLY_CONNECTED", [vector, net.weights(7, 432)], (1, 7), "FullyConnectedOptions")


def arithmetic(code: str, constant_first: bool, size: int) -> Chain:
    """An operator of x and a constant of so many numbers."""

    def chain(net: Net) -> int:
        constant = net.constant(net.rng.normal(size=size) + 2)
        inputs = [constant, net.x] if constant_first else [net.x, constant]
        return net.op(code, inputs, IMAGE, f"{code.capitalize()}Options", fusedActivationFunction=RELU)

    return chain


def of_two(code: str) -> Chain:
    """An operator of two convolutions."""

    def chain(net: Net) -> int:
        a, b = (net.conv(net.x, (6, 1, 1, 6), IMAGE) for _ in range(2))
        return net.op(code, [a, b], IMAGE, f"{code.capitalize()}Options")

    return chain


def silu(net: Net) -> int:
    """X times LOGISTIC of x."""
    x = net.conv(net.x, (6, 1, 1, 6), IMAGE)
    return net.op("MUL", [x, net.op("LOGISTIC", [x], IMAGE)], IMAGE, "MulOptions")


def padded(net: Net) -> int:
    """PAD, then a convolution that takes the zeros over."""
    amounts = net.constant([[0, 0], [1, 0], [2, 1], [0, 0]], np.int32)
    wide = net.op("PAD", [net.x, amounts], (1, 10, 11, 6), "PadOptions")
    return net.conv(wide, (4, 3, 3, 6), (1, 8, 9, 4), padding=VALID)


def parts(net: Net) -> int:
    """SLICE, STRIDED_SLICE and CONCATENATION."""
    begin, size = net.constant([0, 2, 1, 0], np.int32), net.constant([1, -1, 4, 3], np.int32)
    first = net.op("SLICE", [net.x, begin, size], (1, 7, 4, 3), "SliceOptions")
    ends = [net.constant(numbers, np.int32) for numbers in ([0, 0, 0, 3], [1, -2, 4, 6], [1, 1, 1, 1])]
    second = net.op("STRIDED_SLICE", [net.x, *ends], (1, 7, 4, 3), "StridedSliceOptions", endMask=1)
    return net.op("CONCATENATION", [second, first], (1, 7, 4, 6), "ConcatenationOptions", axis=-1)


def transposed(padding: int, size: tuple[int, int], stride: tuple[int, int], **options: int) -> Chain:
    """TRANSPOSE_CONV to so many rows and columns, with a bias."""

    def chain(net: Net) -> int:
        shape = (1, *size, 4)
        sizes = net.constant(shape, np.int32)
        parts = [sizes, net.weights(4, 3, 2, 6), net.x, net.weights(4)]
        steps = {"strideH": stride[0], "strideW": stride[1], "padding": padding}
        return net.op("TRANSPOSE_CONV", parts, shape, "TransposeConvOptions", **steps, **options)

    return chain


def extreme(code: str, number: float | None = None) -> Chain:
    """MAXIMUM or MINIMUM of two activations, or of one and a number."""

    def chain(net: Net) -> int:
        a = net.conv(net.x, (6, 1, 1, 6), IMAGE)
        b = net.conv(net.x, (6, 1, 1, 6), IMAGE) if number is None else net.constant(number)
        return net.op(code, [a, b], IMAGE, "MaximumMinimumOptions")

    return chain


def function(code: str, table: str = "", **options: float) -> Chain:
    """One function of x."""
    return lambda net: net.op(code, [net.x], IMAGE, table, **options)


CASES: dict[str, Chain] = {
    "convolution": lambda net: net.conv(net.x, (5, 3, 3, 6), (1, 5, 4, 5), strideH=2, strideW=2),
    "convolution, relu6": lambda net: net.conv(net.x, (5, 3, 3, 6), (*IMAGE[:3], 5), fusedActivationFunction=RELU6),
    "convolution, valid": lambda net: net.conv(net.x, (5, 3, 2, 6), (1, 7, 7, 5), padding=VALID),
    "convolution, dilated": lambda net: net.conv(
        net.x, (5, 3, 3, 6), (*IMAGE[:3], 5), dilationHFactor=2, dilationWFactor=3
    ),
    "convolution, grouped": lambda net: net.conv(net.x, (4, 3, 3, 3), (*IMAGE[:3], 4)),
    "depthwise": lambda net: net.depthwise(net.x, (1, 3, 3, 6), (1, 5, 4, 6), strideH=2, strideW=2, depthMultiplier=1),
    "depthwise, multiplied": lambda net: net.depthwise(net.x, (1, 3, 3, 12), (*IMAGE[:3], 12), depthMultiplier=2),
    "fully connected, flattens": flat,
    "fully connected, per place": lambda net: net.op(
        "FULLY_CONNECTED", [net.x, net.weights(5, 6)], (*IMAGE[:3], 5), "FullyConnectedOptions", keepNumDims=True
    ),
    "reshape": reshaped,
    **{
        f"{code} {size}{' first' * first}": arithmetic(code, first, size)
        for code in ("ADD", "SUB", "MUL")
        for first in (False, True)
        for size in (1, 6)
    },
    **{f"{code} of two": of_two(code) for code in ("ADD", "SUB", "MUL")},
    "silu": silu,
    "average pool": lambda net: net.op("AVERAGE_POOL_2D", [net.x], (1, 5, 4, 6), "Pool2DOptions", padding=SAME, **POOL),
    "max pool": lambda net: net.op("MAX_POOL_2D", [net.x], (1, 4, 4, 6), "Pool2DOptions", padding=VALID, **POOL),
    "mean": lambda net: net.op(
        "MEAN", [net.x, net.constant([1, 2], np.int32)], (1, 6), "ReducerOptions", keepDims=False
    ),
    "pad": padded,
    "parts": parts,
    "relu": function("RELU"),
    "relu6": function("RELU6"),
    "relu n1 to 1": function("RELU_N1_TO_1"),
    "logistic": function("LOGISTIC"),
    "tanh": function("TANH"),
    "hard swish": function("HARD_SWISH", "HardSwishOptions"),
    "leaky relu": function("LEAKY_RELU", "LeakyReluOptions", alpha=0.2),
    "elu": function("ELU"),
    "gelu": function("GELU", "GeluOptions", approximate=False),
    "gelu by tanh": function("GELU", "GeluOptions", approximate=True),
    "transposed": transposed(SAME, (18, 16), (2, 2)),
    "transposed, relu6": transposed(SAME, (18, 16), (2, 2), fusedActivationFunction=RELU6),
    "transposed, valid, strides that differ": transposed(VALID, (27, 17), (3, 2)),
    "transposed, a window smaller than its stride": transposed(SAME, (27, 24), (3, 3)),
    **{f"{code} of two": extreme(code) for code in ("MAXIMUM", "MINIMUM")},
    **{f"{code} of a number": extreme(code, 0.5) for code in ("MAXIMUM", "MINIMUM")},
    "resize, nearest": lambda net: net.op(
        "RESIZE_NEAREST_NEIGHBOR", [net.x, net.constant(LARGE[1:3], np.int32)], LARGE, "ResizeNearestNeighborOptions"
    ),
    "resize, bilinear": lambda net: net.op(
        "RESIZE_BILINEAR",
        [net.x, net.constant(LARGE[1:3], np.int32)],
        LARGE,
        "ResizeBilinearOptions",
        halfPixelCenters=True,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_operator_computes_what_litert_does(name: str, tmp_path: Path) -> None:
    net = Net()
    content = net.content(CASES[name](net))
    path = tmp_path / "net.tflite"
    path.write_bytes(content)
    x = np.random.default_rng(3).normal(size=(3, *IMAGE[1:])).astype(np.float32)
    graph, expected = normalize(path), litert(content, x)
    (result,) = float_outputs(graph, x)
    assert result.size == expected.size
    assert decibels(expected.reshape(-1), result.reshape(-1)) > 90, name
    assert graph.metadata["input_layout"] == "NHWC" and declared_inputs(path) == {"x": IMAGE}


def test_a_network_is_quantized_and_its_softmax_stays_in_float(tmp_path: Path) -> None:
    path = tmp_path / "mobile.tflite"
    path.write_bytes(mobile())
    graph = normalize(path)
    assert "SOFTMAX" in graph.metadata["float_edge"]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 16, 16, 3)).astype(np.float32)
    program = quantize(str(path), [x])
    (real,) = float_outputs(graph, x)
    result = np.asarray(oaq.Session(oaq.plan(program)).run(x))
    assert decibels(real.reshape(-1), result.reshape(-1)) > 25


def test_weights_of_float16_and_int8_are_unpacked(tmp_path: Path) -> None:
    net = Net((1, 8))
    stored = net.rng.integers(-127, 128, (5, 8))
    weight = net.model.tensor("w", (5, 8), np.int8, scale=[0.01] * 5, zero=[0] * 5, data=stored)
    real = net.op("DEQUANTIZE", [weight], (5, 8))
    y = net.op("FULLY_CONNECTED", [net.x, real], (1, 5), "FullyConnectedOptions")
    path = tmp_path / "net.tflite"
    path.write_bytes(net.content(y))
    x = net.rng.normal(size=(4, 8)).astype(np.float32)
    (result,) = float_outputs(normalize(path), x)
    np.testing.assert_allclose(result, x @ (stored * np.float32(0.01)).T, rtol=1e-5)


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        (transposed(SAME, (19, 16), (2, 2)), "goes back to \\(10, 8\\)"),
        (function("ABS"), "oaq has no operator for it in float TFLite files"),
        (lambda net: net.op("SOFTMAX", [net.x], IMAGE, "SoftmaxOptions", beta=1.0), "is an input as it is"),
        (
            lambda net: net.op("MEAN", [net.x, net.constant([3], np.int32)], IMAGE[:3], "ReducerOptions"),
            "oaq averages over all positions",
        ),
        (
            lambda net: net.conv(net.x, (5, 3, 3, 6), (*IMAGE[:3], 5), fusedActivationFunction=5),
            "its fused activation is number 5",
        ),
        (
            lambda net: net.op("ADD", [net.constant(np.ones(6)), net.constant(np.ones(6))], IMAGE, "AddOptions"),
            "all that it reads are constants",
        ),
    ],
    ids=["transposed", "abs", "softmax", "mean", "activation", "constants"],
)
def test_what_is_not_taken_is_refused_by_name(chain: Chain, reason: str, tmp_path: Path) -> None:
    net = Net()
    path = tmp_path / "net.tflite"
    path.write_bytes(net.content(chain(net)))
    with pytest.raises(UnsupportedOp, match=reason):
        normalize(path)


@pytest.mark.parametrize(
    "chain",
    [
        lambda net: net.op("CONCATENATION", [net.x], (), "ConcatenationOptions", axis=3),
        lambda net: net.op(
            "RESIZE_BILINEAR",
            [net.x, net.constant([1, 1], np.int32)],
            (1, 6),
            "ResizeBilinearOptions",
            halfPixelCenters=True,
        ),
        lambda net: net.op(
            "SLICE", [net.x, net.constant([np.nan] * 4), net.constant([1.0] * 4)], IMAGE, "SliceOptions"
        ),
        lambda net: net.op(
            "CONV_2D", [net.x, net.constant(np.ones((5, 1, 1, 6))), net.constant(np.ones(3))], IMAGE, "Conv2DOptions"
        ),
    ],
    ids=["a scalar result", "a flat image", "ends that are no numbers", "biases of another count"],
)
def test_operators_that_contradict_themselves_are_one_error(chain: Chain, tmp_path: Path) -> None:
    net = Net()
    path = tmp_path / "net.tflite"
    path.write_bytes(net.content(chain(net)))
    with pytest.raises((FormatError, UnsupportedOp), match=r"net\.tflite: "):
        normalize(path)


def test_an_empty_axis_is_refused_where_it_is_declared(tmp_path: Path) -> None:
    net = Net((1, 8, 0, 6))
    path = tmp_path / "net.tflite"
    path.write_bytes(net.content(net.op("RELU", [net.x], (1, 8, 0, 6))))
    with pytest.raises(OaqError, match=r"net\.tflite: "):
        normalize(path)
