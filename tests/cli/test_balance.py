"""``oaq balance`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests import dynamic_files as files
from tests.repair.test_balance import TERMS, content


def test_it_writes_a_file_of_the_same_bits_and_says_which_channels_are_divided(oaq, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    net, out, samples = tmp_path / "net.onnx", tmp_path / "balanced.onnx", tmp_path / "samples"
    net.write_bytes(content(rng, 64.0))
    samples.mkdir()
    for index in range(3):
        np.savez(samples / f"{index}.npz", x=rng.normal(size=(30, TERMS)).astype(np.float32))
    code, shown, err = oaq("balance", net, "--data", samples, "--out", out)
    assert (code, err) == (0, "")
    assert "of 2 tensors that constants multiply, 1 have channels that are worth dividing, on 3 samples" in shown
    assert f"channels divided: n (1 of {TERMS})" in shown
    x = rng.normal(size=(7, TERMS)).astype(np.float32)
    assert np.array_equal(files.run(out.read_bytes(), x)[0], files.run(net.read_bytes(), x)[0])
    code, shown, _ = oaq("balance", net, "--data", samples, "--out", out, "--limit", "2", "--json")
    document = json.loads(shown)
    assert code == 0 and document["samples"] == 2
    assert document["tensors"]["n"]["channels"] == TERMS and document["tensors"]["n"]["divided"] >= 1
    assert document["tensors"]["x"] == {"divided": 0, "channels": TERMS}


def test_what_does_not_fit_is_one_line_and_writes_nothing(oaq, tmp_path: Path) -> None:
    net, out, x = tmp_path / "net.onnx", tmp_path / "balanced.onnx", tmp_path / "x.npy"
    net.write_bytes(content(np.random.default_rng(0), 8.0))
    np.save(x, np.zeros((3, TERMS + 1), np.float32))
    for arguments, message in (
        (("balance", net, "--data", x, "--out", out), "cannot run the file on these samples"),
        (("balance", net, "--data", tmp_path / "none", "--out", out), "no such file or folder"),
        (("balance", net, "--data", x, "--out", out, "--limit", "0"), "--limit 0: is at least 1"),
        (("balance", tmp_path / "net.oaq", "--data", x, "--out", out), "only float ONNX files"),
    ):
        code, shown, err = oaq(*arguments)
        assert (code, shown) == (2, "") and message in err and len(err.splitlines()) == 1
    assert not out.exists()
