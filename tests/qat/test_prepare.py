"""Where training begins: as near to the float network as its integers allow, and where a step does not undo that."""

from __future__ import annotations

from math import log2

import pytest
import torch
from torch import nn

from oaq.choose.target import Target
from oaq.qat import (
    LayerRule,
    OverflowController,
    QatNetwork,
    convert,
    parameter_groups,
    prepare,
    targets,
    verdicts,
)
from oaq.qat.begin import best_start
from oaq.qat.constrain import centred, norm_limit
from oaq.qat.layer import QatLayer
from tests.ptq.nets import net
from tests.qat.nets import batch, config, differences, net_graph, trained

NORMS = ["a2q", "a2q+"]


def wide(method: str, bits: int) -> tuple[QatNetwork, QatLayer, torch.Tensor]:
    """A linear layer of 256 weights per output and operands of 8 bits; with its weights as they were."""
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(256, 6), nn.ReLU(), nn.Linear(6, 2))
    x = torch.rand(16, 256)
    network = prepare(made, x, config(method, target=Target("pure", bits)))
    return network, network.layer["0"], centred(method, made[0].weight.detach())  # type: ignore[arg-type]


@pytest.mark.parametrize("method", NORMS)
def test_where_the_norm_allows_it_training_begins_with_the_nearest_integers(method: str) -> None:
    network, layer, weight = wide(method, 32)
    numbers = layer.numbers(network.grids()[network.graph.inputs[0]])
    nearest = torch.round(weight / numbers.scale[:, None])
    assert torch.equal(numbers.rows, nearest.clamp(-127, 127))
    assert float(numbers.rows.detach().abs().max()) > 100


@pytest.mark.parametrize("method", NORMS)
@pytest.mark.parametrize("bits", [18, 32])
def test_a_quarter_of_a_step_towards_zero_truncates_no_weight_that_begins_as_another_integer(
    method: str, bits: int
) -> None:
    network, layer, _ = wide(method, bits)
    grid = network.grids()[network.graph.inputs[0]]
    before = layer.numbers(grid)
    assert layer.log_norm is not None
    assert int((before.rows != 0).sum()) > 60
    assert float(before.rows.detach().abs().sum(dim=1).max()) <= norm_limit(method, bits, 255)
    with torch.no_grad():
        shorter = layer.float_rows() - 0.25 * before.scale[:, None] * before.rows.sign()
        layer.weight.copy_(layer.unpacked(shorter))
        layer.log_norm.copy_(torch.log2(centred(method, shorter).abs().sum(dim=1)))
    kept = before.rows == layer.numbers(grid).rows
    assert bool(kept[before.rows != 0].all())


@pytest.mark.parametrize("method", NORMS)
def test_under_a_narrow_norm_it_begins_nearer_than_by_shrinking_all_weights_alike(method: str) -> None:
    network, layer, weight = wide(method, 16)
    numbers = layer.numbers(network.grids()[network.graph.inputs[0]])
    error = (numbers.rows * numbers.scale[:, None] - weight).square().sum(dim=1).detach()
    limit, shrunk = norm_limit(method, 16, 255), []
    whole = weight.abs().amax(dim=1) / 127
    for part in torch.logspace(-1, 6, 57, base=2.0):
        steps = weight / (whole * part)[:, None]
        steps = torch.trunc(steps * (limit / steps.abs().sum(dim=1)).clamp_max(1.0)[:, None])
        shrunk.append((steps * (whole * part)[:, None] - weight).square().sum(dim=1))
    assert float((error / torch.stack(shrunk).amin(dim=0)).max()) < 0.9


def budget_bound(adaptive: bool, bits: int = 12) -> QatNetwork:
    return prepare(net_graph(), batch(), config("proved", target=Target("pure", bits), adaptive=adaptive))


def error(network: QatNetwork, x: torch.Tensor, wanted: torch.Tensor) -> float:
    with torch.no_grad():
        return float((network.eval()(x) - wanted).square().mean())


def test_under_a_narrow_accumulator_operands_take_fewer_steps_and_the_network_is_nearer_to_the_float_one() -> None:
    x = batch(16, seed=3)
    with torch.no_grad():
        wanted = net()(x)
    fixed, adaptive = budget_bound(False), budget_bound(True)
    assert all(int(one.steps) == 255 for one in fixed.quantizer.values())
    read = {root for root, readers in adaptive.readers() if readers}
    assert any(int(adaptive.quantizer[root].steps) < 128 for root in read)
    assert all(int(one.steps) == 255 for root, one in adaptive.quantizer.items() if root not in read)
    assert error(adaptive, x, wanted) < 0.5 * error(fixed, x, wanted)
    program = convert(adaptive)
    assert all(one.proved for one in verdicts(program, targets(adaptive)))
    assert not differences(adaptive, program, x)


