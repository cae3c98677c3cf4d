"""Calibration samples as single runs of a file, and as what enters its regions."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from oaq.errors import CalibrationError
from oaq.mixed.program import Port
from oaq.regions.calibrate import region_batches
from oaq.regions.samples import feeds
from oaq.regions.source import open_float, split_file
from tests.regions.test_smooth import uneven

OPEN = (Port("x", "float32", ("n", 3)),)
FIXED = (Port("x", "float32", (2, 3)),)
PAIR = (Port("x", "float32", ("n", 3)), Port("mask", "int64", ("n", None)))


def shapes(inputs: tuple[Port, ...], *samples: Any) -> list[dict[str, tuple[int, ...]]]:
    return [{name: array.shape for name, array in feed.items()} for feed in feeds(inputs, samples)]


def test_samples_are_run_one_by_one_or_as_many_at_a_time_as_the_file_fixes() -> None:
    assert shapes(OPEN, np.ones((3, 3)), np.ones(3)) == [{"x": (1, 3)}] * 4
    assert shapes(FIXED, np.ones((4, 3))) == [{"x": (2, 3)}] * 2
    assert shapes(PAIR, (np.ones((2, 3)), np.ones((2, 5), np.int64))) == [{"x": (1, 3), "mask": (1, 5)}] * 2


def test_first_axes_that_are_no_batch_are_run_as_they_are() -> None:
    weights = (Port("x", "float32", (2, 3)), Port("w", "float32", (5, 3)))
    assert shapes(weights, (np.ones((2, 3)), np.ones((5, 3)))) == [{"x": (2, 3), "w": (5, 3)}]
    assert shapes((Port("x", "float32", (0, 3)),), np.ones((2, 3))) == [{"x": (2, 3)}]


@pytest.mark.parametrize(
    ("inputs", "sample", "words"),
    [
        (FIXED, np.ones((3, 3)), "takes 2 samples at a time, got 3"),
        (PAIR, (np.ones((2, 3)), np.ones((3, 5), np.int64)), "of different numbers of samples"),
        (OPEN, np.full((1, 3), np.nan), "NaN or infinite"),
        (OPEN, np.array([["a", "b", "c"]]), "numbers are expected"),
        (PAIR, np.ones((2, 3)), "is one array; the network takes 2: x, mask"),
    ],
)
def test_what_is_no_sample_is_refused(inputs: tuple[Port, ...], sample: Any, words: str) -> None:
    with pytest.raises(CalibrationError, match=words):
        list(feeds(inputs, [sample]))


class Runner:
    """Gives position t the value t, however many positions a sample has."""

    def __init__(self, name: str, channels: int = 8) -> None:
        self.name, self.channels = name, channels

    def run(self, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        length = feed["x"].shape[1]
        return {self.name: np.broadcast_to(np.arange(length, dtype=np.float32)[:, None], (2, length, self.channels))}


def test_of_longer_and_shorter_samples_evenly_spaced_positions_are_taken() -> None:
    content, samples = uneven()
    split = split_file(open_float(content), {"x": samples[0].shape})
    (entry,) = split.entries
    feed = [{"x": np.ones((2, length, 8), np.float32)} for length in (5, 10, 2)]
    batches = list(region_batches(split, cast(Any, Runner(entry.file)), feed))
    assert [batch[entry.tensor].shape for batch in batches] == [(2, 8, 5)] * 3
    assert [batch[entry.tensor][1, 7].tolist() for batch in batches] == [
        [0, 1, 2, 3, 4], [0, 2, 4, 6, 8], [0, 0, 0, 1, 1],
    ]  # fmt: skip
    with pytest.raises(CalibrationError, match="has the shape \\(2, 5, 6\\), in the first sample it is \\(2, 5, 8\\)"):
        list(region_batches(split, cast(Any, Runner(entry.file, 6)), feed[:1]))
