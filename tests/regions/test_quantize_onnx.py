"""Networks of which parts stay in float: one ONNX file, run by ONNX Runtime and by us, proved again from itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import oaq
from oaq.checker.onnx_model import PART_OPSETS
from oaq.errors import CalibrationError, FormatError, UnsupportedOp
from oaq.regions import QuantizedFile, quantize_onnx, source
from oaq.regions.agreement import agreement
from oaq.seal.text import KEY
from oaq.verify.run import verify_file
from tests.regions import nets

ort = pytest.importorskip("onnxruntime")
LEAST_DB = 30.0


@pytest.fixture(scope="module")
def normalized() -> QuantizedFile:
    return quantize_onnx(nets.normalized_file(), nets.images())


@pytest.fixture(scope="module")
def encoder() -> QuantizedFile:
    return quantize_onnx(nets.encoder_file(), nets.tokens())


def assert_runtimes_agree(file: QuantizedFile) -> None:
    """ONNX Runtime on the file, and our session, give the same; both are close to the float network."""
    runtime = ort.InferenceSession(file.content, providers=["CPUExecutionProvider"])
    feed = file.samples[0]
    for ours, theirs in zip(file.session.run(None, feed), runtime.run(None, feed), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-3 * float(np.abs(theirs).max()))
    for output in agreement(file):
        assert output.sqnr_db is not None and output.sqnr_db > LEAST_DB, output


def test_a_float_norm_in_the_middle_leaves_regions_on_both_sides(normalized: QuantizedFile) -> None:
    assert "4 layers in 2 regions of integers" in normalized.explain()
    assert "InstanceNormalization" in normalized.explain()
    assert_runtimes_agree(normalized)
    assert len(normalized.session.program.integers) == 2


def test_a_transformer_of_tokens_and_a_mask_is_quantized_from_arrays_by_name(encoder: QuantizedFile) -> None:
    assert {"Softmax", "LayerNormalization"} <= {node.op for node in encoder.split.file.nodes}
    assert_runtimes_agree(encoder)


def test_sizes_that_the_file_leaves_open_stay_open(encoder: QuantizedFile) -> None:
    (longer,) = nets.tokens(1, length=9)
    runtime = ort.InferenceSession(encoder.content, providers=["CPUExecutionProvider"])
    (ours,), (theirs,) = encoder.session.run(None, longer), runtime.run(None, longer)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


def test_opsets_older_than_ours_are_converted() -> None:
    assert_runtimes_agree(quantize_onnx(nets.encoder_file(14), nets.tokens()))


def test_opsets_newer_than_the_checker_knows_are_refused_before_anything_is_quantized() -> None:
    assert PART_OPSETS[0] == source.OPSET and PART_OPSETS[-1] == source.LAST_OPSET
    model = onnx.ModelProto.FromString(nets.normalized_file())
    model.opset_import[0].version = source.LAST_OPSET + 1
    with pytest.raises(FormatError, match="versions 17 to 27"):
        quantize_onnx(model.SerializeToString(), nets.images())


def test_inputs_that_are_texts_are_refused_in_words() -> None:
    model = onnx.ModelProto.FromString(nets.normalized_file())
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.STRING
    with pytest.raises(CalibrationError, match="the network takes string"):
        quantize_onnx(model.SerializeToString(), nets.images())


@pytest.mark.parametrize(
    ("net", "samples"),
    [
        (nets.Normalized, nets.images()),
        (nets.Encoder, nets.tokens()),
        (nets.Recurrent, [np.random.default_rng(1).normal(size=(2, 4, 10)).astype(np.float32) for _ in range(4)]),
        (nets.Upsampled, nets.images()),
    ],
)
def test_a_torch_module_with_float_parts_becomes_the_same_kind_of_file(net: Any, samples: list[Any]) -> None:
    file = oaq.quantize_onnx(nets.seeded(net), samples)
    assert file.split.floats
    assert_runtimes_agree(file)


@pytest.mark.parametrize("name", ["normalized", "encoder"])
def test_the_file_is_proved_again_from_its_own_nodes(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    file = request.getfixturevalue(name)
    file.save(tmp_path / "net.onnx")
    report = verify_file(tmp_path / "net.onnx")
    assert report.is_safe
    assert report.proved == (len(list(file.program.summing_nodes())),) * 2


def edited(file: QuantizedFile, path: Path, edit: Any) -> Path:
    """The file with its graph changed and every checksum made anew."""
    import hashlib

    from oaq.seal.text import from_text, to_text

    model = onnx.ModelProto.FromString(file.content)
    (entry,) = (entry for entry in model.metadata_props if entry.key == KEY)
    _, parts = from_text(entry.value, "text")
    model.metadata_props.remove(entry)
    edit(model)
    digest = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    model.metadata_props.add(key=KEY, value=to_text(parts, digest))
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def _larger_weight(model: onnx.ModelProto) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name.endswith(".weight") and tensor.raw_data)
    weight = onnx.numpy_helper.to_array(tensor).copy()
    weight[...] = 127
    tensor.CopyFrom(onnx.numpy_helper.from_array(weight, tensor.name))


def _other_scale(model: onnx.ModelProto) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("_scale"))
    value = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array((value * np.float32(2)).astype(np.float32), tensor.name))


def _weight_of_the_caller(model: onnx.ModelProto) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name.endswith(".weight") and tensor.raw_data)
    model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))


def _function(model: onnx.ModelProto) -> None:
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    model.functions.append(
        onnx.helper.make_function("own", "F", ["x"], ["y"], [node], [onnx.helper.make_opsetid("", 17)])
    )


@pytest.mark.parametrize("edit", [_larger_weight, _other_scale, _weight_of_the_caller, _function])
def test_a_file_whose_regions_were_changed_is_unsafe_or_refused(
    normalized: QuantizedFile, tmp_path: Path, edit: Any
) -> None:
    path = edited(normalized, tmp_path / "net.onnx", edit)
    with contextlib.suppress(FormatError):
        assert not verify_file(path).is_safe


def resealed(file: QuantizedFile, path: Path, graph: Callable[[bytes], bytes], rest: bytes = b"") -> Path:
    """The file with the bytes of its graph changed, ``rest`` behind it, and every checksum made anew."""
    import hashlib

    from oaq.seal.text import from_text, to_text

    model = onnx.ModelProto.FromString(file.content)
    (entry,) = (entry for entry in model.metadata_props if entry.key == KEY)
    _, parts = from_text(entry.value, "text")
    model.metadata_props.remove(entry)
    inner = graph(model.graph.SerializeToString())
    model.ClearField("graph")
    content = model.SerializeToString() + _field(b"\x3a", inner) + rest
    sealed = onnx.ModelProto()
    sealed.metadata_props.add(key=KEY, value=to_text(parts, hashlib.sha256(content).hexdigest()))
    path.write_bytes(content + sealed.SerializeToString())
    return path


def _field(tag: bytes, content: bytes) -> bytes:
    """A field of bytes, behind its tag."""
    size, length = len(content), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return tag + length + bytes([size]) + content


WIDE_INITIALIZER, WIDE_GRAPH = b"\xaa\x80\x80\x80\x10", b"\xba\x80\x80\x80\x10"
"""Tags whose bits above 32 some readers drop: then they are those of an initializer and of a model's graph."""


