"""Weights that keep a budget: projection, budgeted rounding, and the two norm constraints of the literature.

Rows here are (N, K) weights divided by their scale, in packed K order; budgets are whole numbers per cell
(``choose.target``). Whatever floats do on the way, the integers that come out keep their budgets: sums of integers
below 2**24 are exact in float32, and the last step looks at them.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch

from oaq.ptq.device_cells import DeviceCells
from oaq.qat.gradients import replaced, truncate_through

MARGIN: Final = 1.0 - 2.0**-30
"""Part of a float64 norm that is used; K roundings of 2**-53 stay far below the rest, so the exact bound is kept."""
TINY: Final = 1e-30


class _Project(torch.autograd.Function):
    """Euclidean projection of each sign of each row onto {sum of magnitudes <= budget}.

    Backward: where nothing was cut, identity. Where a sign was cut, its active weights get the projection's exact
    derivative (their common part removed), and those at zero the same straight through, so that they can come back.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, up: int, down: int) -> torch.Tensor:  # noqa: ANN401
        result = torch.zeros_like(x)
        saved = []
        for sign, budget in ((1.0, up), (-1.0, down)):
            part = torch.relu(x * sign)
            theta, cut = _threshold(part, budget)
            projected = torch.relu(part - theta)
            result = result + sign * projected
            saved += [(x >= 0) if sign > 0 else (x < 0), cut, projected > 0]
        ctx.save_for_backward(*saved)
        return result

    @staticmethod
    def backward(ctx: Any, *gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # noqa: ANN401
        saved, total = ctx.saved_tensors, gradient[0]
        result = total
        for member, cut, active in (saved[:3], saved[3:]):
            count = active.sum(dim=1, keepdim=True).clamp_min(1)
            mean = (total * active).sum(dim=1, keepdim=True) / count
            result = torch.where(cut & member, result - mean, result)
        return result, None, None


def project(x: torch.Tensor, up: int, down: int) -> torch.Tensor:
    """(X, W): positive parts of each row cut to sum to ``up`` at most, negative ones to ``down``; see ``_Project``."""
    return _Project.apply(x, up, down)  # type: ignore[return-value]


def _threshold(part: torch.Tensor, budget: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(X, 1) what to subtract from each row of non-negative numbers, and which rows are over budget."""
    theta = part.new_zeros(len(part), 1)
    cut = part.sum(dim=1, keepdim=True) > budget
    over_budget = cut[:, 0].nonzero()[:, 0]
    if len(over_budget) == 1 and over_budget.device.type == "cuda":
        # a GPU adds up a single row in an order that varies; of several, each in one that does not
        over_budget = over_budget.repeat(2)
    if len(over_budget):
        ordered = part[over_budget].sort(dim=1, descending=True).values
        total = ordered.cumsum(dim=1) - budget
        count = torch.arange(1, part.shape[1] + 1, device=part.device, dtype=part.dtype)
        last = (ordered * count > total).sum(dim=1, keepdim=True).clamp_min(1)
        theta[over_budget] = total.gather(1, last - 1) / last
    return theta, cut


def budgeted_round(x: torch.Tensor, up: int, down: int) -> torch.Tensor:
    """(X, W) to integers: to nearest, but upwards (in magnitude) only as long as the budget of that sign lasts.

    Those nearest to the next integer go first. The sums of the result keep the budgets exactly, whatever rounding the
    floats have seen. The gradient passes unchanged.
    """
    with torch.no_grad():
        result = torch.zeros_like(x)
        for sign, budget in ((1.0, up), (-1.0, down)):
            result += sign * _rounded_within(torch.relu(x * sign), budget)
    return replaced(x, result)


def _rounded_within(part: torch.Tensor, budget: int) -> torch.Tensor:
    steps = torch.round(part)
    over_budget = (steps.sum(dim=1) > budget).nonzero()[:, 0]
    if not len(over_budget):
        return steps
    rows = part[over_budget]
    below = torch.floor(rows)
    rounds_up = torch.round(rows) > below
    room = (budget - below.sum(dim=1, keepdim=True)).clamp_min(0)
    part_above = torch.where(rounds_up, rows - below, -1.0)
    rank = part_above.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    integers = below + (rounds_up & (rank < room))
    while bool((wrong := integers.sum(dim=1) > budget).any()):  # the floats' own sum was over budget by their rounding
        largest = integers[wrong].argmax(dim=1, keepdim=True)
        integers[wrong] = integers[wrong].scatter_add(1, largest, -torch.ones_like(largest, dtype=integers.dtype))
    steps[over_budget] = integers
    return steps


def norm_limit(method: str, bits: int, x_hi: int) -> float:
    """Most that the l1 norm of an output's integer weights may be.

    a2q: (2**(P - 1) - 1) / 2**N, a2q+: (2**P - 2) / (2**N - 1), with x_hi in the place of 2**N - 1.
    """
    if method == "a2q":
        return ((1 << (bits - 1)) - 1) / (x_hi + 1)
    return ((1 << bits) - 2) / max(x_hi, 1)


def norm_bounded(
    rows: torch.Tensor, norm: torch.Tensor, scale: torch.Tensor, *, limit: float, clip: int, method: str
) -> torch.Tensor:
    """A2Q: q = clip(trunc(min(g, s * limit) / s * v / length(v))), in float64, as float32 integers.

    For a2q the length is the l1 norm, so sum |q| <= limit. For a2q+ v is taken at zero mean and the length is twice the
    greater of the sums of either sign: the l1 norm again, but whatever the floats have done to the mean, each sign of q
    sums to limit / 2 at most.

    Args:
        rows: (N, K) v.
        norm: (N,) g, positive.
        scale: (N,) s, positive.
        limit: of the norm of q.
        clip: largest magnitude of a weight.
        method: "a2q" or "a2q+".
    """
    wide, s = centred(method, rows.double()), scale.double()
    wide = wide / wide.detach().abs().amax(dim=1, keepdim=True).clamp_min(TINY)
    up, down = torch.relu(wide).sum(dim=1), torch.relu(-wide).sum(dim=1)
    length = (up + down if method == "a2q" else 2 * torch.maximum(up, down)).clamp_min(TINY)
    reach = torch.minimum(norm.double() / s, torch.full_like(s, limit)) * MARGIN
    steps = wide * (reach / length)[:, None]
    return truncate_through(torch.clamp(steps, -clip, clip)).to(rows.dtype)


def centred(method: str, rows: torch.Tensor) -> torch.Tensor:
    """Rows of zero mean for a2q+; as they are for the others."""
    return rows - rows.mean(dim=1, keepdim=True) if method == "a2q+" else rows


def projected_rows(rows: torch.Tensor, cells: DeviceCells, budgets: tuple[int, int]) -> torch.Tensor:
    """(N, K) real weights in steps to integers that keep every cell's budgets; differentiable."""
    gathered = cells.gather(rows)
    integers = budgeted_round(project(gathered.flatten(0, 1), *budgets), *budgets)
    return cells.scatter(integers.reshape(gathered.shape))


def exact_integers(rows: torch.Tensor) -> np.ndarray:
    """(N, K) float32 integers as int64."""
    return rows.detach().cpu().numpy().astype(np.int64)
