"""Benchmarks of dithered gradients, teachers and calibrations: what is trained, written and put into tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import calibration, distillation, dither, training_table
from benchmarks.dither import SUBJECTS, Variant, measure, train, variants
from oaq.qat import Dither
from recipes.data.labelled import Labelled
from recipes.result_file import Result, stamp, write


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def grey(count: int) -> Labelled:
    generator = torch.Generator().manual_seed(count)
    labels = torch.randint(0, 10, (count,), generator=generator)
    pixels = (labels[:, None, None, None] * 20 + torch.rand(count, 1, 28, 28, generator=generator) * 40).to(torch.uint8)
    return Labelled(pixels, labels, (0.5,), (0.25,), moves=False)


def test_labels_name_every_variant_once_and_the_base_scale_is_one_of_the_scales() -> None:
    labels = [variant.label for variant in variants(1.0)]
    assert len(labels) == len(set(labels)) == 9
    assert ("1", "1") in labels
    assert ("8, noise at most 2", "1") in labels
    assert ("1", "8") in labels


def test_scale_0_counts_what_is_zero_anyway_and_trains_as_if_nothing_was_there() -> None:
    subject, data = SUBJECTS["lenet-300-100"], grey(256)
    plain = train(subject, data, grey(100), Variant(Dither(scale=0.0)), 0)
    assert plain.bits == 0
    assert 0.3 < plain.zeros < 0.99
    dithered = train(subject, data, grey(100), Variant(Dither(scale=2.0)), 0)
    assert dithered.zeros > dithered.natural
    assert dithered.bits <= 8
    cells = dict(measure(subject, data, grey(100), Variant(Dither(scale=2.0), 4), 1))
    assert float(cells["zeros"]) > 0.3
    assert cells["by seed"] == cells["top-1"]


def test_a_table_is_the_rows_of_its_file(tmp_path: Path) -> None:
    assert set(training_table.TABLES) >= {f"dither-{network}" for network in SUBJECTS}
    assert training_table.block("dither-lenet-5", tmp_path) == "Not run.\n"
    cells = {"scale": "2", "workers": "1", "top-1": "90.00", "by seed": "90.00", "natural zeros": "0.500"}
    cells |= {"zeros": "0.900", "products skipped": "0.910", "bits": "6", "noise": "0.30"}
    facts = (("training images", "10"), ("epochs", "1"), ("seeds", "1"))
    write(
        Result("dither", "a command", stamp(), facts=facts, rows=(tuple(cells.items()),)),
        tmp_path / "dither_lenet-5.json",
    )
    text = training_table.block("dither-lenet-5", tmp_path)
    assert text.startswith("Training images: 10; epochs: 1; seeds: 1.\n`a command`.\n")
    assert "| 2 | 1 | 90.00 | 90.00 | 0.500 | 0.900 | 0.910 | 6 | 0.30 |" in text


def test_calibrations_are_all_there_and_each_row_has_a_name() -> None:
    labels = [variant.label for variant in calibration.variants()]
    assert len(labels) == len(set(labels))
    assert {label[1] for label in labels} == {"mse", "minmax", "percentile", "entropy"}
    assert {label[0] for label in labels} == {"photos", "statistics", "pictures"}


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (dither, ["lenet-5", "--seeds", "0"]),
        (dither, ["lenet-5", "--base", "0"]),
        (distillation, ["--epochs", "0"]),
        (calibration, ["mobilenet-v2", "--steps", "0"]),
    ],
)
def test_wrong_numbers_are_refused(module: object, arguments: list[str]) -> None:
    assert module.main(arguments) == 2  # type: ignore[attr-defined]


def test_every_row_of_distillation_begins_at_one_float_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def colour(part: str) -> Labelled:
        count = 256 if part == "train" else 50
        pixels = torch.from_numpy(np.random.default_rng(count).integers(0, 256, (count, 3, 32, 32), np.uint8))
        return Labelled(pixels, torch.arange(count) % 10, (0.5,) * 3, (0.25,) * 3)

    monkeypatch.setattr(distillation, "cifar10", colour)
    monkeypatch.setattr(distillation, "TEACHERS", dict(list(distillation.TEACHERS.items())[:2]))
    results: list[Result] = []
    monkeypatch.setattr(distillation, "save", lambda result, name, *, record: results.append(result) or name)
    numbers = ["--images", "256", "--float-epochs", "1", "--epochs", "1", "--seeds", "1"]
    assert distillation.main([*numbers, "--runs", str(tmp_path)]) == 0
    rows = [dict(row) for row in results[0].rows]
    assert [row["row"] for row in rows] == ["float", "labels", "teacher"]
    assert rows[1]["against labels"] == "+0.00"
    assert len(list(tmp_path.rglob("float.ckpt"))) == 1
    assert len(list(tmp_path.rglob("integers.ckpt"))) == 2
