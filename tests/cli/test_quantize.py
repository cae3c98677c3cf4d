"""``oaq quantize`` from the command line to a file that ``oaq verify`` calls safe."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("oaq.ptq.quantize")

NET = """
import torch

def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.BatchNorm2d(8), torch.nn.ReLU6(),
        torch.nn.Conv2d(8, 8, 3, padding=1, groups=8), torch.nn.ReLU6(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 5),
    )

def unsupported():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.InstanceNorm2d(8))
"""


@pytest.fixture
def work(tmp_path):
    (tmp_path / "cli_net.py").write_text(NET)
    (tmp_path / "data").mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        np.save(tmp_path / "data" / f"{i}.npy", rng.normal(size=(3, 16, 16)).astype(np.float32))
    yield tmp_path
    sys.modules.pop("cli_net", None)


def test_a_network_becomes_a_file_that_is_safe(oaq, native, work):
    given = (f"{work}/cli_net.py:make", "--calibrate", work / "data", "--out", work / "net.oaq", "--size", 16)
    code, out, _ = oaq("quantize", *given, "--report", work / "net.html", "--json")
    assert code == 0
    made = json.loads(out)
    assert made["agreement"]["images"] == 4
    assert len(made["layers"]) == 3
    assert (work / "net.html").exists()
    assert oaq("verify", work / "net.oaq", "--quick")[0] == 0
    code, out, _ = oaq("run", work / "net.oaq", "--input", work / "data", "--json")
    assert len(json.loads(out)["samples"]) == 4


def test_what_cannot_be_quantized_is_one_clear_line_and_leaves_no_file(oaq, work):
    model, data, out = f"{work}/cli_net.py:make", work / "data", work / "net.oaq"
    (work / "empty").mkdir()
    (work / "nan").mkdir()
    np.save(work / "nan" / "x.npy", np.full((3, 16, 16), np.nan, np.float32))
    for arguments, words in (
        ((f"{work}/cli_net.py:unsupported", "--calibrate", data, "--out", out), "instance_norm"),
        ((model, "--calibrate", work / "empty", "--out", out), "holds neither a photo nor an array"),
        ((model, "--calibrate", work / "nan", "--out", out), "NaN"),
        ((model, "--calibrate", work / "none", "--out", out), "no such file or folder"),
        ((model, "--calibrate", data, "--out", work / "no" / "net.oaq"), "is not a writable folder"),
        ((model, "--calibrate", data, "--out", out, "--limit", 0), "--limit 0"),
    ):
        code, _, err = oaq("quantize", *arguments)
        assert (code, words in err) == (2, True), err
        assert not out.exists()


def onnx_net(path, sample=("h", "w")):
    """A float ONNX file of one convolution, whose height and width may be left open, and a softmax behind it."""
    onnx = pytest.importorskip("onnx")
    from tests.capture.from_onnx.files import model, node

    rng = np.random.default_rng(1)
    nodes = [
        node("Conv", ["x", "w"], "c", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", ["c"], "r"),
        node("GlobalAveragePool", ["r"], "p"),
        node("Flatten", ["p"], "f"),
        node("Gemm", ["f", "g"], "logits"),
        node("Softmax", ["logits"], "y"),
    ]
    arrays = {"w": rng.normal(size=(8, 3, 3, 3)).astype(np.float32), "g": rng.normal(size=(8, 5)).astype(np.float32)}
    onnx.save(model(nodes, {"x": ("n", 3, *sample)}, ["y"], arrays), path)
    return path


@pytest.mark.parametrize("sample", [(16, 16), ("h", "w")])
def test_an_onnx_file_in_float_becomes_a_file_that_is_safe(oaq, native, work, sample):
    net, out = onnx_net(work / "net.onnx", sample), work / "net.oaq"
    code, said, err = oaq("quantize", net, "--calibrate", work / "data", "--out", out, "--json")
    assert code == 0, err
    made = json.loads(said)
    assert made["agreement"]["images"] == 4
    assert [layer["name"] for layer in made["layers"]] == ["c", "logits"]
    assert any("'y' is Softmax 'y' of 'logits', left in float" in note for note in made["notes"])
    assert oaq("verify", out, "--quick")[0] == 0


def test_bad_onnx_files_are_one_clear_line(oaq, work):
    net, out = onnx_net(work / "net.onnx", (8, 8)), work / "net.oaq"
    (work / "cut.onnx").write_bytes(net.read_bytes()[:-40])
    for given, words in (
        (work / "none.onnx", "no such file"),
        (work / "cut.onnx", "cut.onnx"),
        (net, "calibration batch 0, x: the shape is (n, 3, 8, 8), not (4, 3, 16, 16)"),
    ):
        code, _, err = oaq("quantize", given, "--calibrate", work / "data", "--out", out)
        assert (code, words in err) == (2, True), err
        assert not out.exists()


def test_photos_reach_a_file_that_reads_channels_last(oaq, native, work):
    onnx, image = pytest.importorskip("onnx"), pytest.importorskip("PIL.Image")
    from tests.capture.from_onnx.files import model, node

    rng, photos, net, out = np.random.default_rng(2), work / "photos", work / "last.onnx", work / "net.oaq"
    photos.mkdir()
    for i in range(3):
        image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(photos / f"{i}.png")
    nodes = [
        node("Transpose", ["x"], "t", perm=[0, 3, 1, 2]),
        node("Conv", ["t", "w"], "c", strides=[2, 2]),
        node("ReduceMean", ["c"], "y", axes=[2, 3], keepdims=0),
    ]
    weight = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
    onnx.save(model(nodes, {"x": ("n", 12, 14, 3)}, ["y"], {"w": weight}), net)
    code, said, err = oaq("quantize", net, "--calibrate", photos, "--out", out, "--json")
    assert code == 0, err
    assert json.loads(said)["agreement"]["sqnr_db"][0][1] > 30
    code, said, err = oaq("run", out, "--input", photos, "--json")
    assert (code, len(json.loads(said)["samples"])) == (0, 3), err


def test_a_name_that_ends_in_onnx_gets_an_onnx_file_and_other_formats_are_refused(oaq, work):
    onnx = pytest.importorskip("onnx")
    given = (f"{work}/cli_net.py:make", "--calibrate", work / "data", "--size", 16)
    out = work / "net.int8.onnx"
    assert oaq("quantize", *given, "--out", out)[0] == 0
    onnx.checker.check_model(str(out))
    code, said, _ = oaq("verify", out, "--quick")
    assert code == 0 and "SAFE" in said
    code, _, err = oaq("quantize", *given, "--out", work / "net.tflite")
    assert code == 2 and "an .oaq file is written, or .onnx in QDQ form" in err
    assert not (work / "net.tflite").exists()


def test_grey_photos_for_a_network_of_colours_are_refused_with_what_to_write(oaq, work):
    image = pytest.importorskip("PIL.Image")
    (work / "photos").mkdir()
    image.new("RGB", (20, 20), (9, 99, 199)).save(work / "photos" / "a.png")
    for model in (f"{work}/cli_net.py:make", onnx_net(work / "net.onnx", (16, 16))):
        given = (
            "--calibrate",
            work / "photos",
            "--out",
            work / "net.oaq",
            "--size",
            16,
            "--mean",
            "0.5",
            "--std",
            "0.25",
        )
        code, _, err = oaq("quantize", model, *given)
        assert code == 2 and "--mean 0.5,0.5,0.5 --std 0.25,0.25,0.25" in err and err.count("\n") == 1


def test_a_log_names_stages_and_the_target_and_says_when_a_budget_is_dear(oaq, native, work, monkeypatch):
    monkeypatch.setattr("oaq.cli.quantize.DEAR_DB", 0.0)
    given = (f"{work}/cli_net.py:make", "--calibrate", work / "data", "--out", work / "net.oaq", "--size", 16)
    code, out, err = oaq("quantize", *given, "--budget", "1.0", "--target", "all")
    assert code == 0 and "quantized for avx2" in out
    assert "quantize: observe the float network" in err and "quantize: choose integers" in err
    assert "--budget none" in err and "dB of predicted precision" in err


def test_piecewise_weights_are_fewer_bits_of_the_file_and_shown_in_its_report(oaq, native, work):
    model, data = f"{work}/cli_net.py:make", work / "data"
    sizes = {}
    for name, flags in (("whole", ()), ("coded", ("--weights", "piecewise", "--layer-bits", "0=3"))):
        out = work / f"{name}.oaq"
        code, text, err = oaq(
            "quantize", model, "--calibrate", data, "--out", out, "--size", 16, "--budget", "none", *flags
        )
        assert code == 0, err
        sizes[name] = out.stat().st_size
        assert ("Piecewise weights" in text) == (name == "coded")
    code, text, _ = oaq("report", work / "coded.oaq", "--out", work / "coded.html", "--json")
    layers = {layer["name"]: layer for layer in json.loads(text)["codebooks"]}
    assert {name: layer["bits"] for name, layer in layers.items()} == {"0": 3, "3": 4, "7": 4}
    assert all(layer["sqnr_db"] > 0 and layer["uniform_db"] > 0 for layer in layers.values())
    assert "Piecewise weights" in (work / "coded.html").read_text()
    code, text, _ = oaq("report", work / "whole.oaq", "--json")
    assert "codebooks" not in json.loads(text)
    assert oaq("verify", work / "coded.oaq", "--quick")[0] == 0


def test_piecewise_flags_that_mean_nothing_are_one_clear_line(oaq, work):
    model, data, out = f"{work}/cli_net.py:make", work / "data", work / "net.oaq"
    common = ("quantize", model, "--calibrate", data, "--out", out, "--size", 16)
    for flags, words in (
        (("--weights", "piecewise", "--weight-bits", 8), "codes of 2 to 6 bits are served, not of 8"),
        (("--weight-bits", 4), "are of --weights piecewise"),
        (("--layer-bits", "0=4"), "are of --weights piecewise"),
        (("--weights", "piecewise", "--layer-bits", "none=4"), "no layer is called 'none'"),
        (("--weights", "piecewise", "--layer-bits", "0=x"), "--layer-bits"),
        (("--weights", "piecewise", "--layer-bits", "4"), "is not NAME=BITS"),
    ):
        code, _, err = oaq(*common, *flags)
        assert (code, words in err) == (2, True), err
        assert not out.exists()


def test_piecewise_weights_reach_onnx_as_ordinary_integers(oaq, native, work):
    onnx = pytest.importorskip("onnx")
    code, _, err = oaq(
        "quantize", f"{work}/cli_net.py:make", "--calibrate", work / "data", "--out", work / "net.onnx", "--size", 16,
        "--weights", "piecewise",
    )  # fmt: skip
    assert code == 0, err
    from oaq.capture.model_file import import_model
    from oaq.numerics.codebook import least_steps

    assert onnx.load(work / "net.onnx").graph.node
    for node in import_model(work / "net.onnx").program.summing_nodes():
        assert node.op.weight.dtype == np.int8
        assert least_steps(node.op.rows, 4).all()


DEAD = """
import torch

