from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import oaq
from oaq.cli import main
from oaq.errors import ConfigError, FormatError, ProgramError
from oaq.kernels.plan import Plan
from oaq.kernels.table import cpu_isas
from oaq.program.int_program import IntProgram
from oaq.tune import Goal, Record, Tuned, load_record, tune
from oaq.tune.choice import PROBES
from oaq.tune.decide import RunTimes, timed
from oaq.tune.effects import power_law, rounding_error
from oaq.tune.synthetic import synthetic_integers
from oaq.tune.timing import Line, Timings, measure
from tests.tune.nets import small_network, small_samples

pytestmark = pytest.mark.skipif("avx2" not in cpu_isas(), reason="NOT RUN: this CPU has no AVX2 to tune for")


TUNING = importlib.import_module("oaq.tune.choice")
DECIDING = importlib.import_module("oaq.tune.decide")
SLOW, FAST, MOVE, SPILL = 4e-5, 1e-5, 1e-7, 1e-9
"""Seconds of a layer summed in 32 bits, of others, of a node without sums, and of a spill."""


def injected_timings(program: IntProgram, isa: str, rounds: int = 1, progress: object = None) -> Timings:
    """In place of ``measure``: what narrow rows save does not depend on the machine."""
    del rounds, progress
    measured = measure(program, isa, rounds=1)
    lines = {
        node: {row: Line(SLOW, 0.0, 0.0) if row.endswith("_exact") else Line(FAST, SPILL, 0.0) for row in rows}
        for node, rows in measured.lines.items()
    }
    return Timings(isa, lines, dict.fromkeys(measured.moves, MOVE))


def injected_runs(saving: float) -> Callable[..., list[tuple[RunTimes, ...]]]:
    """In place of ``timed``: every candidate saves this part of the first program's seconds."""

    def run_times(plan: Plan, seconds: float) -> RunTimes:
        nodes = {part.node.name: MOVE if part.schedule is None else seconds for part in plan.nodes}
        return RunTimes(nodes, 0.0)

    def timed(plans: Sequence[Sequence[Plan]], x: object, progress: object) -> list[tuple[RunTimes, ...]]:
        del x, progress
        seconds = [SLOW] + [SLOW * (1 - saving)] * (len(plans) - 1)
        return [tuple(run_times(plan, part) for plan in row) for row, part in zip(plans, seconds, strict=True)]

    return timed


