"""``oaq doctor`` and what other verbs do with files of other tools."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.capture.from_onnx.files import model, node


def one_conv(weight: int = 127, bias: int | None = None) -> onnx.ModelProto:
    """DequantizeLinear, Conv, QuantizeLinear on 8 x 8 images of 4 channels."""
    constants = {
        "s_x": np.float32(1 / 255),
        "z_x": np.uint8(0),
        "w": np.full((4, 4, 1, 1), weight, np.int8),
        "s_w": np.full(4, 1 / 127, np.float32),
        "z_w": np.zeros(4, np.int8),
        "s_y": np.float32(4 / 255),
        "z_y": np.uint8(0),
    }
    operands = ["xr", "wr"]
    nodes = [
        node("QuantizeLinear", ["x", "s_x", "z_x"], "xq"),
        node("DequantizeLinear", ["xq", "s_x", "z_x"], "xr"),
        node("DequantizeLinear", ["w", "s_w", "z_w"], "wr", axis=0),
    ]
    if bias is not None:
        constants |= {"b": np.full(4, bias, np.int32), "s_b": np.full(4, 1 / (255 * 127), np.float32)}
        constants["z_b"] = np.zeros(4, np.int32)
        nodes.append(node("DequantizeLinear", ["b", "s_b", "z_b"], "br", axis=0))
        operands.append("br")
    nodes += [
        node("Conv", operands, "conv", kernel_shape=[1, 1]),
        node("QuantizeLinear", ["conv", "s_y", "z_y"], "yq"),
        node("DequantizeLinear", ["yq", "s_y", "z_y"], "y"),
    ]
    return model(nodes, {"x": (1, 4, 8, 8)}, ["y"], constants)


@pytest.fixture
def unsafe(tmp_path: Path) -> Path:
    path = tmp_path / "unsafe.onnx"
    onnx.save(one_conv(), path)
    return path


def test_an_unsafe_model_is_said_to_be(oaq, unsafe: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    code, out, err = oaq("doctor", unsafe, "--html", page)
    assert (code, err) == (1, "")
    assert "UNSAFE" in out and "conv: 4 of 4 outputs are unsafe on avx2-acc32" in out
    assert "vnni: proved for 1 of 1 layers" in out
    text = page.read_text(encoding="utf-8")
    assert "4 of 4, 17 bits" in text and "http" not in text.replace("http-equiv", "")


@pytest.mark.parametrize("isa", ["avx2-acc32", "15 bits"])
def test_the_commands_that_are_proposed_do_what_they_say(oaq, unsafe: Path, tmp_path: Path, isa: str) -> None:
    _, out, _ = oaq("doctor", unsafe, "--registers", isa)
    (line,) = [line for line in out.splitlines() if "oaq witness" in line]
    shown, repaired = (shlex.split(part.partition("oaq ")[2]) for part in line.split("; "))
    code, said, _ = oaq(*shown)
    assert code == 0 and "an input of the whole network does exactly that" in said
    repaired[repaired.index("FIXED.onnx")] = str(tmp_path / "fixed.onnx")
    assert oaq(*repaired)[0] == 0
    assert oaq("doctor", tmp_path / "fixed.onnx", "--registers", isa)[0] == 0


def test_an_instruction_that_is_undefined_has_no_witness(oaq, tmp_path: Path) -> None:
    onnx.save(one_conv(1), path := tmp_path / "small.onnx")
    code, out, _ = oaq("doctor", path, "--registers", "wasm-relaxed-i7")
    assert code == 1 and "operands reach 255" in out and "fewer bits" in out and "oaq witness" not in out
    code, _, err = oaq("witness", path, "--registers", "wasm-relaxed-i7", "--at", "conv:0")
    assert code == 2 and "operands reach 255" in err and "proved" not in err


def test_a_safe_model_is_said_to_be(oaq, tmp_path: Path) -> None:
    onnx.save(one_conv(64), path := tmp_path / "safe.onnx")
    code, out, _ = oaq("doctor", path, "--registers", "avx2-acc32", "--json")
    document = json.loads(out)
    assert code == 0 and document["safe"] and document["deciding"] == ["avx2-acc32"]
    assert document["layers"][0]["verdicts"]["avx2-acc32"]["bits"] == [16] * 4


def test_our_own_files_are_diagnosed_too(oaq, sealed: Path) -> None:
    code, out, _ = oaq("doctor", sealed, "--registers", "vnni")
    assert code == 0 and "SAFE, decided by vnni" in out


def test_data_are_evidence_and_one_output_is_shown(oaq, unsafe: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "bright.npy", np.ones((2, 4, 8, 8), np.float32))
    code, out, _ = oaq("doctor", unsafe, "--registers", "avx2-acc32", "--data", tmp_path, "--at", "conv:3")
    assert code == 1
    assert "observed: 1024 sums left their register on 2 samples" in out
    assert "conv, output 3" in out and "[0, 64770]" in out


def test_a_witness_breaks_the_first_layer(oaq, unsafe: Path, tmp_path: Path) -> None:
    out_file = tmp_path / "breaks.npy"
    code, out, _ = oaq("witness", unsafe, "--registers", "avx2-acc32", "--at", "conv:0", "--out", out_file)
    assert code == 0 and "asked to hold 64770" in out and "an input of the whole network" in out
    x = np.load(out_file)
    assert x.dtype == np.float32 and x.shape == (1, 4, 8, 8) and x.max() == pytest.approx(1.0)


def test_a_negative_number_of_trials_is_refused(oaq, unsafe: Path) -> None:
    code, _, err = oaq("witness", unsafe, "--registers", "avx2-acc32", "--at", "conv:0", "--trials", "-5")
    assert code == 2 and "--trials -5" in err


def test_a_witness_of_another_tools_file_needs_no_register(oaq, unsafe: Path, tmp_path: Path) -> None:
    code, out, _ = oaq("witness", unsafe, "--at", "conv:1", "--out", tmp_path / "x.npy")
    assert code == 0 and "conv, output 1 on avx2-acc32" in out
    assert np.load(tmp_path / "x.npy").dtype == np.float32
    onnx.save(one_conv(64), path := tmp_path / "safe.onnx")
    code, out, _ = oaq("witness", path, "--at", "conv:1")
    assert code == 0 and "the greatest sum of weight times operand as loaded is 65280" in out


def test_other_peoples_files_run(oaq, native: None, unsafe: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((1, 4, 8, 8), np.float32))
    code, out, _ = oaq("run", unsafe, "--input", tmp_path / "x.npy", "--json")
    assert code == 0
    assert json.loads(out)["samples"][0]["top"][0]["value"] == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.onnx"], "cannot be read"),
        (["net.pth"], "a file called .oaq, .onnx, .tflite"),
        (["unsafe.onnx", "--registers", "mmx"], "no register model is called 'mmx'"),
        (["unsafe.onnx", "--registers", f"{'9' * 5000} bits"], "no register model is called '99"),
        (["unsafe.onnx", "--at", "conv:9"], "outputs 0 to 3"),
        (["unsafe.onnx", "--data", "nowhere"], "no such file or folder"),
        (["unsafe.onnx", "--data", "unsafe.onnx", "--limit", "-1"], "--limit -1: at least one"),
        (["unsafe.onnx", "--html", "no/such/folder/page.html"], "page.html"),
    ],
)
def test_what_is_wrong_is_said_once(oaq, unsafe: Path, arguments: list[str], says: str) -> None:
    placed = [str(unsafe.parent / one) if one.endswith((".onnx", ".pth")) else one for one in arguments]
    code, _, err = oaq("doctor", *placed)
    assert code == 2 and says in err and err.count("\n") == 1


def test_a_bias_at_the_end_of_32_bits_is_told_of_and_runs(oaq, native: None, tmp_path: Path) -> None:
    """A channel that is switched off: ONNX Runtime wraps there, the exact sum is far below zero."""
    onnx.save(one_conv(-127, bias=-(1 << 31)), path := tmp_path / "off.onnx")
    for registers in ("vnni", "avx2-acc32", "neon-mlal-pair", "24 bits"):
        onnx.save(one_conv(-60, bias=-(1 << 31)), light := tmp_path / "light.onnx")
        code, out, _ = oaq("doctor", light, "--registers", registers)
        assert code == 1 and "needs 33 bits" in out and "oaq repair" in out
        code, out, _ = oaq("repair", light, "--registers", registers, "--out", fixed := tmp_path / "fixed.onnx")
        assert code == 0 and "4 on a coarser scale" in out
        assert oaq("doctor", fixed, "--registers", registers)[0] == 0
    np.save(tmp_path / "x.npy", np.ones((1, 4, 8, 8), np.float32))
    code, _, err = oaq("run", path, "--input", tmp_path / "x.npy", "--save", tmp_path / "y.npy")
    assert code == 0 and "sums of conv:0, conv:1, conv:2, conv:3 can leave 32 bits" in err
    assert not np.load(tmp_path / "y.npy").any()
    code, out, _ = oaq("witness", path, "--registers", "vnni", "--at", "conv:1")
    assert (
        code == 0 and f"asked to hold {-(1 << 31) - 4 * 127 * 255}" in out and "whole network does exactly that" in out
    )


def test_an_island_inside_is_named_and_run_in_float(oaq, native: None, tmp_path: Path) -> None:
    made = one_conv()
    graph = made.graph
    graph.node[3].output[0] = "early"
    graph.node.insert(4, node("Softmax", ["early"], "conv", axis=1, name="gate"))
    graph.node.append(node("DequantizeLinear", ["w", "s_w", "z_w"], "vr", axis=0))
    graph.node.append(node("Conv", ["y", "vr"], "again", kernel_shape=[1, 1]))
    graph.node.append(node("QuantizeLinear", ["again", "s_y", "z_y"], "zq"))
    graph.node.append(node("DequantizeLinear", ["zq", "s_y", "z_y"], "z"))
    graph.output[0].name = "z"
    onnx.save(made, path := tmp_path / "island.onnx")
    code, out, _ = oaq("doctor", path, "--registers", "vnni")
    assert code == 0 and "Softmax" in out and "inside the integers" in out
    np.save(tmp_path / "x.npy", np.ones((1, 4, 8, 8), np.float32))
    code, out, err = oaq("run", path, "--input", tmp_path / "x.npy")
    assert code == 0 and "Softmax by ONNX Runtime" in err and "in part proved" in out
