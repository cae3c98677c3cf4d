"""Detectors of the recipe: the YOLO-shaped network, its training, and the task that its outputs have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from oaq.errors import FormatError
from oaq.tasks import load_task
from recipes.checkpoint import is_trained
from recipes.detection import ssd, train, yolo
from recipes.detection.composited import CutOut
from recipes.detection.networks import class_indices, load_yolo, outputs_of, renamed
from recipes.detection.points import CENTRAL, Targets, giou
from recipes.integers import task_json

BOX = np.array([[3.0, 40, 60, 140, 200]])


def cut_out() -> CutOut:
    return CutOut("square", 16, np.full((40, 30, 4), 255, np.uint8))  # a bird to COCO


@pytest.fixture
def scenes(tmp_path: Path) -> train.Scenes:
    Image.new("RGB", (640, 480), (0, 0, 90)).save(tmp_path / "b.png")
    return train.Scenes([cut_out()], [tmp_path / "b.png"], seed=0)


def test_yolo_has_six_maps_that_its_task_decodes() -> None:
    net, task = yolo.load()
    with torch.inference_mode():
        outputs = net(torch.zeros(1, 3, 64, 96))
    assert [tuple(y.shape[1:]) for y in outputs[:2]] == [(64, 8, 12), (len(yolo.LABELS), 8, 12)]
    assert [y.shape[2] for y in outputs[::2]] == [8, 4, 2]
    sides = [grid.rows for head in task.decoder.heads for grid in head.grids]
    assert sides == [80, 40, 20]
    maps = [np.zeros((count, side, side), np.float32) for side in sides for count in (64, len(yolo.LABELS))]
    maps[1][2, 40, 40] = 9.0
    maps[0][7:64:16, 40, 40] = 50.0
    answer = task.decode(dict(zip(outputs_of(task), maps, strict=True))).above(0.9)
    assert answer.classes.tolist() == [2]
    np.testing.assert_allclose(answer.boxes[0] * 640, [324 - 56, 324 - 56, 324 + 56, 324 + 56], atol=1e-3)


def test_random_weights_are_the_same_every_time_and_leave_the_generator_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first, second = (yolo.load()[0].stem.conv.weight for _ in range(2))
    assert torch.equal(first, second) and torch.equal(torch.rand(1), expected)


def test_a_task_goes_to_a_file_and_back_with_other_names_of_outputs(tmp_path: Path) -> None:
    task = renamed(yolo.load()[1], [f"y{number}" for number in range(6)])
    (tmp_path / "yolo.task.json").write_text(task_json(task))
    again = load_task(tmp_path / "yolo.task.json")
    assert again.decoder == task.decoder and again.preprocess == task.preprocess and again.labels == task.labels
    assert outputs_of(again) == ("y0", "y1", "y2", "y3", "y4", "y5")


def test_classes_are_found_by_their_coco_category() -> None:
    indices = class_indices(yolo.load()[1])
    assert indices[16] == yolo.LABELS.index("bird") and len(indices) == len(yolo.LABELS)
    levels = [ssd.Grid(1, 1)] * 6
    assert all(number == index for number, index in class_indices(ssd.task_of(levels)).items())


def test_composited_crops_have_the_boxes_of_what_is_on_them(scenes: train.Scenes) -> None:
    x, boxes = scenes.batch(4)
    assert x.shape == (4, 3, train.CROP, train.CROP) and x.min() >= 0 and x.max() <= 1
    for rows in boxes:
        assert 1 <= len(rows) <= 3 and (rows[:, 0] == yolo.LABELS.index("bird")).all()
        assert rows[:, 1:].min() >= 0 and rows[:, 1:].max() <= train.CROP


def test_cells_near_the_middle_of_one_level_answer_for_a_box() -> None:
    targets = Targets([BOX, BOX[:0]], train.LEVELS)
    assert len(targets.cells) == len(targets.classes) and set(targets.classes.tolist()) == {3}
    assert int(targets.cells.max()) < len(targets.centres)
    at = targets.cells.numpy()
    assert len(set(targets.strides[at].tolist())) == 1
    middle = np.array([90.0, 130.0])
    assert (np.abs(targets.centres[at] - middle) <= CENTRAL * targets.strides[at][:, None]).all()


def test_overlap_of_a_box_with_itself_is_one_and_of_distant_ones_below_zero() -> None:
    a = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10]])
    b = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    same, apart = giou(a, b).tolist()
    assert same == pytest.approx(1.0) and apart < -0.5


def test_a_photo_without_an_object_has_a_loss_without_nan() -> None:
    outputs = [torch.zeros(1, count, side, side) for side in (40, 20, 10) for count in (64, len(yolo.LABELS))]
    assert torch.isfinite(train.loss_of(outputs, Targets([BOX], train.LEVELS)))
    assert torch.isfinite(train.loss_of(outputs, Targets([BOX[:0]], train.LEVELS)))


def test_training_goes_on_from_where_it_stopped_and_is_then_not_repeated(scenes: train.Scenes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    for steps in (1, 2):
        train.train(yolo.load()[0].train(), scenes, path, steps=steps, batch=1)
        assert is_trained(path, steps) and not is_trained(path, steps + 1)
    net, _ = load_yolo(None, tmp_path, 2)
    assert not torch.equal(net.state_dict()["stem.conv.weight"], yolo.load()[0].stem.conv.weight)
    path.with_suffix(".state.pt").write_bytes(b"damaged")
    with pytest.raises(FormatError, match="Delete it to begin anew"):
        is_trained(path, 2)
