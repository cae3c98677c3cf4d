"""The table of architectures: what it promises of every entry."""

from __future__ import annotations

import numpy as np
import pytest

from oaq.capture.from_onnx.graph import OnnxNode, TensorType
from oaq.mixed.program import FloatBody, MixedProgram, Region
from recipes.zoo.products import shares
from recipes.zoo.table import ARCHITECTURES

torch = pytest.importorskip("torch")


def test_the_table_has_forty_architectures_of_eight_kinds() -> None:
    assert len(ARCHITECTURES) >= 40
    assert len({entry.kind for entry in ARCHITECTURES.values()}) >= 8


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_network_answers_differently_to_different_samples(name: str) -> None:
    entry = ARCHITECTURES[name]
    net = entry.network()
    with torch.inference_mode():
        outputs = net(*(torch.from_numpy(array) for array in entry.samples(2, 0)))
    for output in outputs if isinstance(outputs, tuple) else (outputs,):
        assert bool(torch.isfinite(output).all())
        assert float((output[0] - output[1]).std()) > 0.05 * float(output.std())


def test_samples_and_weights_depend_on_name_and_seed_alone() -> None:
    entry = ARCHITECTURES["ds_cnn"]
    for first, second in zip(entry.samples(3, 5), entry.samples(3, 5), strict=True):
        assert np.array_equal(first, second)
    assert not np.array_equal(entry.samples(3, 5)[0], entry.samples(3, 6)[0])
    first, second = (entry.network().state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_products_of_float_regions_are_counted_from_their_shapes() -> None:
    nodes = (
        OnnxNode("a", "Gemm", "", ("x", "w"), ("y",), {"transA": 1}),
        OnnxNode("b", "Conv", "", ("i", "k"), ("o",), {}),
        OnnxNode("c", "ConvTranspose", "", ("i", "t"), ("u",), {}),
        OnnxNode("d", "Softmax", "", ("y",), ("z",), {}),
    )
    kinds = {"x": (5, 2), "y": (2, 7), "i": (1, 3, 4, 4), "o": (1, 6, 4, 4), "u": (1, 2, 8, 8), "z": (2, 7)}
    types = {name: TensorType(np.dtype(np.float32), shape) for name, shape in kinds.items()}
    constants = {"w": np.zeros((5, 7)), "k": np.zeros((6, 3, 3, 3)), "t": np.zeros((3, 2, 2, 2))}
    body = FloatBody(nodes, constants, types, {"": 20})
    region = Region("floats 1", "float", tuple((node.name, node.op) for node in nodes), (), (), "", body)
    parts = shares(MixedProgram("net", (), (), (region,), {}))
    assert parts.floats == 2 * 7 * 5 + 6 * 16 * 27 + 3 * 16 * 2 * 4
    assert (parts.integers, parts.part) == (0, 0.0)
    assert "Softmax" in parts.operators


def test_operators_that_float_loops_compute_are_named_by_those_of_the_file() -> None:
    pytest.importorskip("onnxruntime")
    import oaq
    from tests import dynamic_files as files

    net = files.onnx.load_from_string(files.matmul_integer(np.ones((6, 5), np.int8), np.float32(0.1)))
    net.graph.node.append(files.helper.make_node("Gelu", ["y0"], ["y"], "gelu", domain=files.MICROSOFT))
    net.graph.output[0].name = "y"
    session = oaq.InferenceSession(net.SerializeToString())
    assert shares(session.program).operators == "dynamic layer, com.microsoft.Gelu"
