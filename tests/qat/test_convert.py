"""The program holds exactly the integers of the forward pass, and what a method promises is proved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

import oaq
from oaq.choose.target import Target, keeps, make_cells
from oaq.errors import AccumulatorOverflow, ConfigError, ProgramError
from oaq.kernels.plan import plan
from oaq.overflow.analyze import analyze
from oaq.qat import Config, LayerRule, Prune, convert, prepare, reestimate, targets, verdicts
from oaq.qat.convert import certificate_parts
from oaq.verify import verify, verify_file
from tests.ptq.nets import net
from tests.qat.nets import (
    ALL_METHODS,
    batch,
    config,
    differences,
    everything,
    everything_graph,
    net_graph,
    trained,
)


@pytest.mark.parametrize("statistics", ["fold", "reestimate"])
@pytest.mark.parametrize("method", ALL_METHODS)
def test_every_tensor_of_the_program_is_that_of_the_forward_pass(method: str, statistics: str) -> None:
    x = batch()
    wanted = everything()(x).detach()
    network = prepare(everything_graph(), x, config(method, batch_norm=statistics))
    trained(network, x, wanted)
    assert differences(network, convert(network), batch(4, seed=1)) == []


@pytest.mark.parametrize("bits", [(2, 2), (4, 4), (3, 8), (8, 3)])
def test_at_any_number_of_bits(bits: tuple[int, int]) -> None:
    x = batch()
    narrow = config("none", weight_bits=bits[0], activation_bits=bits[1], first_last_bits=None)
    network = trained(prepare(everything_graph(), x, narrow), x, everything()(x).detach())
    program = convert(network)
    assert differences(network, program, batch(4, seed=1)) == []
    largest = (1 << (bits[0] - 1)) - 1
    for node in program.summing_nodes():
        assert int(np.abs(node.op.weight).max()) <= largest  # type: ignore[union-attr]
        assert program.specs(node)[0].range.hi <= (1 << bits[1]) - 1


def test_sums_that_float32_cannot_hold_are_exact_too() -> None:
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(4096, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        wide[0].weight.abs_().add_(0.02)  # type: ignore[operator]
        wide[0].bias.fill_(50.0)  # type: ignore[operator]
    x = torch.rand(8, 4096) + 1.0
    network = prepare(wide, x, config("none"))
    numbers = network.layer["0"].numbers(network.grids()[network.graph.inputs[0]])
    assert float((numbers.rows.detach().abs().sum(dim=1) * 255).max()) > 1 << 24
    assert differences(network, convert(network), torch.rand(8, 4096) + 1.0) == []


def test_an_output_without_weights_keeps_its_bias() -> None:
    made, x = net(nn.ReLU), batch()
    with torch.no_grad():
        made[0].weight[3] = 0.0  # type: ignore[index]
        made[0].bias[3] = 0.7  # type: ignore[index]
    for method in ("none", "proved", "oaq"):
        network = prepare(made, x, config(method))
        assert differences(network, convert(network), x) == []
        with torch.no_grad():
            tensors, grids = network.run({network.graph.inputs[0]: x}, keep=True)
        stem = network.graph.nodes[0].output
        assert float((tensors[stem][:, 3] * grids[stem].scale - 0.7).abs().max()) <= float(grids[stem].scale)


def test_autocast_does_not_reach_the_integers() -> None:
    x = batch()
    network = prepare(everything_graph(), x, config("proved")).eval()
    plain = network(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = network(x)
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.bfloat16
    assert cast.dtype is torch.float32
    assert torch.equal(cast, plain)


def test_training_moves_towards_the_float_network() -> None:
    x = batch(16)
    wanted = net()(x).detach()
    narrow = config("proved", weight_bits=4, activation_bits=4, target=Target("pure", 13))
    network = prepare(net_graph(), x, narrow)
    before = float((network(x) - wanted).square().mean().detach())
    trained(network, x, wanted, steps=40, lr=3e-4)
    assert float((network(x) - wanted).square().mean().detach()) < 0.7 * before


@settings(max_examples=6)
@given(
    bits=st.integers(8, 32),
    activation_bits=st.integers(2, 8),
    method=st.sampled_from(["proved", "a2q", "a2q+"]),
    seed=st.integers(0, 3),
)
@example(bits=8, activation_bits=8, method="proved", seed=0)
@example(bits=9, activation_bits=8, method="proved", seed=0)
@example(bits=8, activation_bits=2, method="a2q+", seed=0)
@example(bits=32, activation_bits=8, method="a2q", seed=0)
def test_every_layer_is_proved_at_pure_bits_or_refused_where_no_product_fits(
    bits: int, activation_bits: int, method: str, seed: int
) -> None:
    made, x = net_graph(seed=seed), batch(4, seed=seed)
    wanted = config(method, target=Target("pure", bits), activation_bits=activation_bits, first_last_bits=None)
    try:
        network = prepare(made, x, wanted)
    except ConfigError as error:
        assert bits <= activation_bits + 1, error
        return
    assert bits >= activation_bits
    trained(network, x, torch.randn(4, 10), steps=2, lr=0.05)
    program = convert(network)
    found = verdicts(program, targets(network))
    assert len(found) == len(list(program.summing_nodes()))
    assert all(one.proved and one.target is not None for one in found)
    assert all(analyze(program)[one.layer].bits <= bits for one in found)


@pytest.mark.parametrize("target", [Target("avx2", 16, run) for run in (1, 4, 8, None)] + [Target("neon", 16, 2)])
def test_every_layer_is_proved_in_lanes_and_runs(target: Target) -> None:
    x = batch()
    network = trained(
        prepare(everything_graph(), x, Config("proved", target=target)), x, everything()(x).detach(), lr=0.02
    )
    program = convert(network)
    proof = analyze(program)
    for node in program.summing_nodes():
        laid, sums = node.products, proof[node.name]
        depthwise = node.name == "depthwise"
        cells = make_cells(laid.rows.shape[1], target, depthwise=depthwise)
        budgets = target.budgets(int(sums.operands.hi.max()))
        assert keeps(laid.rows, cells, budgets).all(), node.name
    assert all(one.proved for one in verdicts(program, targets(network)))
    if target.register == "avx2":
        for planned in plan(program, "avx2").nodes:
            if planned.schedule is not None and planned.schedule.accumulator.name.endswith("acc16"):
                run = target.run or planned.schedule.steps
                assert planned.schedule.spills <= planned.schedule.tiles * -(-planned.schedule.steps // run)


def test_every_executor_computes_what_was_trained() -> None:
    x = batch()
    network = trained(prepare(everything_graph(), x, config("proved")), x, everything()(x).detach())
    program = convert(network)
    report = verify(program, x.numpy())
    report.raise_if_unsafe()
    assert any(executor.ran for executor in report.executors)


def test_a_file_proves_again_what_training_promised(tmp_path: Path) -> None:
    made, x = net_graph(), batch()
    network = prepare(made, x, config("proved", target=Target("pure", 14)))
    program = convert(network)
    oaq.save(program, tmp_path / "net.oaq", certificate_parts(program, targets(network)))
    report = verify_file(tmp_path / "net.oaq")
    report.raise_if_unsafe()
    assert report.certificate.startswith("holds")
    assert "14-bit" in report.certificate


def test_a_layer_that_does_not_keep_its_accumulator_is_an_error_with_what_it_takes() -> None:
    network = prepare(net_graph(), batch(), config("proved"))
    program = convert(network)
    narrow = dict.fromkeys(network.layer, Target("pure", 12))
    failed = [one for one in verdicts(program, narrow) if not one.proved]
    assert failed
    assert all("bits" in one.demand for one in failed)
    for layer in network.layer.values():
        layer.method = "none"  # as if the constraint had been lost
        layer.target = Target("pure", 12)
    with pytest.raises(
        AccumulatorOverflow, match=r"layers do not keep their accumulator:\n.*12 bits asked for; .*takes"
    ):
        convert(network)


def test_an_accumulator_that_no_weights_can_keep_is_refused_with_what_it_takes() -> None:
    with pytest.raises(
        ConfigError, match=r"8 bits hold no product of operands up to 255: it takes 10 bits, or act.* 6"
    ):
        prepare(net_graph(), batch(), config("proved", target=Target("pure", 8)))
    made = prepare(
        net_graph(), batch(), config("proved", target=Target("pure", 8), activation_bits=6, first_last_bits=6)
    )
    assert all(one.proved for one in verdicts(convert(made), targets(made)))


def test_exempt_layers_are_said_to_be_so() -> None:
    wanted = config("proved", target=Target("pure", 12), first_last_exempt=True)
    network = prepare(net_graph(), batch(), wanted)
    found = {one.layer: one for one in verdicts(convert(network), targets(network))}
    exempt = [name for name, one in found.items() if one.target is None]
    assert exempt == ["0", "9"]
    assert all(found[name].demand.startswith("exempt, sums in 32 bits") for name in exempt)


def test_rules_by_name_change_single_layers() -> None:
    rules = (LayerRule(r"2\.body\.\d+", weight_bits=4), LayerRule(r"9", target=Target("pure", 20)))
    network = prepare(net_graph(), batch(), config("proved", layers=rules))
    program = convert(network)
    for node in program.summing_nodes():
        most = int(np.abs(node.op.weight).max())  # type: ignore[union-attr]
        assert (most <= 7) == node.name.startswith("2.body"), node.name
    assert network.layer["9"].target == Target("pure", 20)
    with pytest.raises(ConfigError, match=r"'nothing' matches no layer; there are 0, 2.body.0"):
        prepare(net_graph(), batch(), config("proved", layers=(LayerRule("nothing"),)))


@pytest.mark.parametrize("what", ["weight", "bias", "log_scale"])
def test_parameters_that_are_no_longer_finite_are_named(what: str) -> None:
    network = prepare(net_graph(), batch(), config("none"))
    with torch.no_grad():
        getattr(network.layer["3"], what)[0] = float("nan")
    with pytest.raises(ProgramError, match=rf"NaN or infinite in 3\.{what}; go back to a checkpoint"):
        convert(network)


def test_a_scale_of_a_tensor_that_is_no_longer_finite_is_named() -> None:
    network = prepare(net_graph(), batch(), config("none"))
    with torch.no_grad():
        next(iter(network.quantizer.values())).log_scale.fill_(float("inf"))  # type: ignore[union-attr]
    with pytest.raises(ProgramError, match=r"NaN or infinite in the integers of input\.log_scale"):
        convert(network)


def test_what_is_no_input_and_what_is_no_config_is_said() -> None:
    network = prepare(net_graph(), batch(), config("none"))
    with pytest.raises(ProgramError, match=r"takes 1 tensors \(input\), not \(Tensor, Tensor\)"):
        network(batch(), batch())
    with pytest.raises(ProgramError, match=r"not \(str\)"):
        network("x")
    with pytest.raises(ConfigError, match=r"a config is an oaq\.qat\.Config .*, not str"):
        prepare(net_graph(), batch(), "proved")  # type: ignore[arg-type]
    with pytest.raises(ProgramError, match="no layer is called nothing"):
        verdicts(convert(network), {"nothing": None})


def test_statistics_are_measured_anew() -> None:
    made, x = net_graph(nn.ReLU), batch(16)
    network = prepare(made, x, config("none", batch_norm="reestimate"))
    wanted = network(x).detach()
    with torch.no_grad():
        for layer in network.layer.values():
            layer.mean.add_(0.5)
            layer.variance.mul_(3.0)
    network.eval()
    spoilt = float((network(x) - wanted).square().mean().detach())
    reestimate(network, [x])
    mended = float((network(x) - wanted).square().mean().detach())
    assert mended < 0.01 * spoilt
    assert differences(network, convert(network), batch(4, seed=5)) == []


def test_a_2_bit_layer_may_be_all_zeros() -> None:
    made, x = net_graph(), batch()
    network = prepare(made, x, config("proved", target=Target("pure", 10), first_last_bits=None))
    with torch.no_grad():
        network.layer["3"].weight.zero_()
    assert differences(network, convert(network), x) == []


def test_dead_units_may_be_left_out_of_the_program_whose_outputs_stay() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 5, 3, padding=1), nn.Flatten())
    network = prepare(net.eval(), batch(), config("none", prune=Prune()))
    first = next(iter(network.layer.values()))
    assert first.mask is not None
    first.mask[2:5] = False
    with torch.no_grad():
        first.bias[2:5] = -5.0  # far below the zero of the activation: what padding holds, too
    program, trimmed = convert(network), convert(network, remove_dead=True)
    name = first.name
    assert trimmed.by_name[name].products.outputs == program.by_name[name].products.outputs - 3
    x = batch(4, seed=2).numpy()
    np.testing.assert_array_equal(oaq.Session(plan(program)).run(x), oaq.Session(plan(trimmed)).run(x))
