"""Sums and schedules derived in blocks: what the definition says product by product, wherever the blocks end."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaq.checker import executed, sums, tiling
from oaq.checker.registers import Register
from oaq.checker.schedules import check_schedule
from oaq.checker.sums import SummingLayer, derive
from oaq.checker.tiling import Tiling
from oaq.checker.verdict import Notes
from oaq.numerics.accumulator import (
    AVX2_ACC16,
    AVX2_ACC32,
    DEPTHWISE_ACC16,
    EXACT_S32,
    NEON_ACC16,
    Accumulator,
    pure,
)
from oaq.overflow.spill import Schedule, schedule, split_rows

REGISTERS = (
    AVX2_ACC16,
    AVX2_ACC32,
    DEPTHWISE_ACC16,
    EXACT_S32,
    NEON_ACC16,
    pure(20, "saturates"),
    Accumulator("odd", 18, "wraps", step=4, group=2, lanes=3),
    Accumulator("few", 17, "saturates", step=6, group=3, group_overflow="wraps", lanes=4, max_run=3),
)
Pairs = list[tuple[int, int]]


def register_of(accumulator: Accumulator) -> Register:
    """The same model, as the checker has it."""
    plain = asdict(accumulator)
    del plain["name"]
    return Register(**plain)


def layer_of(weight: np.ndarray, lo: np.ndarray, hi: np.ndarray, groups: int = 1, zero: int = 3) -> SummingLayer:
    """A layer with biases at the ends of int32 and between."""
    bias = np.resize(np.array([0, 2**31 - 1, -(2**31), 77]), len(weight)).astype(np.int64)
    return SummingLayer(
        "layer", weight, np.atleast_2d(lo).astype(np.int64), np.atleast_2d(hi).astype(np.int64), bias, zero, groups
    )


def drawn(rng: np.random.Generator, outputs: int, terms: int, rows: int, kind: str) -> SummingLayer:
    """Weights at the ends of their type, or anything; operands that may exclude zero."""
    reach = 256 if kind == "wide" else 128
    weight = rng.integers(-reach + 1, reach, (outputs, terms)).astype(np.int16 if kind == "wide" else np.int8)
    if kind == "extreme":
        weight = rng.choice([-128, -127, 0, 127], (outputs, terms)).astype(np.int8)
    if kind == "wide":
        weight[0, 0] = 255
    ends = np.sort(rng.choice([0, 0, 1, 17, 128, 254, 255], (2, rows, terms)), axis=0)
    return layer_of(weight, ends[0], ends[1])


def ends_of(weights: list[int], operands: Pairs, *, partial: bool) -> tuple[int, int]:
    """Least and most of a sum of products, in Python integers; of every partial sum if asked for."""
    low = high = 0
    for w, (least, most) in zip(weights, operands, strict=True):
        ends = (w * least, w * most)
        low += min(*ends, 0) if partial else min(ends)
        high += max(*ends, 0) if partial else max(ends)
    return low, high


@pytest.mark.parametrize("block", [1, 40, 1 << 15])
@pytest.mark.parametrize("kind", ["any", "extreme", "wide"])
@pytest.mark.parametrize("rows", [1, 2, 6])
def test_the_sums_of_a_layer_are_the_definition(
    monkeypatch: pytest.MonkeyPatch, block: int, kind: str, rows: int
) -> None:
    monkeypatch.setattr(sums, "BLOCK", block)
    of = drawn(np.random.default_rng(rows), 6, 11, rows, kind)
    found = derive(of)
    for n, weights in enumerate(of.weight.tolist()):
        row = n // (6 // rows)
        operands = list(zip(of.lo[row].tolist(), of.hi[row].tolist(), strict=True))
        folded = int(of.bias[n]) - of.zero * sum(weights)
        assert int(found.folded_bias[n]) == folded
        assert tuple(found.raw[n].tolist()) == ends_of(weights, operands, partial=False)
        assert tuple(found.raw_partial[n].tolist()) == ends_of(weights, operands, partial=True)
        assert tuple(found.total[n].tolist()) == tuple(end + folded for end in found.raw[n].tolist())


def test_sums_beyond_32_bits_are_exact() -> None:
    terms = 16512 + 1
    assert sums.narrowest((terms - 1) * 255 * 510) == np.int32
    assert sums.narrowest(terms * 255 * 510) == np.int64
    for count in (terms - 1, terms, 2 * terms):
        of = layer_of(np.full((1, count), -255, np.int16), np.zeros(count), np.full(count, 255))
        assert derive(of).raw.tolist() == [[-255 * 255 * count, 0]]


def run_ends(of: SummingLayer, plan: Schedule) -> Pairs:
    """Least and most of any lane of any output of each run, product by product."""
    model, found, row = plan.accumulator, [], 0
    groups = model.step // model.group
    per_group = -(-(len(of.weight) // of.tile_groups) // plan.tile_n)
    for tile, start, count in plan.segments.tolist():
        ends: Pairs = []
        for output in range(plan.tile_n):
            n = tile // per_group * (len(of.weight) // of.tile_groups) + tile % per_group * plan.tile_n + output
            lanes = [[0, 0] for _ in range(model.lanes)]
            for step in range(count):
                weights = plan.packed[row + step, output].tolist()
                for group in range(groups):
                    place = range(group * model.group, (group + 1) * model.group)
                    known = [j for j in place if weights[j]]  # none in padding, which has no operands
                    at = (n // (len(of.weight) // len(of.lo)), [(start + step) * model.step + j for j in known])
                    operands = list(zip(of.lo[at].tolist(), of.hi[at].tolist(), strict=True)) if known else []
                    low, high = ends_of([weights[j] for j in known], operands, partial=False)
                    if model.overflow != "wraps":
                        low, high = min(low, 0), max(high, 0)
                    lane = lanes[((start + step) * groups + group) % model.lanes]
                    lane[0] += low
                    lane[1] += high
            ends += [(low, high) for low, high in lanes]
        row += count
        found.append((min(low for low, _ in ends), max(high for _, high in ends)))
    return found


def claims_of(plan: Schedule, bounds: np.ndarray) -> dict[str, Any]:
    """A schedule as a certificate states it."""
    at = split_rows(plan)
    return {
        "segments": plan.segments,
        "bounds": bounds,
        "split_at": at.astype(np.int32),
        "split_weight": plan.packed[at],
        "packed": plan.packed,
    }


shapes = st.tuples(st.integers(1, 7), st.integers(1, 26), st.integers(1, 4))


@given(
    shapes, st.sampled_from(REGISTERS), st.sampled_from(["any", "extreme", "wide"]), st.sampled_from([1, 30, 1 << 15])
)
@settings(max_examples=150, deadline=None)
def test_the_ends_of_every_run_are_the_definition(
    shape: tuple[int, int, int], accumulator: Accumulator, kind: str, block: int
) -> None:
    outputs, terms, tile_n = shape
    rng = np.random.default_rng(outputs * terms)
    of = drawn(rng, outputs, terms, outputs if rng.integers(2) else 1, kind)
    plan = schedule(of.weight, of.lo // 4, of.hi // 4, accumulator, tile_n)
    of = layer_of(of.weight, of.lo // 4, of.hi // 4)
    with pytest.MonkeyPatch.context() as patch:
        for module in (executed, tiling):
            patch.setattr(module, "BLOCK", block)
        honest, lying = Notes(), Notes()
        expected = np.array(run_ends(of, plan))
        check_schedule(of, ("row", register_of(accumulator)), tile_n, claims_of(plan, expected), honest)
        assert honest.findings == []
        row, column = int(rng.integers(len(expected))), int(rng.integers(2))
        expected[row, column] += 1
        check_schedule(of, ("row", register_of(accumulator)), tile_n, claims_of(plan, expected), lying)
        assert [found.segment for found in lying.findings] == [row]


@pytest.mark.parametrize("block", [1, 64, 1 << 15])
@pytest.mark.parametrize("outputs", [1, 5, 8])
@pytest.mark.parametrize("groups", [1, 3])
def test_tiles_hold_every_weight_once_and_zeros(
    monkeypatch: pytest.MonkeyPatch, block: int, outputs: int, groups: int
) -> None:
    monkeypatch.setattr(tiling, "BLOCK", block)
    rng = np.random.default_rng(outputs)
    weight = rng.integers(1, 128, (outputs * groups, 7)).astype(np.int8)
    cut = Tiling(layer_of(weight, np.zeros((groups, 7)), np.ones((groups, 7)), groups), 4, 2)
    blocks = list(cut.blocks())
    assert [first for first, _ in blocks] == [0, *(last for _, last in blocks[:-1])]
    assert blocks[-1][1] == cut.tiles == groups * -(-outputs // 4)
    by_step = np.concatenate([cut.cut(weight, *block) for block in blocks]).reshape(groups, -1, 4, 4, 2)
    for group in range(groups):
        whole = by_step[group].transpose(0, 2, 1, 3).reshape(-1, 8)
        assert np.array_equal(whole[:outputs, :7], weight[group * outputs : (group + 1) * outputs])
        assert not whole[outputs:].any()
        assert not whole[:, 7:].any()


def test_a_tile_that_nothing_executes_breaks_the_law() -> None:
    of = layer_of(np.ones((8, 4), np.int8), np.zeros(4), np.full(4, 9))
    plan = schedule(of.weight, of.lo, of.hi, AVX2_ACC16, 4)
    claims = claims_of(plan, plan.bounds)
    for kept, missing in ((0, 1), (1, 0)):
        notes = Notes()
        cut = {key: claims[key][kept : kept + 1] for key in ("segments", "bounds", "packed")}
        check_schedule(of, ("row", register_of(AVX2_ACC16)), 4, {**claims, **cut}, notes)
        assert {found.tile for found in notes.findings} == {missing}
        assert "executed weights sum to 0, the program has 1" in notes.findings[0].message


def test_a_step_executed_twice_breaks_the_law_even_if_split_weights_hide_it() -> None:
    of = layer_of(np.full((4, 4), 2, np.int8), np.zeros(4), np.full(4, 9))
    twice = np.array([[0, 0, 1], [0, 0, 1]], np.int32)
    claims = {"segments": twice, "bounds": np.array([[0, 36]] * 2), "split_at": np.zeros(0, np.int32)}
    for split_at, honest in (([], False), ([0], False), ([0, 1], True)):
        notes = Notes()
        half = np.ones((len(split_at), 4, 4), np.int8)
        bounds = np.array([[0, 18 if row in split_at else 36] for row in (0, 1)])
        stated = {**claims, "split_at": np.array(split_at, np.int32), "split_weight": half, "bounds": bounds}
        check_schedule(of, ("row", register_of(AVX2_ACC16)), 4, stated, notes)
        assert (notes.findings == []) == honest
