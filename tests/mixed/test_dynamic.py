"""Files whose activations are quantized as they come: run by regions, bit for bit as ONNX Runtime, at any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import oaq
from oaq.capture.from_dynamic_onnx import decode_dynamic
from oaq.capture.from_dynamic_onnx.chains import chains_of
from oaq.errors import ProgramError
from tests import dynamic_files as files

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
helper = files.helper
RNG = np.random.default_rng(0)


def weight(terms: int, outputs: int) -> Any:
    return RNG.integers(-127, 128, (terms, outputs)).astype(np.int8)


def contents() -> dict[str, bytes]:
    scale, per_output = np.float32(0.01), RNG.uniform(0.001, 0.1, 5).astype(np.float32)
    bias = RNG.normal(size=5).astype(np.float32)
    unsigned = weight(6, 5).view(np.uint8)
    return {
        "one scale": files.matmul_integer(weight(6, 5), scale),
        "bias": files.matmul_integer(weight(6, 5), per_output, bias=bias),
        "uint8": files.matmul_integer(unsigned, scale, zero=np.array(120, np.uint8), bias=bias),
        "zero points": files.matmul_integer(unsigned, per_output, zero=np.arange(5, dtype=np.uint8) * 50),
        "DynamicQuantizeMatMul": files.fused("DynamicQuantizeMatMul", weight(6, 5), scale[None], bias=bias),
        "MatMulIntegerToFloat": files.fused("MatMulIntegerToFloat", weight(6, 5), per_output, bias=bias),
    }


def encoder(*, shares: bool = True) -> bytes:
    """Two layers on one quantization, a nonlinearity in float, a third layer, what it read added to it."""
    constants: dict[str, Any] = {"z": np.zeros((), np.int8), "s": np.float32(0.02), "half": np.float32(0.5)}
    nodes = [helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"])]

    def layer(name: str, source: str, outputs: int, terms: int) -> None:
        constants[name] = weight(terms, outputs)
        constants[f"{name}_bias"] = RNG.normal(size=outputs).astype(np.float32)
        nodes.extend(
            [
                helper.make_node("MatMulInteger", [source, name, f"{source}z", "z"], [f"{name}0"], name),
                helper.make_node("Cast", [f"{name}0"], [f"{name}1"], to=1),
                helper.make_node("Mul", [f"{source}s", "s"], [f"{name}u"]),
                helper.make_node("Mul", [f"{name}1", f"{name}u"], [f"{name}2"]),
                helper.make_node("Add", [f"{name}_bias", f"{name}2"], [f"{name}y"]),
            ]
        )

    layer("a", "q", 7, 6)
    layer("b", "q", 7, 6)
    nodes += [
        helper.make_node("Tanh", ["ay"], ["t"]),
        helper.make_node("Mul", ["t", "by"], ["m"]),
        helper.make_node("DynamicQuantizeLinear", ["m"], ["r", "rs", "rz"]),
    ]
    layer("c", "r", 6, 7)
    nodes.append(helper.make_node("Add", ["cy", "x"], ["y"]))
    outputs = ["y"] if shares else ["y", "q"]
    return files.model(nodes, constants, ("batch", "tokens", 6), outputs)


@pytest.mark.parametrize("name", list(contents()))
@pytest.mark.parametrize("isa", [None, "avx2", "scalar"])
def test_every_form_of_a_layer_computes_the_bits_of_onnx_runtime(name: str, isa: str | None) -> None:
    content = contents()[name]
    session = oaq.InferenceSession(content, isa=isa)
    assert [region.kind for region in session.program.regions] == ["dynamic"]
    for shape in ((1, 1, 6), (2, 9, 6), (3, 40, 6)):
        x = RNG.normal(size=shape).astype(np.float32)
        assert np.array_equal(session.run(None, {"x": x})[0], files.run(content, x)[0])


@pytest.mark.parametrize(("shape", "side"), [((5, 3, 3, 3), (7, 6)), ((4, 2, 1, 1), (3, 3)), ((3, 2, 5), (9,))])
@pytest.mark.parametrize("kind", ["s8", "a scale each", "u8"])
def test_convolutions_compute_the_bits_of_onnx_runtime(shape: Any, side: Any, kind: str) -> None:
    filters = RNG.integers(-127, 128, shape).astype(np.int8)
    scale: Any = np.float32(0.01)
    zero = None
    if kind == "a scale each":
        scale = RNG.uniform(0.001, 0.1, (shape[0], *[1] * len(side))).astype(np.float32)
    if kind == "u8":
        filters, zero = filters.view(np.uint8), np.array(120, np.uint8)
    content = files.conv_integer(filters, scale, zero=zero)
    session = oaq.InferenceSession(content)
    assert [region.kind for region in session.program.regions] == ["dynamic"]
    for batch in (1, 3):
        x = RNG.normal(size=(batch, shape[1], *side)).astype(np.float32) + np.float32(0.5)
        assert np.array_equal(session.run(None, {"x": x})[0], files.run(content, x)[0])


def test_convolutions_of_several_groups_stay_with_onnx_runtime() -> None:
    content = files.conv_integer(RNG.integers(-127, 128, (4, 1, 3, 3)).astype(np.int8), np.float32(0.1), groups=4)
    assert not chains_of(decode_dynamic(content))


def test_dynamic_regions_stand_between_float_ones_and_one_cut_serves_every_size() -> None:
    content = encoder()
    session = oaq.InferenceSession(content)
    kinds = [region.kind for region in session.program.regions]
    assert kinds == ["dynamic", "float", "dynamic", "float"]
    assert len(session.program.regions[0].nodes) == 2
    opened = session.opened
    for shape in ((1, 1, 6), (2, 9, 6), (1, 33, 6)):
        x = RNG.normal(size=shape).astype(np.float32)
        assert np.allclose(session.run(None, {"x": x})[0], files.run(content, x)[0], rtol=1e-5, atol=1e-6)
    assert session.opened is opened
    assert "2 dynamic regions, 3 layers proved; 2 float regions" in session.explain()


def test_a_quantization_that_something_else_reads_stays_besides() -> None:
    content = encoder(shares=False)
    model = files.onnx.load_from_string(content)
    model.graph.output[1].type.tensor_type.elem_type = files.TensorProto.UINT8
    content = model.SerializeToString()
    session = oaq.InferenceSession(content)
    x = RNG.normal(size=(2, 3, 6)).astype(np.float32)
    for ours, theirs in zip(session.run(None, {"x": x}), files.run(content, x), strict=True):
        assert np.allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_chains_whose_inside_is_read_elsewhere_are_left_whole() -> None:
    content = files.matmul_integer(weight(6, 5), np.float32(0.1))
    model = files.onnx.load_from_string(content)
    model.graph.output.append(helper.make_tensor_value_info("reals", files.TensorProto.FLOAT, None))
    assert not chains_of(decode_dynamic(model.SerializeToString()))
    assert not chains_of(decode_dynamic(files.matmul_integer(weight(6, 5), np.float32(0.1), split=True)))


def test_what_has_no_scale_is_an_error_that_names_the_tensor() -> None:
    session = oaq.InferenceSession(contents()["bias"])
    with pytest.raises(ProgramError, match="dynamic 1, 'x': row 0 of a dynamic layer's input holds NaN"):
        session.run(None, {"x": np.full((1, 1, 6), np.nan, np.float32)})
