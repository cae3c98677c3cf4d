"""Pruning recipes: tables that are cut, rounds, costs of points, the picture; a tiny run from end to end."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import pruning_table
from oaq.qat.prune import PUBLISHED
from recipes.data.packages import FetchError
from recipes.ledger import Ledger
from recipes.pruning import __main__ as command
from recipes.pruning import curves, tables, taggers
from recipes.pruning.networks import IntegerPruned, log_width, make
from recipes.pruning.plot import draw


def lines(name: str) -> str:
    rows, columns, classes = tables.SETS[name]
    rng = np.random.default_rng(0)
    x = rng.normal(5.0, 3.0, (rows, columns))
    return "\n".join(f"{', '.join(f'{v:.3f}' for v in row)}, {int(row[0] > 5) % classes}" for row in x)


@pytest.fixture(scope="module")
def split() -> tables.Split:
    """A small set of two classes."""
    x = torch.randn(900, 10, generator=torch.Generator().manual_seed(0))
    y = (x[:, :3].sum(1) > 0).long()
    parts = [tables.Rows(x[at : at + 300], y[at : at + 300]) for at in (0, 300, 600)]
    return tables.Split("made up", 2, *parts)


def test_columns_are_standardised_by_the_training_rows_alone() -> None:
    found = tables.split("magic", lines("magic"), 0)
    assert [len(part) for part in (found.train, found.valid, found.test)] == [11_412, 3_804, 3_804]
    assert torch.allclose(found.train.x.mean(0), torch.zeros(10), atol=1e-4)
    assert torch.allclose(found.train.x.std(0), torch.ones(10), atol=1e-3)
    assert not torch.allclose(found.test.x.mean(0), torch.zeros(10), atol=1e-6)


def test_orders_depend_on_seed_and_number_only(split: tables.Split) -> None:
    first, again, other = (list(split.train.epoch(64, 1, number)) for number in (0, 0, 1))
    assert len(first) == 4
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], other[0][0])


def test_a_table_of_other_lines_is_refused() -> None:
    with pytest.raises(FetchError, match=r"magic.dat is not 19020 lines of 10 numbers"):
        tables.split("magic", "1,2,g\n", 0)
    with pytest.raises(FetchError, match="holds something else than numbers"):
        tables.split("magic", lines("magic").replace(",", ",x", 1), 0)


@pytest.mark.parametrize("bits", [32, 12, 6])
@pytest.mark.parametrize("rewinds", [False, True])
def test_rounds_leave_what_is_pruned_at_zero(split: tables.Split, bits: int, rewinds: bool) -> None:
    network = make(split, bits, 0, (8, 6))
    network.train(split.train, 1, 0)
    dense = network.point(split)
    network.prune(0.5, rewinds=rewinds)
    network.train(split.train, 1, 1)
    pruned = network.point(split)
    assert 0.5 <= pruned.zeros < 0.6
    assert pruned.bit_operations < dense.bit_operations
    assert pruned.products < dense.products
    assert (pruned.run is None) == (bits > 8)


def test_a_lottery_ticket_begins_with_the_first_weights(split: tables.Split) -> None:
    network = IntegerPruned(split, 6, 0, (8, 6))
    first = {name: value.clone() for name, value in network.first.items()}
    network.train(split.train, 1, 0)
    network.prune(0.4, rewinds=True)
    state = network.net.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in first.items())


def test_a_curve_has_twelve_points_and_a_control(
    split: tables.Split, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(curves, "FIRST_EPOCHS", 1)
    monkeypatch.setattr(curves, "ROUND_EPOCHS", 1)
    monkeypatch.setattr(curves, "DRAWS", 2)
    ledger = Ledger(tmp_path / "rows.json", "command", (), heads=command.HEADS["curves"])
    curves.add_curves(split, 32, [0, 1], ledger)
    curves.add_widths(split, 32, 0, ledger)
    rows = [dict(row) for row in ledger.result().rows]
    assert len(rows) == len(PUBLISHED) + 2 + 2
    assert [row["zeros asked for"] for row in rows[:13]] == [*curves.labels(rewinds=True), "control"]
    assert "+-" in rows[0]["accuracy, %"]
    assert rows[12]["zeros, %"] == "0.0"
    before = (tmp_path / "rows.json").read_bytes()
    again = Ledger(tmp_path / "rows.json", "command", (), heads=command.HEADS["curves"])
    curves.add_curves(split, 32, [0, 1], again)  # taken from the file
    assert json.loads(before)["rows"][0] == json.loads((tmp_path / "rows.json").read_bytes())["rows"][0]


def test_widths_are_drawn_by_octaves() -> None:
    assert [log_width(4, 64, draw) for draw in (0.0, 0.25, 0.5, 1.0)] == [4, 8, 16, 64]


def test_the_picture_leaves_out_what_lies_below() -> None:
    picture = draw("a < b", {"6 bits": [(1e5, 99.0), (2e5, 98.0), (3e5, 20.0)], "random": [(1.5e5, 97.0)]}, 90.0)
    assert picture.count("<circle") == 3 + 2
    assert picture.count("<polyline") == 1
    assert "a &lt; b" in picture
    assert ">200 k<" in picture


def keras_archive(folder: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    path = folder / "archive.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for file in taggers.TAGGERS.values():
            buffer = io.BytesIO()
            with h5py.File(buffer, "w") as h5:
                for at, size in enumerate(zip(taggers.SIZES, taggers.SIZES[1:], strict=False)):
                    h5[f"fc{at}/kernel:0"] = rng.normal(size=size).astype(np.float32)
                    h5[f"fc{at}/bias:0"] = np.zeros(size[1], np.float32)
            member = tarfile.TarInfo(f"{taggers.FOLDER}/{file}")
            member.size = len(buffer.getvalue())
            buffer.seek(0)
            tar.addfile(member, buffer)
    return path


def test_taggers_are_proved_by_bits(tmp_path: Path) -> None:
    archive = keras_archive(tmp_path)
    net = taggers.weights(archive)["dense"]
    wide, narrow = (taggers.tagger(net, "dense", bits)[1] for bits in (8, 4))
    assert wide.run is not None
    assert narrow.run is not None
    assert narrow.run > wide.run
    assert narrow.bit_operations < wide.bit_operations


def test_what_is_missing_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["taggers", "--archive", str(tmp_path / "no.tar.gz"), "--out", str(tmp_path)]) == 2
    assert "no.tar.gz: no such file" in capsys.readouterr().err
    assert command.main(["times", "--out", str(tmp_path)]) == 2
    assert "holds no program: run `python -m recipes.pruning cifar10` first" in capsys.readouterr().err
    assert command.main(["curves", "--seeds", "0", "--out", str(tmp_path)]) == 2
    assert "--seeds and --rounds are at least 1" in capsys.readouterr().err


def test_documents_hold_the_tables_of_the_files(tmp_path: Path) -> None:
    text = pruning_table.PAGE.read_text(encoding="utf-8")
    names = {match["data"] for match in pruning_table.MARKED.finditer(text)}
    assert names == {f"pruning-{part}" for part in ("skipped", "curves", "widths", "taggers", "cifar10", "times")}
    assert pruning_table.replaced(text) == text, "run: python -m benchmarks.pruning_table"
    assert pruning_table.block(tmp_path) == "not run\n"
    assert all(pruning_table.page_block(name, tmp_path) == "not run\n" for name in names)
