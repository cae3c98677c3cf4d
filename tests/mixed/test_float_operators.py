"""The float operators of our own, each against ONNX Runtime, in every form that opsets have of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from oaq.mixed import execute
from oaq.mixed.floats.region import OPERATORS
from oaq.mixed.inference import InferenceSession
from tests.mixed.nets import Net, by_runtime, image

pytest.importorskip("onnxruntime")

Form = Callable[[Net, str], Any]
IMAGE = (2, 4, 6, 5)


def op(
    kind: str,
    *constants: tuple[object, Any] | object,
    opset: int = 17,
    shape: tuple[int, ...] = IMAGE,
    **attributes: Any,
) -> Any:
    """One node on the input and some constants; integers are int64, reals float32; None is left out."""

    def build(net: Net, x: str) -> str:
        names = []
        for value in constants:
            array = None if value is None else np.asarray(value)
            names.append(
                "" if array is None else net.constant(array, np.int64 if array.dtype.kind in "iu" else np.float32)
            )
        return net.op(kind, x, *names, **attributes)

    return pytest.param(build, opset, shape, id=f"{kind} {opset} {sorted(attributes.items())} {shape} {len(constants)}")


RNG = np.random.default_rng(0)
CHANNELS = [RNG.uniform(0.5, 2, 4) for _ in range(4)]
UNARY = (
    *(
        "Relu",
        "Sigmoid",
        "Tanh",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Elu",
        "Selu",
        "Celu",
        "Softplus",
        "Softsign",
    ),
    *(
        "Erf",
        "Exp",
        "Neg",
        "Abs",
        "Floor",
        "Ceil",
        "Round",
        "Sign",
        "Identity",
        "ThresholdedRelu",
        "Sin",
        "Cos",
        "Atan",
    ),
)
REDUCED = ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp")
FORMS = [
    *(op(kind) for kind in UNARY),
    *(op(kind, opset=20) for kind in ("Gelu", "Mish")),
    op("Gelu", opset=20, approximate="tanh"),
    op("LeakyRelu", alpha=0.3),
    op("HardSigmoid", alpha=0.3, beta=0.1),
    op("PRelu", CHANNELS[0].reshape(4, 1, 1)),
    op("Clip", -0.5, 0.5),
    op("Clip", None, 0.5),
    op("Clip", opset=10, min=-0.5, max=0.25),
    *(op(kind, CHANNELS[0].reshape(4, 1, 1)) for kind in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "Mean")),
    op("Pow", 2.0),
    op("Mod", 0.7, fmod=1),
    *(op(kind, axes=[2, 3], keepdims=0) for kind in REDUCED),
    *(op(kind, axes=[-1]) for kind in REDUCED),
    *(op(kind) for kind in REDUCED),
    op("ReduceMean", [1, -1], opset=18, keepdims=0),
    op("ReduceMean", opset=18, noop_with_empty_axes=1),
    op("ReduceSum", [2]),
    op("ReduceSum", opset=11, axes=[2]),
    *(op(kind, opset=opset) for kind in ("Softmax", "LogSoftmax") for opset in (11, 13)),
    *(
        op(kind, opset=opset, axis=axis)
        for kind in ("Softmax", "LogSoftmax")
        for opset in (11, 13)
        for axis in (1, 2, -1)
    ),
    *(op(kind, axis=1, keepdims=keep) for kind in ("ArgMax", "ArgMin") for keep in (0, 1)),
    op("ArgMax", axis=-1, select_last_index=1),
    op("CumSum", 1),
    op("CumSum", 2, exclusive=1, reverse=1),
    op("LayerNormalization", np.ones(5), np.ones(5)),
    op("LayerNormalization", np.full((6, 5), 2.0), axis=2, epsilon=1e-3),
    op("InstanceNormalization", *CHANNELS[:2]),
    op("GroupNormalization", *CHANNELS[:2], opset=21, num_groups=2),
    op("BatchNormalization", *CHANNELS, epsilon=1e-3),
    op("LpNormalization", axis=1, p=1),
    op("LpNormalization"),
    op("MatMul", RNG.normal(size=(5, 3))),
    op("Gemm", RNG.normal(size=(3, 5)), np.ones(3), shape=(4, 5), transB=1, alpha=0.5, beta=2.0),
    op("Gemm", RNG.normal(size=(4, 3)), RNG.normal(size=(5, 1)), shape=(4, 5), transA=1),
    op("Einsum", RNG.normal(size=(5, 3)), equation="nchw,wk->nhck"),
    op("Conv", RNG.normal(size=(6, 4, 3, 3)), np.ones(6), pads=[1, 0, 1, 2], strides=[2, 1]),
    op("Conv", RNG.normal(size=(6, 2, 2, 3)), group=2, dilations=[1, 2], pads=[0, 1, 1, 2]),
    op("Conv", RNG.normal(size=(4, 1, 3, 3)), group=4),
    op("Conv", RNG.normal(size=(6, 4, 3)), shape=(2, 4, 9), pads=[1, 1]),
    op("Conv", RNG.normal(size=(2, 3, 2, 2, 2)), shape=(1, 3, 4, 4, 4)),
    *(op(kind, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1]) for kind in ("MaxPool", "AveragePool")),
    *(op(kind, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1) for kind in ("MaxPool", "AveragePool")),
    op("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]),
    op("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, ceil_mode=1, count_include_pad=1, opset=19),
    op("AveragePool", kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1),
    op("GlobalAveragePool"),
    op("GlobalMaxPool"),
    op("Reshape", [0, -1, 5]),
    op("Transpose", perm=[0, 2, 3, 1]),
    op("Transpose"),
    op("Flatten", axis=2),
    op("Squeeze", [1], shape=(2, 1, 3)),
    op("Unsqueeze", [0, 3], shape=(2, 3)),
    op("Concat", np.ones((2, 3, 6, 5)), axis=1),
    op("Slice", [1, -1], [3, -4], [1, 3], [1, -1]),
    op("Slice", opset=9, starts=[1], ends=[3], axes=[1]),
    op("Gather", [[0, 2], [1, -1]], axis=1),
    op("GatherElements", np.zeros((2, 4, 6, 5), int), axis=3),
    op("Pad", [0, 0, 1, 2, 0, 0, 0, 1], 1.5),
    op("Pad", [0, 0, 1, 2, 0, 0, 0, 1], mode="reflect"),
    op("Pad", [0, 0, 1, 2, 0, 0, 0, 1], mode="edge"),
    op("Pad", [0, 0, -1, 0, 0, 0, 2, 0]),
    op("Tile", [1, 2, 1, 1]),
    op("Expand", [3, 2, 4, 6, 5]),
    op("Cast", to=TensorProto.INT32),
    op("DepthToSpace", blocksize=2),
    op("DepthToSpace", blocksize=2, mode="CRD"),
    op("SpaceToDepth", blocksize=2, shape=(1, 2, 4, 6)),
    op("Trilu", 1),
    op("Trilu", upper=0),
    op("Shape"),
]


def values(session: InferenceSession, x: np.ndarray) -> list[np.ndarray]:
    return session.run(None, {"x": x})


@pytest.mark.parametrize(("build", "opset", "shape"), FORMS)
def test_an_operator_computes_what_onnx_runtime_does(
    build: Form, opset: int, shape: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "runtime_version", lambda: None)
    net = Net(opset)
    result = build(net, net.input(shape))
    net.output(result, kind=TensorProto.UNDEFINED)
    path = net.save(tmp_path / "net.onnx")
    x = image(*shape)
    (y,), (right,) = values(InferenceSession(path), x), by_runtime(path, {"x": x})
    assert (y.shape, y.dtype) == (right.shape, right.dtype)
    finite = right[np.isfinite(right)]
    np.testing.assert_allclose(y, right, rtol=2e-5, atol=1e-6 * max(1, float(np.abs(finite).max())))


def test_several_results_and_integers_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "runtime_version", lambda: None)
    net = Net()
    x = net.input([3, 8])
    top, index = net.op("TopK", x, net.constant([3], np.int64), count=2)
    left, right = net.op("Split", x, net.constant([5, 3], np.int64), count=2, axis=1)
    q, scale, zero = net.op("DynamicQuantizeLinear", x, count=3)
    sums = net.op("MatMulInteger", q, net.constant(net.rng.integers(-9, 9, (8, 2)), np.int8), zero)
    compared = net.op("Where", net.op("Greater", top, right), top, right)
    ends = {"top": top, "index": index, "left": left, "q": q, "scale": scale, "sums": sums, "compared": compared}
    for name, tensor in ends.items():
        net.output(tensor, name, TensorProto.UNDEFINED)
    path = net.save(tmp_path / "net.onnx")
    x_ = image(3, 8)
    for name, y, wanted in zip(ends, values(InferenceSession(path), x_), by_runtime(path, {"x": x_}), strict=True):
        np.testing.assert_allclose(y, wanted, rtol=1e-6, err_msg=name)


def test_most_operators_have_a_form_here() -> None:
    written = {form.id.split(" ")[0] for form in FORMS}  # type: ignore[union-attr]
    assert len(set(OPERATORS) - written) < 45, sorted(set(OPERATORS) - written)
