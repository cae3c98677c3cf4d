"""Entries of axes: how many may be picked, and which of a border."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from oaq.capture.from_onnx.graph import OnnxNode
from oaq.capture.from_onnx.inputs import Inputs, TensorType
from oaq.capture.from_onnx.resizing import resizing
from oaq.capture.from_tflite.movement import nearest_entries
from oaq.capture.picking import MOST_PICKED, padded_index, strided_index
from oaq.errors import UnsupportedOp


def resized(target: int) -> object:
    node = OnnxNode("r", "Resize", "", ("x", "", "", "sizes"), ("y",), {"mode": "nearest"})
    sizes = np.array([1, 1, 1, target])
    types = [TensorType(), TensorType(), TensorType(), TensorType()]
    change = resizing(node, Inputs(types, [None, None, None, sizes], 18), (1, 1, 1, 3))
    assert change is not None
    return change.picks()


@pytest.mark.parametrize(
    "pick",
    [
        lambda count: padded_index(1, 0, count - 1, "edge"),
        lambda count: padded_index(count // 2, 0, count - count // 2, "wrap"),
        lambda count: strided_index(0, 2 * count, 2),
        lambda count: strided_index(count, 0, -1),
        lambda count: nearest_entries(3, count, corners=False, half=True),
        resized,
    ],
)
def test_no_more_entries_are_made_than_an_axis_may_have(pick: Callable[[int], object]) -> None:
    with pytest.raises(UnsupportedOp, match=rf"{10**9} entries of one axis are picked; .* {MOST_PICKED}"):
        pick(10**9)


@pytest.mark.parametrize(
    ("mode", "entries"),
    [
        ("reflect", [2, 1, 0, 1, 2, 1]),
        ("symmetric", [1, 0, 0, 1, 2, 2]),
        ("edge", [0, 0, 0, 1, 2, 2]),
        ("wrap", [1, 2, 0, 1, 2, 0]),
    ],
)
def test_a_border_repeats_what_its_mode_says(mode: str, entries: list[int]) -> None:
    index = padded_index(3, 2, 1, mode)
    assert index is not None and index.tolist() == entries


@pytest.mark.parametrize(("mode", "most"), [("reflect", 2), ("symmetric", 3), ("wrap", 3)])
def test_a_border_repeats_what_there_is_and_no_more(mode: str, most: int) -> None:
    assert padded_index(3, most, 0, mode) is not None
    assert padded_index(3, most + 1, 0, mode) is None
    assert padded_index(3, 0, most + 1, mode) is None
