"""Random graphs of integer and float parts, with a fresh seed at every run, against ONNX Runtime; the seed is shown."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from oaq.mixed import execute
from oaq.mixed.inference import InferenceSession
from tests.mixed.nets import Net, by_runtime, image

pytest.importorskip("onnxruntime")

STEP = 0.15
Part = Callable[[Net, str, list[str]], str]
"""(net, a quantized (n, 6, 8, 8), all of them so far) to another."""

PARTS: tuple[Part, ...] = (
    lambda net, y, so_far: net.conv(y, 6, 6),
    lambda net, y, so_far: net.conv(y, 6, 6),
    lambda net, y, so_far: net.qdq(net.op("Relu", net.op("Conv", y, net.weight((6, 6, 1, 1), 0.01))), STEP, 0),
    lambda net, y, so_far: net.qdq(net.op("Add", y, net.rng.choice(so_far)), STEP),
    lambda net, y, so_far: net.qdq(net.op("Mul", y, net.rng.choice(so_far)), STEP),
    lambda net, y, so_far: net.qdq(net.op("Sigmoid", y), 1 / 255, 0),
    lambda net, y, so_far: net.qdq(net.op("MaxPool", y, kernel_shape=[3, 3], pads=[1] * 4), STEP),
    lambda net, y, so_far: net.qdq(
        net.op("LayerNormalization", y, net.constant(np.ones(8)), net.constant(np.zeros(8))), 0.03
    ),
    lambda net, y, so_far: net.qdq(net.op("Softmax", y, axis=1), 1 / 255, 0),
    lambda net, y, so_far: net.qdq(net.op("InstanceNormalization", y, *[net.constant(np.ones(6))] * 2), 0.05),
    lambda net, y, so_far: net.qdq(net.op("Sub", y, net.op("ReduceMean", y, axes=[1])), 0.1),
    lambda net, y, so_far: net.qdq(net.op("CumSum", y, net.constant(3, np.int64)), 0.2),
    lambda net, y, so_far: net.qdq(
        net.op("Conv", y, net.constant(net.rng.normal(size=(6, 6, 3, 3)) * 0.2), pads=[1] * 4), STEP
    ),
)
HEADS: tuple[Callable[[Net, str], str], ...] = (
    lambda net, y: y,
    lambda net, y: net.op("Transpose", y, perm=[0, 2, 3, 1]),
    lambda net, y: net.op("Flatten", y),
    lambda net, y: net.op("Softmax", net.op("ReduceMean", y, axes=[2, 3], keepdims=0)),
    lambda net, y: net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 3, 1]), net.constant([0, 64, 6], np.int64)),
)


def random_net(rng: np.random.Generator) -> Net:
    net = Net(seed=int(rng.integers(1 << 31)))
    batch = "n" if rng.integers(2) else 1
    x = net.input([batch, 4, 8, 8])
    if rng.integers(3) == 0:  # a float layer first
        x = net.op("Conv", x, net.constant(net.rng.normal(size=(4, 4, 3, 3)) * 0.2), pads=[1] * 4)
    so_far = [net.conv(net.qdq(x, 0.02))]
    for _ in range(int(rng.integers(1, 7))):
        y = so_far[-1] if rng.integers(4) else str(rng.choice(so_far))
        so_far.append(PARTS[rng.integers(len(PARTS))](net, y, so_far))
    net.output(HEADS[rng.integers(len(HEADS))](net, so_far[-1]), "y")
    for index in range(int(rng.integers(3))):
        net.output(HEADS[rng.integers(len(HEADS))](net, str(rng.choice(so_far))), f"more{index}")
    return net


def assert_near(y: np.ndarray, right: np.ndarray, seed: int) -> None:
    """Roundings that fall on the other side of a tie travel on, by a few steps in a few places; places are right."""
    assert (y.shape, y.dtype) == (right.shape, right.dtype), seed
    apart = np.abs(y - right)
    noise, signal = np.square(apart).mean(), np.square(right - right.mean()).mean()
    assert apart.mean() < 0.5 * STEP and noise <= 0.05 * signal + (0.02 * STEP) ** 2, (
        f"seed {seed}: {apart.max() / STEP} steps"
    )


def check(seed: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    rng = np.random.default_rng(seed)
    random_net(rng).save(path)
    session = InferenceSession(path)
    x = image(1, 4, 8, 8, seed=seed % 1000)
    ours = session.run(None, {"x": x})
    for y, right in zip(ours, by_runtime(path, {"x": x}), strict=True):
        assert_near(y, right, seed)
    with monkeypatch.context() as context:
        context.setattr(execute, "runtime_version", lambda: None)
        for y, right in zip(InferenceSession(path).run(None, {"x": x}), ours, strict=True):
            assert_near(y, right, seed)
    return "".join(region.kind[0] for region in session.program.regions)


def test_random_graphs_of_integers_and_floats_give_what_onnx_runtime_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = secrets.randbits(32)
    print(f"seeds from {start}")  # noqa: T201 (shown if it fails)
    kinds = {check(start + at, tmp_path / "net.onnx", monkeypatch) for at in range(40)}
    assert {"i", "if"} & kinds and max(map(len, kinds)) >= 3, kinds
