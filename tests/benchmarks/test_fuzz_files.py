"""The short form of ``benchmarks.fuzz``: a new seed each run, printed; and that a campaign notices defects."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("ai_edge_litert")

from benchmarks.fuzz import campaign as campaigns
from benchmarks.fuzz import stages
from benchmarks.fuzz.campaign import Campaign, State, load_state, run, save_state
from benchmarks.fuzz.float_stages import without_runtime
from benchmarks.fuzz.mutants import FLOAT_KINDS, KINDS, Mutant, mutant
from benchmarks.fuzz.seeds import Seeds, read_seeds, write_seeds
from benchmarks.fuzz.stages import judge

FILES = 300


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz")
    write_seeds(path / "seeds")
    return path


@pytest.fixture(scope="session")
def seeds(folder: Path) -> Seeds:
    return read_seeds(folder / "seeds")


def test_unbroken_files_go_through_every_stage(seeds: Seeds) -> None:
    for suffix, contents in seeds.files.items():
        for content in contents:
            outcome = judge(Mutant("unbroken", suffix, content), 0)
            assert outcome.kind in ("", "UnsupportedOp"), outcome
    assert judge(Mutant("unbroken", ".oaq", seeds.files[".oaq"][0]), 0).stage == "verified"


def test_unbroken_files_with_float_parts_go_through_every_verb(seeds: Seeds) -> None:
    reached = {kind: set[str]() for kind in FLOAT_KINDS}
    for kind, contents in seeds.floats.items():
        for suffix, content in contents:
            for index in range(4):
                outcome = judge(Mutant(kind, suffix, content), index)
                assert outcome.kind in ("", "UnsupportedOp"), outcome
                reached[kind].add(outcome.stage)
    assert reached["onnx dynamic"] >= {"run", "diagnosed", "repaired"}
    assert reached["onnx mixed"] >= {"run", "diagnosed", "repaired", "captured"}
    assert reached["tflite mixed"] >= {"run", "diagnosed"}
    assert reached["tflite float"] == {"captured"}


def test_onnx_runtime_is_hidden_from_files_with_float_parts_and_from_nothing_else() -> None:
    import onnxruntime

    from oaq.mixed.runtime import runtime_version

    with without_runtime():
        assert runtime_version() is None
    assert runtime_version() == onnxruntime.__version__


def test_new_broken_files_end_in_integers_or_one_error(seeds: Seeds) -> None:
    seed = secrets.randbits(31)
    sys.stdout.write(f"python -m benchmarks.fuzz --seed {seed} --only INDEX\n")
    for index in range(FILES):
        broken = mutant(seeds, seed, index)
        if broken.kind == "oaq extreme":
            continue  # sizes at which native code is the subject: under sanitizers, in the campaign
        outcome = judge(broken, index)
        assert outcome.kind != "DEFECT", f"seed {seed}, file {index}: {outcome.detail}"


def test_a_file_is_a_function_of_seed_and_number(seeds: Seeds) -> None:
    mutants = [mutant(seeds, 5, index) for index in range(200)]
    assert mutants == [mutant(seeds, 5, index) for index in range(200)]
    assert {one.kind for one in mutants} == set(KINDS)


@pytest.mark.parametrize("error", [ValueError("x"), MemoryError(), RecursionError()])
def test_any_other_exception_is_a_defect(seeds: Seeds, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(stages, "decode_archive", fail)
    outcome = judge(Mutant("unbroken", ".oaq", b""), 0)
    assert outcome.kind == "DEFECT"
    assert type(error).__name__ in outcome.detail


def test_a_loop_is_stopped_and_is_a_defect(seeds: Seeds, monkeypatch: pytest.MonkeyPatch) -> None:
    def loop(*_: object) -> None:
        while True:
            pass

    monkeypatch.setattr(stages, "decode_archive", loop)
    outcome = judge(Mutant("unbroken", ".oaq", b""), 0, seconds=0.2)
    assert outcome.kind == "DEFECT"
    assert "CPU time" in outcome.detail


def test_a_campaign_goes_on_where_it_stopped(folder: Path) -> None:
    campaign = Campaign(folder, 3, 40)
    save_state(campaign, State(pending=[(10, 40)], cases=40), [])
    state = load_state(campaign)
    assert state.pending == [(10, 40)]
    assert load_state(Campaign(folder, 3, 50)).pending == [(10, 40), (40, 50)]


def test_a_death_names_its_file_and_the_rest_is_judged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = folder / "dies.py"
    script.write_text(
        "import json, os, struct, sys\n"
        "first, last, status = int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]\n"
        "for index in range(first, last):\n"
        "    with open(status, 'r+b') as file: file.write(struct.pack('<q', index))\n"
        "    if index == 7: os.abort()\n"
        "print(json.dumps({'next': last, 'counts': {'k|run|': last - first}, 'defects': []}))\n"
    )
    monkeypatch.setattr(campaigns, "WORKER", (str(script),))
    state = run(Campaign(folder, 11, 20))
    assert [index for index, _ in state.defects] == [7]
    assert state.judged == 20
    assert not state.pending
    script.write_text(script.read_text().replace("index == 7", "False"))
    state = run(Campaign(folder, 11, 20), again=True)
    assert (state.defects, state.judged, state.again) == ([], 20, 1)
    assert load_state(Campaign(folder, 11, 20)).again == 1
