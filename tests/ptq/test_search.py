"""The search under a budget: what single changes may still take off, and that it ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oaq.ptq.search import FILL_CANDIDATES, STEPS, Candidates, search

FILLS = len(FILL_CANDIDATES)


def candidates(seed: int, readers: int, spread: float, steps: int = len(STEPS), fills: int = FILLS) -> Candidates:
    """Errors that fall with fill by ``spread`` in all, costs that rise with it."""
    rng = np.random.default_rng(seed)
    fall = np.linspace(1.0, 1.0 - spread, fills)
    errors = tuple(rng.uniform(0.1, 1.0) * np.outer(rng.uniform(0.9, 1.0, steps), fall) for _ in range(readers))
    costs = tuple(np.sort(rng.uniform(1.0, 2.0, fills)) for _ in range(readers))
    layers: Any = tuple(SimpleNamespace(node=SimpleNamespace(name=f"{seed} {index}")) for index in range(readers))
    params: Any = tuple(range(steps))
    return Candidates(f"{seed}", params, rng.uniform(0.1, 1.0, steps), layers, errors, costs)


@given(st.integers(0, 10**6), st.integers(1, 6))
def test_a_choice_without_alternative_gains_nothing_however_its_errors_are_added_up(seed: int, readers: int) -> None:
    only, pick = candidates(seed, readers, 0.0, steps=1, fills=1), (0, (0,) * readers)
    assert only.improve(pick, 1.0) == (0.0, pick)


@given(st.integers(0, 10**6), st.sampled_from([0.0, 1e-15, 1e-12, 0.5]), st.floats(0.0, 1.0))
def test_the_search_ends_within_its_budget_where_errors_hardly_differ(seed: int, spread: float, share: float) -> None:
    every = [candidates(seed + index, 1 + index, spread) for index in range(3)]
    least = sum(float(cost[0]) for one in every for cost in one.layer_cost)
    most = sum(float(cost[-1]) for one in every for cost in one.layer_cost)
    budget = least + share * (most - least)
    assert search(every, budget).cost <= budget + 1e-9
