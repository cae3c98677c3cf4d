"""Files of every form, against ONNX Runtime: each integer tensor of the file, given the integers before it.

Layers that sum are equal, bit for bit. What ONNX Runtime computes in float (Add, Mul, pools, functions) may round a tie
or an inexact sum otherwise than the law here does: one step, never two.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from benchmarks import onnx_files
from benchmarks.import_equality import Seen, compare_with_onnxruntime, is_float_kind
from oaq.capture.from_onnx import import_quantized

FORMS = [
    f"{form} {kinds} per {grain}"
    for form in ("QDQ", "QOperator")
    for kinds in ("U8S8", "U8U8", "S8S8")
    for grain in ("tensor", "channel")
]
LEVELS = {
    "optimized": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "as written": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
FEEDS = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_files.written(tmp_path_factory.mktemp("forms"))


def compared(path: Path, level: object, shape: tuple[int, ...] = (3, onnx_files.SIDE, onnx_files.SIDE)) -> Seen:
    """On noise, on extremes, and on an image of one value."""
    rng = np.random.default_rng(0)
    images = [rng.normal(0, 1, (1, *shape)), *(np.full((1, *shape), value) for value in (-1e6, 0.0, 1e6))]
    images += [rng.choice([-1e6, 1e6], (1, *shape)), *rng.normal(0, 3, (FEEDS, 1, *shape))]
    return compare_with_onnxruntime(
        path, import_quantized(path), [{"x": image.astype(np.float32)} for image in images], level
    )


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("form", FORMS)
def test_every_tensor_of_every_form_equals_onnxruntime(folder: Path, form: str, level: str) -> None:
    seen = compared(folder / f"{form}.onnx", LEVELS[level])
    assert seen.skipped == {}
    layers = {kind.removesuffix(", in float") for kind in seen.integers}
    expected = {"Conv2d", "Linear", "Add", "Mul", "Concat", "MaxPool", "AvgPool", "GlobalAvgPool", "Lookup", "Reshape"}
    assert layers == expected
    for kind, different in seen.differ.items():
        assert seen.integers[kind] > 0
        assert seen.most[kind] <= (1 if is_float_kind(kind) else 0), kind
        assert different <= (seen.integers[kind] // 4 if is_float_kind(kind) else 0), kind


@pytest.mark.parametrize("form", FORMS)
def test_a_whole_network_of_every_form_is_a_program_up_to_its_softmax(folder: Path, form: str) -> None:
    imported = import_quantized(folder / f"{form}.onnx")
    assert imported.is_whole
    assert imported.notes == ()
    assert imported.program.inputs == ("x",)
    (island,) = imported.islands
    assert island.where == "output"
    assert island.reads == imported.program.outputs
    assert island.nodes[0][1].removeprefix("com.microsoft.QLinear") == "Softmax"
    assert [source.scale_per_output for source in imported.sources.values()] == [form.endswith("channel")] * 5


OPTIONS = {
    "symmetric": {"extra_options": {"ActivationSymmetric": True, "WeightSymmetric": True}},
    "reduce_range": {"reduce_range": True},
    "weights stored as reals": {"extra_options": {"AddQDQPairToWeight": True}},
    "real biases": {"extra_options": {"QuantizeBias": False}},
    "a pair for each reader": {"extra_options": {"DedicatedQDQPair": True}},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_further_options_of_onnxruntimes_quantizer_are_read(name: str, tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType

    rng = np.random.default_rng(3)
    content = onnx_files.static(
        onnx_files.float_network(rng),
        rng,
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QInt8 if name == "symmetric" else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        **OPTIONS[name],
    )
    (tmp_path / "net.onnx").write_bytes(content)
    imported = import_quantized(tmp_path / "net.onnx")
    assert len(imported.sources) == 5
    assert imported.is_whole
    program = imported.program
    if name == "symmetric":
        assert {spec.affine.zero_point for spec in program.tensors.values()} == {128}
    widest = max(int(np.abs(node.op.weight).max()) for node in program.summing_nodes())  # type: ignore[union-attr]
    assert widest == (64 if name == "reduce_range" else 127)
    forms = {source.weight.form for source in imported.sources.values()}
    assert forms == {"reals" if name == "weights stored as reals" else "integers"}
    seen = compared(tmp_path / "net.onnx", LEVELS["optimized"])
    assert seen.exact, seen
    assert sum(seen.integers.values()) > 10_000


def test_layers_whose_input_is_quantized_while_it_runs_are_cut_out(folder: Path) -> None:
    """DynamicQuantizeLinear: each layer's integers come in, its sums go out, and the notes say both."""
    imported = import_quantized(folder / "dynamic.onnx")
    program = imported.program
    assert [type(node.op).__name__ for node in program.nodes] == ["Conv2d"] * 4 + ["Linear"]
    assert set(program.inputs) == {name for island in imported.islands for name in island.writes}
    assert set(program.outputs) == {name for island in imported.islands for name in island.reads}
    assert not imported.is_whole
    for node in program.summing_nodes():
        assert any(note.startswith(f"{node.name}: the zero point of its input") for note in imported.notes)
        assert any(note.startswith(f"{node.name}: the file leaves its results real") for note in imported.notes)
        assert imported.sources[node.name].y_scale is None


def test_moved_integers_equal_onnxruntime(folder: Path) -> None:
    for level in LEVELS.values():
        seen = compared(folder / "moving.onnx", level, (8, 8, 8))
        assert seen.differ == {"Resize": 0, "Add": 0, "Lookup": 0}


def test_a_function_of_the_files_own_is_written_out(folder: Path) -> None:
    imported = import_quantized(folder / "function.onnx")
    assert [type(node.op).__name__ for node in imported.program.nodes] == ["Linear", "Linear"]
    assert imported.islands == ()
