"""The checker's own layers, ranges and bounds: what the reference computes, held by every multipliers there are."""

from __future__ import annotations

import numpy as np
import pytest

from oaq import operators as ops
from oaq.checker.program import Node, Tensor, parse
from oaq.checker.robust_bounds import ROOM, Spans, _count, bound, sums
from oaq.checker.robust_claims import AT_ONCE, run_points
from oaq.checker.robust_layers import Layered, Moving, Reading, Summing, Within, decided_by, layered
from oaq.checker.robust_maps import conv_terms
from oaq.checker.robust_steps import Entries, shifted_steps
from oaq.errors import FormatError
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import SEMANTICS, Requantize, Semantics
from oaq.operators.add import one_shift
from oaq.operators.operator import AnyRules, Case
from oaq.program.int_program import IntProgram
from oaq.program.plain import to_plain
from oaq.reference import run
from tests.strategies import Builder, conv2d, linear

CASES = [
    pytest.param(rules, case, semantics, id=f"{name}-{index}-{semantics}")
    for name, rules in ops.OPERATORS.items()
    for semantics in SEMANTICS
    for index, case in enumerate(rules.cases(semantics))
]


def layers_of(program: IntProgram) -> Layered:
    header, arrays = to_plain(program)
    return layered((parse(header, arrays), list(header["outputs"])))


def program_of(case: Case, semantics: Semantics) -> IntProgram:
    """The case alone, every input of it cut out of the one input of the program."""
    builder = Builder("case", semantics)
    sizes = [int(np.prod(shape)) for shape in case.shapes]
    x = builder.input((sum(sizes),), Affine(0.05, 100))
    names, begin = [], 0
    for size, shape in zip(sizes, case.shapes, strict=True):
        flat = builder.add(ops.Slice((begin,), (begin + size,)), [x])
        names.append(builder.add(ops.Reshape(shape), [flat]))
        begin += size
    builder.add(case.op, names, Affine(0.05, 90), name="node")
    return builder.finish()


def is_refused(case: Case) -> bool:
    """Windows over images and layers of vectors are what this checker knows; bilinear pixels from centres only."""
    op, rank = case.op, len(case.shapes[0])
    if isinstance(op, ops.Coarsen):  # no line holds what a standard deviation does to an integer
        return True
    if isinstance(op, ops.Resize):
        return op.mode not in ("nearest", "bilinear")
    if isinstance(op, ops.Linear):
        return rank > 1
    return isinstance(op, ops.Conv2d | ops.MaxPool | ops.AvgPool | ops.Pad) and rank != 3


def points(program: IntProgram, count: int) -> np.ndarray:
    """(count, inputs) both ends, then random."""
    size = int(np.prod(program.tensors[program.inputs[0]].shape))
    x = np.random.default_rng(size).integers(0, 256, (count, size)).astype(np.uint8)
    x[:2] = [[0], [255]]
    return x


@pytest.mark.parametrize(("rules", "case", "semantics"), CASES)
def test_every_operator_at_single_inputs_is_the_reference(rules: AnyRules, case: Case, semantics: Semantics) -> None:
    program = program_of(case, semantics)
    if is_refused(case):
        with pytest.raises(FormatError, match="node: "):
            layers_of(program)
        return
    network, x = layers_of(program), points(program, 9)
    shape = program.tensors[program.inputs[0]].shape
    expected = run(program, x.reshape(-1, *shape)).outputs[0].reshape(len(x), -1).astype(np.int64)
    spans = list(run_points(network, x.astype(np.int64) - network.zeros[0]))
    result = np.concatenate([span.tensors[network.output][0] for span in spans]) + network.zeros[network.output]
    assert np.array_equal(result, expected)
    assert rules.value is type(case.op)


