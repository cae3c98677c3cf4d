"""Float files made ready for dynamic int8: the same bits, channels of like ranges, less error once quantized."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oaq.errors import CalibrationError, FormatError
from oaq.repair import balance, balance_with_report
from oaq.repair.balance import Channels, balanced
from tests import dynamic_files as files

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
node = files.helper.make_node
TERMS, OUTPUTS = 24, 10


def content(rng: np.random.Generator, reach: float) -> bytes:
    """Two matrices on one normalized tensor, of which one channel is ``reach`` times as wide, and one on x."""
    gain = np.ones(TERMS, np.float32)
    gain[5] = reach
    constants = {"gain": gain, "bias": np.zeros(TERMS, np.float32)}
    constants |= {name: rng.normal(size=(TERMS, OUTPUTS)).astype(np.float32) for name in ("a", "b")}
    constants["c"] = rng.normal(size=(TERMS, OUTPUTS)).astype(np.float32)
    nodes = [
        node("LayerNormalization", ["x", "gain", "bias"], ["n"], "n"),
        node("MatMul", ["n", "a"], ["na"], "first"),
        node("MatMul", ["n", "b"], ["nb"], "second"),
        node("MatMul", ["x", "c"], ["xc"], "third"),
        node("Sum", ["na", "nb", "xc"], ["y"]),
        node("ReduceMean", ["n"], ["m"], axes=[1], keepdims=0),
    ]
    return files.model(nodes, constants, ("rows", TERMS), ["y", "m"])


def saved(folder: Path, bytes_of_file: bytes) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(bytes_of_file)
    return path


def samples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": rng.normal(size=(30, TERMS)).astype(np.float32)} for _ in range(3)]


def test_a_wide_channel_is_divided_where_matrices_read_it_and_the_file_computes_the_same_bits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    before = content(rng, 64.0)
    after = balance(saved(tmp_path, before), samples(rng))
    model = files.onnx.load_from_string(after)
    names = [member.name for member in model.graph.node]
    assert names == ["n", "n_balanced", "first", "second", "third", "", ""]
    constants = files.initializers(after)
    factor = constants["n_balance"]
    assert np.argmin(factor) == 5 and factor[5] <= np.median(factor) / 8
    assert np.array_equal(np.frexp(factor)[0], np.full(TERMS, 0.5, np.float32))
    assert "a" not in constants and "c" in constants and "x_balance" not in constants
    x = rng.normal(size=(7, TERMS)).astype(np.float32)
    for ours, theirs in zip(files.run(after, x), files.run(before, x), strict=True):
        assert np.array_equal(ours, theirs)


def test_less_error_is_left_once_it_is_quantized(tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    rng = np.random.default_rng(1)
    path = saved(tmp_path, content(rng, 64.0))
    (tmp_path / "balanced.onnx").write_bytes(balance(path, samples(rng)))
    x = rng.normal(size=(200, TERMS)).astype(np.float32)
    exact, errors = files.run(path.read_bytes(), x)[0], []
    for name in ("net", "balanced"):
        quantized = tmp_path / f"{name}.int8.onnx"
        quantize_dynamic(tmp_path / f"{name}.onnx", quantized, weight_type=QuantType.QInt8, per_channel=True)
        errors.append(float(np.square(files.run(quantized.read_bytes(), x)[0] - exact).sum()))
    assert errors[1] < 0.25 * errors[0]


def test_channels_that_are_alike_are_left_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    before = content(rng, 1.0)
    assert (
        files.initializers(balance(saved(tmp_path, before), samples(rng))).keys() == files.initializers(before).keys()
    )


@pytest.mark.parametrize("dead", ["operand", "weight", "both"])
def test_channels_that_never_move_and_weights_of_zero_get_finite_factors(dead: str) -> None:
    reach, weight = np.ones(8), np.ones((8, 3))
    reach[2] = 100.0
    if dead != "weight":
        reach[4] = 0.0
    if dead != "operand":
        weight[4] = 0.0
    factor = balanced(Channels(-reach, reach, 10 * reach**2, 10), weight)
    assert factor is not None and np.isfinite(factor).all() and (factor > 0).all()
    assert balanced(Channels(np.zeros(8), np.zeros(8), np.zeros(8), 10), weight) is None


def test_what_does_not_fit_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = saved(tmp_path, content(np.random.default_rng(3), 8.0))
    with pytest.raises(CalibrationError, match="at least one sample"):
        balance(path, [])
    with pytest.raises(CalibrationError, match="cannot run the file on these samples"):
        balance(path, [{"z": np.zeros((1, TERMS), np.float32)}])
    with pytest.raises(CalibrationError, match="NaN or infinity"):
        balance(path, [{"x": np.full((1, TERMS), np.nan, np.float32)}])
    with pytest.raises(FormatError, match="cannot be read"):
        balance(tmp_path / "missing.onnx", [])
    (tmp_path / "damaged.onnx").write_bytes(b"no file")
    with pytest.raises(FormatError, match="cannot be read"):
        balance(tmp_path / "damaged.onnx", [])


def test_a_gemm_and_a_constant_node_are_balanced_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    gain = np.ones(TERMS, np.float32)
    gain[5] = 64.0
    weight = rng.normal(size=(OUTPUTS, TERMS)).astype(np.float32)
    nodes = [
        node("Constant", [], ["w"], value=files.onnx.numpy_helper.from_array(weight)),
        node("LayerNormalization", ["x", "gain", "bias"], ["n"], "n"),
        node("Gemm", ["n", "w", "shift"], ["y"], "gemm", transB=1, alpha=0.5),
    ]
    constants = {"gain": gain, "bias": np.zeros(TERMS, np.float32), "shift": np.ones(OUTPUTS, np.float32)}
    before = files.model(nodes, constants, ("rows", TERMS), ["y"])
    made = balance_with_report(saved(tmp_path, before), samples(rng))
    ((name, (divided, channels)),) = made.tensors.items()
    assert (name, channels, made.samples, made.divided) == ("n", TERMS, 3, 1) and 0 < divided <= TERMS
    x = rng.normal(size=(7, TERMS)).astype(np.float32)
    assert np.array_equal(files.run(made.content, x)[0], files.run(before, x)[0])


def test_a_file_without_products_by_constants_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, files.model([node("Relu", ["x"], ["y"])], {}, ("rows", TERMS), ["y"]))
    with pytest.raises(CalibrationError, match="nothing to balance"):
        balance(path, samples(np.random.default_rng(0)))


def product_of(kind: type, outputs: int, rng: np.random.Generator) -> bytes:
    """x as numbers of this kind, times a constant of them."""
    weight = (10 * rng.normal(size=(TERMS, outputs))).astype(kind)
    element = files.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    nodes = [node("Cast", ["x"], ["cast"], to=element), node("MatMul", ["cast", "w"], ["y"])]
    return files.model(nodes, {"w": weight}, ("rows", TERMS), ["y"])


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int32])
def test_products_of_other_numbers_than_float32_are_left_alone(kind: type, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    path = saved(tmp_path, product_of(kind, OUTPUTS, rng))
    with pytest.raises(CalibrationError, match="by float32 constants"):
        balance(path, samples(rng))


def test_a_matrix_without_a_number_is_left_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    path = saved(tmp_path, product_of(np.float32, 0, rng))
    with pytest.raises(CalibrationError, match="nothing to balance"):
        balance(path, samples(rng))


def test_weights_that_would_leave_float32_are_left_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    model = files.onnx.load_from_string(content(rng, 64.0))
    for tensor in model.graph.initializer:
        if tensor.name in ("a", "b"):
            weight = files.onnx.numpy_helper.to_array(tensor).copy()
            weight *= np.float32(2e38) / np.abs(weight).max()
            tensor.CopyFrom(files.onnx.numpy_helper.from_array(weight, tensor.name))
    made = balance_with_report(saved(tmp_path, model.SerializeToString()), samples(rng))
    assert made.divided == 0
    assert all(np.isfinite(constant).all() for constant in files.initializers(made.content).values())
