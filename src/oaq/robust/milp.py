"""Inputs that a mixed integer solver finds (HiGHS by SciPy, ``oaq[solve]``). It refutes; it never proves.

Every threshold that an accumulator's range holds is a binary: acc >= T if it is 1, acc <= T - 1 if it is 0. All
coefficients are integers, but the solver computes in floating point. So what it returns is rounded and run, and what it
calls infeasible is its claim: the query stays undecided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

import numpy as np

from oaq.errors import ConfigError
from oaq.robust.attack import violated
from oaq.robust.cases import Pair
from oaq.robust.network import Moves, Network, Sums, trace
from oaq.robust.ranges import Range, Ranges
from oaq.robust.staircase import Ints, Reals

MOST_VARIABLES: Final = 50_000
"""Most of them are thresholds; HiGHS would not end on more."""
MOST_ENTRIES: Final = 1 << 24
"""Entries of one layer's matrix."""
CONSTANT: Final = -1
"""In place of a variable: the element is always 0."""


@dataclass(frozen=True, eq=False)
class SolverOutcome:
    """What a solver said of some pairs.

    Attributes:
        witness: (1, inputs) centred integers that were run and violate a pair; None if it found none.
        infeasible: pairs that it called impossible.
    """

    witness: Ints | None
    infeasible: tuple[Pair, ...]


