"""The table of attributes: complete for every opset that onnx knows, and asked by both readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import defs, helper

from oaq.capture.from_float_onnx import normalize
from oaq.capture.from_float_onnx.normalize import EDGE, HANDLERS
from oaq.capture.from_float_onnx.recognized import FORMULAS as WRITTEN_OUT
from oaq.capture.from_onnx import import_quantized
from oaq.capture.from_onnx.attribute_table import MICROSOFT, TABLE, Attribute, attribute_flaw
from oaq.capture.from_onnx.fold import FORMULAS
from oaq.capture.from_onnx.graph import OnnxNode
from oaq.capture.from_onnx.importer import OWN
from oaq.capture.from_onnx.proto import SMALLEST_OPSET
from oaq.capture.from_onnx.qlinear import RULES
from oaq.errors import UnsupportedOp
from tests.capture.from_onnx.files import model, node
from tests.capture.from_onnx.test_stated_numbers import END, LAYER, MAP, READ, weights

TAKEN = {("", op) for op in (*OWN, *HANDLERS, *EDGE, *FORMULAS, *WRITTEN_OUT)} | set(RULES)
NEWEST = defs.onnx_opset_version()


def current(rows: tuple[Attribute, ...], opset: int) -> set[str]:
    return {row.name for row in rows if row.since <= opset <= row.until}


def test_the_table_has_rows_for_every_operator_that_is_taken() -> None:
    not_onnx = {"QuickGelu"}  # of com.microsoft only; its rule stands beside ONNX's own functions
    assert {key for key in TAKEN if key not in TABLE and key[1] not in not_onnx} == set()


@pytest.mark.parametrize("opset", range(SMALLEST_OPSET, NEWEST + 1))
def test_every_attribute_of_every_opset_has_one_row_and_no_row_is_of_another(opset: int) -> None:
    """From onnx's own schemas; 28 is the newest that is known to the onnx this was written with."""
    for (domain, op), rows in TABLE.items():
        if domain:
            continue
        try:
            schema = defs.get_schema(op, opset, domain)
        except defs.SchemaError:
            continue  # newer than this opset
        if schema.deprecated:
            continue
        assert current(rows, opset) == set(schema.attributes), f"{op}, opset {opset}"
        names = [row.name for row in rows if row.since <= opset <= row.until]
        assert len(names) == len(set(names)), f"{op}, opset {opset}"


def test_rows_of_com_microsoft_are_those_of_onnxruntimes_schemas() -> None:
    state = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
    schemas = {one.name: one for one in state.get_all_operator_schema() if one.domain == MICROSOFT}
    for (domain, op), rows in TABLE.items():
        if domain == MICROSOFT:
            assert current(rows, 1) == set(schemas[op].attributes), op


def test_every_row_that_is_not_used_says_why() -> None:
    for rows in TABLE.values():
        for row in rows:
            assert bool(row.why) == (row.use != "used"), row
            assert bool(row.allowed) <= (row.use == "refused"), row


def test_the_default_of_a_refused_attribute_is_allowed() -> None:
    for (domain, op), rows in TABLE.items():
        for row in rows:
            if row.use == "refused" and not domain and row.allowed:
                schema = defs.get_schema(op, min(row.until, NEWEST), domain)
                default = schema.attributes[row.name].default_value
                assert helper.get_attribute_value(default) in row.allowed, (op, row)


def flaw(op: str, opset: int, **attributes: object) -> str:
    return attribute_flaw(OnnxNode("n", op, "", (), (), attributes), {"": opset})  # type: ignore[arg-type]


def test_an_attribute_of_another_opset_is_refused_by_name_unless_it_says_what_is_done_anyway() -> None:
    assert flaw("AveragePool", 18, dilations=(2, 2)) == (
        "its attribute 'dilations' is none that oaq knows of AveragePool in opset 18"
    )
    assert flaw("AveragePool", 19, dilations=(2, 2)) == ""
    assert flaw("Conv", 28, fold_in_time=1) == "its attribute 'fold_in_time' is none that oaq knows of Conv in opset 28"
    assert flaw("BatchNormalization", 15, spatial=1) == ""
    assert "spatial is 0, not 1" in flaw("BatchNormalization", 8, spatial=0)
    assert "none that oaq knows" in flaw("BatchNormalization", 15, spatial=0)
    assert flaw("QuantizeLinear", 23, precision=10).startswith("its attribute precision is 10, not 0 or 1: ")


@pytest.mark.parametrize("op", ["Conv", "Relu"])
def test_both_readers_refuse_an_attribute_that_they_do_not_know_by_name(op: str, tmp_path: Path) -> None:
    def save(made: onnx.ModelProto) -> Path:
        (tmp_path / "net.onnx").write_bytes(made.SerializeToString())
        return tmp_path / "net.onnx"

    unknown = helper.make_attribute("fold_in_time", 1)
    layer = [*LAYER[:2], node("Relu", ["c"], "f"), *END]
    layer[1 if op == "Conv" else 2].attribute.append(unknown)
    try:
        path = save(model([*READ, *layer], {"x": (1, 4, 6, 6)}, ["y"], {**MAP, "w": weights(6, 4, 3, 3)}))
        words = f"\\({op}\\): its attribute 'fold_in_time' is none that oaq knows of {op} in opset 17"
        if op == "Conv":
            with pytest.raises(UnsupportedOp, match=words):
                import_quantized(path)
        else:
            (island,) = import_quantized(path).islands
            assert island.why.endswith(words.replace("\\", "").partition(": ")[2])
        nodes = [node("Conv", ["x", "w"], "c", pads=[1] * 4), node("Relu", ["c"], "y")]
        nodes[0 if op == "Conv" else 1].attribute.append(unknown)
        with pytest.raises(UnsupportedOp, match=words):
            normalize(save(model(nodes, {"x": (1, 4, 6, 6)}, ["y"], {"w": np.ones((6, 4, 3, 3), np.float32)})))
    finally:
        layer[1 if op == "Conv" else 2].attribute.pop()
