"""The whole path: budgets are kept, more budget is no worse, what comes out is proved and the same every time."""

from __future__ import annotations

import dataclasses
import inspect
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from oaq.capture.from_torch import normalize
from oaq.capture.graph import FloatConv2d
from oaq.errors import CalibrationError
from oaq.kernels.plan import Plan, plan
from oaq.overflow.analyze import analyze
from oaq.program.int_program import IntProgram
from oaq.program.plain import fingerprint
from oaq.ptq.options import DEFAULT_BUDGET, Options
from oaq.ptq.progress import SHARES, Step
from oaq.ptq.quantize import QuantizeReport, quantize, quantize_with_report
from oaq.reference import run
from oaq.runtime.values import to_floats, to_integers
from tests.ptq.nets import images, net, sqnr

BUDGETS = (1.0, DEFAULT_BUDGET, 1.1, 1.4, None)


@pytest.fixture(scope="module")
def made() -> dict[float | None, tuple[IntProgram, QuantizeReport]]:
    return {budget: quantize_with_report(net(), images(), Options(budget=budget)) for budget in BUDGETS}


@pytest.fixture(scope="module")
def programs(made: dict[float | None, tuple[IntProgram, QuantizeReport]]) -> dict[float | None, IntProgram]:
    return {budget: program for budget, (program, _) in made.items()}


def planned(program: IntProgram) -> Plan:
    return plan(program, "avx2")


def outputs(program: IntProgram, x: list[np.ndarray]) -> np.ndarray:
    integers = to_integers(program, np.concatenate(x))
    return to_floats(program, run(program, integers).outputs)[0]


def test_the_plan_keeps_the_budget(programs: dict[float | None, IntProgram]) -> None:
    for budget, program in programs.items():
        if budget is not None:
            assert planned(program).cost <= budget + 1e-6


def test_a_budget_of_one_spills_nowhere(programs: dict[float | None, IntProgram]) -> None:
    for one in planned(programs[1.0]).nodes:
        if one.schedule is not None:
            tiles = one.schedule.segments[:, 0]
            assert len(set(tiles.tolist())) == len(tiles), one.node.name


def test_without_a_budget_everything_has_eight_bits(programs: dict[float | None, IntProgram]) -> None:
    program = programs[None]
    for name, spec in program.tensors.items():
        assert (spec.range.hi == 255) or spec.range.hi - spec.affine.zero_point < 255, name
    for node in program.summing_nodes():
        largest = np.abs(node.op.weight.astype(int)).reshape(len(node.op.weight), -1).max(axis=1)  # type: ignore[union-attr]
        assert np.median(largest) == 127


def test_more_budget_never_predicts_more_error(made: dict[float | None, tuple[IntProgram, QuantizeReport]]) -> None:
    predicted = [made[budget][1].predicted_error for budget in BUDGETS]
    assert predicted == sorted(predicted, reverse=True)


def test_much_more_budget_is_closer_to_float(programs: dict[float | None, IntProgram]) -> None:
    unseen = images(seed=9)
    far = [budget for budget in BUDGETS if budget != 1.1]  # from the default to 1.1 half a dB is predicted
    reached = [sqnr(net(), outputs(programs[budget], unseen), unseen) for budget in far]
    assert reached[-1] > 25
    assert reached[0] > 8
    assert all(later > earlier - 1.0 for earlier, later in pairwise(reached)), reached


def test_every_program_is_proved(programs: dict[float | None, IntProgram]) -> None:
    for program in programs.values():
        assert len(analyze(program).nodes) == len(list(program.summing_nodes()))


def test_the_same_data_gives_the_same_program_however_it_is_batched() -> None:
    x = np.concatenate(images())
    first = quantize(net(), [x[:5], x[5:6], x[6:]])
    second = quantize(net(), (x[start : start + 8] for start in range(0, len(x), 8)))
    assert fingerprint(first) == fingerprint(second)


def test_predicted_costs_are_those_of_the_plan() -> None:
    program, report = quantize_with_report(net(), images(), Options(budget=1.2))
    made = {one.node.name: one for one in planned(program).nodes}
    for layer in report.layers:
        assert made[layer.name].cost <= layer.predicted.cost * (
            1 + 1e-9
        )  # a proof may know narrower ranges than a tensor's
    assert planned(program).cost == pytest.approx(report.cost, rel=0.1)


