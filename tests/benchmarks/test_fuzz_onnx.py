"""The short version of ``python -m benchmarks.fuzz_onnx``, and that its judge is no rubber stamp."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import fuzz_onnx, onnx_files
from benchmarks.file_mutations import mutate
from oaq.capture.from_onnx import decode, import_graph
from oaq.capture.imported import Imported

FILES = 1500
SEED = 1


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return onnx_files.every()


def test_every_unbroken_file_is_imported(files: dict[str, bytes]) -> None:
    assert len(files) == 16
    assert {name: fuzz_onnx.judge(content).kind for name, content in files.items()} == dict.fromkeys(files, "imported")


def test_every_broken_file_ends_in_an_import_or_in_one_error(files: dict[str, bytes]) -> None:
    counts = Counter[str]()
    for index in range(FILES):
        outcome = fuzz_onnx.judge(fuzz_onnx.broken(files, SEED, index))
        assert outcome.detail == "", f"file {index} of seed {SEED}"
        counts[outcome.kind] += 1
    assert min(counts[kind] for kind in ("imported", "FormatError", "UnsupportedOp")) > FILES // 50


def test_a_file_is_a_function_of_seed_and_number(files: dict[str, bytes]) -> None:
    broken = [fuzz_onnx.broken(files, 3, index) for index in range(50)]
    assert broken == [fuzz_onnx.broken(files, 3, index) for index in range(50)]
    assert len(set(broken)) > 45


def test_mutations_change_most_files(files: dict[str, bytes]) -> None:
    rng, content = np.random.default_rng(0), files["moving"]
    changed = [mutate(content, [content], rng) != content for _ in range(200)]
    assert sum(changed) > 150


def test_an_exception_that_is_no_error_of_ours_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(graph: object) -> Imported:
        raise KeyError("x")

    monkeypatch.setattr(fuzz_onnx, "import_graph", raises)
    outcome = fuzz_onnx.judge(onnx_files.qonnx().SerializeToString())
    assert outcome.kind == "DEFECT"
    assert "KeyError: 'x'" in outcome.detail


def test_a_file_that_takes_too_long_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_onnx, "import_graph", lambda graph: time.sleep(30))
    outcome = fuzz_onnx.judge(onnx_files.qonnx().SerializeToString(), seconds=0.05)
    assert outcome.detail.startswith("slower than 0.05 s")


def test_an_import_whose_parts_contradict_each_other_is_a_defect() -> None:
    imported = import_graph(decode(onnx_files.qonnx().SerializeToString()))
    assert fuzz_onnx.contradiction(imported) == ""
    ((name, source),) = imported.sources.items()
    assert "sources of []" in fuzz_onnx.contradiction(replace(imported, sources={}))
    assert "its source says nowhere" in fuzz_onnx.contradiction(
        replace(imported, sources={name: replace(source, input="nowhere")})
    )
    assert "places of tensors" in fuzz_onnx.contradiction(replace(imported, tensors={}))
    island = replace(imported.islands[0], writes=("nowhere",))
    assert "islands write" in fuzz_onnx.contradiction(replace(imported, islands=(island,)))
    island = replace(imported.islands[0], reads=("nowhere",))
    assert "an island reads" in fuzz_onnx.contradiction(replace(imported, islands=(island,)))
