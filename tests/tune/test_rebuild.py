from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import oaq
from oaq import reference
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import SEMANTICS, Requantize, Semantics
from oaq.numerics.words import words_of
from oaq.operators import OPERATORS, Coarsen, TensorSpec
from oaq.operators.operator import Case
from oaq.program.int_program import IntProgram
from oaq.tune.rebuild import (
    LayerWeights,
    affine_groups,
    group_range,
    nearest_words,
    real_multipliers,
    rebuilt,
    takes_words,
    thinned_groups,
    word_growth,
)
from tests.strategies import Builder, programs_with_inputs

Drawn = tuple[IntProgram, tuple[np.ndarray, ...]]


def _reals(program: oaq.IntProgram, outputs: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    return [
        program.tensors[name].affine.dequantize(values).astype(np.float64)
        for name, values in zip(program.outputs, outputs, strict=True)
    ]


@settings(max_examples=60)
@given(programs_with_inputs())
def test_nothing_changed_is_the_same_program(case: Drawn) -> None:
    program, _ = case
    again = rebuilt(program, {}, {}, {})
    assert all(a.op is b.op for a, b in zip(again.nodes, program.nodes, strict=True))
    assert dict(again.tensors) == dict(program.tensors)


@settings(max_examples=80, deadline=None)
@given(programs_with_inputs())
def test_fewer_steps_keep_the_real_values_to_within_their_steps(case: Drawn) -> None:
    program, x = case
    roots = affine_groups(program)
    ends = {roots[name] for name in (*program.inputs, *program.outputs)}
    members = {
        root: [name for name, own in roots.items() if own == root]
        for root in set(roots.values()) - ends - thinned_groups(program)
    }
    steps = {root: max(group_range(program, names).steps * 3 // 4, 1) for root, names in members.items()}
    try:
        narrow = rebuilt(program, steps, {}, {})
    except oaq.ProgramError:  # a multiplier that fixed point cannot hold
        return
    for root, names in members.items():
        for name in names:
            old, new = program.tensors[name], narrow.tensors[name]
            whole = group_range(program, names)
            if steps[root] < whole.steps:
                assert new.range.steps <= steps[root]
                assert new.affine.zero_point in new.range
                ends_before = (old.range.lo - old.affine.zero_point, old.range.hi - old.affine.zero_point)
                reals = [end * old.affine.scale for end in ends_before]
                held = [(end - new.affine.zero_point) * new.affine.scale for end in (new.range.lo, new.range.hi)]
                assert held[0] <= reals[0] + new.affine.scale * 1.01
                assert held[1] >= reals[1] - new.affine.scale * 1.01
    oaq.analyze(narrow)  # everything stays provable
    reference.run(narrow, x)


def test_weights_twice_as_coarse_halve_and_their_multipliers_double() -> None:
    from tests.tune.nets import small_network

    program = small_network()
    node = next(iter(program.summing_nodes()))
    op = node.op
    even = (np.asarray(op.weight).reshape(len(op.bias), -1) // 2 * 2).astype(np.int8)
    halved = LayerWeights((even // 2).astype(np.int8), np.full(len(even), 2.0))
    changed = rebuilt(program, {}, {node.name: halved}, {})
    new = changed.by_name[node.name].op
    assert np.array_equal(np.asarray(new.weight).reshape(len(even), -1), even // 2)
    ratio = real_multipliers(new.requantize) / real_multipliers(op.requantize)
    assert np.all(np.abs(ratio - 2.0) <= 2.0 * 0.0041)
    assert np.array_equal(new.bias, np.rint(op.bias / 2.0))


def _specs(zero: int = 0) -> tuple[TensorSpec, TensorSpec]:
    return TensorSpec("x", (4,), Affine(0.0231)), TensorSpec("y", (300,), Affine(0.0471, zero), IntRange(0, 255))


ZEROS = pytest.mark.parametrize("zero", [0, 3, 128, 255])


@ZEROS
def test_multipliers_move_to_words_only_where_one_is_near(zero: int) -> None:
    multiplier = np.geomspace(0.002, 0.9, 300).astype(np.float32)
    moved = np.asarray(nearest_words(Requantize(multiplier), *_specs(zero)).multiplier)
    assert np.all(np.abs(moved - multiplier) <= 0.0041 * multiplier)
    changed = moved != multiplier
    assert changed.sum() > 100
    assert np.all(words_of(moved[changed], IntRange(-zero, 255 - zero)) > 0)


@ZEROS
def test_multipliers_grow_by_three_parts_in_a_hundred_at_most_to_become_words(zero: int) -> None:
    multiplier = np.geomspace(0.002, 0.9, 300).astype(np.float32)
    growth = word_growth(Requantize(multiplier), *_specs(zero))
    assert np.all((growth >= 1.0) & (growth <= 1.0301))
    grown = growth > 1.0
    assert grown.sum() > 100
    assert np.all(words_of((multiplier[grown] * growth[grown]).astype(np.float32), IntRange(-zero, 255 - zero)) > 0)


def test_outputs_of_one_integer_and_multipliers_of_one_take_no_words() -> None:
    requantize = Requantize(np.full(4, 0.5, np.float32))
    assert not takes_words(requantize, TensorSpec("y", (4,), Affine(0.5), IntRange(0, 0)))
    assert takes_words(requantize, _specs()[1]) and takes_words(requantize, _specs(128)[1])
    assert not takes_words(Requantize(np.array([0.5, 1.0], np.float32)), _specs()[1])


@pytest.mark.parametrize("steps", [200, 90, 20])
def test_outputs_stay_near_and_nearer_with_more_steps(steps: int) -> None:
    from tests.tune.nets import small_network, small_samples

    program, x = small_network(), small_samples()
    roots = affine_groups(program)
    inner = {roots[node.inputs[0]] for node in program.summing_nodes()} - {roots[name] for name in program.inputs}
    changed = rebuilt(program, dict.fromkeys(inner, steps), {}, {})
    before = _reals(program, reference.run(program, x).outputs)[0]
    after = _reals(changed, reference.run(changed, x).outputs)[0]
    noise = ((after - before) ** 2).mean() / (before**2).mean()
    assert noise < {200: 0.002, 90: 0.01, 20: 0.2}[steps]


SAMPLES = [
    pytest.param(case, semantics, id=f"{name}-{index}-{semantics}")
    for name, rules in OPERATORS.items()
    for semantics in SEMANTICS
    for index, case in enumerate(rules.cases(semantics))
]


@pytest.mark.parametrize(("case", "semantics"), SAMPLES)
def test_every_operator_computes_the_same_reals_from_inputs_of_a_third_of_the_steps(
    case: Case, semantics: Semantics
) -> None:
    builder = Builder("case", semantics)
    names = [builder.input(shape, Affine(0.05, 90)) for shape in case.shapes]
    builder.add(case.op, names, Affine(0.05, 90), name="node")
    program = builder.finish()
    if isinstance(case.op, Coarsen):
        assert thinned_groups(program) == set(names)
        with pytest.raises(oaq.ProgramError, match="Coarsen counts levels in its steps, so it keeps them"):
            rebuilt(program, dict.fromkeys(names, 85), {}, {})
        return
    coarse = rebuilt(program, dict.fromkeys(names, 85), {}, {})
    rng = np.random.default_rng(5)
    codes = [rng.integers(0, 86, (2, *shape)) for shape in case.shapes]  # 0.15 a step, 30 is zero
    y = _reals(program, reference.run(program, [(3 * code).astype(np.uint8) for code in codes]).outputs)
    y_coarse = _reals(coarse, reference.run(coarse, [code.astype(np.uint8) for code in codes]).outputs)
    scale = coarse.tensors[coarse.outputs[0]].affine.scale
    assert all(coarse.tensors[name].affine == Affine(0.15, 30) for name in names)
    # The sums are the same but for biases in coarser steps; what moves integers has the same values.
    assert np.abs(y[0] - y_coarse[0]).max() <= 2 * scale
