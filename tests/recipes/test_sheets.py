"""Which photos of a stream contact sheets show."""

from __future__ import annotations

from itertools import pairwise

import pytest

from recipes.sheets import EvenChoice


def chosen(count: int, most: int) -> dict[int, str]:
    choice = EvenChoice[str](most)
    for place in range(count):
        choice.offer(f"photo {place}")
    assert len(choice) == count
    return choice.chosen()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 6, 7, 12, 13, 14, 25, 100, 999])
def test_a_few_photos_evenly_spaced_are_shown_however_many_come(count: int) -> None:
    items = chosen(count, 6)
    places = list(items)
    assert len(places) == min(count, 6) and all(items[place] == f"photo {place}" for place in places)
    assert places == sorted(places) and places[:1] == [0][:count]
    if count > 6:
        steps = [b - a for a, b in pairwise(places)]
        assert max(steps) <= 2 * min(steps) and places[-1] >= count // 2


def test_which_are_shown_is_known() -> None:
    assert list(chosen(13, 6)) == [0, 2, 4, 8, 10, 12]
    assert list(chosen(7, 6)) == [0, 1, 2, 4, 5, 6]
