"""The parts of quantization, each on its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from oaq.capture.from_torch import normalize
from oaq.capture.graph import FloatGraph, LayerParams, TensorParams
from oaq.capture.lower import same_affine_groups
from oaq.choose.lanes import load_of
from oaq.choose.round import fitted, nearest, packed_rows, unpacked, whole_scale
from oaq.kernels.table import KernelRow
from oaq.kernels.targets import TARGETS
from oaq.numerics.affine import Affine
from oaq.numerics.multipliers import weight_scales
from oaq.numerics.ranges import IntRange
from oaq.numerics.words import words
from oaq.ptq.bias import correct_biases, dequantized, mean_inputs
from oaq.ptq.clip import CALIBRATIONS, affine_range, choose_clip, rounded, uneven
from oaq.ptq.decide import Decider
from oaq.ptq.equalize import equalize
from oaq.ptq.execute import apply_op, layers, run_graph
from oaq.ptq.observe import HistogramBuilder, observe
from oaq.ptq.options import Options
from oaq.ptq.quantize import _root
from oaq.ptq.samples import Reservoir, chunks
from oaq.ptq.search import search, widest
from oaq.ptq.sensitivity import measure_sensitivity
from tests.ptq.nets import images, net

MEASURES = [TARGETS[name].measure(family) for name in TARGETS for family in ("gemm", "depthwise")]


def graph(act: type[nn.Module] = nn.ReLU6) -> FloatGraph:
    return normalize(net(act), torch.zeros(1, 3, 16, 16), "net")


def test_observation_does_not_depend_on_batches() -> None:
    one, x = graph(), np.concatenate(images())
    whole_batch, single = (observe(one, chunks(one, batches)) for batches in ([x], [row[None] for row in x]))
    for name in one.shapes:
        np.testing.assert_array_equal(whole_batch[name].lo, single[name].lo)
        np.testing.assert_array_equal(whole_batch[name].mean, single[name].mean)


def test_observation_is_of_the_tensors_themselves() -> None:
    one, x = graph(), np.concatenate(images())
    stats = observe(one, chunks(one, [x]))
    with torch.inference_mode():
        values = run_graph(one, x)
    for name, value in values.items():
        by_channel = value.transpose(0, 1).flatten(1).double()
        np.testing.assert_allclose(stats[name].lo, by_channel.amin(1).numpy(), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(stats[name].hi, by_channel.amax(1).numpy(), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(stats[name].mean, by_channel.mean(1).numpy(), atol=1e-5)
        np.testing.assert_allclose(stats[name].power, by_channel.square().mean(1).numpy(), rtol=1e-4, atol=1e-9)


def test_a_reservoir_keeps_evenly_spaced_samples() -> None:
    reservoir = Reservoir(10)
    for start in range(0, 100, 7):
        reservoir.add({"x": torch.arange(start, min(start + 7, 100), dtype=torch.float32)[:, None]})
    kept = torch.cat([chunk["x"] for chunk in reservoir.chunks()]).flatten()
    assert (reservoir.count, len(reservoir) <= 10) == (100, True)
    assert len(set(kept.diff().tolist())) == 1


@pytest.mark.parametrize("act", [nn.ReLU, nn.ReLU6])
def test_equalisation_preserves_the_function_and_levels_the_channels(act: type[nn.Module]) -> None:
    one, x = graph(act), np.concatenate(images())
    stats = observe(one, chunks(one, [x]))
    made = equalize(one, stats)
    assert made.factors
    with torch.inference_mode():
        before, after = run_graph(one, x), run_graph(made.graph, x)
    for name, value in before.items():
        factor = torch.from_numpy(np.asarray(made.factors.get(name, [1.0]), np.float32))
        scaled = value * factor.reshape(1, -1, *[1] * (value.ndim - 2))
        torch.testing.assert_close(after[name], scaled, rtol=1e-3, atol=2e-3)
    again = observe(made.graph, chunks(made.graph, [x]))
    for name in made.stats:
        np.testing.assert_allclose(made.stats[name].hi, again[name].hi, rtol=1e-3, atol=2e-3)


def test_a_tensor_with_a_fixed_clamp_or_an_outside_reader_is_left_alone() -> None:
    one = graph(nn.ReLU6)
    made = equalize(one, observe(one, chunks(one, images())))
    clamped = {node.output for node in one.nodes if node.clamp is not None}
    assert not clamped & set(made.factors)
    assert not {*one.inputs, *one.outputs} & set(made.factors)


@given(st.floats(-50, 50), st.floats(0, 50), st.integers(1, 255))
def test_an_affine_range_holds_what_it_was_made_for(low: float, width: float, steps: int) -> None:
    params = affine_range(low, low + width, steps)
    scale, zero = params.affine.scale, params.affine.zero_point
    assert params.range == IntRange(0, steps)
    assert 0 <= zero <= steps
    if low >= 0:
        assert zero == 0
    if steps > 1 or low >= 0 or low + width <= 0:
        assert scale * (0 - zero) <= low + scale * 0.51 + 1e-6
        assert scale * (steps - zero) >= low + width - scale * 0.51 - 1e-6


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_a_clip_is_no_worse_than_its_neighbours_and_minmax_cuts_nothing(calibration: str) -> None:
    values = torch.from_numpy(np.random.default_rng(0).laplace(0, 1, 20000).astype(np.float32))
    builder = HistogramBuilder(float(values.min()), float(values.max()))
    builder.add(values)
    histogram = builder.build()
    errors = {}
    for kind in CALIBRATIONS:
        params = choose_clip(histogram, 31, kind).params
        errors[kind] = float(np.mean((rounded(values.double().numpy(), params) - values.double().numpy()) ** 2))
    assert errors["mse"] <= 1.02 * min(errors.values())
    chosen = choose_clip(histogram, 31, calibration).params  # type: ignore[arg-type]
    ends = ((0 - chosen.affine.zero_point) * chosen.affine.scale, (31 - chosen.affine.zero_point) * chosen.affine.scale)
    if calibration == "minmax":
        assert ends[0] <= float(values.min()) + 1e-4
        assert ends[1] >= float(values.max()) - 1e-4


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 30), st.sampled_from(MEASURES), st.integers(0, 2**31), st.integers(20, 400))
def test_fitted_weights_fit(outputs: int, terms: int, measure: KernelRow, seed: int, limit: int) -> None:
    rows, load = np.random.default_rng(seed).normal(0, 1, (outputs, terms)), load_of(measure, 255)
    limit *= max(load.same_sign, load.other_sign)
    weight, scale = fitted(rows, whole_scale(rows), np.full(outputs, limit), load)
    assert (load.of_weights(weight.astype(np.int64)) <= limit).all()
    np.testing.assert_array_equal(weight, nearest(rows, scale))


def test_lane_sums_are_those_of_the_register() -> None:
    rows = np.array([[1, 2, -3, 4, 5, -6, 7, 8, 9]])
    sums = {row.name: load_of(row, 255).of_weights(rows).tolist() for row in MEASURES}
    assert sums["gemm_u8s8_avx2_acc16"] == [max(1 + 2 + 5 + 9, 6, 4 + 7 + 8, 3)]
    assert sums["depthwise_u8s8_avx2_acc16"] == [36]
    assert sums["gemm_s8s8_neon_acc16"] == [128 * (1 + 9)]  # k modulo 8: lane 0 holds the first and the last
    assert sums["depthwise_s8s8_neon_acc16"] == [128 * 36 + 127 * 9]


def test_packing_weights_is_undone() -> None:
    for _, op in layers(graph()):
        np.testing.assert_array_equal(unpacked(packed_rows(op), op), op.weight)


def test_sensitivity_predicts_what_noise_does_at_the_outputs() -> None:
    """Add small independent noise to one tensor and compare with the first-order prediction."""
    one, x = graph(), np.concatenate(images(48))
    stats = observe(one, chunks(one, [x]))
    name = one.nodes[3].output
    found = measure_sensitivity(one, stats, [name], chunks(one, [x]))
    generator, spread = torch.Generator().manual_seed(0), 1e-3

    def noisy(tensor: str, value: torch.Tensor) -> torch.Tensor:
        return value + spread * torch.randn(value.shape, generator=generator) if tensor == name else value

    with torch.inference_mode():
        exact = run_graph(one, x)[one.outputs[0]].double()
        moved = run_graph(one, x, after=noisy)[one.outputs[0]].double()
    measured = float((moved - exact).square().sum() / exact.square().sum())
    predicted = float(found.tensors[name].weight.sum()) * spread**2
    assert predicted == pytest.approx(measured, rel=0.35)


def table(options: Options) -> Decider:
    one = graph()
    stats = observe(one, chunks(one, images()))
    roots = {name: _root(one, group) for group in same_affine_groups(one) for name in group}
    return Decider(equalize(one, stats), list(chunks(one, images())), roots, options)


def test_the_search_keeps_its_budget_and_a_larger_one_is_no_worse() -> None:
    made = table(Options())
    everything = widest(made.candidates)
    last = None
    for budget in (1.0, 1.02, 1.1, 1.3, 2.0, 4.0):
        found = search(made.candidates, budget * made.no_spill * (1 + 1e-9))
        assert found.cost <= budget * made.no_spill * (1 + 1e-9)
        if last is not None:
            assert found.error <= last * (1 + 1e-9)
        last = found.error
    assert last is not None and last <= everything.error * (1 + 1e-9)


def test_bias_correction_takes_away_what_rounding_weights_did_to_every_mean() -> None:
    one, x = graph(), images(48)
    made = table(Options(budget=1.0))
    decided = made.within(1.0)
    roots = {name: _root(one, group) for group in same_affine_groups(one) for name in group}
    tensors = {name: decided.params[root] for name, root in roots.items()}
    balanced = equalize(one, observe(one, chunks(one, images()))).graph
    corrected = correct_biases(balanced, mean_inputs(balanced, chunks(one, x)), tensors, decided.layers)
    with torch.inference_mode():
        exact = run_graph(balanced, np.concatenate(x))
        for node, _ in layers(balanced):
            step = tensors[node.inputs[0]].affine.scale
            inputs = [exact[name] for name in node.inputs]

            def errors(layer: LayerParams) -> np.ndarray:
                """In steps of the bias, of the mean of every output."""
                moved = apply_op(node, inputs) - apply_op(node, inputs, dequantized(layer, step))  # noqa: B023
                means = moved.transpose(0, 1).flatten(1).double().mean(dim=1).numpy()
                return np.abs(means) / (layer.weight_scale.astype(np.float64) * step)  # noqa: B023

            assert errors(corrected[node.name]).max() < 0.51 + 1e-3 * errors(decided.layers[node.name]).max()
            np.testing.assert_array_equal(corrected[node.name].weight, decided.layers[node.name].weight)
    assert any((corrected[name].bias != decided.layers[name].bias).any() for name in decided.layers)


def test_bias_correction_without_samples_changes_nothing() -> None:
    one = graph()
    made = table(Options(budget=1.0))
    decided = made.within(1.0)
    roots = {name: _root(one, group) for group in same_affine_groups(one) for name in group}
    tensors = {name: decided.params[root] for name, root in roots.items()}
    unchanged = correct_biases(one, {}, tensors, decided.layers)
    assert all((unchanged[name].bias == decided.layers[name].bias).all() for name in decided.layers)


@pytest.mark.parametrize("s_y", [3 / 64, 3 / 32, 1 / 16, float(np.nextafter(np.float32(3 / 64), 1))])
def test_a_scale_that_is_round_grows_so_that_neighbouring_words_can_be_made(s_y: float) -> None:
    wanted = words(IntRange(0, 128))
    wanted = (wanted[(wanted >= 200) & (wanted < 4000)] / 32768).astype(np.float32)

    def longest_gap(scale: float) -> int:
        _, made = weight_scales(wanted, 1.5 / 38, scale)
        return int(np.diff(np.flatnonzero(np.concatenate([[True], made, [True]]))).max())

    grown = uneven(TensorParams(Affine(s_y), IntRange(0, 128)))
    assert s_y < grown.affine.scale < s_y * 1.001
    assert longest_gap(grown.affine.scale) < 20
    assert uneven(grown) == grown
    assert longest_gap(3 / 64) > 100
