"""Dynamic layers of ONNX files: found in every form, whatever shapes are open, or named with a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oaq.capture.from_dynamic_onnx import decode_dynamic, import_dynamic
from oaq.capture.from_dynamic_onnx.importer import import_file
from oaq.doctor import diagnose
from oaq.errors import FormatError, UnsupportedOp
from tests import dynamic_files as files

onnx = pytest.importorskip("onnx")
helper = onnx.helper
RNG = np.random.default_rng(0)
WEIGHT = RNG.integers(-127, 128, (6, 5)).astype(np.int8)
SCALE = np.float32(0.01)


def contents() -> dict[str, bytes]:
    unsigned = WEIGHT.view(np.uint8) ^ np.uint8(128)
    per_output = RNG.uniform(0.01, 0.1, 5).astype(np.float32)
    return {
        "scales multiplied first": files.matmul_integer(WEIGHT, SCALE),
        "scales one by one": files.matmul_integer(WEIGHT, SCALE, split=True, bias=np.ones(5, np.float32)),
        "a scale for each output": files.matmul_integer(WEIGHT, per_output, bias=np.ones(5, np.float32)),
        "uint8": files.matmul_integer(unsigned, SCALE, zero=np.array(128, np.uint8)),
        "DynamicQuantizeMatMul": files.fused("DynamicQuantizeMatMul", WEIGHT, SCALE[None]),
        "MatMulIntegerToFloat": files.fused("MatMulIntegerToFloat", WEIGHT, per_output, bias=np.ones(5, np.float32)),
    }


@pytest.mark.parametrize("name", list(contents()))
def test_every_form_is_found_with_its_weights_and_its_scale(name: str) -> None:
    file = decode_dynamic(contents()[name])
    (product,) = file.products
    assert file.is_dynamic and not file.skipped
    assert (product.node, product.signed, product.axis) == ("dense", False, 1)
    assert product.use is not None and product.use.name == "w_scale"
    assert product.scale is not None and product.scale.size in (1, 5)
    weight = import_file(file).program.nodes[0].products.rows
    assert np.array_equal(weight, WEIGHT.T)


@pytest.mark.parametrize(("shape", "groups"), [((4, 3, 3, 3), 1), ((4, 1, 3, 3), 4), ((4, 2, 5), 2), ((2, 3, 1, 1), 1)])
def test_convolutions_are_found_and_laid_out_channels_last(shape: tuple[int, ...], groups: int) -> None:
    weight = RNG.integers(-127, 128, shape).astype(np.int8)
    (product,) = decode_dynamic(files.conv_integer(weight, SCALE, groups=groups)).products
    assert product.convolves and product.use is not None
    file = decode_dynamic(files.conv_integer(weight, SCALE, groups=groups))
    op = import_file(file).program.nodes[0].products
    assert np.array_equal(op.weight, np.moveaxis(weight, 1, -1))


def test_what_is_said_needs_no_data_and_pairs_decide() -> None:
    fits, exceeds = (np.array([[a, 0], [b, 0]], np.int8) for a, b in ((127, 1), (127, 2)))
    for weight, safe in ((fits, True), (exceeds, False)):
        imported = import_file(decode_dynamic(files.matmul_integer(weight, SCALE)))
        assert diagnose(imported.program, ("avx2-acc32",)).is_safe is safe
        assert diagnose(imported.program, ("vnni",)).is_safe
        assert "holds for every input, without data" in imported.notes[0]


def test_layers_that_share_their_operands_are_layers_each() -> None:
    constants = {"a": WEIGHT, "b": WEIGHT[:, :3].copy(), "s": SCALE, "z": np.zeros((), np.int8)}
    nodes = [helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "xs", "xz"])]
    for name in "ab":
        nodes += [
            helper.make_node("MatMulInteger", ["q", name, "xz", "z"], [f"{name}0"]),
            helper.make_node("Cast", [f"{name}0"], [f"{name}1"], to=1),
            helper.make_node("Mul", ["xs", "s"], [f"{name}u"]),
            helper.make_node("Mul", [f"{name}1", f"{name}u"], [f"y{name}"]),
        ]
    file = decode_dynamic(files.model(nodes, constants, ("n", 6), ["ya", "yb"]))
    assert [product.use is not None for product in file.products] == [True, True]
    assert len(list(import_file(file).program.summing_nodes())) == 2


def test_operands_are_followed_through_what_moves_them() -> None:
    constants = {"w": WEIGHT, "s": SCALE, "to": np.array([-1, 6])}
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "xs", "xz"]),
        helper.make_node("Reshape", ["q", "to"], ["flat"]),
        helper.make_node("MatMulInteger", ["flat", "w", "xz"], ["y0"]),
        helper.make_node("Cast", ["y0"], ["y"], to=1),
    ]
    (product,) = decode_dynamic(files.model(nodes, constants, ("n", "m", 6), ["y"])).products
    assert not product.signed and product.use is None


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([("MatMulInteger", ["q", "q"], "")], "multiplies two tensors that are computed"),
        ([("MatMulInteger", ["q", "cube"], "")], "is no matrix or filter of bytes"),
        ([("MatMulInteger", ["q", "w", "xz", "xz"], "")], "zero points of its weights are computed"),
        ([("DynamicQuantizeLSTM", ["x", "w", "w"], files.MICROSOFT)], "DynamicQuantizeLSTM stays as it is"),
    ],
)
def test_what_is_no_layer_is_named_with_the_reason(nodes: list[Any], words: str) -> None:
    made = [helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "xs", "xz"])]
    made += [helper.make_node(op, inputs, ["y"], op, domain=domain) for op, inputs, domain in nodes]
    constants = {"w": WEIGHT, "cube": WEIGHT[None]}
    file = decode_dynamic(files.model(made, constants, ("n", 6), ["y"]))
    assert not file.products and words in file.skipped[0][1]
    with pytest.raises(UnsupportedOp, match="holds no dynamic layer of constant weights"):
        import_file(file)


def test_files_of_constant_scales_are_not_dynamic() -> None:
    constants = {"s": SCALE, "z": np.zeros((), np.uint8), "w": WEIGHT, "wz": np.zeros((), np.int8)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("MatMulInteger", ["q", "w", "z", "wz"], ["y"]),
    ]
    assert not decode_dynamic(files.model(nodes, constants, ("n", 6), ["y"])).is_dynamic


def test_a_damaged_file_is_said_to_be_one(tmp_path: Any) -> None:
    (tmp_path / "a.onnx").write_bytes(contents()["uint8"][:-7])
    with pytest.raises(FormatError, match=r"a.onnx"):
        import_dynamic(tmp_path / "a.onnx")
