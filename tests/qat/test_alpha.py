"""The rule: up while overflows are counted, down while none is, never below 1, still at the end."""

from __future__ import annotations

from math import log1p

import pytest
import torch
from torch import nn

from oaq.choose.target import Target
from oaq.errors import ConfigError, TrainingError
from oaq.qat import (
    Config,
    LayerRule,
    LayerState,
    OverflowController,
    Prune,
    QatNetwork,
    convert,
    planned_cost,
    prepare,
    prune_to,
)
from oaq.qat.cost import layer_costs, relative_cost
from oaq.qat.network import MOST_ALPHA
from tests.qat.nets import batch, config, differences, net_graph

X = torch.ones(4, 64)


def constructed(method: str = "oaq", **changes: object) -> QatNetwork:
    """One layer whose sums reach 64 * 255 * 127 = 2 072 640, far beyond 16 bits, and one whose sums are small."""
    made = nn.Sequential(nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        made[0].weight.fill_(1.0)  # type: ignore[operator]
        made[0].bias.zero_()  # type: ignore[operator]
        made[2].weight.copy_(torch.tensor([[1.0, -1.0, 0.5, 0.1], [0.3, 0.1, -0.2, 0.1]]) / 64)  # type: ignore[operator]
    settings = Config(**{"method": method, "target": Target("pure", 16), **changes})  # type: ignore[arg-type]
    return prepare(made, X, settings)


def calm(network: QatNetwork) -> None:
    """Weights of the first layer so unequal that its sum is small beside its largest weight."""
    with torch.no_grad():
        network.layer["0"].weight.fill_(1e-3)
        network.layer["0"].weight[:, 0] = 1.0


def iterate(network: QatNetwork, controller: OverflowController, times: int = 1) -> list[LayerState]:
    found: list[LayerState] = []
    for _ in range(times):
        network.train()
        network(X)
        found += controller.step() or []
    return found


def alpha(network: QatNetwork, name: str = "0") -> float:
    return float(network.layer[name].alpha)


def test_alpha_begins_at_one_and_rises_by_the_rule_while_sums_overflow() -> None:
    network = constructed()
    controller = OverflowController(network, interval=1, rate=0.25)
    assert alpha(network) == 1.0
    states = iterate(network, controller)
    assert [one.layer for one in states] == ["0", "2"]
    assert (states[0].overflows, states[0].sums) == (16, 16)  # every final sum of 4 images and 4 outputs
    assert alpha(network) == pytest.approx(1.0 + min(0.25 * log1p(16 / 4), 0.25)) == 1.25
    assert alpha(network, "2") == 1.0


def test_few_overflows_raise_alpha_too_and_by_less() -> None:
    network = constructed()
    with torch.no_grad():
        network.layer["0"].weight[1:] = 1e-3
        network.layer["0"].weight[1:, 0] = 1.0
    controller = OverflowController(network, interval=1, rate=0.25)
    states = iterate(network, controller)
    assert 0 < states[0].overflows <= len(X)
    assert alpha(network) == pytest.approx(1.0 + 0.25 * log1p(states[0].overflows / 4))
    assert 1.0 < alpha(network) < 1.25


def test_alpha_falls_by_the_rate_while_nothing_overflows_and_stops_at_one() -> None:
    network = constructed()
    controller = OverflowController(network, interval=1, rate=0.25)
    calm(network)
    network.layer["0"].alpha.fill_(1.6)
    network.apply_alphas()
    iterate(network, controller)
    assert alpha(network) == pytest.approx(1.35)
    iterate(network, controller, 3)
    assert alpha(network) == 1.0


def test_alpha_stops_where_three_bits_are_left() -> None:
    network = constructed()
    controller = OverflowController(network, interval=1, rate=100.0)
    network.layer["0"].target = Target("pure", 8)
    network.layer["0"].count_final = False
    states = iterate(network, controller)
    assert alpha(network) == MOST_ALPHA
    assert int(network.layer["0"].clip) == 7
    assert states[0].weight_bits == pytest.approx(3.907, abs=1e-3)


def test_narrow_ranges_are_those_of_alpha_for_weights_and_for_operands() -> None:
    network = constructed()
    network.layer["0"].alpha.fill_(2.0)
    network.apply_alphas()
    assert int(network.layer["0"].clip) == 63
    assert network.grids()[network.graph.inputs[0]].range.hi == 127
    network.layer["0"].alpha.fill_(1.0)
    network.apply_alphas()
    assert int(network.layer["0"].clip) == 127


def test_the_learning_rate_of_the_optimizer_is_followed() -> None:
    network = constructed()
    optimizer = torch.optim.SGD(network.parameters(), 0.5)
    controller = OverflowController(network, optimizer, interval=1)
    optimizer.param_groups[0]["lr"] = 0.05
    iterate(network, controller)
    assert alpha(network) == pytest.approx(1.0 + 0.05 * log1p(4))


def test_counts_come_every_so_often_and_after_warm_up_only() -> None:
    network = constructed()
    seen: list[int] = []
    controller = OverflowController(
        network, interval=3, warmup=4, rate=0.1, log=lambda states: seen.append(states[0].iteration)
    )
    iterate(network, controller, 10)
    assert seen == [6, 9]


def test_frozen_alphas_stay_while_counts_go_on() -> None:
    network = constructed()
    controller = OverflowController(network, interval=1, rate=0.1, freeze_at=3)
    states = iterate(network, controller, 5)
    assert alpha(network) == pytest.approx(1.2)
    assert all(one.overflows for one in states if one.layer == "0")
    assert len(states) == 10


def test_the_last_pass_only_raises_and_ends_without_overflows() -> None:
    network = constructed()
    network.layer["2"].alpha.fill_(3.0)
    network.apply_alphas()
    controller = OverflowController(network, rate=0.1)
    states = controller.finish([X])
    assert [one.overflows for one in states] == [0, 0]
    assert alpha(network) > 1.0
    assert alpha(network, "2") == 3.0
    assert all(not one.wrong for one in controller.count([X]).values())
    assert differences(network, convert(network), X) == []


def test_a_margin_asks_for_room_beyond_the_data() -> None:
    network = constructed()
    OverflowController(network, rate=0.1).finish([X], margin=2.0)
    most = OverflowController(network, rate=0.1).count([X])["0"].most
    assert 2 * most <= 32767


def test_the_last_pass_says_which_layer_it_cannot_save() -> None:
    network = constructed(count="register", target=Target("pure", 8))
    with pytest.raises(TrainingError, match=r"narrowest ranges these layers still overflow: .*0 \(reaches \d+\)"):
        OverflowController(network, rate=0.1).finish([X])


def test_the_last_pass_needs_data() -> None:
    with pytest.raises(TrainingError, match="there are no batches"):
        OverflowController(constructed(), rate=0.1).finish([])


def test_exempt_layers_are_counted_in_their_32_bits_and_left_alone() -> None:
    network = constructed(layers=(LayerRule("0", exempt=True),))
    controller = OverflowController(network, interval=1, rate=0.5)
    iterate(network, controller)
    states = controller.finish([X])
    assert (states[0].overflows, states[0].sums) == (0, 16)
    assert controller.count([X])["0"].most > 32767
    assert alpha(network) == 1.0


@pytest.mark.parametrize("method", ["none", "proved", "a2q"])
def test_other_methods_are_counted_and_not_moved(method: str) -> None:
    network = constructed(method)
    controller = OverflowController(network, interval=1, rate=0.5)
    states = iterate(network, controller)
    assert not controller.moves
    assert states[0].sums == 16
    assert (states[0].overflows > 0) == (method == "none")
    assert alpha(network) == 1.0


def test_the_integer_clip_falls_by_one_and_gives_up_below_its_floor() -> None:
    network = prepare(net_graph(), batch(), config("oaq-clip", count="final"))
    controller = OverflowController(network, rate=1.0)
    name = "3"
    layer = network.layer[name]
    with torch.no_grad():
        layer.weight.fill_(1.0)
    counts = controller.count([batch()])
    assert counts[name].wrong > 0
    controller._move(layer, counts[name], 1.0)
    network.apply_alphas()
    assert int(layer.clip) == 126
    for _ in range(95):
        controller._move(layer, counts[name], 1.0)
        network.apply_alphas()
    assert int(layer.clip) == 31
    assert not bool(layer.fallback)
    controller._move(layer, counts[name], 1.0)
    network.apply_alphas()
    assert bool(layer.fallback)
    assert int(layer.clip) == 127
    moving = {each.name for each in controller._moving()}
    assert name not in moving
    fallen = controller.count([batch()])[name]
    assert fallen.most > 32767
    assert fallen.wrong == 0
    assert "0" not in moving  # reads the input
    assert not any(network.layer[each].depthwise for each in moving)


def test_speed_is_reached_by_narrowing_what_is_dear() -> None:
    network = prepare(net_graph(nn.ReLU), batch(), config("none"))
    before = planned_cost(network)
    controller = OverflowController(network, interval=1, rate=0.5, speed=0.9)
    states = controller.finish([batch()])
    assert before > 1 / 0.9 >= planned_cost(network)
    assert all(one.cost >= 1.0 for one in states)
    assert differences(network, convert(network), batch(2, seed=9)) == []


def test_what_is_masked_makes_a_network_cheaper_and_what_is_zero_by_chance_does_not() -> None:
    """Steps left out by the plan: those of masks count for the controller, those that narrowing empties do not."""
    network = prepare(net_graph(nn.ReLU), batch(), config("none", prune=Prune(pattern="quad-tile")))
    dense = layer_costs(network)
    assert planned_cost(network) == relative_cost(network, dense)
    with torch.no_grad():
        for layer in network.layer.values():
            layer.weight[:, 1:] = 0.0
    emptied = layer_costs(network)
    assert planned_cost(network) < relative_cost(network, emptied)
    prune_to(network, 0.6)
    masked = layer_costs(network)
    assert relative_cost(network, masked) < relative_cost(network, emptied)
    for name, cost in masked.items():
        assert cost.cost <= emptied[name].cost
        assert cost.without_spills == dense[name].without_spills
    assert planned_cost(network) <= relative_cost(network, masked)


def test_speed_is_steered_while_training() -> None:
    network = prepare(net_graph(nn.ReLU), batch(), config("none"))
    controller = OverflowController(network, interval=1, rate=0.5, speed=0.95)
    costs = []
    for _ in range(6):
        network(batch())
        controller.step()
        costs.append(planned_cost(network))
    assert costs[-1] < costs[0]


def test_a_state_goes_on_where_it_was() -> None:
    network = constructed()
    controller = OverflowController(network, interval=2, rate=0.1)
    iterate(network, controller, 3)
    other = OverflowController(network, interval=2, rate=0.7)
    other.load_state_dict(controller.state_dict())
    assert other.state_dict() == controller.state_dict()
    assert iterate(network, other)[0].iteration == 4
    assert alpha(network) == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"interval": 0}, "interval is a number of iterations, at least 1; not 0"),
        ({"rate": -1.0}, r"rate is positive, not -1\.0"),
        ({"rate": None}, "give the optimizer, or rate"),
        ({"speed": 1.5}, r"speed is a part of the full 16-bit speed, in \(0, 1\]; not 1\.5"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        OverflowController(constructed(), **{"rate": 0.1, **settings})  # type: ignore[arg-type]
