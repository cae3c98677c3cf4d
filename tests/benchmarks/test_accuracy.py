"""The campaign: registers that really wrap, a grid without repeats, tables that are the files'."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import (
    accuracy,
    accuracy_cells,
    accuracy_table,
    headline_table,
    training_table,
    wrapnet_table,
)
from benchmarks.accuracy import CAMPAIGNS
from benchmarks.accuracy_cells import Cell, grid
from benchmarks.harness import Result, stamp
from benchmarks.wrapped import wrapping
from oaq.qat import Config, QatNetwork, Target, convert, prepare
from oaq.reference import run
from oaq.reference.packing import lanes
from oaq.runtime.values import to_integers
from recipes.result_file import place_of, write
from tests.qat.nets import batch, net_graph


def network() -> QatNetwork:
    return prepare(net_graph(nn.ReLU), batch(), Config("none", target=Target("pure", 16))).eval()


def test_a_register_that_is_wide_enough_changes_nothing() -> None:
    made, x = network(), batch(4, seed=1)
    exact = made(x)
    with wrapping(made, dict.fromkeys(made.layer, 32)):
        assert torch.equal(made(x), exact)
    assert torch.equal(made(x), exact)


def test_a_narrow_register_holds_what_its_bits_hold() -> None:
    made, x = network(), batch(4, seed=1)
    first = made.graph.nodes[0]
    program = convert(made)
    tensors = run(program, to_integers(program, x.numpy())).tensors
    node = next(iter(program.summing_nodes()))
    given = tensors[node.inputs[0]].astype(np.uint8)
    zero = program.specs(node)[0].affine.zero_point
    target = Target("pure", 12).accumulator(depthwise=False)
    raw = lanes(node.op, given, zero, target)[..., 0]  # type: ignore[arg-type]
    assert (np.abs(raw) > 2047).any()
    held = (raw + 2048) % 4096 - 2048
    layer, seen = made.layer[first.name], []
    layer.register_forward_hook(lambda module, arguments, y: seen.append(y.detach()))
    with wrapping(made, {first.name: 12}):
        made(x)
    numbers, grid = layer.numbers(made.grids()[first.inputs[0]]), made.grids()[first.inputs[0]]
    offset = node.op.weight.reshape(len(node.op.weight), -1).sum(axis=1).astype(np.int64) * zero  # type: ignore[union-attr]
    total = held - offset + numbers.bias.detach().numpy().astype(np.int64)
    y = made.grids()[first.output]
    factor = (grid.scale * numbers.scale / y.scale).detach().numpy()
    got = seen[0].permute(0, 2, 3, 1).reshape(-1, len(factor)).numpy()
    assert np.allclose(got, total.astype(np.float32) * factor, rtol=1e-6)


def test_the_grid_repeats_nothing_and_holds_every_headline_with_three_seeds() -> None:
    found = grid()
    assert len(found) == len(set(found)) == len({one.key for one in found})
    for bits in accuracy_cells.PRECISIONS:
        for method, accumulator in accuracy_cells.HEADLINE:
            assert {
                one.seed for one in found if (one.bits, one.method, one.accumulator) == (bits, method, accumulator)
            } == {
                0,
                1,
                2,
            }
    assert Cell(4, "a2q", "lanes, runs of 8") not in found


def row(method: str, seed: int, top1: int, **changes: str) -> accuracy.Row:
    values = {
        "precision": "W4A4", "accumulator": "16", "method": method, "seed": str(seed), "top1": str(top1), "of": "1000",
        "sparsity": "0.25", "proved": "20/20", "overflows": "0", "wrapped_top1": str(top1), "most_bits": "16",
        "steps": "10", "float": "900", "seconds": "1",
    }  # fmt: skip
    return tuple({**values, **changes}.items())


def test_the_table_says_mean_spread_and_what_was_not_run(tmp_path: Path) -> None:
    failed = (("precision", "W4A4"), ("accumulator", "14"), ("method", "a2q"), ("seed", "0"), ("failed", "no | room"))
    rows = (
        row("proved", 0, 800),
        row("proved", 1, 810),
        row("oaq", 0, 700, proved="3/20", overflows="5 in 1000", wrapped_top1="650"),
        failed,
    )
    facts = (("steps", "10"),)
    write(Result("accuracy", "the command", stamp(), facts=facts, rows=rows), tmp_path / "accuracy_cifar10.json")
    timed = (("cell", "W4A4-16-proved"), ("ms", "0.125"), ("cost", "1.6004"), ("average_run", "8.0"))
    times = Result("accuracy_times", "the command", stamp(), rows=(timed,))
    place_of(times, tmp_path).mkdir()
    write(times, place_of(times, tmp_path) / "accuracy_cifar10_times.json")
    text = accuracy_table.block("cifar10", tmp_path)
    assert "Float network: 90.00% of 1000 test images. Each cell 10 steps of 128 images." in text
    assert "| W4A4 | 16 | proved | 80.50 ± 0.50 | 2 | 25% | yes | 0 | 80.50 ± 0.50 | 1.600 | 0.125 |" in text
    assert "| W4A4 | 16 | oaq | 70.00 | 1 | 25% | 3 of 20 layers | 5 in 1000 | 65.00 | - | - |" in text
    assert "| W8A8 | 12 | proved | not run |" in text
    assert "| W4A4 | 14 | a2q | refused: no / room |" in text
    assert accuracy_table.block("fashion-mnist", tmp_path) == "Not run.\n"


def test_the_documents_have_the_tables_of_the_files() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in accuracy_table.DOCUMENTS}
    found = [one["data"] for text in texts.values() for one in accuracy_table.MARKED.finditer(text)]
    assert len(found) == len(set(found))
    assert set(found) == {
        *(module.NAME for module in accuracy_table.MODULES),
        *wrapnet_table.NAMES,
        *training_table.TABLES,
        *CAMPAIGNS,
    }
    for name, text in texts.items():
        assert accuracy_table.replaced(text) == text, f"{name}: run python -m benchmarks.accuracy_table"


def test_every_page_has_a_headline_and_a_link_from_the_first_one(tmp_path: Path) -> None:
    first, *pages = accuracy_table.DOCUMENTS
    text = first.read_text(encoding="utf-8")
    assert [page.stem for page in pages if f"](accuracy/{page.stem}.md)" not in text] == []
    assert headline_table.NOT_RUN not in headline_table.block(accuracy_table.RESULTS), (
        "a row or a column has another name"
    )
    assert "**not run**" in headline_table.block(tmp_path)


@pytest.mark.parametrize("name", sorted(CAMPAIGNS))
def test_every_campaign_has_a_network_for_its_images_and_cells_that_can_be_trained(name: str) -> None:
    asked = CAMPAIGNS[name]
    channels, size = (3, 32) if name.startswith("cifar10") else (1, 28)
    assert asked.network().eval()(torch.zeros(2, channels, size, size)).shape == (2, 10)
    found = asked.cells()
    assert len(found) == len({one.key for one in found})
    for one in found:
        assert one.target is None or accuracy_cells.possible(one.method, one.accumulator)
        if one.method in accuracy_cells.TRAINED:
            method, changes = accuracy_cells.TRAINED[one.method]
            Config(method, one.bits, one.bits, one.target or Target("pure", 32), **changes)  # type: ignore[arg-type]


def test_a_table_has_the_cells_of_its_campaign_and_the_baseline_beside_them(tmp_path: Path) -> None:
    write(Result("accuracy", "the command", stamp(), rows=()), tmp_path / "accuracy_cifar10_mobilenet.json")
    rows = accuracy_table.block("cifar10-mobilenet", tmp_path).splitlines()[4:]
    keys = [tuple(cell.strip() for cell in one.split("|")[1:4]) for one in rows]
    eight, sixteen = "lanes, runs of 8", "lanes, runs of 16"
    assert keys == [
        ("W8A8", "32", "none"),
        *(("W8A8", eight, method) for method in ("none", "oaq", "proved", "axe")),
        *(("W8A8", sixteen, method) for method in ("none", "proved")),
    ]