def mixed(semantics: Semantics, *, product: bool = True) -> IntProgram:
    """Every kind of layer: sums, a table, moves, a maximum, a sum of two and, past which no bound looks, a product."""
    rng = np.random.default_rng(8)
    builder = Builder("mixed", semantics)
    x = builder.input((4, 3, 2), Affine(0.05, 100), IntRange(3, 250))
    a = builder.add(conv2d(rng, (3, 2, 2, 2), padding=(1, 0, 0, 1), semantics=semantics), [x], Affine(0.05, 120))
    table = (np.arange(256) * 37 % 256).astype(np.uint8)
    b = builder.add(ops.Lookup(table), [a], Affine(0.05, 30))
    c = builder.add(ops.MaxPool((2, 2), (2, 1), (1, 0, 0, 1)), [b])
    d = builder.add(ops.Resize(4, 3), [c])
    e = builder.add(conv2d(rng, (3, 1, 1, 3), semantics=semantics), [d], Affine(0.05, 99))
    half = one_shift(Requantize.from_scales(np.array([0.5, 0.75], np.float32), semantics))
    f = builder.add(ops.Add(half), [e, b], Affine(0.05, 128))
    ratio = Requantize.from_scales(np.array([0.01], np.float32), semantics)
    g = builder.add(ops.Mul(ratio), [f, e], Affine(0.05, 110)) if product else f
    flat = builder.add(ops.Reshape((36,)), [g])
    builder.add(linear(rng, (5, 36), semantics=semantics), [flat], Affine(0.05, 100))
    return builder.finish()


def objective(network: Layered, x: np.ndarray, tops: dict[int, np.ndarray]) -> np.ndarray:
    """(points, rows) what is bounded, at single inputs."""
    values = []
    for span in run_points(network, x):
        values.append(sum(span.accumulators[at][0] @ weights.T for at, weights in tops.items()))
    return np.concatenate(values)


@pytest.mark.parametrize("semantics", SEMANTICS)
@pytest.mark.parametrize("reach", [0, 1, 40])
@pytest.mark.parametrize("product", [False, True])
def test_a_bound_by_any_multipliers_is_not_passed_by_any_input_and_is_reached_by_a_single_one(
    semantics: Semantics, product: bool, reach: int
) -> None:
    network = layers_of(mixed(semantics, product=product))
    kinds = {"Summing", "Reading", "Moving", "Largest", *(["Within"] if product else [])}
    assert {type(layer).__name__ for layer in network.layers} == kinds
    rng, last = np.random.default_rng(reach), len(network.layers) - 1
    centre = rng.integers(3, 251, network.sizes[0]) - network.zeros[0]
    lo, hi = (np.clip(centre + step, *(end - network.zeros[0] for end in network.limits)) for step in (-reach, reach))
    x = np.concatenate([lo[None], hi[None], rng.integers(lo, hi + 1, (40, len(lo)))])
    rows = 12
    deepest = next(at for at in range(last, -1, -1) if isinstance(network.layers[at], Summing))
    tops = {deepest: rng.integers(-9, 10, (rows, network.sizes[deepest + 1]))}
    tops[0] = rng.integers(-3, 4, (rows, network.sizes[1]))
    span = Spans(network, (np.tile(lo, (rows, 1)), np.tile(hi, (rows, 1))), {}, last)
    assert not span.empty.any()
    for size in (0, 1, 60):
        mus = {
            at: rng.integers(-size, size + 1, (rows, _multipliers(network, at)))
            for at, layer in enumerate(network.layers)
            if not isinstance(layer, Moving | Within)
        }
        values, truth = bound(network, span, tops, mus), objective(network, x, tops)
        assert (truth.max(axis=0) <= np.array(values)).all()
        exact = all(layer.image is None for layer in network.layers if isinstance(layer, Summing))
        if not reach and exact:
            assert truth[0].tolist() == values


def _multipliers(network: Layered, at: int) -> int:
    layer = network.layers[at]
    windows = getattr(layer, "windows", None)
    return network.sizes[at + 1] if windows is None else windows.size


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_ranges_hold_every_input_of_the_box_and_limits_only_narrow_them(semantics: Semantics) -> None:
    network = layers_of(mixed(semantics))
    last = len(network.layers) - 1
    lo, hi = np.full((1, network.sizes[0]), -20), np.full((1, network.sizes[0]), 15)
    span = Spans(network, (lo, hi), {}, last)
    x = np.random.default_rng(0).integers(-20, 16, (50, network.sizes[0]))
    for point in run_points(network, x):
        for derived, value in zip(span.tensors, point.tensors, strict=True):
            assert (derived[0] <= value[0]).all()
            assert (value[0] <= derived[1]).all()
        for at, (least, most) in span.accumulators.items():
            assert (least <= point.accumulators[at][0]).all()
            assert (point.accumulators[at][0] <= most).all()
    first = span.accumulators[0]
    assert Spans(network, (lo, hi), {0: (first[0] - 5, first[1] + 5)}, last).accumulators[0][0].tolist() == (
        first[0].tolist()
    )
    impossible = Spans(network, (lo, hi), {0: (first[1] + 1, first[1] + 1)}, last)
    assert impossible.empty.tolist() == [True]
    assert Spans(network, (hi, lo), {}, last).empty.tolist() == [True]