def test_a_wide_accumulator_leaves_operands_all_their_steps() -> None:
    network = budget_bound(True, 32)
    assert all(int(one.steps) == int(one.most_steps) == 255 for one in network.quantizer.values())


def test_tensors_that_only_exempt_layers_read_keep_all_their_steps() -> None:
    rules = (LayerRule(".*", exempt=True),)
    network = prepare(net_graph(), batch(), config("proved", target=Target("pure", 10), layers=rules))
    assert all(int(one.steps) == 255 for one in network.quantizer.values())


def test_a_controller_leaves_the_steps_that_were_chosen() -> None:
    network = budget_bound(True)
    before = [int(one.steps) for one in network.quantizer.values()]
    network.apply_alphas()
    assert [int(one.steps) for one in network.quantizer.values()] == before


def test_the_outputs_looked_at_are_spread_over_the_layer() -> None:
    layer = budget_bound(False).layer["3"]
    outputs = len(layer.weight)
    every, some = best_start(layer, 255), best_start(layer, 255, 3)
    assert torch.equal(some.scale, every.scale[:: -(-outputs // 3)])
    assert torch.equal(best_start(layer, 255, outputs).scale, every.scale)


def test_logarithms_of_scales_and_norms_have_their_own_rate_and_no_parameter_is_left_out() -> None:
    for method in ("a2q+", "proved", "oaq"):
        network = prepare(net_graph(), batch(), config(method))
        groups = parameter_groups(network, 0.5, 0.25)
        found = [id(each) for group in groups for each in group["params"]]
        assert sorted(found) == sorted(map(id, network.parameters()))
        rates = {id(each): (group["lr"], group["weight_decay"]) for group in groups for each in group["params"]}
        for name, each in network.named_parameters():
            ending = name.rsplit(".", 1)[-1]
            wanted = {"weight": (0.5, 0.25), "bias": (0.5, 0.0), "gain": (0.5, 0.0)}.get(ending, (5.0, 0.0))
            assert rates[id(each)] == wanted, name


def test_a_scale_moves_by_the_same_part_however_small_it_is() -> None:
    """With the scale itself as a parameter, a step of Adam would be many times a small one."""
    network = prepare(net_graph(), batch(), config("none"))
    layer = network.layer["3"]
    assert layer.log_scale is not None
    with torch.no_grad():
        layer.log_scale[0] -= 20.0
    before = layer.weight_scale().detach()
    optimizer = torch.optim.Adam(parameter_groups(network, 1e-3), 1e-3)
    network.train()
    network(batch()).square().mean().backward()
    optimizer.step()
    moved = (layer.weight_scale().detach() / before).log2().abs()
    assert float(moved.max()) < 1.01 * 10 * 1e-3
    assert float(before.max() / before.min()) > 1e5


def test_the_rule_narrows_learned_ranges_and_the_real_range_stays() -> None:
    network = prepare(net_graph(), batch(), config("oaq", ranges="learned"))
    assert not network.tracks
    root, readers = next((root, readers) for root, readers in network.readers() if readers)
    layer, grid = readers[0], network.quantizer[root].grid()
    scale = layer.weight_scale().detach()
    for each in readers:
        each.alpha.fill_(2.0)
    network.apply_alphas()
    narrow = network.quantizer[root].grid()
    assert (int(layer.clip), narrow.range.hi) == (63, grid.range.hi // 2)
    assert torch.allclose(layer.weight_scale().detach() * 63, scale * 127, rtol=1e-5)
    assert float(narrow.scale.detach()) * narrow.range.hi == pytest.approx(
        float(grid.scale.detach()) * grid.range.hi, rel=1e-5
    )


def test_learned_ranges_do_not_follow_the_data_and_end_without_overflow() -> None:
    x = batch()
    network = prepare(net_graph(), x, config("oaq", ranges="learned", target=Target("pure", 14), count="register"))
    before = [one.ends.clone() for one in network.quantizer.values()]
    trained(network, 10 * x, torch.zeros(len(x), 10), steps=2, lr=1e-4)
    assert all(torch.equal(one.ends, was) for one, was in zip(network.quantizer.values(), before, strict=True))
    controller = OverflowController(network, rate=0.5)
    assert any(one.wrong for one in controller.count([x]).values())
    states = controller.finish([x])
    assert not any(one.overflows for one in states)
    assert any(one.alpha > 1.0 and one.weight_bits < log2(2 * 127 + 1) for one in states)
