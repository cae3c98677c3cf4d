"""Files written by NNCF, Brevitas, torchao and torch itself: ``by_tools`` says which and how."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.import_equality import Seen, compare_with_onnxruntime
from oaq import operators as ops
from oaq.capture.from_onnx import import_quantized
from oaq.capture.imported import Imported

FOLDER = Path(__file__).parent / "by_tools"


def imported(name: str) -> Imported:
    return import_quantized(FOLDER / f"{name}.onnx")


def kinds(found: Imported) -> list[str]:
    return [type(node.op).__name__ for node in found.program.nodes]


def compared(name: str) -> Seen:
    path = FOLDER / f"{name}.onnx"
    given = onnx.load(path).graph.input[0].name
    rng = np.random.default_rng(0)
    images = [scale * rng.normal(0, 1, (1, 3, 8, 8)) for scale in (1.0, 1.0, 3.0, 100.0)]
    return compare_with_onnxruntime(path, imported(name), [{given: image.astype(np.float32)} for image in images])


EQUAL: Mapping[str, set[str]] = {
    "brevitas-qcdq": {"Conv2d", "Conv2d, in float"},
    "brevitas-qcdq-float-bias": {"Conv2d", "Conv2d, in float"},
    "nncf": {"Conv2d, in float", "Add", "GlobalAvgPool", "Reshape"},
    "torchao": {"Conv2d", "Conv2d, in float"},
    "torch-fake-quantize": {"Conv2d"},
}


@pytest.mark.parametrize("name", EQUAL)
def test_integers_equal_onnxruntime(name: str) -> None:
    seen = compared(name)
    assert set(seen.integers) <= EQUAL[name]
    assert sum(seen.integers.values()) > 1000
    assert seen.exact, seen
    assert all(seen.differ[kind] <= seen.integers[kind] // 100 for kind in seen.integers)


@pytest.mark.parametrize("name", ["brevitas-qcdq", "brevitas-qcdq-float-bias", "brevitas-qonnx"])
def test_brevitas_is_a_program_from_end_to_end(name: str) -> None:
    found = imported(name)
    assert kinds(found) == ["Conv2d", "Conv2d", "MaxPool", "Reshape", "Linear"]
    assert found.islands == ()
    assert found.is_whole
    specs = found.program.tensors
    assert specs[found.program.inputs[0]].affine.zero_point == 128
    second = specs[found.program.nodes[1].output]
    assert (second.range.lo, second.range.hi) == (0, 63)
    assert [source.scale_per_output for source in found.sources.values()] == [True, False, True]


def test_brevitas_two_exports_of_one_network_hold_the_same_integers() -> None:
    qcdq, qonnx = (imported(f"brevitas-{form}").program for form in ("qcdq", "qonnx"))
    for one, other in zip(qcdq.nodes, qonnx.nodes, strict=True):
        assert qcdq.tensors[one.output].range == qonnx.tensors[other.output].range
        if isinstance(one.op, ops.Products):
            assert isinstance(other.op, type(one.op))
            np.testing.assert_array_equal(one.op.weight, other.op.weight)
            np.testing.assert_array_equal(one.op.bias, other.op.bias)
            np.testing.assert_allclose(one.op.requantize.multiplier, other.op.requantize.multiplier, rtol=1e-6)


def test_qonnx_weights_are_reals_in_the_file_and_integers_in_qcdq() -> None:
    assert {source.weight.form for source in imported("brevitas-qonnx").sources.values()} == {"reals"}
    assert {source.weight.form for source in imported("brevitas-qcdq").sources.values()} == {"integers"}


def test_results_that_a_tool_leaves_real_are_said_to_be_coarse() -> None:
    found = imported("brevitas-qcdq")
    assert [note.split(":")[0] for note in found.notes] == ["/f/Gemm"]
    assert found.sources["/f/Gemm"].y_scale is None


def test_a_real_bias_is_rounded_and_said_to_be() -> None:
    (note,) = [note for note in imported("brevitas-qcdq-float-bias").notes if "real biases" in note]
    assert note.startswith("/c1/Conv, /c2/Conv, /f/Gemm: ")
    assert not any("real biases" in note for note in imported("brevitas-qcdq").notes)


def test_nncf_leaves_a_function_between_a_layer_and_its_quantizer_which_cuts_the_program() -> None:
    found = imported("nncf")
    (island,) = found.islands
    assert [kind for _, kind in island.nodes] == ["HardSwish"]
    assert island.where == "inside"
    assert set(island.writes) == set(found.program.inputs) - {"x"}
    assert set(island.reads) <= set(found.program.outputs)
    assert kinds(found).count("Conv2d") == 3
    assert "Linear" in kinds(found)


def test_torchao_layers_are_all_in_the_program() -> None:
    found = imported("torchao")
    assert sorted(kinds(found)) == ["Conv2d", "Conv2d", "Linear"]
    assert [source.scale_per_output for source in found.sources.values()] == [True, True, True]
    (island,) = found.islands
    assert "Add" in {kind for _, kind in island.nodes}


def test_torchs_own_fake_quantizers_are_a_program_from_end_to_end() -> None:
    found = imported("torch-fake-quantize")
    assert kinds(found) == ["Conv2d", "Conv2d"]
    assert found.islands == ()
    assert {source.weight.form for source in found.sources.values()} == {"reals"}