def test_points_are_taken_some_at_a_time_and_none_is_lost() -> None:
    network = layers_of(mixed("fixed_point"))
    for count in (1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE + 3):
        x = np.random.default_rng(count).integers(-50, 50, (count, network.sizes[0]))
        spans = list(run_points(network, x))
        assert np.array_equal(np.concatenate([span.tensors[0][0] for span in spans]), x)


def test_terms_of_a_sum_of_two_keep_22_bits_of_the_larger_multiplier() -> None:
    for ratios in ([1.0, 2.0**-20], [2.0**-20, 1.0], [0.3, 0.7], [3.0, 100.0]):
        builder = Builder("sum")
        x = builder.input((3,))
        y = builder.add(ops.Lookup(np.arange(256, dtype=np.uint8)), [x])
        builder.add(ops.Add(Requantize(np.array(ratios, np.float32))), [x, y], Affine(0.05, 128))
        layer = layers_of(builder.finish()).layers[1]
        assert isinstance(layer, Summing)
        weights = [terms.most()[0] for terms in layer.terms]
        assert 1 << 21 <= max(weights) <= 1 << 22
        assert layer.image is not None


def test_only_sums_and_moves_of_whole_tensors_decide_an_output() -> None:
    builder = Builder("decided")
    x = builder.input((2, 2, 8))
    a = builder.add(conv2d(np.random.default_rng(0), (8, 1, 1, 8)), [x], Affine(0.05, 100))
    b = builder.add(ops.DepthToSpace(2), [a])
    builder.add(ops.Slice((0, 1, 0), (4, 3, 2)), [b])
    network = layers_of(builder.finish())
    layer, element = decided_by(network.layers, network.output, network.sizes)
    assert layer == 0
    assert len(set(element.tolist())) == len(element) == 16
    padded = Builder("padded")
    x = padded.input((2, 2, 8))
    a = padded.add(conv2d(np.random.default_rng(0), (8, 1, 1, 8)), [x], Affine(0.05, 100))
    padded.add(ops.Pad((0, 1, 0, 0)), [a])
    network = layers_of(padded.finish())
    assert isinstance(network.layers[-1], Summing)  # an identity: padding is no sum
    assert decided_by(network.layers, network.output, network.sizes)[0] == len(network.layers) - 1


