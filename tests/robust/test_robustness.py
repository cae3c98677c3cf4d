"""Verdicts on sets of inputs, beside every input of those sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest

import oaq
from benchmarks.robust_soundness import draw, examine
from oaq import operators as ops
from oaq.checker.robust import check_robustness
from oaq.errors import ConfigError, ProgramError, UnsupportedOp
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.program.plain import to_plain
from oaq.reference.run import run
from oaq.robust import (
    Options,
    box,
    brightness,
    conditional_ranges,
    contrast,
    equivalence,
    input_list,
    largest_radius,
    load_certificate,
    patch,
    real_ball,
    robustness,
)
from oaq.robust.prove import members
from tests.robust.networks import centre, perceptron, with_picked, with_tables
from tests.strategies import Builder, linear

BOUNDS_ONLY = Options(enumerate=False)


def labels(program: oaq.IntProgram, x: np.ndarray) -> np.ndarray:
    return run(program, x).outputs[0].reshape(len(x), -1).argmax(axis=1)


@pytest.mark.parametrize("block", range(8))
def test_verdicts_are_those_of_exhaustive_enumeration(block: int) -> None:
    decided = 0
    for index in range(block * 60, block * 60 + 60):
        subject = draw(7, index)
        if subject is not None:
            decision, fault = examine(subject)
            assert not fault, f"7/{index}: {decision}: {fault}"
            decided += ":" in decision
    assert decided > 20


@pytest.mark.parametrize("semantics", ["fixed_point", "float32_half_even"])
@pytest.mark.parametrize("seed", range(6))
def test_every_ball_is_decided_and_its_certificate_holds(seed: int, semantics) -> None:
    program = perceptron(seed, semantics=semantics)
    x = centre(program, seed)
    states = set()
    for radius in (0, 1, 2, 4, 8, 16, 40, 255):
        answer = robustness(program, x, radius, BOUNDS_ONLY)
        states.add(answer.state)
        assert answer.state != "undecided"
        assert answer.certificate is not None
        assert check_robustness(*to_plain(program), answer.certificate.header, answer.certificate.arrays).safe
        if answer.witness is not None:
            assert np.abs(answer.witness.astype(int) - x).max() <= radius
            assert labels(program, answer.witness[None])[0] != answer.label
        else:
            inside = np.random.default_rng(seed).integers(-radius, radius + 1, (300, *x.shape))
            moved = np.clip(x + inside, 0, 255).astype(np.uint8)
            assert (labels(program, moved) == answer.label).all()
    assert "robust" in states


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("between", [with_tables, with_picked])
def test_what_lies_between_layers_is_decided_as_enumeration_decides_it(
    between: Callable[[oaq.IntProgram, int], oaq.IntProgram], seed: int
) -> None:
    """Wild tables by channel, or channels picked at random; every input of boxes of 9 x 9 enumerated beside."""
    program = between(perceptron(seed, sizes=(2, 4, 3)), seed)
    x = centre(program, seed)
    states = set()
    for radius in (0, 1, 4):
        grid = np.stack(np.meshgrid(*(np.arange(v - radius, v + radius + 1) for v in x.astype(int))), -1)
        truth = (labels(program, grid.reshape(-1, 2).astype(np.uint8)) == labels(program, x[None])[0]).all()
        answer = robustness(program, x, radius, BOUNDS_ONLY)
        states.add(answer.state)
        assert answer.state == ("robust" if truth else "refuted"), radius
        assert answer.certificate is not None
        assert check_robustness(*to_plain(program), answer.certificate.header, answer.certificate.arrays).safe
    assert "robust" in states


@pytest.mark.parametrize("mode", ["bilinear_corners", "bilinear_asymmetric"])
def test_pixels_that_are_mixed_by_another_rule_are_refused_by_name_not_taken_for_moved_ones(
    mode: Literal["bilinear_corners", "bilinear_asymmetric"],
) -> None:
    builder = Builder("resized", "fixed_point")
    x = builder.input((2, 2, 1), Affine(0.05, 0))
    y = builder.add(ops.Resize(3, 3, mode), [x], Affine(0.05, 0), name="larger")
    flat = builder.add(ops.Reshape((9,)), [y])
    builder.add(linear(np.random.default_rng(0), (2, 9), semantics="fixed_point"), [flat], Affine(0.05, 100))
    with pytest.raises(UnsupportedOp, match=f"larger: .*{mode}"):
        robustness(builder.finish(), np.zeros((2, 2, 1), np.uint8), 1, BOUNDS_ONLY)


def test_the_centre_alone_is_always_robust() -> None:
    program = perceptron()
    assert robustness(program, centre(program), 0, BOUNDS_ONLY).is_robust


def test_a_tie_goes_to_the_first_output() -> None:
    program = perceptron(3, (4, 3), reach=IntRange(0, 7))
    saturated = [index for index in range(400) if _ties(program, centre(program, index))]
    assert saturated
    x = centre(program, saturated[0])
    answer = robustness(program, x, 0, BOUNDS_ONLY)
    assert answer.is_robust
    assert answer.label == int(run(program, x[None]).outputs[0][0].argmax())


def _ties(program: oaq.IntProgram, x: np.ndarray) -> bool:
    y = run(program, x[None]).outputs[0][0]
    return bool((y == y.max()).sum() > 1)


def test_sums_have_no_ties_that_saturation_makes() -> None:
    program = perceptron(3, (4, 3))
    x = centre(program, 1)
    acc = run(program, x[None], accumulators=True).accumulators["fc0"][0]
    assert robustness(program, x, 1, Options(sums=True)).label == int(acc.argmax())


@pytest.mark.parametrize("seed", range(4))
def test_lists_are_run_member_by_member(seed: int) -> None:
    program = perceptron(seed)
    x = centre(program, seed)
    for region in (brightness(program, x, 30), contrast(program, x, (50, 90, 110, 200))):
        assert region.inputs is not None
        answer = robustness(program, x, region)
        agree = bool((labels(program, region.inputs) == labels(program, x[None])[0]).all())
        assert answer.is_robust == agree
        assert answer.certificate is not None
        assert check_robustness(*to_plain(program), answer.certificate.header, answer.certificate.arrays).safe


def test_a_box_of_few_inputs_is_enumerated_exactly_once_each() -> None:
    program = perceptron()
    x = centre(program)
    lo, hi = x.copy(), x.copy()
    lo[1], hi[1], hi[4] = x[1] - 2, x[1] + 1, x[4] + 6
    region = box(program, x, lo, hi)
    rows = np.concatenate(list(members(region, 5)))
    assert len(rows) == region.count == 28
    assert len(np.unique(rows, axis=0)) == 28


def test_a_real_ball_is_what_its_ends_quantize_to() -> None:
    program = perceptron()
    real = np.linspace(0.1, 2.0, 6).astype(np.float32)
    region = real_ball(program, real, 0.026)
    affine, reach = program.tensors["x"].affine, program.tensors["x"].range
    inside = real + np.linspace(-0.026, 0.026, 500)[:, None].astype(np.float32)
    q = affine.quantize(inside.astype(np.float32), reach)
    assert (region.lo <= q).all()
    assert (q <= region.hi).all()
    assert (q.min(axis=0) == region.lo).all()


def test_a_set_around_another_input_is_refused() -> None:
    program = perceptron()
    with pytest.raises(ConfigError, match="surrounds another input"):
        robustness(program, centre(program, 1), box(program, centre(program), centre(program), centre(program)))
    with pytest.raises(ConfigError, match="a distance is at least 0"):
        robustness(program, centre(program), -1)
    with pytest.raises(ConfigError, match="not a rectangle"):
        patch(program, centre(program), (0, 1), (0, 1))
    with pytest.raises(ConfigError, match="at least one"):
        input_list(program, centre(program), np.zeros((0, 6), np.uint8))
    with pytest.raises(ProgramError, match="takes uint8"):
        robustness(program, np.zeros(6, np.float32), 1)  # type: ignore[arg-type]


def test_a_limit_leaves_a_set_undecided_with_its_bound() -> None:
    program = perceptron(0, (24, 24, 16, 10))
    answer = robustness(program, centre(program, 1), 1, Options(nodes=1, enumerate=False))
    assert answer.state == "undecided"
    assert answer.bound is not None
    assert answer.bound >= 0
    assert answer.certificate is None


def test_the_largest_radius_lies_between_a_proof_and_a_counterexample() -> None:
    program = perceptron(2)
    x = centre(program, 2)
    answer = largest_radius(program, x)
    assert answer.is_exact
    assert answer.proof.is_robust
    assert robustness(program, x, answer.proved + 1).state == "refuted"


def test_a_program_is_equivalent_to_itself_and_not_to_another() -> None:
    program = perceptron(4, (4, 5, 3))
    x = centre(program, 4)
    region = box(program, x, x, np.minimum(x.astype(int) + 3, 255).astype(np.uint8))
    assert equivalence(program, program, region, options=Options(seconds=0.5)).state == "equivalent"
    answer = equivalence(program, perceptron(5, (4, 5, 3)), region, 2)
    assert answer.state == "refuted"
    assert answer.difference is not None
    assert answer.difference > 2


def test_programs_of_two_laws_differ_by_at_most_what_enumeration_says() -> None:
    programs = [perceptron(6, (3, 4, 2), law) for law in ("fixed_point", "float32_half_even")]
    x = centre(programs[0], 6)
    region = box(programs[0], x, x - np.uint8(4), x + np.uint8(4))
    rows = np.concatenate(list(members(region, 500)))
    outputs = [run(program, rows).outputs[0].astype(int) for program in programs]
    truth = int(np.abs(outputs[0] - outputs[1]).max())
    assert equivalence(*programs, region, truth, Options(seconds=0.5)).state == "equivalent"
    if truth:
        assert equivalence(*programs, region, truth - 1).state == "refuted"


@pytest.mark.parametrize("seed", range(5))
def test_conditional_ranges_hold_every_input_of_the_set(seed: int) -> None:
    program = perceptron(seed, (5, 7, 6, 4))
    x = centre(program, seed)
    region = box(program, x, x - np.uint8(2), x + np.uint8(3))
    ranges = conditional_ranges(program, region)
    rows = np.concatenate(list(members(region, 4000)))
    ran = run(program, rows, accumulators=True)
    everywhere = oaq.analyze(program)
    for name, acc in ran.accumulators.items():
        assert (ranges.sums[name].lo <= acc.min(axis=0)).all()
        assert (acc.max(axis=0) <= ranges.sums[name].hi).all()
    for name, values in ran.tensors.items():
        assert (ranges.tensors[name].lo <= values.min(axis=0)).all()
        assert (values.max(axis=0) <= ranges.tensors[name].hi).all()
    assert everywhere is not None
    assert ranges.overflowing(32) == {}
    assert set(ranges.overflowing(8)) == set(ranges.sums)


def test_a_certificate_survives_its_file(tmp_path) -> None:
    program = perceptron(2)
    answer = robustness(program, centre(program, 2), 2, BOUNDS_ONLY)
    assert answer.certificate is not None
    answer.certificate.save(tmp_path / "a.robust.oaq")
    again = load_certificate(tmp_path / "a.robust.oaq")
    assert again.header == answer.certificate.header
    assert check_robustness(*to_plain(program), again.header, again.arrays).safe
