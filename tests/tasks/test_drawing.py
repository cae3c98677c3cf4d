"""Captions on photos: inside, over all frames, and none over another."""

from __future__ import annotations

import numpy as np

from oaq.tasks.drawing import colour, draw_boxes, free_height

RED, BLUE = (200, 0, 0), (0, 0, 200)


def photo() -> np.ndarray:
    return np.full((200, 300, 3), 255, np.uint8)


def filled(picture: np.ndarray, shade: tuple[int, int, int]) -> np.ndarray:
    return (picture == np.array(shade, np.uint8)).all(axis=2)


def test_a_caption_at_the_right_edge_is_whole() -> None:
    middle = filled(draw_boxes(photo(), [(100, 100, 104, 104)], ["a long caption 0.99"], [RED]), RED).sum()
    edge = filled(draw_boxes(photo(), [(295, 100, 299, 104)], ["a long caption 0.99"], [RED]), RED).sum()
    assert abs(int(edge) - int(middle)) < 20


def test_captions_of_two_boxes_of_one_corner_are_both_seen() -> None:
    boxes, texts = [(50.0, 80, 150, 180)] * 2, ["cat 0.40", "dog 0.90"]
    alone = [filled(draw_boxes(photo(), boxes[:1], [text], [RED]), RED)[:100].sum() for text in texts]
    both = draw_boxes(photo(), boxes, texts, [RED, BLUE])
    for shade, area in zip((RED, BLUE), alone, strict=True):
        assert filled(both, shade).sum() > 0.5 * area  # one frame lies over the other


def test_a_caption_that_finds_no_place_below_stays_where_it_belongs() -> None:
    full = [(0.0, float(top), 300.0, 20.0) for top in range(0, 200, 20)]
    assert free_height((10.0, 40.0, 50.0, 20.0), full, 200) == 40.0


def test_nothing_and_boxes_without_area_are_drawn() -> None:
    np.testing.assert_array_equal(draw_boxes(photo(), [], [], []), photo())
    assert draw_boxes(photo(), [(40, 40, 30, 30)], ["x"], [RED]).shape == (200, 300, 3)


def test_classes_of_the_same_hue_differ_in_brightness() -> None:
    assert np.abs(np.subtract(colour(51), colour(85))).max() > 30  # bowl and clock
    assert all(len({colour(index), colour(index + 1)}) == 2 for index in range(200))