def require_solver() -> None:
    """Refuse to go on without SciPy.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import scipy.optimize  # noqa: F401
    except ImportError as error:
        raise ConfigError("the solver HiGHS comes with SciPy: pip install scipy, or ask without a solver") from error


def solve_pairs(network: Network, box: Range, ranges: Ranges, pairs: Sequence[Pair], deadline: float) -> SolverOutcome:
    """Look for an input of the box that violates one of ``pairs``.

    Args:
        network: of ``Sums`` and ``Moves`` where ``pairs`` depend on it.
        box: (1, inputs) both ends.
        ranges: over the box, one row.
        pairs: in the order in which they are tried.
        deadline: in seconds of ``monotonic``.

    Raises:
        ConfigError: SciPy is missing, an operator has no rows here, or the model would be too large.
    """
    require_solver()
    from scipy.optimize import Bounds, LinearConstraint, milp

    model = _model(network, box, ranges, network.needed(network.outputs))
    infeasible = []
    for at, pair in enumerate(pairs):
        remaining = (deadline - monotonic()) / (len(pairs) - at)
        if remaining <= 0:
            break
        rows, lower, upper = model.rows(pair)
        ends: Any = (np.array(lower), np.array(upper))  # SciPy's types know a single number only
        answer = milp(
            np.zeros(len(model.lower)),
            constraints=LinearConstraint(rows, *ends),
            integrality=np.array(model.integral),
            bounds=Bounds(*(np.array(side) for side in (model.lower, model.upper))),  # type: ignore[arg-type]
            options={"time_limit": remaining},
        )
        if answer.x is not None:
            x = np.clip(np.rint(answer.x[: network.sizes[0]]).astype(np.int64)[None], *box)
            if violated(network, trace(network, x), [pair])[0] >= 0:
                return SolverOutcome(x, ())
        elif answer.status == 2:  # HiGHS: infeasible
            infeasible.append(pair)
    return SolverOutcome(None, tuple(infeasible))


@dataclass(eq=False)
class _Model:
    """Variables with their bounds, and rows of a sparse matrix."""

    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    integral: list[int] = field(default_factory=list)
    row: list[int] = field(default_factory=list)
    column: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    row_lower: list[float] = field(default_factory=list)
    row_upper: list[float] = field(default_factory=list)
    sums: dict[int, Ints] = field(default_factory=dict)
    values: dict[int, Ints] = field(default_factory=dict)

    def add(self, lo: Reals | Ints, hi: Reals | Ints, *, integral: bool) -> Ints:
        """New variables; their numbers."""
        first = len(self.lower)
        self.lower += map(float, lo)
        self.upper += map(float, hi)
        self.integral += [int(integral)] * len(lo)
        return np.arange(first, len(self.lower))

    def constrain(self, terms: Sequence[tuple[int, float]], lo: float, hi: float) -> None:
        """Lo <= sum of (variable, factor) <= hi."""
        at = len(self.row_lower)
        for variable, factor in terms:
            if variable != CONSTANT:
                self.row.append(at)
                self.column.append(variable)
                self.value.append(factor)
        self.row_lower.append(lo)
        self.row_upper.append(hi)

    def rows(self, pair: Pair) -> tuple[Any, list[float], list[float]]:
        """The matrix with the violation of ``pair`` as its last row, and the ends of every row."""
        from scipy.sparse import csr_matrix

        side = self.sums if pair.sums else self.values
        up, down = (int(side[layer][element]) for layer, element in (pair.up, pair.down))
        at = len(self.row_lower)
        row, column, value = [*self.row, at, at], [*self.column, up, down], [*self.value, 1.0, -1.0]
        matrix = csr_matrix((value, (row, column)), shape=(at + 1, len(self.lower)))
        return matrix, [*self.row_lower, float(pair.theta)], [*self.row_upper, np.inf]


def _model(network: Network, box: Range, ranges: Ranges, needed: frozenset[int]) -> _Model:
    model = _Model()
    tensors: dict[int, Ints] = {0: model.add(box[0][0], box[1][0], integral=True)}
    for at in sorted(needed):
        layer = network.layers[at]
        if isinstance(layer, Moves):
            source = tensors[layer.inputs[0]]
            tensors[layer.output] = np.where(layer.index >= 0, source[layer.index], CONSTANT)
            continue
        if not isinstance(layer, Sums) or layer.law is not None:
            raise ConfigError(
                f"{network.names[at]}: the solver takes layers of exact sums only (Linear, Conv2d, average pools, "
                "Concat, fixed-point Add); ask without a solver"
            )
        ends = ranges.accumulators[at]
        assert ends is not None  # every needed layer of sums has a range
        model.sums[at] = _sums(model, layer, [tensors[tensor] for tensor in layer.inputs], ends)
        model.values[at] = tensors[layer.output] = _staircases(model, layer, model.sums[at], ends)
    return model


def _sums(model: _Model, layer: Sums, operands: Sequence[Ints], ends: Range) -> Ints:
    """Accumulators, equal to their linear maps."""
    acc = model.add(ends[0][0], ends[1][0], integral=False)
    parts: list[list[tuple[int, float]]] = [[(int(variable), 1.0)] for variable in acc]
    for linear, operand in zip(layer.maps, operands, strict=True):
        if linear.inputs * linear.outputs > MOST_ENTRIES:
            raise ConfigError(f"a layer of {linear.inputs} by {linear.outputs} is too large for the solver")
        weights = linear.forward(np.eye(linear.inputs))
        for source, output in zip(*np.nonzero(weights), strict=True):
            parts[output].append((int(operand[source]), -float(weights[source, output])))
    for terms, bias in zip(parts, layer.bias, strict=True):
        model.constrain(terms, float(bias), float(bias))
    return acc


def _staircases(model: _Model, layer: Sums, acc: Ints, ends: Range) -> Ints:
    """Values of accumulators: one binary per threshold inside the range."""
    lo, hi = ends[0][0], ends[1][0]
    first, last = layer.steps.largest(ends[0])[0], layer.steps.largest(ends[1])[0]
    y = model.add(first, last, integral=False)
    for element in range(len(acc)):
        thresholds, jumps = np.unique(layer.steps.possible_from[layer.steps.classes[element]], return_counts=True)
        inside = (thresholds > lo[element]) & (thresholds <= hi[element])
        thresholds, jumps = thresholds[inside], jumps[inside]
        binaries = model.add(np.zeros(len(jumps)), np.ones(len(jumps)), integral=True)
        if len(model.integral) > MOST_VARIABLES:
            raise ConfigError(f"the set's ranges take more than {MOST_VARIABLES} variables: too many to solve for")
        rises = [(int(binary), -float(jump)) for binary, jump in zip(binaries, jumps, strict=True)]
        model.constrain([(int(y[element]), 1.0), *rises], float(first[element]), float(first[element]))
        for at, (binary, threshold) in enumerate(zip(binaries, thresholds, strict=True)):
            low, high, variable = float(lo[element]), float(hi[element]), int(acc[element])
            model.constrain([(variable, 1.0), (int(binary), low - float(threshold))], low, np.inf)
            model.constrain(
                [(variable, 1.0), (int(binary), float(threshold) - 1 - high)], -np.inf, float(threshold) - 1
            )
            if at:
                model.constrain([(int(binaries[at - 1]), 1.0), (int(binary), -1.0)], 0.0, np.inf)
    return y