@pytest.mark.parametrize("way", ["initializer of two names", "wide tag of an initializer", "wide tag of a graph"])
def test_weights_hidden_from_the_checker_that_a_runtime_would_take_are_refused(
    normalized: QuantizedFile, tmp_path: Path, way: str
) -> None:
    model = onnx.ModelProto.FromString(normalized.content)
    _larger_weight(model)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name.endswith(".weight") and tensor.raw_data)
    other, second = tensor.SerializeToString(), b""
    if way == "initializer of two names":
        hidden = _field(b"\x2a", _field(b"\x42", b"x") + other)
    elif way == "wide tag of an initializer":
        hidden = _field(WIDE_INITIALIZER, other)
    else:
        hidden, second = b"", _field(WIDE_GRAPH, _field(b"\x2a", other))
    assert verify_file(resealed(normalized, tmp_path / "net.onnx", lambda graph: graph)).is_safe
    with pytest.raises(FormatError, match=r"a name is written twice|a number beyond 29 bits"):
        verify_file(resealed(normalized, tmp_path / "net.onnx", lambda graph: graph + hidden, second))


def test_a_bias_without_a_name_which_no_runtime_would_add_is_refused(normalized: QuantizedFile, tmp_path: Path) -> None:
    import hashlib

    from oaq.seal.text import REGION, from_text, to_text

    model = onnx.ModelProto.FromString(normalized.content)
    (entry,) = (entry for entry in model.metadata_props if entry.key == KEY)
    _, parts = from_text(entry.value, "text")
    model.metadata_props.remove(entry)
    layer = next(node for node in model.graph.node if node.op_type == "Conv" and len(node.input) == 3)
    name = layer.input[2]
    next(node for node in model.graph.node if name in node.output).output[0] = ""
    layer.input[2] = ""
    names = parts[REGION].content["nodes"]
    names[names.index(name)] = ""
    digest = hashlib.sha256(model.SerializeToString()).hexdigest()
    model.metadata_props.add(key=KEY, value=to_text(parts, digest))
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(FormatError, match="is missing, or named twice"):
        verify_file(tmp_path / "net.onnx")


