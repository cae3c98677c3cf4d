"""Decoding boxes from outputs of every layout, for coders of more than one family."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oaq.data.preprocess import Preprocess
from oaq.data.window import Window
from oaq.errors import FormatError, ProgramError
from oaq.tasks.detect import Detector, Grid, Head, Part, anchors, decode_boxes, detect

SSD = Detector((Head(Part("b"), Part("s"), (Grid(2, 3, ((0.5, 0.25), (0.2, 0.2))),)),), score=0.3)
SIZE = Preprocess((100, 200), fit="stretch")


def logits(*shape: int) -> np.ndarray:
    return np.full(shape, -9.0)


def test_anchors_stand_at_centres_row_by_row_one_per_size():
    centres, sizes, cells = anchors((Grid(2, 3, ((0.5, 0.25), (0.2, 0.2))), Grid(1, 1)))
    assert centres.shape == (13, 2)
    assert centres[:3].tolist() == [[0.25, 1 / 6], [0.25, 1 / 6], [0.25, 0.5]]
    assert sizes[:2].tolist() == [[0.5, 0.25], [0.2, 0.2]] and sizes[12].tolist() == [0, 0]
    assert cells[0].tolist() == [0.5, 1 / 3] and cells[12].tolist() == [1, 1]


def test_a_box_without_offset_is_its_anchor_whatever_axis_the_numbers_are_on():
    scores = logits(2, 3, 2, 4)
    scores[0, 1, 0, 2] = 3.0  # the middle cell of the first row, the first anchor, class 2
    maps = {"b": np.zeros((8, 2, 3)), "s": scores.reshape(2, 3, 8).transpose(2, 0, 1)}
    answer = decode_boxes(SSD, maps)
    assert answer.boxes.tolist() == [[0.375, 0.0, 0.625, 0.5]] and answer.classes.tolist() == [2]
    last = Detector(
        (Head(Part("b", channels_last=True), Part("s", channels_last=True), SSD.heads[0].grids),), score=0.3
    )
    for shape in ((2, 3, 8), (12, 4)):
        rows = {"b": np.zeros(shape), "s": scores.reshape(2, 3, 8) if len(shape) == 3 else scores.reshape(12, 4)}
        assert decode_boxes(last, rows).boxes.tolist() == answer.boxes.tolist()


def test_offsets_move_and_stretch_by_their_scales():
    outputs = {"b": np.zeros((8, 2, 3)), "s": logits(8, 2, 3)}
    outputs["s"][1, 0, 0] = 5.0
    outputs["b"][:4, 0, 0] = 10 * 0.1, 10 * 0.2, 5 * np.log(0.5), 5 * np.log(2)
    (box,) = decode_boxes(SSD, outputs).boxes
    y, x, h, w = 0.25 + 0.1 * 0.5, 1 / 6 + 0.2 * 0.25, 0.25, 0.5
    np.testing.assert_allclose(box, np.clip([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 0, 1))


def test_distances_are_counted_in_cells_and_as_means_of_bins():
    points = (Grid(2, 2), Grid(1, 1))
    plain = Detector(
        (Head(Part("b"), Part("s"), points),), "distances", background=-1, score=0.3, activation="none", overlap=1.0
    )
    outputs = {"b": np.zeros((4, 5)), "s": np.zeros((3, 5))}
    outputs["b"][:, 3] = 0.5, 0.25, 0.5, 0.25
    outputs["s"][0, 3] = 0.8
    assert decode_boxes(plain, outputs).boxes.tolist() == [[0.5, 0.625, 1.0, 0.875]]
    bins = Detector(
        (Head(Part("y", 0, 12), Part("y", 12), points),), "distances", bins=3, background=-1, score=0.3, overlap=1.0
    )
    y = np.full((15, 5), -9.0)
    y[1:12:3, 3] = 40.0  # every distance is surely 1 cell
    y[12, 3] = 9.0
    np.testing.assert_allclose(decode_boxes(bins, {"y": y}).boxes, [[0.25, 0.25, 1.0, 1.0]])


def test_softmax_scores_leave_the_background_out():
    decoder = Detector((Head(Part("b"), Part("s"), (Grid(1, 1, ((0.5, 0.5),)),)),), activation="softmax", score=0.3)
    answer = decode_boxes(decoder, {"b": np.zeros((4, 1, 1)), "s": np.array([9.0, 0.0, 0.0]).reshape(3, 1, 1)})
    assert len(answer) == 0
    answer = decode_boxes(decoder, {"b": np.zeros((4, 1, 1)), "s": np.array([0.0, 9.0, 0.0]).reshape(3, 1, 1)})
    assert answer.classes.tolist() == [1] and answer.scores[0] > 0.99


def test_offsets_of_any_size_make_boxes_of_the_photo():
    outputs = {"b": np.full((8, 2, 3), 1e6), "s": np.full((8, 2, 3), 1e6)}
    answer = decode_boxes(SSD, outputs)
    assert np.isfinite(answer.boxes).all() and answer.boxes.min() >= 0 and answer.boxes.max() <= 1


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({"b": np.zeros((8, 2, 3)), "t": np.zeros(1)}, "the task reads the output 's'; the network has 'b', 't'"),
        ({"b": np.zeros((8, 2, 2)), "s": np.zeros((8, 2, 3))}, "'b' holds 32 numbers of shape .*, which 12 anchors"),
        ({"b": np.zeros((6, 2, 3)), "s": np.zeros((8, 2, 3))}, "'b' holds 3 numbers per box; .* reads 4"),
    ],
)
def test_outputs_that_do_not_hold_what_is_read_are_named(outputs, words):
    with pytest.raises(ProgramError, match=words):
        decode_boxes(SSD, outputs)


def test_entries_are_cocos_in_pixels_of_the_photo():
    task = detect(SIZE, ("background", "dog", "cat"), SSD)
    outputs = {"b": np.zeros((8, 2, 3)), "s": logits(8, 2, 3)}
    outputs["s"][2, 0, 1] = 3.0
    (entry,) = task.entries(task.decode(outputs), Window(0, 0, 400, 200), (200, 400))
    assert entry == {"category_id": 17, "label": "cat", "bbox": [150.0, 0.0, 100.0, 100.0], "score": 0.95257}
    named = detect(SIZE, ("background", "gnu", "cat"), SSD)
    assert named.entries(named.decode(outputs), Window(0, 0, 400, 200), (200, 400))[0]["category_id"] == 2


def test_a_picture_has_its_frames_where_the_boxes_are():
    task = detect(SIZE, (), SSD)
    outputs = {"b": np.zeros((8, 2, 3)), "s": logits(8, 2, 3)}
    outputs["s"][2, 1, 1] = 3.0
    photo = np.zeros((200, 400, 3), np.uint8)
    drawn = task.draw(photo, task.decode(outputs), Window(0, 0, 400, 200))
    assert drawn.shape == photo.shape and not photo.any()
    assert drawn[150, 150].any() and drawn[150, 250].any() and not drawn[150, 200].any()


def test_agreement_takes_the_float_networks_sure_boxes_for_the_truth():
    task = detect(SIZE, (), SSD)
    outputs = {"b": np.zeros((8, 2, 3)), "s": logits(8, 2, 3)}
    outputs["s"][2, 0, 1], outputs["s"][3, 1, 2] = 3.0, -0.7
    same = [task.decode(outputs)]
    assert [metric.agreement(same, same) for metric in task.metrics] == [1.0, 1.0]
    assert task.metrics[0].agreement(same, [task.decode(outputs | {"s": logits(8, 2, 3)})]) == 0.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Grid(0, 3), "a grid has cells"),
        (lambda: Detector(()), "a detector has heads"),
        (lambda: Detector(SSD.heads, score=1.5), r"lie in 0\.\.1"),
    ],
)
def test_descriptions_that_mean_nothing_are_refused(make, words):
    with pytest.raises(FormatError, match=words):
        make()


@pytest.mark.parametrize("coder", ["center_size", "distances"])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "none"])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.filterwarnings("error")
def test_boxes_and_scores_that_are_no_numbers_are_left_out_and_infinite_ones_are_finite(
    coder: Any, activation: Any, number: float
) -> None:
    decoder = Detector((Head(Part("b"), Part("s"), (Grid(1, 2, ((0.0, 0.5),)),)),), coder, activation=activation)
    boxes, scores = np.zeros((4, 1, 2), np.float32), np.ones((2, 1, 2), np.float32)
    boxes[1, 0, 0] = number
    whole = decode_boxes(decoder, {"b": boxes, "s": scores})
    assert np.isfinite(whole.boxes).all()
    assert len(whole) == (1 if np.isnan(number) else 2)
    scores[:, 0, 0] = number
    assert np.isfinite(decode_boxes(decoder, {"b": boxes, "s": scores}).scores).all()


@pytest.mark.parametrize("shape", [(), (0,), (4, 0, 0)])
def test_outputs_without_numbers_or_axes_are_refused(shape: tuple[int, ...]) -> None:
    decoder = Detector((Head(Part("b"), Part("s"), (Grid(1 << 30, 1 << 30),)),))
    with pytest.raises(ProgramError, match="detect: "):
        decode_boxes(decoder, {"b": np.zeros(shape), "s": np.zeros(shape)})
    with pytest.raises(ProgramError, match="the network has "):
        decode_boxes(decoder, {})
