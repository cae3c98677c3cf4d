"""Integer linear programs over step counts and fills.

With SciPy (``oaq[solve]``) HiGHS solves them for any number of resources. Without it one resource is solved by dynamic
programming over a grid of costs, and the gap to the Lagrangian bound is reported. Both are deterministic: no limit of
time, costs rounded up to whole parts of their limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ConfigError
from oaq.tune.problem import Group, Limits, Pick, Reals, Solution, solution_of

PARTS: Final = 1_000_000
"""Costs are rounded up to this part of their limit."""
GRID: Final = 20_000
"""Cells of the dynamic program's budget."""
RELATIVE_GAP: Final = 1e-6
NODES: Final = 200_000
"""Branch and bound nodes after which HiGHS stops; a limit of time would make results depend on the machine."""
BISECTIONS: Final = 60


def has_solver() -> bool:
    """Whether SciPy is installed."""
    try:
        import scipy.optimize  # noqa: F401
    except ImportError:
        return False
    return True


def solve(
    groups: Sequence[Group], limits: Limits, avoid: Sequence[Solution] = (), distance: int = 3
) -> Solution | None:
    """The best choice inside ``limits``.

    Args:
        groups: to choose for.
        limits: budgets of every resource, and whether error or a resource is minimised.
        avoid: earlier solutions; the step counts of at least ``distance`` groups differ from each of them.
        distance: see ``avoid``.

    Returns:
        None if no choice keeps the limits.

    Raises:
        ConfigError: several limits at once, or solutions to avoid, without SciPy.
    """
    if has_solver():
        return _by_highs(groups, limits, avoid, distance)
    bound_resources = [index for index, cost in enumerate(limits.costs) if cost is not None]
    if avoid or limits.error is not None or len(bound_resources) > 1:
        raise ConfigError("several budgets, a limit of noise or runners-up need a solver: pip install scipy")
    return _by_grid(groups, bound_resources, limits)


def _by_highs(groups: Sequence[Group], limits: Limits, avoid: Sequence[Solution], distance: int) -> Solution | None:
    from scipy.optimize import Bounds, LinearConstraint, milp

    table = _Table(groups, len(limits.costs))
    objective = table.error if limits.error is None else table.costs[limits.minimise]
    rows, lower, upper = table.structure()
    for cost, most in zip(table.costs, limits.costs, strict=True):
        if most is not None:
            rows.append(np.ceil(cost / most * PARTS - 1e-6))
            lower.append(-np.inf)
            upper.append(float(PARTS))
    if limits.error is not None:
        rows.append(table.error / limits.error)
        lower.append(-np.inf)
        upper.append(1.0)
    for solution in avoid:
        rows.append(table.steps_row(solution))
        lower.append(-np.inf)
        upper.append(float(len(groups) - distance))
    scale = float(np.abs(objective).max()) or 1.0
    ends: Any = (np.array(lower), np.array(upper))  # SciPy's types know a single number only
    answer = milp(
        objective / scale,
        constraints=LinearConstraint(_sparse(rows), *ends),
        integrality=np.ones(len(objective)),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": RELATIVE_GAP, "node_limit": NODES},
    )
    if answer.x is None:
        return None
    bound = float(answer.mip_dual_bound if answer.mip_dual_bound is not None else answer.fun) * scale
    return solution_of(groups, table.picks(answer.x), None if limits.error is None else limits.minimise, bound)


def _sparse(rows: list[Reals]) -> Any:  # noqa: ANN401 (SciPy is optional, its types are not there to be named)
    from scipy.sparse import csr_matrix

    return csr_matrix(np.array(rows))


class _Table:
    """Columns of the program: one per (group, steps), then one per (reader, steps, fill) that may be optimal."""

    def __init__(self, groups: Sequence[Group], resources: int) -> None:
        self._groups = groups
        self._steps: list[tuple[int, int]] = []
        self._fills: list[tuple[int, int, int, int]] = []
        error: list[float] = []
        for place, group in enumerate(groups):
            self._steps += [(place, step) for step in range(len(group.error))]
            error += list(map(float, group.error))
        for place, group in enumerate(groups):
            for reader_index, reader in enumerate(group.readers):
                for step in range(reader.error.shape[0]):
                    for fill in undominated(reader.error[step], reader.cost[:, step]):
                        self._fills.append((place, reader_index, step, int(fill)))
                        error.append(float(reader.error[step, fill]))
        self.error = np.array(error)
        self.costs = np.zeros((resources, len(error)))
        for column, (place, reader_index, step, fill) in enumerate(self._fills, len(self._steps)):
            self.costs[:, column] = groups[place].readers[reader_index].cost[:, step, fill]

    def structure(self) -> tuple[list[Reals], list[float], list[float]]:
        """One step count per group; one fill per reader, of the step count that its group has."""
        rows: list[Reals] = []
        ends: list[float] = []
        column_of = {key: column for column, key in enumerate(self._steps)}
        for place in range(len(self._groups)):
            row = np.zeros(len(self.error))
            row[[column_of[key] for key in self._steps if key[0] == place]] = 1.0
            rows.append(row)
            ends.append(1.0)
        by_step: dict[tuple[int, int, int], list[int]] = {}
        for column, (place, reader_index, step, _) in enumerate(self._fills, len(self._steps)):
            by_step.setdefault((place, reader_index, step), []).append(column)
        for (place, _, step), columns in by_step.items():
            row = np.zeros(len(self.error))
            row[columns] = 1.0
            row[column_of[place, step]] = -1.0
            rows.append(row)
            ends.append(0.0)
        return rows, list(ends), list(ends)

    def steps_row(self, solution: Solution) -> Reals:
        """Count of the groups that have the step counts of ``solution``."""
        row = np.zeros(len(self.error))
        for column, (place, step) in enumerate(self._steps):
            row[column] = float(solution.picks[place][0] == step)
        return row

    def picks(self, values: Reals) -> list[Pick]:
        """The choice that a 0/1 vector stands for."""
        steps = [0] * len(self._groups)
        fills = [[0] * len(group.readers) for group in self._groups]
        for (place, step), value in zip(self._steps, values, strict=False):
            if value > 0.5:
                steps[place] = step
        for (place, reader_index, _, fill), value in zip(self._fills, values[len(self._steps) :], strict=True):
            if value > 0.5:
                fills[place][reader_index] = fill
        return [(step, tuple(reader_fills)) for step, reader_fills in zip(steps, fills, strict=True)]