@pytest.fixture(scope="module", autouse=True)
def clock() -> Iterator[None]:
    """Narrow sums take a quarter of the seconds, on every machine and under every load."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TUNING, "measure", injected_timings)
        patch.setattr(DECIDING, "timed", injected_runs(0.75))
        yield


@pytest.fixture(scope="module")
def tuned(clock: None) -> Tuned:
    return tune(small_network(), [small_samples()], budget=1.5)


def test_the_result_is_proved_and_every_executor_agrees(tuned: Tuned, tmp_path: Path) -> None:
    assert tuned.choice is not None
    oaq.save(tuned.program, tmp_path / "tuned.oaq")
    oaq.verify(tuned.program).raise_if_unsafe()
    assert "tuned" in tuned.program.metadata


def test_layers_that_are_called_coarser_have_other_weights(tuned: Tuned) -> None:
    before = {node.name: node.products.weight for node in small_network().summing_nodes()}
    for candidate in tuned.candidates:
        after = {node.name: node.products.weight for node in candidate.program.summing_nodes()}
        assert candidate.fills
        assert not any(np.array_equal(before[name], after[name]) for name in candidate.fills)


def test_inputs_and_outputs_keep_their_meaning(tuned: Tuned) -> None:
    before = small_network()
    for name in (*before.inputs, *before.outputs):
        assert tuned.program.tensors[name] == before.tensors[name]


def test_the_measured_noise_is_that_of_the_outputs(tuned: Tuned) -> None:
    before, x = small_network(), small_samples()
    a, b = (np.asarray(oaq.Session(oaq.plan(program)).run(x), np.float64) for program in (before, tuned.program))
    assert tuned.choice is not None
    assert ((a - b) ** 2).sum() / (a**2).sum() == pytest.approx(tuned.choice.noise)


def test_a_record_read_back_is_the_same_and_measures_nothing_again(tuned: Tuned, tmp_path: Path) -> None:
    tuned.record.save(tmp_path / "record.json")
    record = load_record(tmp_path / "record.json")
    assert record.digest == tuned.record.digest
    again = tune(small_network(), [small_samples()], budget=1.5, record=record)
    predicted = [candidate.proposal.solution.picks for candidate in tuned.candidates[: len(again.candidates)]]
    assert [candidate.proposal.solution.picks for candidate in again.candidates[: len(predicted)]] == predicted


def test_a_record_of_another_program_or_instruction_set_is_refused(tuned: Tuned) -> None:
    other = replace(small_network(), name="other")
    with pytest.raises(ConfigError, match="another program"):
        tune(other, [small_samples()], budget=1.5, record=tuned.record)
    with pytest.raises(ConfigError, match="not of"):
        tune(small_network(), [small_samples()], isa="scalar", record=tuned.record)


@pytest.mark.parametrize(
    "damage",
    ["{", "[]", '{"format": "other"}', '{"format": "oaq tuning 1"}'],
)
def test_what_is_not_a_record_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(damage)
    with pytest.raises(FormatError, match="not a record"):
        load_record(path)


@pytest.mark.parametrize("name", ["nowhere.json", "no\0where.json", "."])
def test_a_record_that_cannot_be_read_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        load_record(tmp_path / name)


def test_negative_and_infinite_numbers_are_refused(tuned: Tuned, tmp_path: Path) -> None:
    document = tuned.record.to_json()
    node = next(iter(document["layers"]))
    for number in (-1.0, float("inf")):
        document["layers"][node]["factor"] = number
        (tmp_path / "record.json").write_text(json.dumps(document))
        with pytest.raises(FormatError, match="negative or not finite"):
            load_record(tmp_path / "record.json")


def test_a_goal_out_of_reach_says_what_the_least_is() -> None:
    with pytest.raises(ConfigError, match=r"the least is avx2 [0-9.]+ ms"):
        tune(small_network(), [small_samples()], seconds=1e-9)


def test_where_narrower_integers_gain_nothing_the_program_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    program = small_network()
    measured = measure(program, "avx2", rounds=1)
    exact = {
        node: {row: Line(1e-5, 0.0, 0.0) for row in rows if row.endswith("_exact")}
        for node, rows in measured.lines.items()
    }
    monkeypatch.setattr(TUNING, "measure", lambda *_, **__: Timings("avx2", exact, measured.moves))
    result = tune(program, [small_samples()], budget=1.5)
    assert result.program is program
    assert result.choice is None
    assert "save less than" in result.notes[0]


@pytest.mark.parametrize("saving", [0.0, 0.019, -0.5])
def test_what_saves_nothing_when_it_is_timed_is_not_written(
    saving: float, tuned: Tuned, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DECIDING, "timed", injected_runs(saving))
    program = small_network()
    result = tune(program, [small_samples()], budget=1.5, record=tuned.record)
    assert result.program is program
    assert (result.choice, result.candidates != ()) == (None, True)
    oaq.save(program, tmp_path / "net.oaq")
    out = tmp_path / "tuned.oaq"
    assert main(["tune", str(tmp_path / "net.oaq"), "--out", str(out), "--budget", "1.5"]) == 0
    printed = capsys.readouterr().out
    assert "left as it is" in printed
    assert "saved less than 2% on avx2 when they were timed" in printed
    assert not out.exists()


def test_a_saving_of_two_percent_is_taken(tuned: Tuned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DECIDING, "timed", injected_runs(0.021))
    result = tune(small_network(), [small_samples()], budget=1.5, record=tuned.record)
    assert result.choice is not None
    assert result.choice.seconds[0] / result.before[0] == pytest.approx(1 - 0.021, rel=1e-3)


def test_by_the_clock_of_this_machine_it_is_proved_or_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((TUNING, "measure"), (DECIDING, "timed")):
        monkeypatch.setattr(module, name, {"measure": measure, "timed": timed}[name])
    program = small_network()
    result = tune(program, [small_samples()], budget=1.5)
    assert (result.choice is None) == (result.program is program)
    assert all(seconds > 0 for candidate in result.candidates for seconds in candidate.seconds)
    oaq.verify(result.program).raise_if_unsafe()


@pytest.mark.parametrize("goal", [{"isas": ()}, {"budget": 0.5}, {"seconds": -1.0}])
def test_goals_that_mean_nothing_are_refused(goal: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Goal(**goal)  # type: ignore[arg-type]


def test_synthetic_inputs_are_the_same_every_time_and_use_the_range() -> None:
    spec = small_network().tensors["x"]
    first, second = synthetic_integers(spec, 4), synthetic_integers(spec, 4)
    assert np.array_equal(first, second)
    assert first.shape == (4, *spec.shape)
    assert np.ptp(first.astype(int)) > 200


def test_power_laws_go_through_what_was_measured() -> None:
    law = power_law([(1.0, 0.01), (4.0, 0.04)])
    assert law.exponent == pytest.approx(1.0)
    assert law.effect(2.0) == pytest.approx(0.02)
    assert law.effect(0.0) == 0.0


def test_rounding_error_is_that_of_every_integer() -> None:
    counts = np.zeros(256, np.int64)
    counts[[0, 1, 2, 255]] = 1
    expected = np.mean([(round(v / 3) * 3 - v) ** 2 for v in (0, 1, 2, 255)])
    assert rounding_error(counts, 255, 85) == pytest.approx(expected)
    assert rounding_error(counts, 255, 255) == 0.0


def test_the_command_writes_a_proved_file_and_says_what_it_brought(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    oaq.save(small_network(), tmp_path / "net.oaq")
    out, record = tmp_path / "tuned.oaq", tmp_path / "record.json"
    arguments = ["tune", str(tmp_path / "net.oaq"), "--out", str(out), "--budget", "1.5", "--record", str(record)]
    assert main(arguments) == 0
    assert "dB to the integers of net.oaq" in capsys.readouterr().out
    assert main(["verify", str(out), "--quick"]) == 0
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["gained"] is True
    assert document["record"] == load_record(record).digest


def test_what_a_solver_prints_is_not_in_the_document(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="NOT RUN: no SciPy, no solver")
    solve = optimize.milp

    def loud(*arguments: object, **options: object) -> object:
        os.write(1, b"HighsMipSolverData::transformNewIntegerFeasibleSolution tmpSolver.run();\n")
        return solve(*arguments, **options)

    monkeypatch.setattr(optimize, "milp", loud)
    oaq.save(small_network(), tmp_path / "net.oaq")
    out = tmp_path / "tuned.oaq"
    assert main(["tune", str(tmp_path / "net.oaq"), "--out", str(out), "--budget", "1.5", "--json"]) == 0
    printed = capfd.readouterr()
    assert json.loads(printed.out)["gained"] is True
    assert "HighsMipSolverData" in printed.err


def test_energy_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    oaq.save(small_network(), tmp_path / "net.oaq")
    assert main(["tune", str(tmp_path / "net.oaq"), "--out", str(tmp_path / "t.oaq"), "--joules", "1"]) == 2
    assert "not measurable here" in capsys.readouterr().err
    assert not (tmp_path / "t.oaq").exists()


def test_tuning_loads_no_training_framework() -> None:
    code = "import sys, oaq.tune; sys.exit('torch' in sys.modules or 'onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_function_is_public_and_the_package_is_still_there() -> None:
    assert callable(oaq.tune)
    assert importlib.import_module("oaq.tune").tune is oaq.tune


def test_data_are_batches_as_a_session_takes_them(tuned: Tuned) -> None:
    x = small_samples()
    spec = small_network().tensors["x"]
    floats = [spec.affine.dequantize(part) for part in (x[:2], x[2:5], x[5:])]
    for data in (iter(floats), [x]):
        again = tune(small_network(), data, budget=1.5, record=tuned.record)
        assert not again.synthetic
        assert again.candidates[0].proposal.solution.picks == tuned.candidates[0].proposal.solution.picks


def test_data_that_hold_nothing_are_refused() -> None:
    with pytest.raises(ProgramError, match="hold no sample"):
        tune(small_network(), [])


def test_probes_correct_what_was_predicted(tuned: Tuned) -> None:
    """A budget of 1.0 is the fastest choice: it can be reached, with predicted noise."""
    candidates = tune(small_network(), [small_samples()], budget=1.0, record=tuned.record).candidates
    factors = [candidate.proposal.noise / candidate.proposal.solution.error for candidate in candidates]
    assert factors[0] == pytest.approx(1.0)
    probes = [candidate for candidate, factor in zip(candidates, factors, strict=True) if factor == factors[0]]
    assert 1 <= len(probes) <= PROBES
    measured = np.median([probe.noise / probe.proposal.solution.error for probe in probes])
    assert factors[len(probes)] == pytest.approx(measured)


def test_records_are_values(tuned: Tuned) -> None:
    assert isinstance(tuned.record, Record)
    assert tuned.record.timings[0].isa == "avx2"


@pytest.mark.parametrize("flag", ["--out", "--record"])
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_measured(
    flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measures(*_: object, **__: object) -> Tuned:
        pytest.fail("measured first")

    monkeypatch.setattr("oaq.cli.tune.tune", measures)
    oaq.save(small_network(), tmp_path / "net.oaq")
    places = {"--out": tmp_path / "t.oaq", "--record": tmp_path / "r.json", flag: tmp_path / "missing" / "file"}
    arguments = [str(part) for pair in places.items() for part in pair]
    assert main(["tune", str(tmp_path / "net.oaq"), *arguments]) == 2
    assert f"{flag} {places[flag]}: {tmp_path / 'missing'} is not a writable folder" in capsys.readouterr().err
