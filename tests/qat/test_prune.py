"""Pruning: which weights go, that they stay zero in every integer, and that training goes on exactly."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import oaq
from oaq.choose.target import Target, cell_sums, make_cells
from oaq.errors import ConfigError
from oaq.ptq.device_cells import on_device
from oaq.qat import (
    Config,
    LayerSparsity,
    Prune,
    QatNetwork,
    convert,
    forget,
    from_yaml,
    load_checkpoint,
    prepare,
    prune_to,
    rewind,
    save_checkpoint,
    snapshot,
    sparsity,
    to_yaml,
)
from oaq.qat.checkpoint import Position
from oaq.qat.masks import share_of
from oaq.qat.prune import PUBLISHED, crowding, keep, units
from tests.qat.nets import ALL_METHODS, batch, config, differences, everything_graph, net_graph, trained


def network(method: str = "none", *, whole: bool = False, **prune: object) -> QatNetwork:
    """A fresh network of the method; of every operator if ``whole``."""
    return deepcopy(_prepared(method, whole, Prune(**prune)))  # type: ignore[arg-type]


@cache
def _prepared(method: str, whole: bool, prune: Prune) -> QatNetwork:
    settings = config(method, batch_norm="reestimate", prune=prune)
    return prepare(everything_graph() if whole else net_graph(), batch(), settings)


def integers(network: QatNetwork) -> dict[str, np.ndarray]:
    """(N, K) integers of every layer, in packed K order."""
    return {node.name: node.products.rows for node in convert(network).summing_nodes()}


@pytest.mark.parametrize(
    ("method", "pattern"), [*((method, "element") for method in ALL_METHODS), ("proved", "quad-tile")]
)
def test_pruned_weights_are_zero_in_training_and_in_the_program_under_every_method(method: str, pattern: str) -> None:
    made = network(method, pattern=pattern, outputs=4)
    prune_to(made, 0.6)
    trained(made, batch(), torch.randn(8, 10, generator=torch.Generator().manual_seed(1)), steps=1)
    program = convert(made)
    assert not differences(made, program, batch(4, 1))
    for node in program.summing_nodes():
        mask = made.layer[node.name].mask
        assert mask is not None
        assert not node.products.rows[~mask.numpy()].any()


def test_gradients_of_pruned_weights_are_zero_and_those_of_the_rest_are_not() -> None:
    made = network()
    prune_to(made, 0.5)
    made.train()
    made(batch()).square().mean().backward()
    for layer in made.layer.values():
        assert layer.mask is not None
        assert layer.weight.grad is not None
        kept = layer.unpacked(layer.mask.float())
        assert not (layer.weight.grad * (1 - kept)).any()
        assert (layer.weight.grad * kept).any()


def test_the_smallest_weights_of_all_layers_go_first() -> None:
    made = network()
    magnitudes = torch.cat([layer.weight.detach().abs().flatten() for layer in made.layer.values()])
    found = prune_to(made, 0.3)
    assert share_of(found) == pytest.approx(0.3, abs=0.01)
    edge = magnitudes.sort().values[int(0.3 * len(magnitudes))]
    for layer in made.layer.values():
        assert layer.mask is not None
        below = layer.float_rows().abs()[layer.mask]
        assert below.min() >= edge * 0.99


def test_by_layer_every_layer_loses_the_same_share() -> None:
    found = prune_to(network(scope="layer"), 0.4)
    for layer in found:
        assert layer.pruned == pytest.approx(0.4 * layer.weights, abs=1.0)


def test_exempt_layers_keep_their_weights_and_the_others_go_further_only() -> None:
    first = next(iter(network().layer))
    made = network(exempt=(first,))
    prune_to(made, 0.3)
    before = {name: layer.mask.clone() for name, layer in made.layer.items() if layer.mask is not None}
    found = prune_to(made, 0.7)
    assert found[0] == LayerSparsity(first, made.layer[first].weight.numel(), 0)
    for name, layer in made.layer.items():
        assert layer.mask is not None
        assert not (layer.mask & ~before[name]).any()
    assert prune_to(made, 0.1) == found


@pytest.mark.parametrize("pattern", ["element", "quad-tile"])
def test_a_layer_keeps_its_last_unit(pattern: str) -> None:
    for layer in prune_to(network(pattern=pattern), 0.999):
        assert layer.pruned < layer.weights


def test_blocks_are_steps_of_tiles() -> None:
    prune = Prune(pattern="quad-tile", outputs=3, steps=2)
    whole = units(prune, (8, 20), 2, torch.device("cpu"))  # four outputs a group: tiles of three and of one
    assert whole.index[0, :8].unique().tolist() == [0]
    assert whole.index[:3, :8].unique().tolist() == [0]
    assert whole.index[3, :8].unique().tolist() == [3]
    assert whole.index[4, 0] == 6
    assert whole.index[0, 8:].tolist() == [1] * 8 + [2] * 4
    assert whole.sizes.tolist() == [24, 24, 12, 8, 8, 4] * 2
    assert torch.equal(whole.mean(torch.ones(8, 20)), torch.ones(12, dtype=torch.float64))


def test_blocks_go_whole_and_depthwise_layers_have_none() -> None:
    made = network(whole=True, pattern="quad-tile", outputs=4)
    found = {layer.layer: layer for layer in prune_to(made, 0.5)}
    for name, layer in made.layer.items():
        assert layer.mask is not None
        if layer.depthwise:
            assert found[name].pruned == 0
            continue
        shape = len(layer.weight), layer.terms
        whole = units(made.config.prune or Prune(), shape, layer.op.channel_groups, torch.device("cpu"))
        assert set(whole.mean(layer.mask.float()).tolist()) <= {0.0, 1.0}


def test_fullness_is_that_of_the_register_with_all_larger_weights() -> None:
    cells = on_device(make_cells(8, Target("pure", 16), depthwise=False), "cpu")
    rows = torch.tensor([[5.0, -1.0, 3.0, 0.0, 2.0, -4.0, 0.0, 0.0]])
    assert crowding(rows, cells, (10, 5)).tolist() == [pytest.approx([0.5, 1.0, 0.8, 0.0, 1.0, 0.8, 0.0, 0.0])]


def test_what_empties_the_fullest_registers_lowers_the_bound_more_than_magnitude_does() -> None:
    worst = {}
    for criterion in ("magnitude", "bound"):
        made = network("none", whole=True, criterion=criterion)
        prune_to(made, 0.5)
        sums = []
        for rows in integers(made).values():
            cells = make_cells(rows.shape[1], Target(), depthwise=False)
            sums.append(max(int(part.max()) for part in cell_sums(rows, cells)))
        worst[criterion] = sum(sums)
    assert worst["bound"] < 0.9 * worst["magnitude"]


def test_units_go_by_their_scores_until_the_share_is_full() -> None:
    scores, sizes = torch.tensor([3.0, 1.0, 2.0, 0.5]), torch.tensor([1, 2, 3, 4])
    first = torch.tensor([True, False, False, False])
    assert keep(scores, sizes, first, 0.0).tolist() == [False, True, True, True]
    assert keep(scores, sizes, first, 0.5).tolist() == [False, True, True, False]
    assert keep(scores, sizes, first, 0.7).tolist() == [False, False, True, False]


def test_a_run_that_is_resumed_ends_with_the_same_weights_and_masks(tmp_path: Path) -> None:
    x, wanted = batch(), torch.randn(8, 10, generator=torch.Generator().manual_seed(1))

    def steps(made: QatNetwork, optimizer: torch.optim.Optimizer, count: int) -> None:
        made.train()
        for _ in range(count):
            optimizer.zero_grad()
            ((made(x) - wanted).square().mean() + made.penalty()).backward()
            optimizer.step()

    whole = network(l1=1e-5)
    optimizer = torch.optim.Adam(whole.parameters(), 1e-3)
    steps(whole, optimizer, 2)
    prune_to(whole, 0.5)
    forget(whole, optimizer)
    steps(whole, optimizer, 1)
    save_checkpoint(tmp_path / "half.ckpt", whole, optimizer, Position(0, 3, 3))
    steps(whole, optimizer, 2)
    again = network(l1=1e-5)
    optimizer = torch.optim.Adam(again.parameters(), 1e-3)
    load_checkpoint(tmp_path / "half.ckpt", again, optimizer)
    steps(again, optimizer, 2)
    assert sparsity(again) == sparsity(whole)
    for (name, one), other in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_moments_of_pruned_weights_are_forgotten_and_all_others_kept() -> None:
    made = network()
    optimizer = torch.optim.Adam(made.parameters(), 1e-3)
    made.train()
    made(batch()).square().mean().backward()
    optimizer.step()
    prune_to(made, 0.5)
    layer = next(iter(made.layer.values()))
    before = optimizer.state[layer.weight]["exp_avg"].clone()
    forget(made, optimizer)
    assert layer.mask is not None
    kept = layer.unpacked(layer.mask.float())
    assert torch.equal(optimizer.state[layer.weight]["exp_avg"], before * kept)
    assert optimizer.state[layer.weight]["step"] == 1


def test_rewinding_takes_back_everything_but_the_masks() -> None:
    made = network()
    start = snapshot(made)
    first = {name: value.clone() for name, value in start.items()}
    trained(made, batch(), torch.zeros(8, 10), steps=2)
    assert any(not torch.equal(start[name], made.state_dict()[name]) for name in start)
    assert all(torch.equal(start[name], first[name]) for name in start)  # copies, which training does not move
    found = prune_to(made, 0.5)
    rewind(made, start)
    assert sparsity(made) == found
    assert all(torch.equal(value, made.state_dict()[name]) for name, value in start.items())
    with pytest.raises(ConfigError, match="the snapshot is of another network"):
        rewind(made, {"weight": torch.zeros(1)})


def test_l1_is_of_the_weights_of_layers_and_of_nothing_else() -> None:
    made = network(l1=0.5)
    wanted = 0.5 * sum(float(layer.weight.detach().abs().sum()) for layer in made.layer.values())
    assert float(made.penalty().detach()) == pytest.approx(wanted, rel=1e-5)
    made.penalty().backward()
    assert all(layer.gain is None or layer.gain.grad is None for layer in made.layer.values())
    assert float(network().penalty()) == 0.0


def test_settings_survive_yaml_and_wrong_ones_are_refused() -> None:
    settings = Config(method="none", prune=Prune(scope="layer", exempt=("head",), steps=4, pattern="quad-tile"))
    assert from_yaml(to_yaml(settings), Config) == settings
    assert len(PUBLISHED) == 11
    for wrong in (
        {"scope": "all"},
        {"criterion": "random"},
        {"pattern": "row"},
        {"schedule": ()},
        {"schedule": (0.5, 0.4)},
        {"schedule": (0.0, 0.4)},
        {"schedule": (0.5, 1.0)},
        {"outputs": 0},
        {"steps": True},
        {"exempt": ("(",)},
        {"l1": -1.0},
    ):
        with pytest.raises(ConfigError, match=r"^prune: "):
            Prune(**wrong)  # type: ignore[arg-type]


def test_what_cannot_be_pruned_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"this network is not pruned: give Config\(prune=Prune"):
        prune_to(prepare(net_graph(), batch(), config("none")), 0.5)
    with pytest.raises(ConfigError, match="every layer is exempt"):
        prune_to(network(exempt=(".*",)), 0.5)
    with pytest.raises(ConfigError, match="a share of zeros is at least 0 and below 1"):
        prune_to(network(), 1.0)


def test_blocks_are_steps_that_the_plan_leaves_out() -> None:

    made = network("none", whole=True, pattern="quad-tile", outputs=16)
    dense = oaq.plan(convert(made), isa="avx2")
    prune_to(made, 0.6)
    pruned = oaq.plan(convert(made), isa="avx2")
    assert pruned.seconds < dense.seconds
    left_out = sum(node.schedule.skipped for node in pruned.nodes if node.schedule is not None)
    assert left_out > 0
