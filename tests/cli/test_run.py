"""``oaq run`` on files of other tools: their own outputs, what is not proved said, nothing computed in silence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from oaq.mixed import execute
from tests.mixed.nets import Net, by_runtime, image

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.usefixtures("native")


def begin(net: Net, batch: int | str = 1) -> str:
    return net.conv(net.qdq(net.input([batch, 4, 8, 8]), 0.02))


@pytest.fixture
def x(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", image(1, 4, 8, 8))
    return tmp_path / "x.npy"


def test_results_that_a_file_gives_channels_last_are_saved_and_counted_so(oaq, x: Path, tmp_path: Path) -> None:
    net = Net()
    net.output(net.op("Transpose", begin(net), perm=[0, 2, 3, 1]))
    path = net.save(tmp_path / "net.onnx")
    (wanted,) = by_runtime(path, {"x": image(1, 4, 8, 8)})
    code, out, err = oaq("run", path, "--input", x, "--save", tmp_path / "y.npy", "--top", 1, "--json")
    assert code == 0 and not err
    document = json.loads(out)
    assert document["samples"][0]["top"][0]["index"] == int(wanted.argmax())
    assert document["not_proved"] == ""
    saved = np.load(tmp_path / "y.npy")
    assert (saved.shape, saved.dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_array_equal(saved, wanted)


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.INT8])
def test_integers_are_the_input_of_a_file_that_takes_integers(oaq, kind: int, tmp_path: Path) -> None:
    dtype = np.uint8 if kind == TensorProto.UINT8 else np.int8
    net = Net()
    first = net.op("DequantizeLinear", net.input([1, 4, 8, 8], kind), net.constant(0.02), net.constant(5, dtype))
    net.output(net.conv(first))
    path = net.save(tmp_path / "net.onnx")
    ends = np.iinfo(dtype)
    array = np.random.default_rng(0).integers(ends.min, ends.max + 1, (3, 4, 8, 8)).astype(dtype)
    np.save(tmp_path / "x.npy", array)
    assert oaq("run", path, "--input", tmp_path / "x.npy", "--save", tmp_path / "y.npy")[0] == 0
    wanted = np.concatenate([by_runtime(path, {"x": sample[None]})[0] for sample in array])
    assert np.abs(np.load(tmp_path / "y.npy") - wanted).max() <= 0.1501
    np.save(tmp_path / "x.npy", array.astype(np.int64))
    code, _, err = oaq("run", path, "--input", tmp_path / "x.npy", "--save", tmp_path / "z.npy")
    assert code == 2 and f"takes tensor({np.dtype(dtype).name}), got tensor(int64)" in err
    assert not (tmp_path / "z.npy").exists()
    np.save(tmp_path / "x.npy", ((array.astype(np.float32) - 5) * np.float32(0.02)).astype(np.float32))
    assert oaq("run", path, "--input", tmp_path / "x.npy", "--save", tmp_path / "z.npy")[0] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), np.load(tmp_path / "y.npy"))


def test_a_part_that_stays_in_float_is_run_and_named(oaq, x: Path, tmp_path: Path) -> None:
    net = Net()
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4, "ceil_mode": 1, "count_include_pad": 1}
    net.output(net.qdq(net.op("AveragePool", begin(net), **window)))
    path = net.save(tmp_path / "net.onnx")
    code, out, err = oaq("run", path, "--input", x, "--save", tmp_path / "y.npy")
    assert code == 0 and "in part proved" in out
    assert err.count("\n") == 1 and "not proved: AveragePool, QuantizeLinear, DequantizeLinear by ONNX Runtime" in err
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), by_runtime(path, {"x": image(1, 4, 8, 8)})[0], atol=0.1501)


def test_the_mean_that_exporters_put_before_the_end_is_part_of_the_answer(oaq, x: Path, tmp_path: Path) -> None:
    net = Net()
    net.output(net.op("Softmax", net.op("ReduceMean", begin(net), axes=[2, 3], keepdims=0)))
    path = net.save(tmp_path / "net.onnx")
    code, out, _ = oaq("run", path, "--input", x, "--json", "--top", 9)
    top = json.loads(out)["samples"][0]["top"]
    assert code == 0 and len(top) == 6
    assert sum(each["value"] for each in top) == pytest.approx(1)
    assert "ReduceMean, Softmax" in json.loads(out)["not_proved"]


def test_a_part_that_cannot_be_run_here_ends_it_with_nothing_saved(
    oaq, x: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Net()
    net.output(net.op("Resize", begin(net), "", net.constant([1, 1, 2, 2]), mode="cubic"))
    path = net.save(tmp_path / "net.onnx")
    monkeypatch.setattr(execute, "runtime_version", lambda: None)
    code, out, err = oaq("run", path, "--input", x, "--save", tmp_path / "y.npy")
    assert code == 2 and not out and not (tmp_path / "y.npy").exists()
    assert "(Resize) stays in float" in err and "pip install onnxruntime" in err


def test_several_inputs_come_as_one_npz_and_several_outputs_leave_as_one(oaq, tmp_path: Path) -> None:
    net = Net()
    names = ("left", "right")
    a, b = (net.qdq(net.input(["n", 4, 8, 8], name=name), 0.02) for name in names)
    y = net.conv(net.qdq(net.op("Add", a, b), 0.04))
    net.output(net.op("ArgMax", y, axis=1, keepdims=0), "class", TensorProto.INT64)
    net.output(y, "scores")
    path = net.save(tmp_path / "net.onnx")
    feed = {name: image(2, 4, 8, 8, seed=seed) for seed, name in enumerate(names)}
    np.savez(tmp_path / "x.npz", **feed)
    code, out, _ = oaq("run", path, "--input", tmp_path / "x.npz", "--save", tmp_path / "y.npz", "--json")
    assert code == 0
    assert list(json.loads(out)["samples"][1]["outputs"]) == ["class", "scores"]
    saved = np.load(tmp_path / "y.npz")
    for name, wanted in zip(("class", "scores"), by_runtime(path, feed), strict=True):
        assert (saved[name].shape, saved[name].dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_allclose(saved["scores"], by_runtime(path, feed)[1], atol=0.1501)
    code, _, err = oaq("run", path, "--input", tmp_path / "x.npz", "--save", tmp_path / "y.npy")
    assert code == 0 and "holds the output 'class', not 'scores'; a name that ends in .npz keeps all" in err
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), saved["class"])
    np.save(tmp_path / "x.npy", feed["left"])
    code, _, err = oaq("run", path, "--input", tmp_path / "x.npy")
    assert code == 2 and "takes 2 inputs: give a .npz that holds ['left', 'right']" in err


def test_rows_of_tokens_are_given_as_the_file_has_them(oaq, tmp_path: Path) -> None:
    net = Net()
    x = net.qdq(net.input([2, 5, 16]), 0.02)
    net.output(net.qdq(net.op("MatMul", x, net.weight((16, 7))), 0.1))
    path = net.save(tmp_path / "net.onnx")
    np.save(tmp_path / "x.npy", tokens := image(4, 5, 16))
    assert oaq("run", path, "--input", tmp_path / "x.npy", "--save", tmp_path / "y.npy")[0] == 0
    wanted = np.concatenate([by_runtime(path, {"x": tokens[at : at + 2]})[0] for at in (0, 2)])
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), wanted, atol=0.1001)
    np.save(tmp_path / "x.npy", tokens[:3])
    code, _, err = oaq("run", path, "--input", tmp_path / "x.npy")
    assert code == 2 and "takes 2 samples at a time, got 3" in err
