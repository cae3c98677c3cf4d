"""recipes.piecewise: forms of weights, integers beside them, and the tables of the files; without published weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import piecewise_table
from benchmarks.harness import Result, stamp
from oaq.data.preprocess import Preprocess
from oaq.kernels.table import cpu_isas
from oaq.ptq.networks import graph_of
from recipes import result_file
from recipes.demo import Data
from recipes.networks import Network
from recipes.piecewise import __main__ as recipe
from recipes.piecewise import integers
from recipes.piecewise.forms import float_logits, headline_forms, rounded_network, shape_forms


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.Conv2d(16, 16, 3, groups=16), nn.ReLU(), nn.Flatten(), nn.Linear(400, 10)
    ).eval()


@pytest.fixture
def data() -> Data:
    x = np.random.default_rng(0).normal(size=(20, 3, 16, 16)).astype(np.float32)
    labels = net()(torch.from_numpy(x)).argmax(dim=1).numpy()
    return Data([x[:8], x[8:16]], x, labels, np.repeat(x, 5, axis=0))


def test_every_form_rounds_and_a_correction_keeps_shapes() -> None:
    x = np.random.default_rng(1).normal(size=(4, 3, 16, 16)).astype(np.float32)
    graph, _ = graph_of(net(), [x])
    exact = float_logits(graph, x)
    np.testing.assert_allclose(exact, net()(torch.from_numpy(x)).detach().numpy(), rtol=1e-4, atol=1e-5)
    decibels = {}
    for form in (*headline_forms(), *shape_forms(3), *shape_forms(8)):
        rounded = rounded_network(graph, form)
        decibels[form.name] = rounded.sqnr_db
        for parameters in (rounded.plain, rounded.corrected):
            assert np.isfinite(float_logits(graph, x, parameters)).all()
    assert decibels["PWLQ 8, published, search"] > decibels["PWLQ 4, published, search"] + 20
    assert decibels["integer PWLQ 4"] >= decibels["uniform 5, best clip"] - 1e-9


def test_uniform_weights_beside_a_form_take_as_many_stored_bits() -> None:
    for bits in recipe.SHAPE_BITS:
        forms = shape_forms(bits)
        stored = {form.stored for form in forms if "PWLQ" in form.name}
        assert stored == {bits + 1}
        assert bits == 8 or forms[-1].stored == bits + 1


@pytest.mark.skipif(integers.ISA not in cpu_isas(), reason="integers are run and timed on AVX2")
def test_integers_are_described_and_timed_in_turns(data: Data, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network = Network("tiny", net, Preprocess((16, 16)), None)
    names = ("W8A8", "W5A8", "piecewise 4, no budget")
    monkeypatch.setattr(integers, "enlarged_cifar", lambda _: data.test)
    choices = {name: integers.CHOICES[name] for name in names}
    for module in (integers, recipe):
        monkeypatch.setattr(module, "CHOICES", choices)
    monkeypatch.setattr(recipe, "load_data", lambda *_: data)
    assert recipe.run(network, recipe.arguments(["--out", str(tmp_path)])) == 0
    rows = [dict(row) for row in result_file.load(tmp_path / "tiny.json").rows]
    by_name = {row["weights"]: row for row in rows if row["table"] == "integers"}
    assert set(by_name) == set(names)
    assert by_name["W8A8"]["part of W8A8's"] == "1.000"
    assert float(by_name["piecewise 4, no budget"]["part of W8A8's"]) < 1
    assert sum(map(int, by_name["piecewise 4, no budget"]["outputs with r = 1, 2, 3, 4"].split(", "))) == 42
    monkeypatch.setattr(recipe, "quantized", None)  # a second run takes the lines of the first
    monkeypatch.setattr(recipe, "rounded_network", None)
    assert recipe.run(network, recipe.arguments(["--out", str(tmp_path)])) == 0
    assert [dict(row) for row in result_file.load(tmp_path / "tiny.json").rows] == rows
    monkeypatch.setattr(recipe, "quantized", integers.quantized)
    assert recipe.run(network, recipe.arguments(["--out", str(tmp_path), "--times", "--rounds", "1"])) == 0
    latency = result_file.load(tmp_path / "tiny_times.json").latency
    assert latency is not None
    assert [timing.name for timing in latency.timings] == [f"avx2 {name}" for name in names]


def test_numbers_below_one_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--images", "0"], ["--times", "--rounds", "0"]):
        assert recipe.main([*words, "--out", str(tmp_path)]) == 2
        assert "both are at least 1" in capsys.readouterr().err


def test_the_published_form_stands_beside_that_of_one_sum(
    data: Data, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(recipe, "load_data", lambda *_: data)
    network = Network("tiny", net, Preprocess((16, 16)), None)
    assert recipe.run(network, recipe.arguments(["--out", str(tmp_path), "--exact"])) == 0
    rows = [dict(row) for row in result_file.load(tmp_path / "tiny_exact.json").rows]
    assert [(row["weights"], row["sums of an output"]) for row in rows] == [
        ("published 4, one-shot", "3"),
        ("published 4, search", "3"),
        ("integer 4", "1"),
    ]
    assert all(float(row["logit SQNR"].split()[0]) > 5 for row in rows)


def test_tables_say_what_files_hold(tmp_path: Path) -> None:
    assert piecewise_table.block(tmp_path) == "not run\n"
    assert "efficientnet-lite0:\n\nnot run\n" in piecewise_table.page_block("piecewise-forms", tmp_path)
    line = {
        "table": "integers",
        "weights": "W8A8",
        "same class first, of 220 views": "200",
        "logit SQNR, views": "20.00 dB",
        "same class first, of 200 CIFAR-10 images": "400",
        "logit SQNR, CIFAR-10": "15.00 dB",
        "average run, quads": "1.00",
        "average run by positions, quads": "0.90",
        "predicted ms, AVX2": "5.000",
        "part of W8A8's": "1.000",
    }
    result = Result("piecewise", "x", stamp(), rows=(tuple(line.items()),))
    result_file.store(result, tmp_path, "piecewise_mobilenet-v2")
    times = Result("piecewise_times", "x", stamp(), rows=((("weights", "avx2 W8A8"), ("median ms", "4.500")),))
    result_file.store(times, tmp_path, "piecewise_times_mobilenet-v2")
    row = "| mobilenet-v2 | W8A8 | 200 | 20.00 dB | 1.000 | 5.000 | 4.500 |"
    assert piecewise_table.block(tmp_path).splitlines()[2] == row
    page = piecewise_table.page_block("piecewise-integers", tmp_path)
    assert "| W8A8 | 200 | 20.00 dB | 1.000 | 400 | 15.00 dB | 1.00 | 0.90 | 5.000 | 4.500 |" in page


def test_the_page_has_the_tables_of_the_files() -> None:
    text = piecewise_table.PAGE.read_text(encoding="utf-8")
    names = {match["data"] for match in piecewise_table.MARKED.finditer(text)}
    assert names == {"piecewise-forms", "piecewise-shape", "piecewise-integers"}
    assert piecewise_table.replaced(text) == text, "run: python -m benchmarks.piecewise_table"


def test_what_was_recorded_on_mobilenet_v2_is_what_was_to_be_reached() -> None:
    rows = [dict(row) for row in result_file.load(piecewise_table.RESULTS / "piecewise_mobilenet-v2.json").rows]
    forms = {row["weights"]: row for row in rows if row["table"] == "forms of 4 bits"}
    piecewise, uniform = forms["integer PWLQ 4"], forms["uniform 5, best clip"]
    assert float(piecewise["weight SQNR"].split()[0]) >= max(26.5, float(uniform["weight SQNR"].split()[0]) + 0.7)
    assert float(piecewise["logit SQNR + BC"].split()[0]) >= 12.0
    whole = {row["weights"]: row for row in rows if row["table"] == "integers"}
    assert float(whole["piecewise 4, no budget"]["average run, quads"]) >= 9.0
    assert float(whole["piecewise 4, no budget"]["part of W8A8's"]) <= 0.66
