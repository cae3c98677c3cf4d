"""Pictures of nothing: pixels, statistics that fall with frequency, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from oaq.data.pictures import pictures


@pytest.mark.parametrize("shape", [(3, 64, 48), (1, 28, 28), (3, 1, 1)])
def test_they_are_pixels_of_the_shape(shape: tuple[int, int, int]) -> None:
    made = list(pictures(5, shape))
    assert len(made) == 5
    for picture in made:
        assert picture.shape == shape
        assert picture.dtype == np.float32
        assert np.isfinite(picture).all()
        assert picture.min() >= 0.0
        assert picture.max() <= 1.0


def test_each_depends_on_the_seed_and_its_number_only() -> None:
    few, many = list(pictures(3, (3, 16, 16), 7)), list(pictures(5, (3, 16, 16), 7))
    assert all(np.array_equal(one, other) for one, other in zip(few, many[:3], strict=True))
    assert not np.array_equal(few[0], many[2])
    assert not np.array_equal(few[0], next(pictures(1, (3, 16, 16), 8)))


def test_neighbours_are_alike_as_in_photos() -> None:
    for picture in pictures(8, (3, 96, 96)):
        centred = picture - picture.mean(axis=(1, 2), keepdims=True)
        near = float((centred[:, :, 1:] * centred[:, :, :-1]).mean() / (centred**2).mean())
        assert near > 0.6
