"""Method "wrap": the cyclic activation, its stages, and a program that holds exactly what training computed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import oaq
from oaq.errors import ConfigError, TrainingError
from oaq.numerics.modular import Modular
from oaq.operators import Products
from oaq.overflow.analyze import analyze
from oaq.qat import (
    Config,
    LayerRule,
    QatNetwork,
    Target,
    Wrapping,
    certificate_parts,
    convert,
    fold,
    from_yaml,
    load_checkpoint,
    measured_rates,
    overflow_rates,
    parameter_groups,
    prepare,
    press,
    reestimate,
    require_gate,
    save_checkpoint,
    targets,
    to_yaml,
    verdicts,
)
from oaq.qat.checkpoint import Position
from oaq.qat.wrap import cyclic, excess, in_register, outside
from oaq.verify import verify
from tests.qat.nets import batch, differences, everything, everything_graph, trained


def wrapping_network(bits: int = 5, **changes: object) -> QatNetwork:
    settings = Config(method="wrap", weight_bits=2, activation_bits=2, wrapping=Wrapping(bits), **changes)  # type: ignore[arg-type]
    return prepare(everything_graph(), batch(), settings)


@pytest.mark.parametrize("bits", [2, 3, 5, 8])
@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0, 4.0, math.inf])
def test_the_cyclic_activation_is_its_formula_on_every_residue(bits: int, slope: float) -> None:
    half = 1 << (bits - 1)
    for z in range(-3 * half, 3 * half + 1):
        m = (z + half) % (2 * half) - half
        c = float(m) if math.isinf(slope) else math.copysign(min(abs(m), slope * (half - abs(m))), m)
        assert float(in_register(torch.tensor([float(z)]), bits)) == m
        assert float(cyclic(torch.tensor([float(z)], dtype=torch.float64), Wrapping(bits, slope))) == c


@pytest.mark.parametrize("slope", [1.0, 2.0, 4.0])
def test_one_step_of_a_sum_moves_it_by_the_slope_at_most_and_its_sign_goes_with_the_sum(slope: float) -> None:
    z = torch.arange(-400.0, 401.0, dtype=torch.float64)
    c = cyclic(z, Wrapping(6, slope))
    assert float((c[1:] - c[:-1]).abs().max()) <= max(1.0, slope)
    assert torch.equal(cyclic(-z, Wrapping(6, slope)), -c)


def test_its_gradient_is_one_in_the_middle_and_minus_the_slope_in_the_folds() -> None:
    z = torch.tensor([-31.0, -25.0, -3.0, 0.0, 3.0, 21.0, 22.0, 31.0, 67.0], requires_grad=True)
    cyclic(z, Wrapping(6, 2.0)).sum().backward()
    assert z.grad is not None
    assert z.grad.tolist() == [-2.0, -2.0, 1.0, 1.0, 1.0, 1.0, -2.0, -2.0, 1.0]


def test_what_leaves_a_register_is_counted_on_the_sum_itself() -> None:
    z = torch.tensor([[-33.0, -32.0, 31.0, 32.0, 40.0]])
    assert int(outside(z, 6)) == 3
    assert float(excess(z, 6)) == pytest.approx((1 + 0 + 0 + 0 + 8) / 5)


@pytest.mark.parametrize("bits", [3, 5, 8])
def test_every_tensor_of_the_program_is_that_of_the_forward_pass(bits: int) -> None:
    x, network = batch(), wrapping_network(bits)
    trained(network, x, everything()(x).detach())
    fold(network)
    trained(network, x, everything()(x).detach())
    reestimate(network, [x])
    program = convert(network)
    wraps = [node for node in program.nodes if isinstance(node.op, Products) and node.op.wrap_bits == bits]
    assert len(wraps) == sum(layer.wrapping is not None for layer in network.layer.values()) > 4
    assert differences(network, program, batch(4, seed=1)) == []


def test_wide_sums_convert_to_multipliers_and_folded_ones_to_tables() -> None:
    network = wrapping_network()
    assert not any(isinstance(node.products.requantize, Modular) for node in convert(network).summing_nodes())
    fold(network)
    program = convert(network)
    assert "modular" in program.metadata["tier"]
    ends = {program.nodes[0].name, list(program.summing_nodes())[-1].name}
    for node in program.summing_nodes():
        assert isinstance(node.products.requantize, Modular) == (node.name not in ends), node.name
    fold(network, on=False)
    assert not any(isinstance(node.products.requantize, Modular) for node in convert(network).summing_nodes())


def test_the_program_is_verified_and_never_said_not_to_overflow(tmp_path: Path) -> None:
    network = wrapping_network(4)
    fold(network)
    program = convert(network)
    report = verify(program, rows=False)
    report.raise_if_unsafe()
    assert report.modular and sum((report.proved[0], report.modular)) == report.proved[1]
    assert f"{report.modular} of {report.proved[1]} exact modulo 2^b, wrapping by design" in report.table()
    outcomes = verdicts(program, targets(network))
    assert {outcome.promise for outcome in outcomes} == {"modular", "proved"}
    path = tmp_path / "net.oaq"
    oaq.save(program, path, certificate_parts(program, targets(network)))
    stored = oaq.verify_file(path)
    assert stored.is_safe and "wrapping by design" in stored.certificate
    assert any(proof.modulo == 4 for proof in analyze(oaq.load(path)).nodes.values())


def test_the_pressure_is_in_the_loss_and_pushes_sums_into_their_registers() -> None:
    torch.manual_seed(0)
    network, x = wrapping_network(3), batch(16)
    network.train()
    network(x)
    assert float(network.penalty().detach()) == 0.0
    press(network, 5.0)
    optimizer = torch.optim.Adam(parameter_groups(network, 3e-3), 3e-3)
    before = measured_rates(network, [x])
    for _ in range(30):
        network(x)
        optimizer.zero_grad()
        network.penalty().backward()
        optimizer.step()
    after = measured_rates(network, [x])
    assert sum(after.values()) < 0.6 * sum(before.values())
    assert network.training


def test_rates_are_counted_in_training_since_the_pressure_was_set() -> None:
    network = wrapping_network(3)
    press(network, 1.0)
    with pytest.raises(ConfigError, match="no sum has been counted"):
        overflow_rates(network)
    network.train()
    network(batch())
    assert any(rate > 0 for rate in overflow_rates(network).values())


def test_the_gate_names_every_layer_above_it_and_what_may_help() -> None:
    network = wrapping_network(5)
    names = [name for name, layer in network.layer.items() if layer.wrapping is not None]
    require_gate(network, dict.fromkeys(names, 0.02))
    with pytest.raises(TrainingError, match=r"2 layers overflow too often") as caught:
        require_gate(network, {**dict.fromkeys(names, 0.0), names[0]: 0.021, names[2]: 0.5})
    message = str(caught.value)
    assert f"{names[0]}: 2.1% of its sums leave 5 bits" in message and names[2] in message and names[1] not in message
    for offer in ("more pressure", "activation_bits", "sparser weights", "wrap_bits"):
        assert offer in message


def test_a_rule_gives_a_layer_another_register_or_none() -> None:
    rules = (LayerRule("squeeze", wrap_bits=7), LayerRule("excite", exempt=True), LayerRule("head", exempt=False))
    network = wrapping_network(5, layers=rules)
    wrapping = {name: layer.wrapping for name, layer in network.layer.items()}
    assert wrapping["squeeze"] == Wrapping(7) and wrapping["excite"] is None
    assert wrapping["head"] == Wrapping(5) and wrapping["stem"] is None


def test_a_resumed_stage_has_its_phase_pressure_and_counts(tmp_path: Path) -> None:
    network = wrapping_network()
    press(network, 0.25)
    fold(network)
    network.train()
    network(batch())
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    save_checkpoint(tmp_path / "a.ckpt", network, optimizer, Position())
    other = wrapping_network()
    load_checkpoint(tmp_path / "a.ckpt", other, torch.optim.Adam(other.parameters(), 1e-3))
    assert float(other.pressure) == 0.25
    assert overflow_rates(other) == overflow_rates(network)
    assert differences(other, convert(network), batch(2)) == []


def test_settings_round_trip_and_contradictions_are_refused() -> None:
    config = Config(method="wrap", wrapping=Wrapping(6, math.inf), layers=(LayerRule("a.*", wrap_bits=4),))
    assert from_yaml(to_yaml(config), Config) == config
    for wrong in (
        lambda: Wrapping(1),
        lambda: Wrapping(17),
        lambda: Wrapping(8, 0.0),
        lambda: Wrapping(8, math.nan),
        lambda: LayerRule("a", wrap_bits=1),
        lambda: Config(method="wrap", ranges="observed"),
        lambda: Config(method="proved", layers=(LayerRule("a", wrap_bits=4),)),
        lambda: Config(method="wrap", adaptive=True),
    ):
        with pytest.raises(ConfigError):
            wrong()


@pytest.mark.parametrize("stage", [lambda n: press(n, 1.0), fold, overflow_rates, lambda n: measured_rates(n, [])])
def test_other_methods_have_no_stages(stage: object) -> None:
    network = prepare(everything_graph(), batch(), Config(method="none", target=Target("pure", 16)))
    with pytest.raises(ConfigError, match="stages are of method 'wrap'"):
        stage(network)  # type: ignore[operator]


@pytest.mark.parametrize("pressure", [-1.0, math.inf, math.nan])
def test_a_pressure_is_a_number(pressure: float) -> None:
    with pytest.raises(ConfigError, match="pressure"):
        press(wrapping_network(), pressure)


def test_tables_are_integers_of_the_output() -> None:
    network = wrapping_network(6)
    grids = network.grids()
    for node in network.graph.nodes:
        layer = network.layer.get(node.name)
        if layer is not None and layer.wrapping is not None:
            table = layer.table(grids[node.inputs[0]], grids[node.output]).numpy()
            y = grids[node.output].range
            assert table.shape == (len(layer.weight), 64) and np.array_equal(table, np.round(table))
            assert table.min() >= y.lo and table.max() <= y.hi
