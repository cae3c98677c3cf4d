"""What picks entries of axes, in forms that ONNX Runtime's quantizer does not show, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.capture.from_onnx.files import node
from tests.capture.from_onnx.test_operators import CONV, SHAPE, after_layer, kinds, run

PICKED: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], list[str]]] = {
    "nearest resize by another rule": (
        [node("Resize", ["r", "", "", "sizes"], "f", coordinate_transformation_mode="half_pixel")],
        {"sizes": np.array([2, 6, 9, 5])},
        ["Gather", "Gather"],
    ),
    "nearest resize of channels": (
        [node("Resize", ["r", "", "scales"], "f", coordinate_transformation_mode="align_corners")],
        {"scales": np.array([1, 1.7, 1, 2.3], np.float32)},
        ["Gather", "Gather"],
    ),
    "bilinear resize from first pixels": (
        [node("Resize", ["r", "", "", "sizes"], "f", mode="linear", coordinate_transformation_mode="asymmetric")],
        {"sizes": np.array([2, 6, 12, 14])},
        ["Resize"],
    ),
    "reflected padding": (
        [node("Pad", ["r", "pads"], "f", mode="reflect")],
        {"pads": np.array([0, 0, 1, 2, 0, 0, 3, 0])},
        ["Gather", "Gather"],
    ),
    "padding by the border, channels too": (
        [node("Pad", ["r", "pads"], "f", mode="edge")],
        {"pads": np.array([0, 1, 1, 2, 0, 0, 3, 0])},
        ["Gather"] * 3,
    ),
    "every other row, and columns backwards": (
        [node("Slice", ["r", "begin", "end", "axes", "steps"], "f")],
        {
            "begin": np.array([0, -1, 1]),
            "end": np.array([6, -99, 4]),
            "axes": np.array([2, 3, 1]),
            "steps": np.array([2, -1, 1]),
        },
        ["Slice", "Gather", "Gather"],
    ),
    "a list of channels": ([node("Gather", ["r", "list"], "f", axis=1)], {"list": np.array([2, -1, 0])}, ["Gather"]),
}


@pytest.mark.parametrize("name", PICKED)
def test_entries_are_those_of_the_runtime(name: str, tmp_path: Path) -> None:
    nodes, constants, expected = PICKED[name]
    imported, seen = run(tmp_path, after_layer(*nodes), SHAPE, {**CONV, **constants})
    assert kinds(imported) == ["Conv2d", *expected]
    assert imported.islands == () and seen.most.get("Gather", 0) == 0