def test_dead_channels_keep_their_bias() -> None:
    made = net()
    with torch.no_grad():
        made[0].weight[3] = 0.0  # type: ignore[index]
        made[0].bias[3] = 0.7  # type: ignore[index]
        made[3].weight[:, 5] = 1e-30  # type: ignore[index]
    x = images()
    program = quantize(made, x, budget=None)
    assert sqnr(made, outputs(program, x), x) > 25


@pytest.mark.parametrize("act", [nn.ReLU, nn.SiLU, nn.Hardswish])
def test_other_activations(act: type[nn.Module]) -> None:
    x = images()
    program = quantize(net(act), x)
    assert sqnr(net(act), outputs(program, x), x) > 12


@pytest.mark.parametrize("calibration", ["minmax", "percentile", "mse"])
@pytest.mark.parametrize("semantics", ["float32_half_even", "fixed_point"])
def test_every_calibration_and_semantics(calibration: str, semantics: str) -> None:
    x = images()
    program = quantize(net(), x, budget=None, calibration=calibration, requantize=semantics)
    assert program.requantize == semantics
    assert sqnr(net(), outputs(program, x), x) > 20


def test_a_graph_is_taken_like_a_module() -> None:
    graph = normalize(net(), torch.zeros(1, 3, 16, 16), "net")
    assert fingerprint(quantize(graph, images())) == fingerprint(quantize(net(), images(), name="net"))


def test_the_report_names_the_graph_the_tensors_stand_for() -> None:
    program, report = quantize_with_report(net(nn.ReLU), images())
    assert set(report.graph.shapes) == set(program.tensors)
    assert report.factors
    assert report.samples == 24
    assert any(isinstance(node.op, FloatConv2d) for node in report.graph.nodes)


def test_progress_is_told() -> None:
    said: list[Step] = []
    quantize(net(), images(), progress=said.append)
    assert list(dict.fromkeys(map(str, said))) == list(SHARES)
    assert said[0].item == "" and said[-1] == "correct biases"
    parts = [step.done for step in said]
    assert parts == sorted(parts) and parts[0] >= 0 and parts[-1] <= 1 and len(set(parts)) > 10
    assert any("rounding" in step.item for step in said) and any(step.item.startswith("batch") for step in said)


def test_what_a_budget_costs_is_predicted() -> None:
    _, tight = quantize_with_report(net(), images(), Options(budget=1.0))
    _, free = quantize_with_report(net(), images(), Options(budget=None))
    assert tight.budget_db > 0 and free.budget_db == pytest.approx(0.0)
    assert tight.least_error == pytest.approx(free.predicted_error)


@pytest.mark.parametrize(
    ("batches", "says"),
    [
        ([], "no calibration batches"),
        (np.zeros((8, 3, 16, 16), np.float32), "not one array"),
        ([np.zeros((0, 3, 16, 16), np.float32)], "example|sample"),
        ([images()[0], images()[0][:, :2]], r"batch 1.*shape"),
        ([images()[0], np.full((1, 3, 16, 16), np.nan, np.float32)], r"batch 1.*NaN"),
        ([images()[0], images()[0].astype(np.uint8)], "float32 is expected"),
        ([images()[0], "photo"], "array or a tensor|arrays"),
    ],
)
def test_data_that_cannot_be_used_is_refused(batches: object, says: str) -> None:
    with pytest.raises((CalibrationError, ValueError), match=says) as caught:
        quantize(net(), batches)  # type: ignore[arg-type]
    assert caught.type.__module__ == "oaq.errors"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"budget": 0.9}, "at least 1.0"),
        ({"budget": float("nan")}, "at least 1.0"),
        ({"calibration": "kl"}, "mse, minmax, percentile, entropy"),
        ({"requantize": "float64"}, "float32_half_even"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(CalibrationError, match=says):
        quantize(net(), images(), **options)


def test_the_keywords_of_quantize_are_the_fields_of_options_with_their_defaults() -> None:
    parameters = inspect.signature(quantize).parameters
    keywords = {name: each.default for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY}
    assert {name: keywords[name] for name in keywords if name not in ("example", "name", "progress")} == {
        field.name: field.default for field in dataclasses.fields(Options)
    }
