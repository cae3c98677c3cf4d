"""Data and weights that say little, or too much: a program comes out, or an error that names the place."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import oaq
from oaq import operators as ops
from oaq.capture.graph import FloatGraph
from oaq.choose.feedback import feedback_of
from oaq.errors import CalibrationError, OaqError
from oaq.overflow.analyze import analyze
from oaq.ptq.execute import layers
from oaq.ptq.moments import Moments, operands
from oaq.ptq.networks import graph_of
from oaq.ptq.quantize import quantize
from oaq.ptq.rounding import ROUNDINGS, Rounding
from tests.ptq.test_parts import graph


def net(scale: float = 1.0, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    made = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.ReLU(),
        nn.Conv2d(8, 6, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
    ).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(scale)
    return made


def data(kind: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    match kind:
        case "one photo":
            return [rng.normal(size=(1, 3, 12, 12)).astype(np.float32)]
        case "one constant photo":
            return [np.full((1, 3, 12, 12), 0.7, np.float32)]
        case "low contrast":
            return [(rng.uniform(size=(8, 3, 12, 12)) * 1e-3 + 0.5).astype(np.float32)]
        case "lower contrast":
            return [(rng.uniform(size=(8, 3, 12, 12)) * 1e-6 + 0.5).astype(np.float32)]
        case "one photo many times":
            return [np.repeat(rng.normal(size=(1, 3, 12, 12)).astype(np.float32), 9, axis=0)]
        case "zeros":
            return [np.zeros((4, 3, 12, 12), np.float32)]
        case "a dead channel":
            x = rng.normal(size=(4, 3, 12, 12)).astype(np.float32)
            x[:, 1] = 0
            return [x]
        case "huge":
            return [rng.normal(size=(4, 3, 12, 12)).astype(np.float32) * np.float32(1e20)]
        case "tiny":
            return [rng.normal(size=(4, 3, 12, 12)).astype(np.float32) * np.float32(1e-20)]
        case _:
            return [rng.normal(size=(6, 3, 12, 12)).astype(np.float32)]


KINDS = (
    "one photo",
    "one constant photo",
    "low contrast",
    "lower contrast",
    "one photo many times",
    "zeros",
    "a dead channel",
    "huge",
    "tiny",
)


@pytest.fixture(scope="module")
def captured() -> FloatGraph:
    return graph_of(net(), data(""), None, None)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_data_that_say_little_still_give_a_proved_program(captured: FloatGraph, kind: str) -> None:
    for rounding, budget in (("axe", 1.02), ("axe", None), ("nearest", 1.02), ("adaround", None)):
        if rounding != "adaround" or kind in ("one photo", "zeros", "low contrast"):
            assert analyze(quantize(captured, data(kind), rounding=rounding, budget=budget)).nodes  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e12])
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_weights_of_any_magnitude_give_a_proved_program(scale: float, rounding: Rounding) -> None:
    made = net()
    with torch.no_grad():
        made[4].weight.mul_(scale)  # type: ignore[union-attr]
        made[2].weight[3].zero_()  # type: ignore[union-attr]
    assert analyze(quantize(made, data(""), rounding=rounding)).nodes


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused_by_name(value: float) -> None:
    made = net()
    with torch.no_grad():
        made[2].weight[0, 0, 0, 0] = value  # type: ignore[union-attr]
    with pytest.raises(OaqError, match=r"NaN|infinit|finite"):
        quantize(made, data(""))
    x = data("")[0]
    x[2, 0, 0, 0] = value
    with pytest.raises(CalibrationError, match=r"calibration batch 0.*sample 2: 1 of 432 values are NaN or infinite"):
        quantize(net(), [x])


@pytest.mark.parametrize("seed", range(3))
def test_a_linear_head_with_one_sample_is_quantized(seed: int) -> None:
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert analyze(quantize(made, [torch.randn(1, 3, 16, 16)])).nodes


@pytest.mark.parametrize(("mean", "spread"), [(0.5, 1e-3), (0.5, 1e-6), (1e4, 1.0), (0.0, 1e-18), (0.0, 1e16)])
def test_covariances_of_operands_that_vary_little_beside_their_mean_are_theirs(mean: float, spread: float) -> None:
    one, rng = graph(), np.random.default_rng(0)
    node, op = next(layers(one))
    op = replace(op, padding=(0,) * len(op.padding))  # type: ignore[call-arg]
    one = replace(one, nodes=(replace(node, op=op),))
    x = (mean + spread * rng.normal(size=(9, *one.shapes[node.inputs[0]]))).astype(np.float32)
    moments = Moments(one, len(x))
    for part in np.split(x, 3):
        moments.add({node.inputs[0]: torch.from_numpy(part)})
    covariance = dict(moments.covariances())[node.name]
    seen = operands(op, torch.from_numpy(x)).double().numpy()
    exact = np.cov(seen[0].T, bias=True)
    exact += 0.01 * np.diag(exact).mean() * np.eye(len(exact))
    np.testing.assert_allclose(covariance[0], exact, atol=1e-5 * np.diag(exact).mean())
    assert np.isfinite(feedback_of(covariance).factor).all()


def test_a_covariance_that_rounding_left_indefinite_is_damped_and_one_that_is_not_finite_is_refused() -> None:
    rng = np.random.default_rng(0)
    causes = rng.normal(size=(1, 40, 3))
    flat = (causes @ causes.transpose(0, 2, 1)).astype(np.float32)
    factor = feedback_of(flat).factor
    assert np.isfinite(factor).all() and np.all(np.einsum("gkk->gk", factor) > 0)
    with pytest.raises(np.linalg.LinAlgError):
        feedback_of(np.full((1, 4, 4), np.nan))


class Cancels(nn.Module):
    """x less what two layers make of it: x again, but for the rounding of float32."""

    def __init__(self) -> None:
        super().__init__()
        turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(3)))[0]
        self.there, self.back = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
        with torch.no_grad():
            self.there.weight.copy_(turn)
            self.back.weight.copy_(turn.T)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + (x - self.back(self.there(x)))


@pytest.mark.parametrize("whole", [True, False])
def test_a_sum_that_cancels_has_no_step_below_that_of_its_operands(whole: bool) -> None:
    x = np.random.default_rng(0).normal(size=(32, 6)).astype(np.float32)
    program = quantize(Cancels().eval(), [x], budget=None if whole else 1.02)
    sums = [node.op for node in program.nodes if isinstance(node.op, ops.Add)]
    assert len(sums) == 2 and max(float(op.requantize.multiplier.max()) for op in sums) < 2**11
    assert np.abs(np.asarray(oaq.Session(oaq.plan(program)).run(x)) - x).max() < 0.06
