from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from oaq.errors import ConfigError
from oaq.tune import solve as solvers
from oaq.tune.problem import Group, Limits, Reader, Solution
from oaq.tune.solve import solve, undominated

HAWQ = json.loads(Path(__file__).with_name("hawq.json").read_text())


def _hawq(resource: str) -> tuple[list[Group], float, float]:
    """Layers that choose 8 or 4 bits; shortcuts share the bits of the layer beside them."""
    numbers = {key: np.array(HAWQ[key], np.float64) for key in HAWQ if isinstance(HAWQ[key], list)}
    loss = numbers["trace"] * (numbers["error_4"] - numbers["error_8"])
    low, high = {
        "size": (numbers["parameters"] * 0.5, numbers["parameters"]),
        "products": (numbers["products"] / 64, numbers["products"] / 16),
        "latency": (numbers["latency_4"], numbers["latency_8"]),
    }[resource]
    ties = {int(layer): other for layer, other in HAWQ["ties"].items()}
    groups = []
    for layer in range(len(loss)):
        if layer in ties:
            continue
        members = [layer, *(other for other, main in ties.items() if main == layer)]
        readers = [Reader(str(m), np.array([[0.0], [loss[m]]]), np.array([[[high[m]], [low[m]]]])) for m in members]
        groups.append(Group(str(layer), np.zeros(2), tuple(readers)))
    return groups, float(low.sum()), float(high.sum())


def _bits(groups: list[Group], solution: Solution) -> str:
    bits = {}
    for group, (step, _) in zip(groups, solution.picks, strict=True):
        bits |= {int(reader.name): "84"[step] for reader in group.readers}
    return "".join(bits[layer] for layer in sorted(bits))


PUBLISHED = [
    ("size", 0.75, "8888888888888488884", 0.02918),
    ("products", 0.5, "8884888848884444444", 0.21143),
    ("latency", 0.5, "8888848848884484844", 0.19842),
]


@pytest.mark.parametrize("method", ["grid", "solver"])
@pytest.mark.parametrize(("resource", "part", "bits", "loss"), PUBLISHED)
def test_the_public_measurements_of_hawq_give_their_bits(
    resource: str, part: float, bits: str, loss: float, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if method == "grid":
        monkeypatch.setattr(solvers, "has_solver", lambda: False)
    groups, low, high = _hawq(resource)
    solution = solve(groups, Limits((low + (high - low) * part,)))
    assert solution is not None
    assert _bits(groups, solution) == bits
    assert solution.error == pytest.approx(loss, abs=1e-5)


def _drawn(rng: np.random.Generator, resources: int = 1) -> list[Group]:
    groups = []
    for place in range(3):
        steps, fills = int(rng.integers(1, 4)), int(rng.integers(1, 4))
        readers = tuple(
            Reader(
                f"{place}.{which}", rng.uniform(0, 1, (steps, fills)), rng.uniform(0.1, 1, (resources, steps, fills))
            )
            for which in range(int(rng.integers(0, 3)))
        )
        groups.append(Group(str(place), rng.uniform(0, 1, steps), readers))
    return groups


def _every(groups: list[Group]) -> list[tuple[float, np.ndarray]]:
    """Error and costs of every choice there is."""
    choices = []
    for group in groups:
        own = []
        for step in range(len(group.error)):
            for fills in itertools.product(*(range(reader.error.shape[1]) for reader in group.readers)):
                own.append((group.pick_error((step, fills)), group.pick_cost((step, fills))))
        choices.append(own)
    return [(sum(e for e, _ in picks), sum(c for _, c in picks)) for picks in itertools.product(*choices)]


@pytest.mark.parametrize("seed", range(20))
def test_no_choice_inside_the_budgets_is_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = _drawn(rng, 2)
    every = _every(groups)
    budget = np.quantile(np.array([np.broadcast_to(cost, 2) for _, cost in every]), 0.6, axis=0) + 1e-3
    inside = [error for error, cost in every if np.all(np.broadcast_to(cost, 2) <= budget)]
    solution = solve(groups, Limits(tuple(budget)))
    if solution is None:
        # Costs are rounded up: a choice that only just fits may be passed over, one well inside may not.
        assert not any(np.all(np.broadcast_to(cost, 2) <= budget * (1 - 1e-5)) for _, cost in every)
        return
    assert solution.error <= min(
        (error for error, cost in every if np.all(np.broadcast_to(cost, 2) <= budget * (1 - 1e-5))), default=np.inf
    ) * (1 + 1e-5)
    assert solution.error >= min(inside) - 1e-12
    assert np.all(solution.costs <= budget)
    assert solution.bound <= solution.error + 1e-12


@pytest.mark.parametrize("seed", range(20))
def test_without_a_solver_the_grid_is_as_good_and_its_bound_holds(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solvers, "has_solver", lambda: False)
    groups = _drawn(np.random.default_rng(seed))
    every = _every(groups)
    budget = float(np.quantile([float(cost.sum()) for _, cost in every], 0.5)) + 1e-3
    solution = solve(groups, Limits((budget,)))
    well_inside = [error for error, cost in every if float(cost.sum()) <= budget * (1 - 1e-3)]
    if solution is None:
        assert not well_inside
        return
    assert solution.error <= min(well_inside, default=np.inf) + 1e-12
    assert float(solution.costs[0]) <= budget
    assert solution.bound <= min(error for error, cost in every if float(cost.sum()) <= budget) + 1e-9


def test_runners_up_differ_from_what_is_avoided() -> None:
    groups = [Group(str(place), np.array([0.0, 1.0, 2.0])) for place in range(5)]
    first = solve(groups, Limits((None,)))
    assert first is not None
    second = solve(groups, Limits((None,)), [first], 3)
    assert second is not None
    assert sum(a[0] != b[0] for a, b in zip(first.picks, second.picks, strict=True)) >= 3


def test_a_limit_of_noise_minimises_a_resource() -> None:
    reader = Reader("layer", np.array([[0.0, 1.0, 3.0]]), np.array([[[9.0, 4.0, 1.0]]]))
    solution = solve([Group("x", np.zeros(1), (reader,))], Limits((None,), error=2.0))
    assert solution is not None
    assert solution.costs.tolist() == [4.0]


def test_what_needs_a_solver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solvers, "has_solver", lambda: False)
    with pytest.raises(ConfigError, match="pip install scipy"):
        solve([Group("x", np.zeros(1))], Limits((1.0, 1.0)))


def test_what_another_choice_beats_in_everything_is_left_out() -> None:
    assert undominated(np.array([3.0, 2.0, 1.0, 2.0]), np.array([[1.0, 1.0, 5.0, 2.0]])).tolist() == [1, 2]


@pytest.mark.parametrize("limits", [{"costs": (0.0,)}, {"costs": (1.0,), "error": -1.0}])
def test_limits_that_mean_nothing_are_refused(limits: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="positive"):
        Limits(**limits)  # type: ignore[arg-type]
