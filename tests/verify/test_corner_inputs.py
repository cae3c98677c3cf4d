"""The corners of a program's inputs."""

from __future__ import annotations

import numpy as np

from oaq import operators as ops
from oaq.numerics.ranges import IntRange
from oaq.verify.inputs import corner_inputs
from tests.strategies import Builder


def test_corners_hold_both_ends_everywhere() -> None:
    builder = Builder()
    builder.add(ops.Reshape((18,)), [builder.input((3, 3, 2), reach=IntRange(5, 250))])
    (corners,) = corner_inputs(builder.finish())
    assert set(np.unique(corners)) == {5, 250}
    assert (corners[0] == 5).all()
    assert (corners[1] == 250).all()
    np.testing.assert_array_equal(corners[2].astype(int) + corners[3], np.full((3, 3, 2), 255))