def test_large_terms_are_added_in_integers_of_python() -> None:
    for value in (ROOM // 3, ROOM - 1, -(ROOM - 1)):
        total = [5, -5]
        _count(total, np.full((2, 3), value, np.int64))
        assert total == [3 * value + 5, 3 * value - 5]


def test_multipliers_beyond_64_bits_are_refused_wherever_they_are_used() -> None:
    network = layers_of(mixed("fixed_point"))
    last = len(network.layers) - 1
    point = np.zeros((1, network.sizes[0]), np.int64)
    span = Spans(network, (point, point), {}, last)
    deepest = next(at for at in range(last, -1, -1) if isinstance(network.layers[at], Summing))
    for huge in (1 << 61, -(1 << 61)):
        with pytest.raises(FormatError, match="beyond what 64 bits add exactly"):
            bound(network, span, {deepest: np.full((1, network.sizes[deepest + 1]), huge)}, {})
        for at, layer in enumerate(network.layers[:deepest]):
            if isinstance(layer, Moving | Within):
                continue
            tops = {deepest: np.ones((1, network.sizes[deepest + 1]), np.int64)}
            mus = {at: np.full((1, _multipliers(network, at)), huge)}
            if isinstance(layer, Reading | Summing) or getattr(layer, "windows", None) is not None:
                try:
                    bound(network, span, tops, mus)
                except FormatError as error:
                    assert "beyond what 64 bits add exactly" in str(error)


def test_a_table_and_a_shift_yield_their_least_and_greatest_over_every_span() -> None:
    values = np.array([5, -3, 9, 9, 0, -7])
    table = Entries(-2, values)
    for lo in range(-2, 4):
        for hi in range(lo, 4):
            least, most = table.image(np.array([[lo]]), np.array([[hi]]))
            part = values[lo + 2 : hi + 3]
            assert (least.item(), most.item()) == (part.min(), part.max())
            for v, mu in ((3, 2), (-3, 2), (0, -5), (2, 0)):
                gain = table.gain(np.array([[v]]), np.array([[mu]]), np.array([[lo]]), np.array([[hi]]))
                assert gain.item() == max(v * int(y) - mu * x for x, y in enumerate(part, lo))


@pytest.mark.parametrize("shift", [1, 3])
@pytest.mark.parametrize("width", [0, 2])
def test_steps_of_a_shift_are_found_by_trying_every_sum(shift: int, width: int) -> None:
    spec = parse(
        {
            "inputs": ["x"],
            "outputs": ["x"],
            "tensors": [{"name": "x", "shape": [1], "zero_point": 5, "range": [2, 12]}],
            "nodes": [],
        },
        {},
    ).tensors["x"]
    steps = shifted_steps(shift, spec, 1, width)

    def law(acc: int) -> set[int]:
        near = range(acc - width, acc + width + 1)
        return {min(max((at + (1 << shift - 1)) >> shift, -3), 7) for at in near}

    for lo in range(-60, 90, 7):
        for hi in range(lo, lo + 40, 3):
            least, most = steps.image(np.array([[lo]]), np.array([[hi]]))
            reachable = set().union(*(law(acc) for acc in range(lo, hi + 1)))
            assert least.item() in (min(reachable), min(reachable) - bool(width))
            assert most.item() in (max(reachable), max(reachable) + bool(width))
            for v, mu in ((3, 2), (-3, 2), (1, -5), (2, 0)):
                gain = steps.gain(np.array([[v]]), np.array([[mu]]), np.array([[lo]]), np.array([[hi]])).item()
                assert gain >= max(v * y - mu * acc for acc in range(lo, hi + 1) for y in law(acc))
                if not width:
                    assert gain == max(v * y - mu * acc for acc in range(lo, hi + 1) for y in law(acc))


def test_sums_of_a_box_are_reached_by_its_corners() -> None:
    network = layers_of(mixed("fixed_point"))
    layer = network.layers[0]
    assert isinstance(layer, Summing)
    rng = np.random.default_rng(1)
    lo = rng.integers(-50, 0, (1, network.sizes[0]))
    hi = lo + rng.integers(0, 60, lo.shape)
    least, most = sums(layer, [(lo, hi)])
    for element in range(0, network.sizes[1], 5):
        weights = np.array(
            [
                sums(layer, [(unit, unit)])[0][0, element] - layer.bias[element]
                for unit in np.eye(network.sizes[0], dtype=np.int64)[:, None]
            ]
        )
        corner = np.where(weights > 0, hi[0], lo[0])
        assert most[0, element] == corner @ weights + layer.bias[element]
        corner = np.where(weights > 0, lo[0], hi[0])
        assert least[0, element] == corner @ weights + layer.bias[element]


@pytest.mark.parametrize(
    ("weight", "groups"),
    [((5, 1, 1, 4), 1), ((6, 1, 1, 4), 0), ((6, 1, 1, 1), 4), ((6, 1, 1, 2), 1), ((6, 1, 1, 4), -1)],
)
def test_convolutions_that_do_not_fit_their_tensors_have_no_terms(weight: tuple[int, ...], groups: int) -> None:
    fields = {"stride": [1, 1], "padding": [0] * 4, "dilation": [1, 1], "groups": groups}
    arrays = {"weight": np.ones(weight, np.int8)}
    x, y = Tensor("x", (5, 5, 4), 0, 0, 255), Tensor("y", (5, 5, 6), 0, 0, 255)
    with pytest.raises(FormatError, match="do not fit"):
        conv_terms(Node("n", "Conv2d", ("x",), "y", fields, arrays), x, y)
    right = Node("n", "Conv2d", ("x",), "y", {**fields, "groups": 2}, {"weight": np.ones((6, 1, 1, 2), np.int8)})
    assert conv_terms(right, x, y).outputs == 5 * 5 * 6


@pytest.mark.parametrize(
    ("field", "value"),
    [("split", [5, 4]), ("split", [2] * 70), ("split", 3), ("split", [0, 20]), ("order", [1, 1]), ("order", [1])],
)
def test_a_movement_that_is_none_is_refused_by_name(field: str, value: object) -> None:
    builder = Builder("moved", "fixed_point")
    x = builder.input((12, 5), Affine(0.05, 90))
    builder.add(ops.Transpose((12, 5), (1, 0), (60,)), [x], Affine(0.05, 90), name="node")
    header, arrays = to_plain(builder.finish())
    node = {**header["nodes"][0], field: value}
    with pytest.raises(FormatError, match="node: "):
        layered((parse({**header, "nodes": [node]}, arrays), list(header["outputs"])))
