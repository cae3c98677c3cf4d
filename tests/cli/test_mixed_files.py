"""Verbs that prove, time and report, on files of which parts stay in float."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.mixed.nets import Net, image
from tests.mixed.test_inference import middle, softmax_head

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.usefixtures("native")


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    net = Net()
    middle(net)
    np.save(tmp_path / "x.npy", image(3, 4, 8, 8))
    return net.save(tmp_path / "mixed.onnx")


def test_verify_proves_the_integer_regions_and_says_what_it_does_not_speak_of(oaq, mixed: Path) -> None:
    code, out, err = oaq("verify", mixed, "--quick")
    assert code == 0 and out.startswith("mixed: SAFE\nproved for 2 of 2 layers, for every input")
    assert "this does not speak of its float regions: not proved: LayerNormalization" in err
    code, out, _ = oaq("verify", mixed, "--input", mixed.parent / "x.npy", "--isa", "scalar", "--json", "--no-onnx")
    document = json.loads(out)
    assert code == 0 and document["safe"] and "LayerNormalization" in document["not_spoken_of"]
    assert document["integer 2"]["samples"]["given"] == 3


def test_bench_times_the_whole_file_and_explains_its_regions(oaq, mixed: Path) -> None:
    arguments = ("bench", mixed, "--rounds", 2, "--isa", "scalar", "--onnx", mixed, "--explain")
    code, out, err = oaq(*arguments)
    assert code == 0 and "oaq scalar + ONNX Runtime" in out and "equal to the reference of its integers" in out
    assert "in float because: LayerNormalization6" in out and "between the file's values and integers" in out
    assert "not proved: LayerNormalization by ONNX Runtime" in err
    code, out, _ = oaq(*arguments, "--json")
    (regions,) = json.loads(out)["regions"].values()
    assert [region["region"] for region in regions] == ["integer 1", "float 1", "integer 2"]


def test_report_shows_the_layers_of_all_regions_and_where_they_end(oaq, mixed: Path) -> None:
    page = mixed.parent / "page.html"
    code, out, _ = oaq("report", mixed, "--images", mixed.parent / "x.npy", "--out", page, "--json")
    document = json.loads(out)
    assert code == 0 and [layer["observed"]["images"] for layer in document["layers"]] == [3, 3]
    assert any("in float because: LayerNormalization6" in note for note in document["notes"])
    assert "LayerNormalization" in page.read_text()


def test_files_without_integers_and_open_sizes_are_refused_in_one_line(oaq, tmp_path: Path) -> None:
    net = Net()
    net.output(net.op("Relu", net.input([1, 4])))
    path = net.save(tmp_path / "float.onnx")
    for verb in ("bench", "report", "verify"):
        code, _, err = oaq(verb, path)
        assert code == 2 and "no part of it is integers, so there is nothing to prove" in err, verb
    net = Net()
    y = net.conv(net.qdq(net.input([1, 4, "h", "w"]), 0.02))
    net.output(net.op("Softmax", y, axis=1))
    path = net.save(tmp_path / "open.onnx")
    code, _, err = oaq("bench", path, "--shape", "rows=3")
    assert code == 2 and "has no open size and no input of that name; open sizes: h, w" in err


def test_an_open_batch_is_as_large_as_asked_for(oaq, tmp_path: Path) -> None:
    net = Net()
    x = net.input(["n", 4, 8, 8])
    net.output(net.op("Softmax", net.conv(net.qdq(x, 0.02)), axis=1))
    path = net.save(tmp_path / "net.onnx")
    code, out, _ = oaq("bench", path, "--rounds", 2, "--isa", "scalar", "--batch", 3)
    assert code == 0 and "batch 3" in out
    net = Net()
    softmax_head(net)
    assert oaq("report", net.save(tmp_path / "head.onnx"))[0] == 0
