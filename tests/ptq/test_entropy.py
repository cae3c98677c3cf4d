"""Calibration by entropy: the fast formula is the slow one, and it cuts tails and keeps what is dense."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oaq.ptq.clip import affine_range, choose_clip
from oaq.ptq.entropy import CANDIDATES, NARROWEST, candidate_parts, divergences
from oaq.ptq.observe import Histogram, HistogramBuilder


def histogram_of(x: torch.Tensor, bins: int = 2048) -> Histogram:
    builder = HistogramBuilder(float(x.min()), float(x.max()), bins)
    builder.add(x)
    return builder.build()


def slow(histogram: Histogram, steps: int, part: float) -> float:
    """KL(P || Q), bin by bin as the method says it."""
    params = affine_range(histogram.lo * part, histogram.hi * part, steps)
    count, centres = histogram.count.copy(), histogram.centres()
    zero = min(int(-histogram.lo / (histogram.hi - histogram.lo) * len(count)), len(count) - 1)
    near = [count[at] for at in (zero - 1, zero + 1) if 0 <= at < len(count)]
    count[zero] = min(count[zero], sum(near) / len(near))
    level = np.floor(centres / params.affine.scale + 0.5).astype(int) + params.affine.zero_point
    inside = np.flatnonzero((level >= 0) & (level <= steps))
    p = np.zeros(len(count))
    p[inside] = count[inside]
    p[inside[0]] += count[: inside[0]].sum()
    p[inside[-1]] += count[inside[-1] + 1 :].sum()
    q = np.zeros(len(count))
    for value in set(level[inside]):
        own = inside[level[inside] == value]
        filled = [at for at in own if p[at] > 0]
        for at in filled:
            q[at] = max(count[own].sum(), 1e-9 * count.sum()) / len(filled)
    total, kept = count.sum(), count[inside].sum()
    return sum(p[at] / total * np.log((p[at] / total) / (q[at] / kept)) for at in inside if p[at] > 0)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 99),
    steps=st.sampled_from((1, 3, 15, 40)),
    part=st.sampled_from((1.0, 0.77, 0.5, 0.3)),
    shape=st.sampled_from(("normal", "relu", "below", "tail", "two")),
)
def test_the_formula_by_sums_is_the_one_bin_by_bin(seed: int, steps: int, part: float, shape: str) -> None:
    normal, other = torch.randn(2, 3000, generator=torch.Generator().manual_seed(seed))
    values = {
        "normal": normal,
        "relu": normal.relu(),
        "below": -normal.relu(),
        "tail": normal * torch.exp(other),
        "two": torch.where(normal > 0, 3.0, 0.1 * other),
    }
    histogram = histogram_of(values[shape], 256)
    params = affine_range(histogram.lo * part, histogram.hi * part, steps)
    assert divergences(histogram, [params])[0] == pytest.approx(slow(histogram, steps, part), rel=1e-6, abs=1e-9)


def test_a_tail_is_cut_and_a_dense_range_is_kept() -> None:
    generator = torch.Generator().manual_seed(0)
    tail = torch.exp(1.5 * torch.randn(200_000, generator=generator))
    dense = torch.rand(200_000, generator=generator)
    for steps in (255, 15):
        reach = {
            name: choose_clip(histogram_of(x), steps, "entropy").params.affine.scale * steps / float(x.max())
            for name, x in (("tail", tail), ("dense", dense))
        }
        assert reach["tail"] < 0.4
        assert reach["dense"] > 0.95


def test_zeros_of_a_relu_do_not_narrow_its_range() -> None:
    """A zero is represented in any range: half of all values must not pull the range towards it."""
    positive = torch.randn(100_000, generator=torch.Generator().manual_seed(0)).abs()
    with_zeros = torch.cat([positive, torch.zeros(150_000)])
    ranges = [choose_clip(histogram_of(x), 255, "entropy").params.affine.scale for x in (positive, with_zeros)]
    assert ranges[1] == pytest.approx(ranges[0], rel=0.05)


def test_the_error_it_reports_is_the_squared_one_that_others_report() -> None:
    histogram = histogram_of(torch.randn(50_000, generator=torch.Generator().manual_seed(0)))
    least = choose_clip(histogram, 15, "mse").error
    assert least <= choose_clip(histogram, 15, "entropy").error < choose_clip(histogram, 15, "minmax").error


def test_parts_reach_down_to_a_bin_for_each_level() -> None:
    assert candidate_parts(2048, 255)[0] == 1.0
    assert candidate_parts(2048, 255)[-1] == pytest.approx(256 / 2048)
    assert candidate_parts(2048, 15)[-1] == NARROWEST
    assert len(candidate_parts(2048, 15)) == CANDIDATES
    assert candidate_parts(16, 255) == (1.0,)


def test_a_tensor_of_zeros_has_a_range() -> None:
    clip = choose_clip(histogram_of(torch.zeros(100)), 255, "entropy")
    assert np.isfinite(clip.params.affine.scale)
