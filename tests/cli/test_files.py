"""Every verb that reads an ``.oaq`` file, on good files and on damaged ones."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from oaq.program.files import read, save
from tests.report import small

READERS = {
    "verify": (),
    "run": ("--input", "x.npy"),
    "bench": (),
    "report": (),
    "witness": ("--at", "stem:0"),
    "export": ("--out", "out.onnx"),
    "plan": ("--target", "neon"),
}


@pytest.mark.parametrize("verb", READERS)
def test_a_missing_truncated_or_edited_file_is_one_clear_line(oaq, sealed, tmp_path, verb):
    whole = sealed.read_bytes()
    edited = bytearray(whole)
    edited[-5] ^= 1
    for name, content, words in (
        ("missing.oaq", None, "cannot be read: No such file"),
        ("cut.oaq", whole[: len(whole) // 2], "cut.oaq"),
        ("empty.oaq", b"", "empty.oaq"),
        ("edited.oaq", bytes(edited), "edited or damaged"),
        ("text.oaq", b"this is no network\n" * 100, "text.oaq"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        code, out, err = oaq(verb, path, *READERS[verb])
        assert (code, out) == (2, ""), (name, err)
        assert err.startswith("oaq: ") and words in err
        assert err.count("\n") == 1


def test_verify_says_for_how_many_layers_it_is_proved(oaq, sealed):
    code, out, _ = oaq("verify", sealed, "--quick")
    assert code == 0
    assert out.startswith("small: SAFE\nproved for 4 of 4 layers, for every input\n")


def test_verify_of_everything_is_safe_and_says_what_did_not_run(oaq, sealed, native):
    code, out, _ = oaq("verify", sealed, "--json")
    found = json.loads(out)
    assert (code, found["safe"]) == (0, True)
    assert found["file"]["proved"] == [4, 4]
    assert found["executors"]["mismatches"] == 0
    assert any(one["ran"] for one in found["executors"]["executors"])


def test_a_file_without_a_certificate_is_proved_here_and_that_is_said(oaq, tmp_path):
    save(small.program(), tmp_path / "bare.oaq")
    code, out, _ = oaq("verify", tmp_path / "bare.oaq", "--quick")
    assert code == 0
    assert "none in the file; proved here" in out


def test_a_certificate_of_another_program_is_unsafe(oaq, sealed, tmp_path):
    save(small.program(seed=1), tmp_path / "forged.oaq", read(sealed).parts)
    code, out, _ = oaq("verify", tmp_path / "forged.oaq")
    assert code == 1
    assert out.startswith("small: UNSAFE\nproved for 0 of 4 layers")
    assert json.loads(oaq("verify", tmp_path / "forged.oaq", "--json")[1])["safe"] is False


def test_an_exported_file_is_verified_like_the_one_it_came_from(oaq, sealed, tmp_path):
    path = tmp_path / "small.onnx"
    assert oaq("export", sealed, "--out", path)[0] == 0
    code, out, _ = oaq("verify", path, "--quick")
    assert code == 0
    assert out.startswith("small: SAFE\nproved for 4 of 4 layers, for every input\n")
    assert "nodes that ONNX leaves to float, where others may be one step off: " in out
    found = json.loads(oaq("verify", path, "--no-onnx", "--json")[1])
    assert found["safe"] is True
    assert found["file"]["signature"] == json.loads(oaq("verify", sealed, "--quick", "--json")[1])["file"]["signature"]


def test_an_onnx_file_that_is_cut_edited_or_somebody_elses_is_one_clear_line(oaq, sealed, tmp_path):
    path = tmp_path / "net.onnx"
    oaq("export", sealed, "--out", path)
    whole = path.read_bytes()
    theirs = onnx.load_from_string(whole)
    del theirs.metadata_props[:]
    for content, words in (
        (whole[: len(whole) // 2], "truncated"),
        (whole.replace(b"oaq", b"oak", 1), "has been edited or damaged"),
        (b"", "is not an ONNX model: it holds no graph"),
        (sealed.read_bytes(), "net.onnx"),
    ):
        path.write_bytes(content)
        code, out, err = oaq("verify", path)
        assert (code, out) == (2, "")
        assert err.startswith("oaq: ") and words in err
        assert err.count("\n") == 1
    path.write_bytes(theirs.SerializeToString())
    code, out, _ = oaq("verify", path, "--quick")
    assert code == 0 and "certificate: none in the file; proved here" in out


def test_witness_reaches_its_bound(oaq, sealed, tmp_path):
    code, out, _ = oaq("witness", sealed, "--at", "stem:3", "--json", "--out", tmp_path / "w.npy")
    found = json.loads(out)
    assert code == 0
    assert found["reached"] == found["bound"]
    assert np.load(tmp_path / "w.npy").shape == (8, 8, 3)
    assert "the least sum" in oaq("witness", sealed, "--at", "stem:3", "--low")[1]


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("stem", "write NODE:OUT, for example stem:0"),
        ("stem:x", "write NODE:OUT"),
        ("stm:0", "no layer is called 'stm' (did you mean stem?); there are stem, deep"),
        ("stem:8", "stem has the outputs 0 to 7"),
    ],
)
def test_witness_says_what_there_is(oaq, sealed, at, words):
    code, _, err = oaq("witness", sealed, "--at", at)
    assert code == 2
    assert words in err


def test_export_writes_a_file_that_onnx_reads(oaq, sealed, tmp_path):
    onnx = pytest.importorskip("onnx")
    code, out, _ = oaq("export", sealed, "--out", tmp_path / "small.onnx", "--json")
    assert code == 0
    assert json.loads(out)["bytes"] == (tmp_path / "small.onnx").stat().st_size
    onnx.checker.check_model(str(tmp_path / "small.onnx"))


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.uniform(-1, 1, (3, 3, 8, 8)).astype(np.float32))
    return tmp_path


def test_run_prints_the_largest_outputs_with_their_names(oaq, sealed, native, photos):
    (photos / "names.txt").write_text("a\nb\nc\nd\ne\n")
    code, out, _ = oaq(
        "run", sealed, "--input", photos / "x.npy", "--top", 2, "--labels", photos / "names.txt", "--json"
    )
    assert code == 0
    samples = json.loads(out)["samples"]
    assert [len(one["top"]) for one in samples] == [2, 2, 2]
    first, second = samples[0]["top"]
    assert first["value"] >= second["value"]
    assert first["label"] == "abcde"[first["index"]]
    code, out, _ = oaq("run", sealed, "--input", photos / "x.npy", "--save", photos / "y.npy")
    assert code == 0
    assert "x.npy[2]" in out
    assert np.load(photos / "y.npy").shape == (3, 5)


def test_run_refuses_what_does_not_fit(oaq, sealed, native, photos):
    np.save(photos / "wrong.npy", np.zeros((3, 9, 9), np.float32))
    np.save(photos / "nan.npy", np.full((3, 8, 8), np.nan, np.float32))
    (photos / "bad.jpg").write_bytes(b"no photo")
    for name, words in (
        ("wrong.npy", "a sample has the shape (3, 9, 9), the network takes (3, 8, 8)"),
        ("nan.npy", "NaN"),
        ("bad.jpg", "bad.jpg: is not a photo that decodes"),
        ("none.jpg", "no such file or folder"),
    ):
        code, _, err = oaq("run", sealed, "--input", photos / name)
        assert code == 2
        assert words in err
    assert oaq("run", sealed, "--input", photos / "x.npy", "--isa", "mmx")[0] == 2
    assert oaq("run", sealed, "--input", photos / "x.npy", "--threads", 0)[0] == 2


def test_report_shows_what_the_file_remembers_and_what_images_add(oaq, sealed, native, photos):
    code, out, _ = oaq("report", sealed)
    assert code == 0
    assert out.startswith("small: proved for 4 of 4 layers")
    assert "18 of 20 images" in out
    code, out, _ = oaq("report", sealed, "--images", photos / "x.npy", "--out", photos / "r.html", "--json")
    assert code == 0
    seen = json.loads(out)
    assert all(layer["observed"]["images"] == 3 for layer in seen["layers"])
    for layer in seen["layers"]:
        lane, bound = layer["observed"]["lane"], layer["bounds"]["lane"]
        assert lane is None or bound["lo"] <= lane["lo"] <= lane["hi"] <= bound["hi"]
    assert (photos / "r.html").read_text().startswith("<!doctype html>")


def test_report_into_a_folder_that_is_not_there_writes_nothing(oaq, sealed, native, tmp_path):
    code, _, err = oaq("report", sealed, "--out", tmp_path / "no" / "r.html")
    assert code == 2
    assert "cannot be written" in err
    assert list(tmp_path.iterdir()) == []


def test_bench_checks_outputs_and_names_the_isa(oaq, sealed, native):
    code, out, _ = oaq("bench", sealed, "--rounds", 1, "--json", "--explain")
    assert code == 0
    found = json.loads(out)
    assert found["latency"]["timings"]
    assert all(one["note"] == "equal to the integer reference" for one in found["latency"]["timings"])
    assert set(found["profiles"]) == {one["name"] for one in found["latency"]["timings"]}
    code, out, _ = oaq("bench", sealed, "--rounds", 1, "--isa", "scalar", "--explain")
    assert "oaq scalar" in out and "by node" in out
    assert oaq("bench", sealed, "--threads", 0)[0] == 2
