"""``weights="piecewise"``: every weight is of its codebook, whatever the budget, the rounding and the layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import oaq
from oaq.choose.target import Target
from oaq.errors import CalibrationError
from oaq.kernels.plan import plan
from oaq.program.codes import coded_layers, stated_bits
from oaq.program.int_program import IntProgram
from oaq.ptq.options import Options
from oaq.ptq.pieces import Piecewise
from oaq.ptq.quantize import quantize, quantize_with_report
from oaq.ptq.rounding import ROUNDINGS
from oaq.ptq.uniform import Uniform
from oaq.reference import run
from oaq.runtime.values import to_floats, to_integers
from tests.ptq.nets import images, net


def is_coded(program: IntProgram, bits: int = 4) -> bool:
    """Every layer is of a codebook of these bits, and stored so."""
    names = {node.name for node in program.summing_nodes()}
    return stated_bits(program) == dict.fromkeys(names, bits) and set(coded_layers(program)) == names


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A network whose weights have long tails, as trained ones do."""
    model = net()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.weight *= 1 + torch.randn(layer.weight.shape, generator=generator).abs() ** 3
    return model


def noise(program: IntProgram, model: nn.Module) -> float:
    """Noise at the outputs in parts of their power."""
    x = np.concatenate(list(images(16, seed=7)))
    with torch.inference_mode():
        exact = model(torch.from_numpy(x)).numpy()
    rounded = to_floats(program, run(program, to_integers(program, x)).outputs)[0]
    return float(((exact - rounded) ** 2).sum() / (exact**2).sum())


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("budget", [1.0, 1.02, None])
def test_weights_are_of_codebooks_under_any_budget_and_rounding(budget: float | None, rounding: str) -> None:
    program = quantize(net(), images(8), weights="piecewise", budget=budget, rounding=rounding)  # type: ignore[arg-type]
    assert is_coded(program)
    if budget is not None:
        assert plan(program, "avx2").cost <= budget + 1e-6


@pytest.mark.parametrize("bits", range(2, 7))
def test_all_bits_are_served_and_more_are_more_precise(bits: int, trained: nn.Module) -> None:
    program = quantize(trained, images(16), weights=Piecewise(bits), budget=None)
    assert is_coded(program, bits)
    if bits < 6:
        finer = quantize(trained, images(16), weights=Piecewise(bits + 1), budget=None)
        assert noise(finer, trained) < noise(program, trained)


def test_long_tails_are_rounded_better_than_by_uniform_weights_of_as_many_stored_bits(trained: nn.Module) -> None:
    piecewise = quantize(trained, images(16), weights="piecewise", budget=None, rounding="nearest")
    uniform = quantize(trained, images(16), uniform=Uniform(5, 8, first_last_bits=None), rounding="nearest")
    assert noise(piecewise, trained) < noise(uniform, trained)


def test_bits_by_hand_say_bits_of_the_codebook() -> None:
    program = quantize(net(), images(8), weights="piecewise", uniform=Uniform(3, 6, first_last_bits=8))
    bits = stated_bits(program)
    layers = [node.name for node in program.summing_nodes()]
    assert set(layers) - set(bits) == {layers[0], layers[-1]}
    assert set(bits.values()) == {3}
    assert max(abs(int(program.by_name[layers[0]].products.weight.max())), 20) > 40
    assert set(coded_layers(program)) == set(bits)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("target", [Target("pure", 14), Target("avx2"), Target("avx2", run=4)], ids=str)
def test_an_accumulator_is_kept_by_codebooks_too(target: Target, rounding: str) -> None:
    uniform = Uniform(4, 8, target, first_last_bits=None)
    options = Options(uniform=uniform, weights="piecewise", rounding=rounding)  # type: ignore[arg-type]
    program, _ = quantize_with_report(net(), images(8), options)
    assert is_coded(program)
    for node in program.summing_nodes():
        x = program.specs(node)[0].range
        up, down = target.budgets(x.hi)
        if target.register == "pure":
            rows = node.products.rows.astype(np.int64)
            assert np.maximum(rows, 0).sum(axis=1).max() <= up
            assert np.maximum(-rows, 0).sum(axis=1).max() <= down


