"""Every option of every operator that is taken is used, compared, harmless or refused; later versions are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="NOT RUN: ai-edge-litert holds the schema")

from ai_edge_litert import schema_py_generated as schema

from benchmarks.tflite_files import Model, Weights, filled, window
from oaq.capture.from_tflite import decode, import_tflite
from oaq.capture.from_tflite.importer import HANDLERS
from oaq.capture.from_tflite.options import FURTHER, LAYOUTS, ONLY
from oaq.errors import UnsupportedOp

BEYOND = {"FullyConnectedOptions": {"QuantSpec"}}
"""Fields of LiteRT's schema that the reader counts as further ones, so that they are refused where they stand."""
RETIRED = {"ResizeBilinearOptions": 2}


@pytest.mark.parametrize("op", sorted(LAYOUTS))
def test_the_table_holds_every_field_of_the_schema(op: str) -> None:
    layout = LAYOUTS[op]
    if not layout.table:
        assert not layout.fields
        return
    stored = [name[0].upper() + name[1:] for name in vars(getattr(schema, f"{layout.table}T")())]
    assert [*layout.fields, *sorted(BEYOND.get(layout.table, ()))] == stored
    assert layout.retired == RETIRED.get(layout.table, 0)
    assert set(layout.fields.values()) <= {"used", "declared", "harmless", "default"}
    assert all(field in ONLY for field, use in layout.fields.items() if use == "default")


def test_operators_with_a_layout_are_those_with_a_handler() -> None:
    assert set(LAYOUTS) == set(HANDLERS)


def model(version: int = 1, weight_zero: int = 0, **options: Any) -> bytes:
    """A fully connected layer of int8, 8 to 5."""
    net = Model()
    x = net.tensor("x", (1, 8), np.int8, scale=[0.1], zero=[3])
    y = net.tensor("y", (1, 5), np.int8, scale=[0.2], zero=[-4])
    weights = Weights(net, np.int8, np.random.default_rng(0)).draw("w", (5, 8), 0, 0.1)
    net.graph.tensors[weights[0]].quantization.zeroPoint = [weight_zero] * 5
    table = filled(schema.FullyConnectedOptionsT, **options)
    net.operator(
        schema.BuiltinOperator.FULLY_CONNECTED, [x, *weights], [y], (schema.BuiltinOptions.FullyConnectedOptions, table)
    )
    net.model.operatorCodes[-1].version = version
    return net.content([x], [y])


def test_what_is_known_is_taken() -> None:
    for content in (model(), model(14), model(asymmetricQuantizeInputs=True), model(quantizedBiasType=2)):
        assert len(import_tflite(content).program.nodes) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (model(15), "is of version 15; up to 14 is known"),
        (model(quantizedBiasType=4), "its option QuantizedBiasType is 4; 0 or 2 is taken"),
        (model(quantSpec=[]), "have a field beyond"),
        (model(weightsFormat=1), "its weights are shuffled"),
        (model(fusedActivationFunction=4), "its fused activation is number 4"),
        (model(weight_zero=2), "weights have a zero point, which LiteRT's kernels leave out"),
    ],
    ids=["version", "bias", "further", "format", "activation", "zero point"],
)
def test_what_is_not_known_is_refused_by_name(content: bytes, reason: str) -> None:
    with pytest.raises(UnsupportedOp, match=reason):
        import_tflite(content)


def test_old_files_have_their_operator_numbers_in_the_first_field_only() -> None:
    entry = decode(model()).operators[0]
    assert entry.op == "FULLY_CONNECTED" and entry.options[FURTHER] == 0
    net = Model()
    x, y = (net.tensor(name, (1, 6, 6, 4), np.uint8, scale=[0.1], zero=[7]) for name in "xy")
    weights = Weights(net, np.uint8, np.random.default_rng(0)).draw("w", (4, 1, 1, 4), 0, 0.1)
    options = (schema.BuiltinOptions.Conv2DOptions, window(schema.Conv2DOptionsT, 1))
    net.operator(schema.BuiltinOperator.CONV_2D, [x, *weights], [y], options)
    net.model.operatorCodes[-1].builtinCode = 0
    assert decode(net.content([x], [y])).operators[0].op == "CONV_2D"


@pytest.mark.parametrize("declared", [(1, 2, 32), (1, 64)])
def test_a_shape_that_the_operator_states_is_compared_with_the_declared_one(declared: tuple[int, ...]) -> None:
    net = Model()
    x = net.tensor("x", (1, 4, 4, 4), np.int8, scale=[0.1], zero=[7])
    h = net.tensor("h", (1, 4, 4, 4), np.int8, scale=[0.1], zero=[7])
    y = net.tensor("y", declared, np.int8, scale=[0.1], zero=[7])
    weights = Weights(net, np.int8, np.random.default_rng(0)).draw("w", (4, 1, 1, 4), 0, 0.1)
    options = (schema.BuiltinOptions.Conv2DOptions, window(schema.Conv2DOptionsT, 1))
    net.operator(schema.BuiltinOperator.CONV_2D, [x, *weights], [h], options)
    stated = net.tensor("shape", (2,), np.int32, data=np.array([-1, 64]))
    table = filled(schema.ReshapeOptionsT, newShape=[1, 2, 32])
    net.operator(schema.BuiltinOperator.RESHAPE, [h, stated], [y], (schema.BuiltinOptions.ReshapeOptions, table))
    imported = import_tflite(net.content([x], [y]))
    if declared == (1, 64):
        assert not imported.islands
    else:
        assert [island.why for island in imported.islands] == ["makes (1, 64) of (1, 4, 4, 4), but declares (1, 2, 32)"]
