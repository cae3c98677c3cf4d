"""TFLite files: the integers of LiteRT's default kernels, islands, and what is wrong said once."""

from __future__ import annotations

import importlib
import itertools
import struct
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="NOT RUN: ai-edge-litert writes these files; test_stored runs without it")

from benchmarks import fuzz_tflite
from benchmarks.fuzz_onnx import judge
from benchmarks.import_equality import Seen
from benchmarks.tflite_equality import compare, runs, with_every_output
from benchmarks.tflite_files import Model, network, sequence_network
from benchmarks.tflite_operators import CASES, STEP
from benchmarks.tflite_operators import operator as file_of
from oaq import operators as ops
from oaq.capture.from_tflite import import_tflite
from oaq.capture.imported import weight_from_file, weight_to_file
from oaq.errors import FormatError, OaqError, UnsupportedOp
from oaq.kernels.plan import plan
from oaq.numerics.requantize import SEMANTICS
from oaq.runtime import Session

KINDS = [np.int8, np.uint8]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_integers_are_those_of_litert(kind: type[np.integer], seed: int) -> None:
    content = network(seed, kind)
    imported, seen = import_tflite(content), Seen()
    names = [source.name for source in imported.tensors.values()]
    ends = np.iinfo(kind)
    rng = np.random.default_rng(seed)
    photos = [rng.integers(ends.min, ends.max + 1, (1, 9, 9, 3)) for _ in range(4)]
    photos += [np.full((1, 9, 9, 3), end) for end in (ends.min, ends.max)]
    for got in runs(with_every_output(content, names), "AUTO", names, photos):
        compare(imported, got, seen)
    assert len(seen.skipped) <= 1  # the mean before it is flattened has no name in the file
    assert {"Conv2d", "Linear", "Add"} <= set(seen.integers)
    assert not any(seen.differ.values()), seen


@pytest.mark.parametrize("kind", KINDS)
def test_a_convolution_along_one_axis_and_tokens_run_as_litert_has_them(kind: type[np.integer]) -> None:
    content = sequence_network(0, kind)
    imported = import_tflite(content)
    assert imported.is_whole and not imported.islands
    program = imported.program
    assert program.tensors[program.inputs[0]].shape == (12, 5) and program.tensors[program.outputs[0]].shape == (6, 4)
    session, rng, ends = Session(plan(program)), np.random.default_rng(0), np.iinfo(kind)
    stored = [np.full((1, 12, 5), end) for end in (ends.min, ends.max)]
    stored += [rng.integers(ends.min, ends.max + 1, (1, 12, 5)) for _ in range(4)]
    for results, x in zip(runs(content, "AUTO", ["x", "y"], stored), stored, strict=True):
        u8 = (x - ends.min).astype(np.uint8)
        (y,) = session.run_integers(u8)
        np.testing.assert_array_equal(y.astype(np.int64) + ends.min, results["y"])


def test_what_no_layer_computes_is_an_island_at_the_end() -> None:
    imported = import_tflite(network())
    assert imported.is_whole
    (island,) = imported.islands
    assert island.where == "output" and [kind for _, kind in island.nodes] == ["SOFTMAX"]
    assert island.reads == imported.program.outputs == ("f",)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_go_back_into_the_file_as_they_came(kind: type[np.integer]) -> None:
    imported = import_tflite(network(0, kind))
    for node in imported.program.summing_nodes():
        assert isinstance(node.op, ops.Products)
        source = imported.sources[node.name]
        stored = weight_to_file(source, node.op.weight)
        assert stored.min() >= np.iinfo(kind).min and stored.max() <= np.iinfo(kind).max
        np.testing.assert_array_equal(weight_from_file(source, stored, node.op.weight.shape), node.op.weight)


@pytest.mark.parametrize("scale", [0.0, float("nan"), float("inf"), -1.0])
def test_impossible_scales_are_refused(scale: float) -> None:
    with pytest.raises(FormatError, match="its scale 0 is"):
        import_tflite(network(scale=scale))


def test_files_without_integers_are_refused(tmp_path: Path) -> None:
    net = Model()
    x, y = (net.tensor(name, (1, 4), np.float32) for name in "xy")
    net.operator(19, [x], [y])
    with pytest.raises(UnsupportedOp, match="holds no layer of 8-bit integers"):
        import_tflite(net.content([x], [y]))
    with pytest.raises(FormatError, match="cannot be read"):
        import_tflite(tmp_path / "missing.tflite")
    with pytest.raises(FormatError):
        import_tflite(b"not a model")


def test_any_truncation_ends_in_one_error_or_a_program() -> None:
    content = network()
    for length in range(0, len(content), 37):
        try:
            import_tflite(content[:length])
        except OaqError:
            continue


def test_broken_files_end_in_one_error_or_a_program() -> None:
    files, kinds = fuzz_tflite.unbroken(), set()
    for index in range(600):
        outcome = judge(fuzz_tflite.broken(files, 1, index), load=fuzz_tflite.load)
        assert outcome.kind != "DEFECT", (index, outcome.detail)
        kinds.add(outcome.kind)
    assert {"imported", "FormatError"} <= kinds


def test_without_the_package_that_reads_them_one_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tflite", None)
    monkeypatch.delitem(sys.modules, "oaq.capture.from_tflite.reader")
    with pytest.raises(FormatError, match=r"needs the package tflite: pip install tflite"):
        importlib.import_module("oaq.capture.from_tflite.reader")


@pytest.mark.parametrize("name", CASES)
def test_scales_as_far_apart_as_float32_has_them_end_in_a_program_or_in_words(name: str) -> None:
    content, ends, outcomes = file_of(name), (1.4e-45, 1e-38, 1e-8, 1.0, 1e8, 3.4e38), set[str]()
    before, after = (struct.pack("<f", step) for step in (STEP, CASES[name].step))
    for a, b in itertools.product((STEP, *ends), (CASES[name].step, *ends)):
        damaged = content.replace(before, struct.pack("<f", a)).replace(after, struct.pack("<f", b))
        for semantics in SEMANTICS:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    imported = import_tflite(damaged, requantize=semantics)
                    outcomes.add("taken" if imported.is_whole else "in part")
                except (FormatError, UnsupportedOp) as error:
                    outcomes.add(type(error).__name__)
    assert "taken" in outcomes and len(outcomes) > 1