def test_layers_that_differ_are_called_by_name() -> None:
    weights = Piecewise(4, first_last_bits=8, layers=(("2.*", 5), (r"2\.body\.3", 8), ("9", 6)))
    bits = stated_bits(quantize(net(), images(8), weights=weights))
    assert bits == {"2.body.0": 5, "2.body.6": 5, "3": 4, "4.body.0": 4, "4.body.3": 4, "4.body.6": 4, "5": 4, "9": 6}
    with pytest.raises(CalibrationError, match=r"no layer is called '7'.*some of them: 0, 2\.body\.0"):
        quantize(net(), images(8), weights=Piecewise(4, layers=(("7", 8),)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Piecewise(7), "codes of 2 to 6 bits are served, not of 7"),
        (lambda: Piecewise(1), "not of 1"),
        (lambda: Piecewise(True), "not of True"),
        (lambda: Piecewise(4.0), r"not of 4\.0"),  # type: ignore[arg-type]
        (lambda: Piecewise(4, first_last_bits=7), "2 to 6 bits are served .or 8: any integer of int8., not of 7"),
        (lambda: Piecewise(4, layers=(("a", 9),)), "layers 'a': codes of 2 to 6"),
        (lambda: Piecewise(4, layers=(("(", 4),)), "not a regular expression"),
        (lambda: Options(weights="split"), "weights is one of uniform, piecewise, or a Piecewise; not 'split'"),  # type: ignore[arg-type]
        (lambda: Options(weights="piecewise", uniform=Uniform(8)), "not of 8"),
        (lambda: Options(weights=Piecewise(4), uniform=Uniform(4)), "both W4A8 in 32 bits and piecewise 4 say bits"),
    ],
)
def test_what_no_codebook_serves_is_refused_in_one_line(make: object, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        make()  # type: ignore[operator]


def test_degenerate_layers_are_of_codebooks() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.Flatten(), nn.Linear(36, 3))
    with torch.no_grad():
        model[0].weight[1] = 0.0  # type: ignore[index]
        model[2].weight[0] = 0.0  # type: ignore[index]
        model[2].weight[1] = 0.3  # type: ignore[index]
        model[4].weight[2] = 0.0  # type: ignore[index]
        model[4].bias[2] = 100.0  # type: ignore[index]
    x = [torch.rand(4, 1, 5, 5).numpy() for _ in range(3)]
    for rounding in ROUNDINGS:
        program = quantize(model, x, weights="piecewise", rounding=rounding)
        assert is_coded(program)
        assert oaq.analyze(program)


def test_the_spread_is_made_up_for_where_no_data_are_looked_at(trained: nn.Module) -> None:
    scales = {}
    for correct in (True, False):
        options = Options(weights="piecewise", budget=None, rounding="nearest", correct_bias=correct)
        program, report = quantize_with_report(trained, images(16), options)
        scales[correct] = noise(program, trained)
        assert all(facts.sqnr_db is not None for facts in report.codebooks)
    assert scales[True] < scales[False]


def test_the_report_says_what_codebooks_did(trained: nn.Module) -> None:
    program, report = quantize_with_report(trained, images(16), Options(weights="piecewise", budget=None))
    assert [facts.name for facts in report.codebooks] == [node.name for node in program.summing_nodes()]
    for facts, node in zip(report.codebooks, program.summing_nodes(), strict=True):
        assert sum(facts.outputs) == node.products.outputs
        assert facts.nearest_db is not None
        assert facts.uniform_db is not None
        assert facts.nearest_db >= facts.uniform_db - 1e-9
    assert quantize_with_report(net(), images(8), Options())[1].codebooks == ()
    assert "weights piecewise 4, axe" in program.metadata["quantized"]


def test_the_same_call_gives_the_same_integers(trained: nn.Module) -> None:
    programs = [quantize(trained, images(8), weights="piecewise") for _ in range(2)]
    assert oaq.program.plain.fingerprint(programs[0]) == oaq.program.plain.fingerprint(programs[1])
