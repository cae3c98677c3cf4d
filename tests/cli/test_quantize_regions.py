"""``oaq quantize --out net.onnx`` of networks of which parts stay in float, and what ``--out net.oaq`` says of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import oaq as package
from tests.regions import nets

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.usefixtures("native")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "net.onnx").write_bytes(nets.normalized_file())
    (tmp_path / "data").mkdir()
    for index, batch in enumerate(nets.images()):
        np.save(tmp_path / "data" / f"{index}.npy", batch)
    return tmp_path


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    (tmp_path / "net.onnx").write_bytes(nets.encoder_file())
    (tmp_path / "data").mkdir()
    for index, batch in enumerate(nets.tokens()):
        np.savez(tmp_path / "data" / f"{index}.npz", **batch)
    return tmp_path


def test_a_network_with_float_parts_becomes_an_onnx_file_that_every_verb_takes(oaq, images: Path) -> None:
    out = images / "net.int8.onnx"
    report = images / "page.html"
    code, text, err = oaq(
        "quantize", images / "net.onnx", "--calibrate", images / "data", "--out", out, "--report", report
    )
    assert code == 0, err
    assert "4 layers in 2 regions of integers" in text and "8 of 8 of the same class" in text
    assert "in float, not proved: " in text and "InstanceNormalization" in text and report.is_file()
    code, text, err = oaq("verify", out, "--quick")
    assert code == 0 and "proved for 4 of 4 layers" in text and "InstanceNormalization" in err
    assert oaq("bench", out, "--rounds", 1, "--isa", "scalar")[0] == 0
    code, text, _ = oaq("report", out)
    assert code == 0 and "4 of 4" in text
    assert oaq("run", out, "--input", images / "data" / "0.npy")[0] == 0


def test_tokens_and_masks_come_by_name_and_explain_names_every_float_node(oaq, tokens: Path) -> None:
    out = tokens / "net.int8.onnx"
    arguments = ("quantize", tokens / "net.onnx", "--calibrate", tokens / "data", "--out", out)
    code, text, err = oaq(*arguments, "--explain", "--rounding", "nearest")
    assert code == 0, err
    assert "(Softmax): oaq has no integer operator for Softmax" in text and "region 1: " in text
    code, text, err = oaq(*arguments, "--json")
    assert code == 0 and json.loads(text)["layers"], err


def test_an_oaq_file_of_such_a_network_is_refused_with_what_would_work(oaq, images: Path) -> None:
    arguments = ("quantize", images / "net.onnx", "--calibrate", images / "data")
    code, _, err = oaq(*arguments, "--out", images / "net.oaq")
    assert code == 2 and "InstanceNormalization" in err and "net.onnx say, these parts stay in float" in err


def test_an_oaq_file_of_a_network_of_tokens_is_refused_with_what_would_work(oaq, tokens: Path) -> None:
    arguments = ("quantize", tokens / "net.onnx", "--calibrate", tokens / "data")
    code, _, err = oaq(*arguments, "--out", tokens / "net.oaq")
    assert code == 2 and "takes several inputs, or whole numbers" in err and "Softmax" in err


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"ids": np.zeros((1, 6), np.int64)}, "holds 'ids'; the network takes ['ids', 'mask']"),
        ({"ids": np.zeros((1, 6)) + 0.5, "mask": np.ones((1, 6), np.int64)}, "not whole numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_words(oaq, tokens: Path, arrays, words: str) -> None:
    np.savez(tokens / "data" / "0.npz", **arrays)
    code, _, err = oaq("quantize", tokens / "net.onnx", "--calibrate", tokens / "data", "--out", tokens / "y.onnx")
    assert (code, words in err) == (2, True), err


def test_a_module_with_float_parts_becomes_an_onnx_file_too(oaq, images: Path) -> None:
    torch.save(nets.seeded(nets.Normalized).state_dict(), images / "weights.pt")
    (images / "net.py").write_text(
        "import torch\nfrom tests.regions.nets import Normalized\n\n\ndef make():\n    net = Normalized()\n"
        f"    net.load_state_dict(torch.load({str(images / 'weights.pt')!r}, weights_only=True))\n    return net\n"
    )
    out = images / "module.onnx"
    code, text, err = oaq("quantize", f"{images / 'net.py'}:make", "--calibrate", images / "data", "--out", out)
    assert code == 0 and "4 layers in 2 regions of integers" in text, err
    session = package.InferenceSession(out)
    batch = nets.images()[0]
    (scores,) = session.run(None, {session.get_inputs()[0].name: batch})
    with torch.inference_mode():
        expected = nets.seeded(nets.Normalized)(torch.from_numpy(batch)).numpy()
    assert np.abs(scores - expected).max() < 0.05
