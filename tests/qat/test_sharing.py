"""Layers that share weights train one set of integers, at every level, and batch norms are what they were."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import oaq
from oaq.choose.target import Target
from oaq.errors import ConfigError
from oaq.program.int_program import IntProgram
from oaq.qat import Config, LayerRule, Prune, QatNetwork, convert, parameter_groups, prepare, prune_to, reestimate
from oaq.verify import verify
from tests.qat.heads import X, pyramid
from tests.qat.nets import ALL_METHODS, config, differences

LEVELS = {"tower": ("tower", "tower:2"), "predict": ("predict", "predict:2")}


def steps(network: QatNetwork, count: int = 3) -> QatNetwork:
    """Some steps of training, statistics measured anew, in eval mode."""
    wanted = [y.detach() + 0.1 for y in pyramid()(X)]
    optimizer = torch.optim.AdamW(parameter_groups(network, 3e-3, 1e-4), 3e-3)
    for _ in range(count):
        loss = sum((y - target).square().mean() for y, target in zip(network(X), wanted, strict=True))
        optimizer.zero_grad()
        (loss + network.penalty()).backward()  # type: ignore[union-attr]
        optimizer.step()
    reestimate(network, [X, X * 0.5])
    return network.eval()


def rows(program: IntProgram, name: str) -> list[np.ndarray]:
    return [program.by_name[node].products.rows for node in LEVELS[name]]


@pytest.mark.parametrize("semantics", ["float32_half_even", "fixed_point"])
@pytest.mark.parametrize("method", ALL_METHODS)
@pytest.mark.parametrize("statistics", ["fold", "levels"])
def test_levels_have_one_set_of_integers_and_every_tensor_is_the_forward_pass(
    method: str, statistics: str, semantics: str
) -> None:
    chosen = config(method, batch_norm=statistics, requantize=semantics)
    network = steps(prepare(pyramid(), X[:1], chosen, calibration=[X]))
    program = convert(network)
    for name in LEVELS:
        first, other = rows(program, name)
        assert first.any() and np.array_equal(first, other)
    assert program.requantize == semantics
    assert differences(network, program, X) == []


def test_narrow_odd_weights_with_wide_residuals_are_the_integers_that_run() -> None:
    chosen = Config(
        method="none", weight_bits=2, activation_bits=3, first_last_bits=None, batch_norm="levels",
        weight_grid="odd", wide_residuals=True, requantize="fixed_point",
    )  # fmt: skip
    network = steps(prepare(pyramid(), X[:1], chosen, calibration=[X]))
    program = convert(network)
    assert differences(network, program, X) == []
    for node in program.summing_nodes():
        assert set(np.unique(node.products.weight)) <= {-3, -1, 1, 3}
        assert program.specs(node)[0].range.hi <= 7
    by_kind = {name: type(program.by_name[name].op).__name__ for name in program.by_name}
    narrow = [name for name in by_kind if name.endswith(".narrow")]
    assert narrow and all(by_kind[name] == "Lookup" for name in narrow)
    add = next(node for node in program.nodes if type(node.op).__name__ == "Add")
    assert all(spec.range.hi == 255 for spec in program.specs(add))
    assert verify(program, X.numpy()).is_safe


def test_a_batch_norm_that_levels_have_together_stays_one() -> None:
    network = prepare(pyramid(levels=False), X[:1], config("none", batch_norm="reestimate"), calibration=[X])
    low, high = (network.layer[name] for name in LEVELS["tower"])
    assert high.norm is low and high.gain is low.gain and low.normalizes and high.normalizes
    before = low.mean.clone()
    network.train()(X)
    after, twice = low.mean.clone(), copy.deepcopy(before)
    assert not torch.equal(before, after)
    network.layer["tower"].mean.copy_(before)
    means: list[torch.Tensor] = []
    for layer in (low, high):
        layer.register_forward_hook(lambda *_: means.append(low.mean.clone()))
    network(X)
    assert len(means) == 2 and not torch.equal(means[0], means[1])  # every level moves the one average
    assert not torch.equal(means[0], twice)


def test_measuring_anew_is_the_mean_over_batches_and_over_the_levels_of_one_batch_norm() -> None:
    network = prepare(pyramid(levels=False), X[:1], config("none", batch_norm="reestimate"), calibration=[X])
    holder, means = network.layer["tower"], list[torch.Tensor]()
    lerp = torch.Tensor.lerp_

    def noted(self: torch.Tensor, end: torch.Tensor, weight: float) -> torch.Tensor:
        if self is holder.mean:
            means.append(end.clone())
        return lerp(self, end, weight)

    torch.Tensor.lerp_ = noted  # type: ignore[method-assign, assignment]
    try:
        reestimate(network, [X, X * 0.5])
    finally:
        torch.Tensor.lerp_ = lerp  # type: ignore[method-assign]
    assert len(means) == 4 and torch.allclose(holder.mean, torch.stack(means).mean(dim=0), atol=1e-6)


def test_the_start_is_what_the_float_network_is() -> None:
    net = pyramid()
    network = prepare(net, X[:1], Config(method="none", batch_norm="levels"), calibration=[X]).eval()
    for found, wanted in zip(network(X), net(X), strict=True):
        assert float((found.detach() - wanted.detach()).square().mean() / wanted.detach().var()) < 1e-3


def test_parameters_are_in_one_group_once() -> None:
    network = prepare(pyramid(), X[:1], config("a2q", batch_norm="levels"), calibration=[X])
    every = [id(parameter) for group in parameter_groups(network, 1e-3) for parameter in group["params"]]
    assert len(every) == len(set(every)) == len(list(network.parameters()))


def test_one_alpha_moves_all_levels() -> None:
    network = prepare(pyramid(), X[:1], config("oaq"), calibration=[X])
    network.layer["tower:2"].alpha.fill_(2.0)
    network.apply_alphas()
    clips = [int(network.layer[name].clip) for name in LEVELS["tower"]]
    assert clips[0] == clips[1] < network.layer["tower"].most_clip
    learned = prepare(pyramid(), X[:1], config("none"), calibration=[X])
    scale = learned.layer["tower"].weight_scale()
    learned.layer["tower"].alpha.fill_(2.0)
    learned.apply_alphas()
    moved = learned.layer["tower"]
    assert torch.allclose(moved.weight_scale(), scale * (moved.most_clip / int(moved.clip)))


@pytest.mark.parametrize(
    ("levels", "turned", "rules", "words"),
    [
        (False, False, (), r"tower, tower:2 share their weights and a batch norm.*give each level its own"),
        (True, True, (), r"differ in sign, or are 0, in channels 2, 3: no mult"),
        (True, False, (LayerRule("tower", weight_bits=3),), r"tower, tower:2 share.*one pattern"),
        (True, False, (LayerRule("predict:2", target=Target("pure", 20)),), r"predict, predict:2 share.*differ"),
    ],
)  # fmt: skip
def test_what_cannot_be_shared_is_refused_by_name(
    levels: bool, turned: bool, rules: tuple[LayerRule, ...], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        prepare(pyramid(levels=levels, turned=turned), X[:1], Config(batch_norm="levels", layers=rules))


def test_levels_without_a_shared_head_are_refused() -> None:
    alone = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()
    with pytest.raises(ConfigError, match="none is shared; use reestimate"):
        prepare(alone, X[:1], Config(batch_norm="levels"))


def test_weights_that_levels_turn_over_are_each_levels_own() -> None:
    program = convert(steps(prepare(pyramid(turned=True), X[:1], config("none"), calibration=[X])))
    first, other = rows(program, "tower")
    assert not np.array_equal(first, other)
    first, other = rows(program, "predict")
    assert np.array_equal(first, other)


def test_odd_weights_are_of_method_none_alone() -> None:
    with pytest.raises(ConfigError, match="no 0 to round to, which method 'proved' needs"):
        Config(weight_grid="odd")


def test_a_program_of_fixed_point_runs_as_it_was_trained() -> None:
    chosen = Config(method="proved", batch_norm="levels", requantize="fixed_point")
    network = steps(prepare(pyramid(), X[:1], chosen, calibration=[X]))
    outputs = oaq.Session(oaq.plan(convert(network))).run(X.numpy())
    for found, wanted in zip(outputs, network(X), strict=True):
        assert np.array_equal(found, wanted.detach().numpy())


def test_pruned_weights_are_zero_at_every_level() -> None:
    network = prepare(pyramid(), X[:1], config("none", batch_norm="levels", prune=Prune()), calibration=[X])
    counts = {count.layer: count for count in prune_to(network, 0.5)}
    assert "tower" in counts and "tower:2" not in counts
    program = convert(steps(network))
    first, other = rows(program, "tower")
    assert np.array_equal(first, other) and (first == 0).sum() >= counts["tower"].pruned > 0
    assert differences(network, program, X) == []
