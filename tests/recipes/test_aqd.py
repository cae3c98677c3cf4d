"""The detector with a shared head: crops with exact boxes, what is learned by, rows that go on, integers that agree."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import oaq
from oaq.errors import FormatError
from recipes.aqd import __main__ as command
from recipes.aqd.garments import SIZES, Garments, trimmed
from recipes.aqd.network import SIDE, STRIDES, Fcos, task_of
from recipes.aqd.rows import ROWS, TEST, Course, Row, Score, score_row
from recipes.aqd.scoring import answers_of
from recipes.aqd.train import LEVELS, Bits, loss_of, train_float
from recipes.checkpoint import is_trained
from recipes.detection import __main__ as detection
from recipes.detection.points import Targets
from recipes.detection.scoring import known_of


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def garments() -> Garments:
    rng = np.random.default_rng(0)
    shapes = [trimmed(np.pad(rng.integers(120, 256, (high, 9)).astype(np.uint8), 3)) for high in (6, 9, 14)]
    places = [rng.integers(0, 60, (SIDE + 9, SIDE + 30, 3)).astype(np.uint8)]
    return Garments(shapes, np.array([0, 4, 9]), places)


def test_crops_depend_on_their_key_only_and_have_the_boxes_of_what_is_on_them(garments: Garments) -> None:
    sides = []
    for number in range(30):
        photo, rows = garments.scene(7, number)
        again, boxes = garments.scene(7, number)
        assert np.array_equal(photo, again) and np.array_equal(rows, boxes)
        assert photo.shape == (SIDE, SIDE, 3) and 1 <= len(rows) <= 4
        assert rows[:, 1:].min() >= 0 and rows[:, 1:].max() <= SIDE and set(rows[:, 0]) <= {0, 4, 9}
        sides += (rows[:, 3:] - rows[:, 1:3]).max(axis=1).tolist()
    assert SIZES[0] - 1 <= min(sides) < 20 and 60 < max(sides) <= SIZES[1] + 1
    assert not np.array_equal(garments.scene(7, 0)[0], garments.scene(8, 0)[0])


def test_every_level_answers_for_some_garments(garments: Garments) -> None:
    _, boxes = garments.batch(16, 3)
    targets = Targets(boxes, LEVELS)
    cells = sum((SIDE // stride) ** 2 for stride in STRIDES)
    assert set(targets.strides[(targets.cells % cells).numpy()]) == set(map(float, STRIDES))


def test_answers_that_are_right_lose_least(garments: Garments) -> None:
    x, boxes = garments.batch(2, 1)
    targets = Targets(boxes, LEVELS)
    outputs = [y.detach() for y in Fcos(levels=True).eval()(x)]
    cells, flat = sum((SIDE // stride) ** 2 for stride in STRIDES), [torch.zeros(2, 0, 4), torch.zeros(2, 0, 10)]
    flat = [torch.cat([y.flatten(2).transpose(1, 2) for y in outputs[part::2]], 1) for part in (0, 1)]
    sample, cell = targets.cells // cells, targets.cells % cells
    at = torch.from_numpy(targets.centres).float()[cell]
    sides = torch.cat([at - targets.boxes[:, :2], targets.boxes[:, 2:] - at], 1)
    flat[0][sample, cell] = sides / torch.from_numpy(targets.strides).float()[cell, None]
    flat[1].zero_()
    flat[1][sample, cell, targets.classes] = 1.0
    right, start = [], 0
    for stride in STRIDES:
        side = SIDE // stride
        right += [part[:, start : start + side**2].transpose(1, 2).unflatten(2, (side, side)) for part in flat]
        start += side**2
    assert float(loss_of(right, targets)) < 1e-3 < float(loss_of(outputs, targets))
    facts = [sample.boxes for sample in garments.samples(2, 1)]
    assert np.array_equal(facts[0], boxes[0][:, 1:])
    answers = answers_of(lambda _: [y.numpy() for y in right], garments.samples(2, 1), "right")
    assert answers.ap50 == pytest.approx(100.0) and answers.ap > 99.0


def test_training_goes_on_from_where_it_stopped(garments: Garments, tmp_path: Path) -> None:
    path, nets = tmp_path / "net.pt", [Fcos(levels=False) for _ in range(3)]
    for net, steps in zip(nets, (1, 2, 2), strict=True):
        assert is_trained(path, steps) == (net is nets[2])
        train_float(net, garments, path, steps=steps, seed=0, batch=2)
        assert not net.training
    first, second, kept = (net.stem.conv.weight for net in nets)
    assert not torch.equal(first, second) and torch.equal(second, kept)  # the last one had nothing left to do
    one = nets[0].heads.box_tower[0].norms  # type: ignore[union-attr]
    assert one[0] is one[2]  # type: ignore[index]


def test_a_row_of_integers_is_what_the_session_computes_and_is_kept(garments: Garments, tmp_path: Path) -> None:
    course = Course(tmp_path, float_steps=1, steps=1, batch=2, images=2)
    samples = garments.samples(2, TEST)
    row = Row(True, Bits(2))
    score = score_row(row, course, garments, samples, 0)
    assert score.outputs == 2 * sum(14 * (SIDE // stride) ** 2 for stride in STRIDES) and score.different == 0
    assert score.layers == 34 and 0 < score.lanes <= 34
    program = oaq.load(tmp_path / "levels-2-0.oaq")
    assert program.requantize == "fixed_point"
    weights = [node.products.weight for node in program.nodes if node.name.startswith("heads.box_tower.0.conv")]
    assert len(weights) == 3 and all(np.array_equal(weights[0], weight) for weight in weights)
    assert set(np.unique(weights[0])) <= {-3, -1, 1, 3}
    kept = json.loads((tmp_path / "levels-2-0.json").read_text())
    kept["score"]["ap"] = 77.0
    (tmp_path / "levels-2-0.json").write_text(json.dumps(kept))
    assert score_row(row, course, garments, samples, 0).ap == 77.0  # not trained again
    with pytest.raises(FormatError, match="holds weights of 1 steps, not 0"):
        score_row(row, Course(tmp_path, 1, 0, 2, 2), garments, samples, 0)


def test_rows_are_called_by_what_they_are() -> None:
    assert [row.name for row in ROWS] == [
        "float-shared", "shared-4", "shared-2", "float-levels", "levels-4", "levels-2", "levels-4-proved",
    ]  # fmt: skip


def test_the_command_says_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert detection.main(["aqd", "--steps", "0"]) == 2
    assert "--steps is at least 1, not 0" in capsys.readouterr().err


def test_the_result_has_a_line_for_every_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, garments: Garments
) -> None:
    monkeypatch.setattr(command, "load", lambda *_: garments)
    monkeypatch.setattr(command, "score_row", lambda row, *_: Score(row.name, 0, 12.34, 56.78))
    arguments = ["--rows", "float-levels", "float-shared", "--images", "1", "--out", str(tmp_path)]
    assert command.main(arguments) == 0
    written = json.loads((tmp_path / "result.json").read_text())
    assert [dict(row)["row"] for row in written["rows"]] == ["float-shared", "float-levels"]
    assert dict(written["rows"][0])["AP50"] == "56.8" and "--rows float-levels float-shared" in written["command"]


def test_boxes_leave_in_cells_and_scores_as_they_are(garments: Garments) -> None:
    task = task_of()
    assert task.decoder.coder == "distances" and task.decoder.activation == "none"
    sample = garments.samples(1, 5)[0]
    assert len(known_of(sample, task, dict(enumerate(range(10)))).objects) == len(sample.boxes)