def test_float_nodes_may_be_changed_because_no_proof_speaks_of_them(normalized: QuantizedFile, tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        (node,) = (node for node in model.graph.node if node.op_type == "Softmax")
        node.op_type = "LogSoftmax"

    assert verify_file(edited(normalized, tmp_path / "net.onnx", edit)).is_safe


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ([], "there are no calibration batches"),
        (nets.images()[0], "a sequence of arrays"),
        ([{"x": nets.images()[0]}], "inputs are ids, mask"),
        ([{"ids": np.zeros((2, 6)) + 0.5, "mask": np.ones((2, 6))}], "not whole numbers"),
        ([(np.zeros((2, 6), np.int64),)], "1 arrays for 2 inputs"),
        ([{"ids": np.zeros((2, 6, 1), np.int64), "mask": np.ones((2, 6))}], "the shape is (batch, length)"),
        ([{"ids": np.zeros((0, 6), np.int64), "mask": np.ones((0, 6))}], "holds no sample"),
    ],
)
def test_samples_that_do_not_fit_are_refused_in_words(samples: Any, words: str) -> None:
    with pytest.raises(CalibrationError) as refusal:
        quantize_onnx(nets.encoder_file(), samples)
    assert words in str(refusal.value)


def test_a_network_without_a_layer_of_constants_is_refused_by_name() -> None:
    class Product(torch.nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return a @ b

    a = torch.zeros(2, 3, 3)
    file = nets.exported(Product(), [a, a], {"a": {}, "b": {}})
    with pytest.raises(UnsupportedOp, match="no layer of it can become integers"):
        quantize_onnx(file, [{"a": a, "b": a}])


def test_a_loop_in_the_middle_stays_in_float_and_is_named() -> None:
    file = quantize_onnx(nets.with_loop(), nets.images())
    assert "Loop" in file.explain()
    assert_runtimes_agree(file)


def test_a_selection_of_boxes_stays_in_float_behind_the_layers() -> None:
    file = quantize_onnx(nets.detector(), [image[:1] for image in nets.images()])
    assert "4 layers in 1 region of integers" in file.explain() and "NonMaxSuppression" in file.explain()
    feed = file.samples[0]
    runtime = ort.InferenceSession(file.content, providers=["CPUExecutionProvider"])
    for ours, theirs in zip(file.session.run(None, feed), runtime.run(None, feed), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


def test_half_precision_stays_half_outside_of_regions() -> None:
    net = nets.seeded(nets.Upsampled).half()
    samples = [image.astype(np.float16) for image in nets.images()]
    file = quantize_onnx(nets.exported(net, [torch.from_numpy(samples[0])], {"x": {0: "batch"}}), samples)
    (result,) = file.session.run(None, file.samples[0])
    assert result.dtype == np.float16
    for output in agreement(file):
        assert output.sqnr_db is not None and output.sqnr_db > LEAST_DB


def test_samples_of_other_lengths_calibrate_regions_that_look_at_one_position_at_a_time() -> None:
    samples = [*nets.tokens(2, 6), *nets.tokens(2, 9), *nets.tokens(2, 4)]
    assert_runtimes_agree(quantize_onnx(nets.encoder_file(), samples))


def test_samples_of_other_sizes_are_refused_where_regions_look_at_several_positions() -> None:
    content = nets.exported(
        nets.seeded(nets.Normalized), [torch.from_numpy(nets.images()[0])], {"x": {0: "batch", 2: "h", 3: "w"}}
    )
    with pytest.raises(CalibrationError, match="give samples of one size"):
        quantize_onnx(content, [*nets.images(1), *nets.images(1, size=24)])


def test_piecewise_weights_are_ordinary_integers_of_regions_too() -> None:
    from oaq.program.codes import coded_layers
    from oaq.ptq.options import Options

    file = quantize_onnx(nets.normalized_file(), nets.images(), Options(weights="piecewise", budget=None))
    assert [facts.bits for facts in file.choices.codebooks] == [4] * 4
    assert len(coded_layers(file.program)) == 4
    runtime = ort.InferenceSession(file.content, providers=["CPUExecutionProvider"])
    for ours, theirs in zip(file.session.run(None, file.samples[0]), runtime.run(None, file.samples[0]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-3 * float(np.abs(theirs).max()))
