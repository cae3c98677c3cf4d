"""Dithered backprop: unbiased, never beyond its limit, the same draws after a resume, and no trace in the program."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

from oaq.errors import ConfigError, TrainingError
from oaq.program.files import save
from oaq.qat import (
    Config,
    CsvLog,
    Dither,
    DitherState,
    Loop,
    Training,
    convert,
    dithered,
    fit,
    from_yaml,
    parameter_groups,
    prepare,
    resume,
    skipped,
    to_yaml,
)
from oaq.qat.dither import Unit, rounded, step_of
from oaq.qat.ditherer import Ditherer
from oaq.qat.log import read_states
from tests.qat.nets import batch, config, differences, net_graph

LABELS = torch.tensor([1, 7, 3, 0])


def gradient_of(ditherer: Ditherer, gradient: torch.Tensor, name: str = "layer") -> torch.Tensor:
    """What comes of a gradient on its way through a layer's output."""
    x = torch.zeros_like(gradient, requires_grad=True)
    ditherer.through(name, x * 1.0).backward(gradient)
    assert x.grad is not None
    return x.grad


def ditherer(dither: Dither) -> Ditherer:
    made = Ditherer(dither, {"layer": 3, "other": 5})
    made.begin()
    return made


def perceptron(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


@settings(max_examples=60, deadline=None)
@given(
    scale=st.sampled_from((0.0, 0.25, 1.0, 2.0, 8.0, 1e6)),
    limit=st.sampled_from((1, 2, 7, 127)),
    tail=st.floats(0.0, 4.0),
    size=st.sampled_from((1e-35, 1e-3, 1.0, 1e30)),
    seed=st.integers(0, 999),
)
def test_no_integer_is_beyond_the_limit_however_heavy_the_tail(
    scale: float, limit: int, tail: float, size: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    normal, spread = torch.randn(2, 4, 16, generator=generator)
    gradient = normal * torch.exp(tail * spread) * size
    dither = Dither(scale=scale, limit=limit, most_noise=None)
    step = step_of(gradient, dither, scale, None)
    assert math.isfinite(step.noise)
    assert step.size >= float(gradient.abs().max()) / limit * (1 - 1e-6)
    for uniform in (torch.zeros_like(gradient), torch.full_like(gradient, 1 - 2.0**-24)):
        k = rounded(gradient, step.size, uniform, limit)
        assert torch.equal(k, k.round())
        assert float(k.abs().max()) <= limit
        assert bool(((k * step.size - gradient).abs() <= step.size * (1 + 1e-5)).all())


@pytest.mark.parametrize("unit", ["std", "nonzero_std", "mean_abs"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-300, 1e-3, 2.0, 1e30, 1e300])
@pytest.mark.parametrize("most_noise", [None, 1e-30, 2.0, 1e30])
def test_gradients_at_both_ends_of_their_type_stay_finite(
    unit: Unit, dtype: torch.dtype, scale: float, most_noise: float | None
) -> None:
    kind = torch.finfo(dtype)
    end = min(kind.max, torch.finfo(torch.float32).max)
    shape = torch.randn(4, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).clamp(-2, 2) / 2
    shape[0, 0] = 1.0
    for limit in (1, 127):
        dither = Dither(scale=scale, limit=limit, unit=unit, most_noise=most_noise)
        for size in (end, end / 3, 1.0, 1e3 * float(kind.smallest_normal)):
            gradient = (shape * size).to(dtype)
            step = step_of(gradient, dither, scale, most_noise)
            assert math.isfinite(step.noise)
            assert bool(gradient_of(ditherer(dither), gradient).isfinite().all())
            assert step.size >= 0.0
            if size == 1.0:
                assert step.size > 0.0


def test_its_mean_is_the_gradient_and_its_variance_what_the_state_says() -> None:
    gradient = torch.randn(4, 25, generator=torch.Generator().manual_seed(1))
    source = ditherer(Dither(scale=2.0, most_noise=None))
    draws = []
    for _ in range(2000):
        source.begin()
        draws.append(gradient_of(source, gradient))
    stacked = torch.stack(draws)
    (state,) = source.states(1)
    variance = float((stacked - gradient).square().sum(dim=(1, 2)).mean())
    # the mean of 2000 draws lies within 5 deviations of the gradient, everywhere
    deviation = math.sqrt(2.0**2 / 4 / 2000)
    assert float((stacked.mean(dim=0) - gradient).abs().max()) < 5 * deviation * float(gradient.std())
    assert state.noise == pytest.approx(variance / float(gradient.square().sum()), rel=0.02)
    assert state.zeros == pytest.approx(float((stacked == 0).float().mean()))
    assert state.natural_zeros == 0.0


@pytest.mark.parametrize(("scale", "zeros"), [(1.0, 0.37), (2.0, 0.61), (4.0, 0.80), (8.0, 0.90)])
def test_zeros_of_a_gaussian_are_those_of_the_formula(scale: float, zeros: float) -> None:
    gradient = torch.randn(64, 1000, generator=torch.Generator().manual_seed(0))
    source = ditherer(Dither(scale=scale, most_noise=None))
    gradient_of(source, gradient)
    (state,) = source.states(1)
    assert state.zeros == pytest.approx(zeros, abs=0.01)
    assert state.bits == math.ceil(math.log2(5 / scale + 2)) + 1 or state.bits <= 4


def test_the_guard_keeps_noise_below_what_was_allowed_and_gives_way_to_the_limit() -> None:
    gradient = torch.randn(8, 500, generator=torch.Generator().manual_seed(0))
    source = ditherer(Dither(scale=8.0, most_noise=2.0))
    gradient_of(source, gradient)
    (state,) = source.states(1)
    assert 1.5 < state.noise <= 2.0
    assert state.guarded == 1.0
    spike = torch.full((1, 10_000), 1e-3)
    spike[0, 0] = 1.0
    source = ditherer(Dither(scale=1.0, limit=1, most_noise=0.5))
    gradient_of(source, spike)
    (state,) = source.states(1)
    assert state.limited == 1.0
    assert state.noise > 0.5
    assert state.bits == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_results_are_whole_multiples_of_one_step_in_every_type(dtype: torch.dtype) -> None:
    gradient = torch.randn(8, 500, generator=torch.Generator().manual_seed(0)).to(dtype)
    dithered_gradient = gradient_of(ditherer(Dither(scale=1.0)), gradient)
    assert dithered_gradient.dtype is dtype
    values = dithered_gradient.double().unique().numpy()
    step = np.min(values[values > 0])
    assert np.allclose(values / step, np.rint(values / step), rtol=0, atol=1e-5 if dtype is torch.float32 else 0)
    assert len(values) > 4


def test_gradients_of_nothing_and_of_infinities_pass_as_they_are() -> None:
    source = ditherer(Dither())
    zeros, broken = torch.zeros(2, 16), torch.full((2, 16), float("inf"))
    assert torch.equal(gradient_of(source, zeros), zeros)
    assert torch.equal(gradient_of(source, broken), broken)
    assert source.states(1) == []


def test_few_values_a_sample_layers_unnamed_and_scale_0_keep_their_gradients() -> None:
    gradient = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    wide = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(gradient_of(ditherer(Dither()), gradient), gradient)
    assert not torch.equal(gradient_of(ditherer(Dither(fewest=10)), gradient), gradient)
    assert torch.equal(gradient_of(ditherer(Dither(layers=("oth.*",))), wide), wide)
    assert not torch.equal(gradient_of(ditherer(Dither(layers=("oth.*",))), wide, "other"), wide)
    assert torch.equal(gradient_of(ditherer(Dither(scale=0.0)), wide), wide)


def test_draws_depend_on_seed_step_layer_call_and_worker_only() -> None:
    gradient = torch.randn(4, 100, generator=torch.Generator().manual_seed(0))

    def draw(seed: int = 0, step: int = 3, name: str = "layer", call: int = 0, rank: int = 0) -> torch.Tensor:
        source = Ditherer(Dither(seed=seed), {"layer": 1, "other": 1})
        source.step, source.worker = step, (rank, 2)
        torch.manual_seed(step + rank)  # the global generator has no say
        for _ in range(call):
            gradient_of(source, gradient, name)
        return gradient_of(source, gradient, name)

    base = draw()
    assert torch.equal(base, draw())
    changes = ({"seed": 1}, {"step": 4}, {"name": "other"}, {"call": 1}, {"rank": 1})
    assert not any(torch.equal(base, draw(**change)) for change in changes)  # type: ignore[arg-type]


def test_the_step_grows_with_the_square_root_of_the_workers_and_over_the_warmup() -> None:
    gradient = torch.randn(8, 400, generator=torch.Generator().manual_seed(0))

    def step(dither: Dither, workers: int, at: int) -> float:
        source = Ditherer(dither, {"layer": 1})
        source.step, source.worker = at, (0, workers)
        values = gradient_of(source, gradient).abs().unique()
        return float(values[values > 0].min()) / float(gradient.std(correction=0))

    free = Dither(scale=1.0, most_noise=None)
    assert step(free, 4, 1) == pytest.approx(2.0, rel=1e-5)
    assert step(Dither(scale=1.0, most_noise=None, by_workers=False), 4, 1) == pytest.approx(1.0, rel=1e-5)
    assert step(Dither(scale=4.0, most_noise=None, warmup=8), 1, 2) == pytest.approx(1.0, rel=1e-5)


def test_recomputed_activations_draw_once_and_the_same() -> None:
    x = torch.randn(4, 20, generator=torch.Generator().manual_seed(5))

    class Recomputed(nn.Module):
        def __init__(self, *, recomputes: bool) -> None:
            super().__init__()
            self.net, self.recomputes = perceptron(), recomputes

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return checkpoint(self.net, x, use_reentrant=False) if self.recomputes else self.net(x)

    gradients = []
    for recomputes in (False, True):
        network = dithered(Recomputed(recomputes=recomputes), Dither())
        network(x).square().sum().backward()
        assert [state.draws for state in network.ditherer.states(1)] == [1, 1]
        gradients.append([parameter.grad for parameter in network.parameters()])
    assert all(torch.equal(plain, again) for plain, again in zip(*gradients, strict=True))  # type: ignore[arg-type]


def test_a_copy_dithers_by_its_own_clock_and_hooks_come_off() -> None:
    network = dithered(perceptron(), Dither())
    other = copy.deepcopy(network)
    x = torch.randn(4, 20)
    other(x).square().sum().backward()
    assert (network.ditherer.step, other.ditherer.step) == (0, 1)
    assert network.ditherer.states(0) == []
    assert len(other.ditherer.states(0)) == 2
    plain = network.remove()
    plain(x).square().sum().backward()
    assert network.ditherer.states(0) == []


def test_evaluation_and_no_grad_move_no_clock() -> None:
    network = dithered(perceptron())
    with torch.no_grad():
        network(torch.zeros(2, 20))
    network.eval()(torch.zeros(2, 20)).sum().backward()
    assert network.ditherer.step == 0
    assert network.ditherer.states(0) == []


def run_of(dither: Dither | None, *, is_float: bool = False) -> Training:
    torch.manual_seed(0)
    if is_float:
        layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 10)
        network: nn.Module = dithered(nn.Sequential(*layers), dither)
        optimizer = torch.optim.SGD(network.parameters(), 1e-2, momentum=0.9)
    else:
        qat = prepare(net_graph(nn.ReLU), batch(), config("none", dither=dither))
        network, optimizer = qat, torch.optim.SGD(parameter_groups(qat, 1e-3), 1e-3, momentum=0.9)

    def epoch(number: int, first: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [(batch(4, seed=10 * number + index), LABELS) for index in range(first, 4)]

    return Training(network, optimizer, lambda logits, y: F.cross_entropy(0.1 * logits, y), epoch)


@pytest.mark.parametrize("is_float", [False, True])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_killed_and_resumed_it_ends_with_the_same_weights(tmp_path: Path, accumulate: int, is_float: bool) -> None:
    dither, path = Dither(scale=2.0, warmup=6), tmp_path / "run.ckpt"
    whole = run_of(dither, is_float=is_float)
    fit(whole, Loop(2, accumulate))
    assert whole.plain.ditherer.step == 8  # type: ignore[union-attr]
    killed = run_of(dither, is_float=is_float)
    fit(killed, Loop(2, accumulate, checkpoint=path, checkpoint_every=1, stop_after=3))
    again = run_of(dither, is_float=is_float)
    assert resume(again, Loop(2, accumulate, checkpoint=path))
    fit(again, Loop(2, accumulate))
    ends = [run.network.state_dict() for run in (whole, again)]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
    other = run_of(Dither(scale=1.0), is_float=is_float)
    with pytest.raises(TrainingError, match="its config or name differs"):
        resume(other, Loop(2, checkpoint=path))


@pytest.mark.parametrize("method", ["proved", "oaq", "none"])
def test_integers_and_programs_of_given_weights_know_nothing_of_dithering(method: str, tmp_path: Path) -> None:
    x, programs, tensors = batch(4, seed=3), [], []
    for dither in (None, Dither(scale=0.0), Dither(scale=2.0)):
        network = prepare(net_graph(nn.ReLU), batch(), config(method, dither=dither))
        network.train()
        network(x).square().sum().backward()  # draws, and the clock moves
        tensors.append(network(x).detach())
        network.eval()
        program = convert(network)
        assert not differences(network, program, x)
        save(program, tmp_path / "net.oaq")
        programs.append((tmp_path / "net.oaq").read_bytes())
    assert torch.equal(tensors[0], tensors[1])
    assert torch.equal(tensors[0], tensors[2])
    assert programs[0] == programs[1] == programs[2]


def test_gradients_of_weights_are_dithered_and_those_of_biases_and_scales_of_the_last_layer_are_not() -> None:
    x, gradients = batch(4, seed=3), []
    for dither in (None, Dither(scale=4.0, fewest=0)):
        network = prepare(net_graph(nn.ReLU), batch(), config("none", dither=dither))
        network.train()
        network(x).square().sum().backward()
        last = list(network.layer.values())[-1]
        gradients.append((last.weight.grad, last.bias.grad))
        if network.ditherer is not None:
            states = network.ditherer.states(1)
            assert {state.layer for state in states} == set(network.layer)
            assert all(state.bits <= 8 for state in states)
            assert 0.0 < skipped(states) < 1.0
    (weight, bias), (dithered_weight, dithered_bias) = gradients
    assert not torch.equal(weight, dithered_weight)  # type: ignore[arg-type]
    assert torch.equal(bias, dithered_bias)  # type: ignore[arg-type]


def test_the_log_is_read_back_and_goes_on_after_a_resume(tmp_path: Path) -> None:
    states = [
        DitherState(at, name, 2, 0.25, 0.75, 6, 0.5, 0.0, 0.5, 9, 128.0) for at in (50, 100) for name in ("a", "b")
    ]
    log = CsvLog(tmp_path / "d.csv", kind=DitherState)
    log(states)
    assert read_states(tmp_path / "d.csv", DitherState) == states
    CsvLog(tmp_path / "d.csv", 50, DitherState)(states[2:3])
    assert read_states(tmp_path / "d.csv", DitherState) == states[:3]
    assert skipped(states) == pytest.approx(0.75)
    assert skipped([]) == 0.0


def test_settings_go_through_yaml_and_wrong_ones_are_one_line() -> None:
    settings_of_dither = Config(dither=Dither(1.5, 63, "mean_abs", ("a.*",), most_noise=None))
    assert from_yaml(to_yaml(settings_of_dither), Config) == settings_of_dither
    for wrong, words in (
        ({"scale": -1.0}, "scale is at least 0"),
        ({"limit": 128}, "limit is 1 to 127, not 128"),
        ({"unit": "max"}, "unit is one of std, nonzero_std, mean_abs, not 'max'"),
        ({"most_noise": 0.0}, "most_noise is positive"),
        ({"warmup": -1}, "warmup is a whole number"),
        ({"layers": ("(",)}, "is not a regular expression"),
    ):
        with pytest.raises(ConfigError, match=words):
            Dither(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="'conv' matches no layer; there are 0, 2, 4"):
        dithered(perceptron(), Dither(layers=("conv",)))
    with pytest.raises(ConfigError, match="ReLU has no convolution and no linear layer"):
        dithered(nn.ReLU())


def test_transposed_convolutions_count_the_products_of_what_they_sum() -> None:
    network = dithered(nn.Sequential(nn.ConvTranspose2d(6, 4, 4, stride=2)), Dither())
    network(torch.randn(2, 6, 5, 5, requires_grad=True)).square().sum().backward()
    (state,) = network.ditherer.states(1)
    assert (state.products, state.values) == (6 * 16 // 4, 2 * 4 * 12 * 12)
