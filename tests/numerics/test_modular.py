"""Tables of residues: what they hold, what they give, and their exact image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from oaq.numerics.formats import U8
from oaq.numerics.modular import Modular, wrapped
from oaq.numerics.ranges import ChannelRanges


def test_every_sum_gives_the_entry_of_its_residue() -> None:
    table = np.arange(2 * 16, dtype=np.uint8).reshape(2, 16)
    sums = np.array([[-(2**40) - 1, 2**40 + 5], [-16, 31], [15, 0]], np.int64)
    assert Modular(table).apply(sums, 0, U8).tolist() == [[15, 21], [0, 31], [15, 16]]
    assert Modular(table[:1]).apply(sums, 0, U8).tolist() == [[15, 5], [0, 15], [15, 0]]


@pytest.mark.parametrize("bits", [2, 3, 5])
@pytest.mark.parametrize("shared", [False, True])
def test_the_image_is_that_of_the_residues_and_nothing_more(bits: int, shared: bool) -> None:
    rng = np.random.default_rng(bits)
    entries = 1 << bits
    modular = Modular(rng.integers(0, 256, (1 if shared else 3, entries)).astype(np.uint8))
    for low in range(-2 * entries, 2 * entries):
        for length in range(1, entries + 3):
            high = low + length - 1
            ends = ChannelRanges(np.full(3, low), np.full(3, high))
            reached = modular.apply(np.arange(low, high + 1)[:, None].repeat(3, axis=1), 0, U8)
            image = modular.image(ends, 0, U8)
            assert image.lo.tolist() == reached.min(axis=0).tolist()
            assert image.hi.tolist() == reached.max(axis=0).tolist()


def test_an_image_of_ends_far_apart_takes_no_longer_than_the_table() -> None:
    modular = Modular(np.array([[7, 3, 9, 200]], np.uint8))
    image = modular.image(ChannelRanges(np.array([-(2**61)]), np.array([2**61])), 0, U8)
    assert (image.lo.tolist(), image.hi.tolist()) == ([3], [200])


def test_an_image_of_few_sums_far_from_zero_takes_no_longer_than_the_table() -> None:
    modular = Modular(np.array([[7, 3, 9, 200]], np.uint8))
    lo = np.array([-(2**61), 2**61 + 2])
    image = modular.image(ChannelRanges(lo, lo + 1), 0, U8)
    assert (image.lo.tolist(), image.hi.tolist()) == ([3, 9], [7, 200])


@pytest.mark.parametrize(
    ("table", "error"),
    [
        (lambda: np.zeros((1, 2), np.uint8), ValueError),
        (lambda: np.zeros((1, 1 << 17), np.uint8), ValueError),
        (lambda: np.zeros((1, 12), np.uint8), ValueError),
        (lambda: np.zeros((0, 16), np.uint8), ValueError),
        (lambda: np.zeros((1, 0), np.uint8), ValueError),
        (lambda: np.zeros(16, np.uint8), TypeError),
        (lambda: np.zeros((1, 16), np.int8), TypeError),
    ],
)
def test_other_tables_are_refused(table: Callable[[], np.ndarray], error: type[Exception]) -> None:
    with pytest.raises(error, match="table of residues"):
        Modular(table())


def test_a_table_is_a_copy_that_stays_as_it_is() -> None:
    source = np.zeros((1, 4), np.uint8)
    modular = Modular(source)
    source[0, 0] = 9
    assert modular.table[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        modular.table[0, 0] = 1


def test_a_register_holds_the_member_of_its_range_with_the_same_residue() -> None:
    values = np.arange(-1000, 1000, dtype=np.int64)
    residues = wrapped(values, 5)
    assert residues.min() == -16 and residues.max() == 15
    assert np.all((residues - values) % 32 == 0)
