"""Every attribute with a value that is not its default: our result is ONNX Runtime's, or the import refuses by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from benchmarks.differential_onnx.judge import judge
from oaq.capture.from_onnx.attribute_table import TABLE
from tests.capture.from_onnx.attribute_cases import (
    AXES,
    FOLDED,
    LAYERS,
    NOT_RUN,
    PLAIN,
    QUANTIZERS,
    RESIZES,
    Case,
    folded_model,
    graph,
)
from tests.capture.from_onnx.files import graph_of

ALL = [*LAYERS, *PLAIN, *RESIZES, *QUANTIZERS, *AXES]
INTEGERS_ONLY = ("QLinear", "QGemm", "ConvInteger", "QuantizeLinear", "DequantizeLinear", "QuickGelu")


def forms_of(case: Case) -> list[str]:
    """QuantizeLinear is of opset 10; operators of integers are in no float file."""
    forms = [form for form in case.forms if form == "float" or case.opset >= 10]
    return [form for form in forms if form == "quantized" or not case.op.startswith(INTEGERS_ONLY)]


@pytest.mark.parametrize(
    ("case", "form"),
    [pytest.param(case, form, id=f"{case.name}-{form}") for case in ALL for form in forms_of(case)],
)
def test_an_attribute_changes_the_result_as_onnxruntime_does_or_is_refused_by_name(case: Case, form: str) -> None:
    verdict = judge(graph(case, form), form, 1)
    assert verdict.kind in ("agrees", "island", "refused"), (verdict.kind, verdict.detail)
    if verdict.kind == "agrees":
        assert sum(verdict.integers.values()) > 0
    else:
        assert verdict.detail


@pytest.mark.parametrize(("op", "attributes", "inputs", "opset"), FOLDED)
def test_what_is_computed_beforehand_is_what_onnxruntime_computes(
    op: str, attributes: dict[str, Any], inputs: tuple[Any, ...], opset: int
) -> None:
    model = folded_model(op, attributes, inputs, opset)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(["y"], {"x": np.zeros(1, np.float32)})
    value = graph_of(model).constants["y"]
    assert value.dtype == np.asarray(expected).dtype
    np.testing.assert_array_equal(value, expected)


def test_every_attribute_of_the_table_is_perturbed_by_some_case() -> None:
    cases = {(case.op, name) for case in ALL for name in case.attributes}
    cases |= {(op, name) for op, attributes, _, _ in FOLDED for name in attributes}
    rows = {(op, row.name) for (_, op), rows in TABLE.items() for row in rows}
    assert rows - cases - set(NOT_RUN) == set()
    assert set(NOT_RUN) <= rows
