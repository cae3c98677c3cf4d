"""Laws of quantization: against ONNX Runtime, and what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from oaq.dynamic import LAWS, quantize_rows
from oaq.dynamic.law import Law, operand_range, zero_points
from oaq.errors import ProgramError
from oaq.numerics.affine import Affine
from tests.dynamic.layers import inputs

RANGES: tuple[Law, ...] = ("tensor", "row", "row_s8")


@pytest.mark.parametrize("name", [name for name, _ in inputs(7)])
@pytest.mark.parametrize("law", RANGES)
def test_integers_and_zero_points_lie_where_the_proof_takes_them_to_be(law: Law, name: str) -> None:
    x = dict(inputs(7))[name]
    rows = quantize_rows(x, law)
    ends, zeros = operand_range(law), zero_points(law)
    assert rows.q.shape == x.shape
    assert rows.q.size == 0 or (rows.q.min() >= ends.lo and rows.q.max() <= ends.hi)
    assert rows.q.size == 0 or (rows.zero_point.min() >= zeros.lo and rows.zero_point.max() <= zeros.hi)
    back = rows.scale[:, None] * (rows.q.astype(np.float64) - rows.zero_point[:, None])
    assert np.all(np.abs(back - x) <= rows.scale[:, None] * 0.51 * (1.0 if name != "tiny" else 2.0))


@pytest.mark.parametrize("law", RANGES)
def test_every_end_of_the_operands_is_reached_whatever_the_scale(law: Law) -> None:
    for size in (1e-30, 1.0, 1e30):
        q = quantize_rows(np.array([[-size if law == "row_s8" else 0.0, size / 3, size]], np.float32), law).q
        ends = operand_range(law)
        assert (q.min(), q.max()) == (ends.lo, ends.hi)


@pytest.mark.parametrize("name", [name for name, x in inputs(7) if x.size and name not in ("tiny", "least")])
def test_the_law_of_tensors_is_dynamic_quantize_linear_of_onnx_runtime(name: str) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    import onnxruntime

    x = dict(inputs(7))[name]
    node = onnx.helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"])
    types = onnx.TensorProto
    outputs = [("q", types.UINT8), ("scale", types.FLOAT), ("zero", types.UINT8)]
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [onnx.helper.make_tensor_value_info("x", types.FLOAT, x.shape)],
        [onnx.helper.make_tensor_value_info(output, kind, None) for output, kind in outputs],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    q, scale, zero = session.run(None, {"x": x})
    rows = quantize_rows(x, "tensor")
    assert np.array_equal(rows.q, q)
    assert (rows.scale[0], rows.zero_point[0]) == (scale, zero)


@pytest.mark.parametrize("law", RANGES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_has_no_scale_and_the_row_is_named(law: Law, value: float) -> None:
    x = np.ones((4, 3), np.float32)
    x[2, 1] = value
    kind = "NaN" if np.isnan(value) else "infinity"
    with pytest.raises(ProgramError, match=f"row 2 of a dynamic layer's input holds {kind}: it has no scale"):
        quantize_rows(x, law)


def test_reals_too_far_apart_for_float32_have_no_scale() -> None:
    with pytest.raises(ProgramError, match="spans more than float32 can hold"):
        quantize_rows(np.array([[-3e38, 3e38]], np.float32), "tensor")


def test_a_constant_scale_clamps_infinities_and_refuses_nan() -> None:
    rows = quantize_rows(np.array([[-np.inf, 0.0, 0.75, np.inf]], np.float32), "constant", Affine(0.5, 10))
    assert rows.q.tolist() == [[0, 10, 12, 255]]  # 1.5 steps round to the even 2
    with pytest.raises(ProgramError, match="holds NaN"):
        quantize_rows(np.array([[np.nan]], np.float32), "constant", Affine(0.5, 10))


def test_a_law_that_is_none_is_refused() -> None:
    with pytest.raises(ProgramError, match=f"no law of quantization 'column'; there are {', '.join(LAWS)}"):
        quantize_rows(np.ones((1, 1), np.float32), "column")  # type: ignore[arg-type]
    with pytest.raises(ProgramError, match="'constant' needs a scale"):
        quantize_rows(np.ones((1, 1), np.float32), "constant")
