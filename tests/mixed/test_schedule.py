"""Steps of two kinds in regions: as few as the graph allows, each run after what it reads."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from oaq.mixed.schedule import FLOAT, INTEGER, Step, regions_of


def chain(kinds: str) -> list[Step]:
    names = {"i": INTEGER, "f": FLOAT}
    return [Step(names[kind], (at,), (at + 1,)) for at, kind in enumerate(kinds)]


@pytest.mark.parametrize(
    ("kinds", "regions"), [("", 0), ("i", 1), ("f", 1), ("iiff", 2), ("ffii", 2), ("ifif", 4), ("ffiiffi", 4)]
)
def test_a_chain_is_cut_where_its_kinds_change(kinds: str, regions: int) -> None:
    assert len(regions_of(chain(kinds))) == regions


def test_branches_of_one_kind_are_one_region() -> None:
    """Both branches of a fork run in the same pair of regions."""
    steps = [
        Step(INTEGER, ("x",), ("a",)),
        Step(FLOAT, ("a",), ("b",)),
        Step(INTEGER, ("a",), ("c",)),
        Step(FLOAT, ("c",), ("d",)),
        Step(INTEGER, ("b", "d"), ("y",)),
    ]
    assert regions_of(steps) == [[0, 2], [1, 3], [4]]


def test_what_needs_constants_alone_stands_beside_what_reads_it() -> None:
    """Weights that are dequantized for a float layer behind the integers do not begin a float region before them."""
    steps = [
        Step(FLOAT, (), ("w",)),
        Step(FLOAT, ("w",), ("turned",)),
        Step(INTEGER, ("x",), ("a",)),
        Step(FLOAT, ("a", "turned"), ("y",)),
    ]
    assert regions_of(steps) == [[2], [0, 1, 3]]


def test_what_needs_constants_alone_and_is_read_by_the_other_kind_comes_first() -> None:
    steps = [Step(FLOAT, (), ("w",)), Step(INTEGER, ("x", "w"), ("y",))]
    assert regions_of(steps) == [[0], [1]]


def test_random_graphs_run_in_order_and_every_step_once() -> None:
    for seed in range(200):
        rng = np.random.default_rng(seed)
        count = int(rng.integers(1, 20))
        steps = []
        for at in range(count):
            reads = tuple(int(source) for source in rng.integers(-2, max(at, -1), int(rng.integers(0, 4))))
            steps.append(Step(rng.choice([INTEGER, FLOAT]), reads, (at,)))
        groups = regions_of(steps)
        assert sorted(itertools.chain(*groups)) == list(range(count)), seed
        finished: set[int] = set()
        for group in groups:
            assert len({steps[index].kind for index in group}) == 1
            for index in group:
                assert {key for key in steps[index].reads if key >= 0} <= finished, seed  # type: ignore[operator]
                finished.add(index)
