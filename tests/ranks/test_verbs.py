"""Every verb of the command line on networks of lines (C, L) and tokens (T, C), and on other tools' files of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import oaq
from oaq.cli import main
from tests.ranks.chain import extremes_first
from tests.ranks.files import float_file, quantized_file
from tests.ranks.networks import Keywords, Tokens, trained

NETWORKS = {"keywords": (Keywords, (5, 33)), "tokens": (Tokens, (9, 12))}


@pytest.fixture(scope="module", params=NETWORKS)
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quantized network with its certificate, and an input in its own order beside it."""
    make, shape = NETWORKS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    batches = extremes_first(shape)
    oaq.save(oaq.quantize(trained(make()), [batches[-1]]), folder / "net.oaq")
    np.save(folder / "x.npy", batches[-1])
    return folder / "net.oaq"


def test_run_saves_a_row_for_every_sample(archive: Path) -> None:
    x, y = archive.parent / "x.npy", archive.parent / "y.npy"
    assert main(["run", str(archive), "--input", str(x), "--save", str(y)]) == 0
    first = oaq.Session(oaq.plan(oaq.load(archive))).run(np.load(x))
    values = first[0] if isinstance(first, tuple) else first
    np.testing.assert_array_equal(np.load(y).reshape(-1), values.reshape(-1))


def test_doctor_and_witness_name_a_layer_and_an_input(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(archive), "--registers", "12 bits", "--json"]) == 1
    layers = json.loads(capsys.readouterr().out)["layers"]
    names = [node.name for node in oaq.load(archive).summing_nodes()]
    assert [layer["node"] for layer in layers] == names
    saved = archive.parent / "witness.npy"
    for name in names:
        assert main(["witness", str(archive), "--at", f"{name}:0", "--out", str(saved)]) == 0
        assert name in capsys.readouterr().out
        assert np.load(saved).dtype == np.uint8


def test_report_has_a_line_per_layer_and_a_page(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = archive.parent / "report.html"
    assert main(["report", str(archive)]) == 0
    text = capsys.readouterr().out
    assert main(["report", str(archive), "--out", str(page)]) == 0
    for node in oaq.load(archive).summing_nodes():
        assert node.name in text
        assert node.name in page.read_text()


def test_verify_and_export_say_that_it_is_proved(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(archive), "--quick"]) == 0
    assert "proved" in capsys.readouterr().out
    exported = archive.parent / "net.onnx"
    assert main(["export", str(archive), "--out", str(exported)]) == 0
    assert oaq.verify_file(exported).is_safe


@pytest.mark.parametrize("name", NETWORKS)
def test_repair_makes_another_tools_file_safe(name: str, tmp_path: Path) -> None:
    make, shape = NETWORKS[name]
    network = trained(Tokens(bias=False) if make is Tokens else make())
    source = float_file(network, shape, tmp_path / "float.onnx")
    path = quantized_file(source, extremes_first(shape, 16)[-1], tmp_path / "ints.onnx", "QDQ")
    assert main(["doctor", str(path), "--registers", "avx2-acc32"]) == 1
    repaired = tmp_path / "repaired.onnx"
    assert main(["repair", str(path), "--registers", "avx2-acc32", "--out", str(repaired)]) == 0
    assert main(["doctor", str(repaired), "--registers", "avx2-acc32"]) == 0
    before, after = (oaq.import_model(file).program for file in (path, repaired))
    x = extremes_first(shape)[-1]
    y, changed = (oaq.Session(oaq.plan(oaq.settle(program).program)).run(x) for program in (before, after))
    y, changed = (value[0] if isinstance(value, tuple) else value for value in (y, changed))
    assert np.linalg.norm(y - changed) < 0.2 * np.linalg.norm(y)
