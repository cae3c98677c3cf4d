"""``oaq repair`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks import onnx_files
from tests.cli.test_doctor import one_conv


@pytest.fixture(scope="module")
def unsafe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("repair") / "unsafe.onnx"
    onnx.save(one_conv(), path)
    return path


def test_what_the_doctor_finds_unsafe_it_finds_safe_afterwards(oaq, unsafe: Path, tmp_path: Path) -> None:
    out = tmp_path / "fixed.onnx"
    assert oaq("doctor", unsafe, "--registers", "avx2-acc32")[0] == 1
    code, said, err = oaq("repair", unsafe, "--registers", "avx2-acc32", "--out", out)
    assert (code, err) == (0, "")
    assert "1 of 1 layers were unsafe on avx2-acc32" in said
    assert "proved safe on avx2-acc32, 1 of 1 layers, for every input" in said
    assert "changed 4 of 4 outputs" in said and "7 bits everywhere" in said
    assert oaq("doctor", out, "--registers", "avx2-acc32")[0] == 0


def test_a_safe_model_is_copied_and_said_to_be_safe(oaq, tmp_path: Path) -> None:
    onnx.save(one_conv(64), path := tmp_path / "safe.onnx")
    code, said, _ = oaq("repair", path, "--out", tmp_path / "copy.onnx")
    assert code == 0 and "proved safe on avx2-acc32 as it is" in said and "an identical copy" in said
    assert (tmp_path / "copy.onnx").read_bytes() == path.read_bytes()


def test_data_are_read_and_the_document_says_that_costs_were_measured(oaq, unsafe: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).uniform(0, 1, (5, 4, 8, 8)).astype(np.float32))
    code, said, err = oaq("repair", unsafe, "--data", tmp_path / "x.npy", "--out", tmp_path / "r.onnx", "--json")
    document = json.loads(said)
    assert (code, err) == (0, "")
    assert document["safe"] and not document["was_safe"] and document["unsafe_layers_before"] == 1
    assert (
        document["layers"][0]["measured"] and document["layers"][0]["rounded"] + document["layers"][0]["rescaled"] == 4
    )


def test_what_cannot_be_repaired_is_one_line_and_writes_nothing(oaq, unsafe: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.onnx"
    code, said, err = oaq("repair", unsafe, "--registers", "wasm-relaxed-i7", "--out", out)
    assert (code, said) == (1, "") and "No other weights would mend that" in err
    code, _, err = oaq("repair", tmp_path / "m.tflite", "--out", out)
    assert code == 2 and "only ONNX files are repaired" in err
    code, _, err = oaq("repair", tmp_path / "none.onnx", "--out", out)
    assert code == 2 and "none.onnx" in err
    (tmp_path / "dynamic.onnx").write_bytes(onnx_files.dynamic(onnx_files.float_network(np.random.default_rng(0))))
    code, _, err = oaq("repair", tmp_path / "dynamic.onnx", "--data", tmp_path, "--out", out)
    assert code == 2 and "leave it out" in err
    assert not out.exists()


@pytest.mark.parametrize("verb", ["doctor", "repair", "witness"])
def test_the_old_name_of_the_flag_does_the_same_and_says_its_new_one(oaq, unsafe, tmp_path, verb):
    rest = {"repair": ["--out", tmp_path / "a.onnx"], "witness": ["--at", "conv:0", "--trials", "0"]}.get(verb, [])
    code, said, warned = oaq(verb, unsafe, "--isa", "avx2-acc32", *rest)
    assert (code, said) == oaq(verb, unsafe, "--registers", "avx2-acc32", *rest)[:2]
    assert warned == "oaq: --isa is called --registers now: it names a register, not an instruction set\n"


def test_the_old_name_may_be_repeated_where_the_new_one_may(oaq, unsafe):
    names = [flag for name in ("avx2-acc32", "vnni") for flag in ("--isa", name)]
    code, said, warned = oaq("doctor", unsafe, *names)
    assert (code, len(warned.splitlines())) == (1, 1)
    assert said == oaq("doctor", unsafe, "--registers", "avx2-acc32", "--registers", "vnni")[1]
    assert oaq("doctor", unsafe, "--isa", "vnni")[1] == oaq("doctor", unsafe, "--registers", "vnni")[1]