def undominated(error: Reals, cost: Reals) -> NDArray[np.intp]:
    """Indices of (Z,) errors and (R, Z) costs that no other index beats in everything; of equals, the first."""
    order = np.lexsort((np.arange(len(error)), cost.sum(axis=0), error))
    front: list[int] = []
    for index in order:
        if not any(np.all(cost[:, member] <= cost[:, index]) for member in front):
            front.append(int(index))
    return np.array(sorted(front), np.intp)


def _by_grid(groups: Sequence[Group], bound_resources: Sequence[int], limits: Limits) -> Solution | None:
    if not bound_resources:
        picks = [_cheapest(group, 0.0, None) for group in groups]
        return solution_of(groups, picks, None, sum(g.pick_error(p) for g, p in zip(groups, picks, strict=True)))
    resource = bound_resources[0]
    most = limits.costs[resource]
    assert most is not None  # chosen by being given
    options = [_options(group, resource) for group in groups]
    picks = _knapsack([(error, np.ceil(cost / most * GRID - 1e-9).astype(np.int64)) for error, cost, _ in options])
    if picks is None:
        return None
    best_picks = [group_picks[index] for (_, _, group_picks), index in zip(options, picks, strict=True)]
    return solution_of(groups, best_picks, None, _lagrangian_bound(groups, resource, most))


def _options(group: Group, resource: int) -> tuple[Reals, Reals, list[Pick]]:
    """Errors, costs and picks of a group that may be optimal for some budget of one resource."""
    errors: list[float] = []
    costs: list[float] = []
    picks: list[Pick] = []
    for step in range(len(group.error)):
        partial: list[tuple[float, float, tuple[int, ...]]] = [(float(group.error[step]), 0.0, ())]
        for reader in group.readers:
            useful = undominated(reader.error[step], reader.cost[resource : resource + 1, step])
            partial = _front(
                [
                    (
                        error + float(reader.error[step, fill]),
                        cost + float(reader.cost[resource, step, fill]),
                        (*fills, int(fill)),
                    )
                    for error, cost, fills in partial
                    for fill in useful
                ]
            )
        for error, cost, fills in partial:
            errors.append(error)
            costs.append(cost)
            picks.append((step, fills))
    front = undominated(np.array(errors), np.array(costs)[None])
    return np.array(errors)[front], np.array(costs)[front], [picks[index] for index in front]


def _front(points: list[tuple[float, float, tuple[int, ...]]]) -> list[tuple[float, float, tuple[int, ...]]]:
    """The points of which none is worse in error and cost than another."""
    best: list[tuple[float, float, tuple[int, ...]]] = []
    for point in sorted(points, key=lambda point: (point[1], point[0])):
        if not best or point[0] < best[-1][0]:
            best.append(point)
    return best


def _knapsack(options: Sequence[tuple[Reals, NDArray[np.int64]]]) -> list[int] | None:
    """One option of each group, least error within ``GRID`` cells; None if even the cheapest do not fit."""
    best = np.zeros(GRID + 1)
    decisions: list[NDArray[np.int32]] = []
    for error, cost in options:
        after = np.full(GRID + 1, np.inf)
        decision = np.full(GRID + 1, -1, np.int32)
        for index, (own_error, own_cost) in enumerate(zip(error, cost, strict=True)):
            if own_cost > GRID:
                continue
            candidate = np.full(GRID + 1, np.inf)
            candidate[own_cost:] = best[: GRID + 1 - own_cost] + own_error
            better = candidate < after
            after[better], decision[better] = candidate[better], index
        best = after
        decisions.append(decision)
    if not np.isfinite(best[GRID]):
        return None
    cell, picks = GRID, []
    for decision, (_, cost) in zip(reversed(decisions), reversed(options), strict=True):
        picks.append(int(decision[cell]))
        cell -= int(cost[picks[-1]])
    return picks[::-1]


def _cheapest(group: Group, price: float, resource: int | None) -> Pick:
    """Least error + price * cost of one group."""
    total, fills = group.error.astype(np.float64).copy(), []
    for reader in group.readers:
        weighted = reader.error + (0.0 if resource is None else price * reader.cost[resource])
        fills.append(weighted.argmin(axis=1))
        total = total + weighted.min(axis=1)
    step = int(total.argmin())
    return step, tuple(int(fill[step]) for fill in fills)


def _lagrangian_bound(groups: Sequence[Group], resource: int, most: float) -> float:
    """The best lower bound that a price per unit of cost gives."""

    def bound(price: float) -> float:
        picks = [_cheapest(group, price, resource) for group in groups]
        error = sum(group.pick_error(pick) for group, pick in zip(groups, picks, strict=True))
        cost = sum(
            float(group.pick_cost(pick)[resource]) for group, pick in zip(groups, picks, strict=True) if group.readers
        )
        return error + price * (cost - most)

    scale = max(sum(float(group.error.max()) for group in groups), 1e-12) / most
    prices = [0.0, *(scale * 2.0**power for power in np.linspace(-40, 40, 4 * BISECTIONS + 1))]
    return max(bound(price) for price in prices)