def pruned():
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(8, 5),
    )
    with torch.no_grad():
        net[0].weight[2:5] = 0.0  # constants, whatever their biases are
        net[4].weight[:, 7] = 0.0  # read by nothing
    return net
"""


def test_dead_channels_are_left_out_on_request_and_outputs_stay(oaq, native, work):
    (work / "cli_dead.py").write_text(DEAD)
    given = (f"{work}/cli_dead.py:pruned", "--calibrate", work / "data", "--size", 16, "--rounding", "nearest")
    assert oaq("quantize", *given, "--out", work / "whole.oaq")[0] == 0
    code, _, err = oaq("quantize", *given, "--out", work / "net.oaq", "--remove-dead")
    assert code == 0
    assert "--remove-dead: 4 channels left out: 4 of 0" in err
    answers = [
        json.loads(oaq("run", work / name, "--input", work / "data", "--json")[1]) for name in ("whole.oaq", "net.oaq")
    ]
    assert answers[0]["samples"] == answers[1]["samples"]
    code, out, _ = oaq("report", work / "net.oaq", "--images", work / "data", "--score", 0.5, "--json")
    assert code == 0
    report = json.loads(out)
    assert report["layers"][0]["density"]["silent"] == 0
    assert report["neural"]["score"] == 0.5
    code, _, err = oaq("report", work / "net.oaq", "--score", 0.5)
    assert (code, "give both" in err) == (2, True)
    sys.modules.pop("cli_dead", None)
