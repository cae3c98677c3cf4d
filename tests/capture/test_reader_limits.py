"""Limits of the readers of ONNX and TFLite: as the guide states them, and each refused one step beyond."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("tflite")

import onnx
from onnx import TensorProto, helper, numpy_helper

from oaq.capture import content
from oaq.capture.from_onnx import decode as decode_onnx
from oaq.capture.from_onnx import proto, reader, shapes, tensors
from oaq.capture.from_tflite import reader as tflite_reader
from oaq.errors import FormatError, OaqError
from oaq.program import safetensors

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "check-an-existing-model.md"


def model(nodes: int = 1, size: int = 3, weight: np.ndarray | None = None) -> bytes:
    names = ["x", *(f"t{index}" for index in range(nodes))]
    steps = [helper.make_node("Relu", [a], [b]) for a, b in pairwise(names)]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name in (names[0], names[-1]))
    constants = [] if weight is None else [numpy_helper.from_array(weight, "w")]
    graph = helper.make_graph(steps, "g", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_the_guide_states_the_limits_as_they_are() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([a-z][^|]*?) \| (\d+ \| [^|]+?) \|$", text, re.MULTILINE))
    assert rows == {
        "bytes of the file": f"{reader.LARGEST_FILE} | {tflite_reader.LARGEST_FILE}",
        "nodes, functions written out": f"{proto.LARGEST_GRAPH} | by size",
        "integers of a tensor, below": f"{shapes.LARGEST_TENSOR} | {tflite_reader.LARGEST_TENSOR}",
        "axes of a constant": f"{tensors.LARGEST_RANK} | {tflite_reader.LARGEST_RANK}",
    }
    assert f"at most {tflite_reader.SHARING} times its bytes" in text
    assert f"at most {safetensors.LARGEST_HEADER} bytes" in text


def test_a_file_one_byte_too_large_is_refused_after_that_byte(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"12345")
    assert content.read_content(path, 5, "is too large") == b"12345"
    with pytest.raises(FormatError, match=r"m: is too large"):
        content.read_content(path, 4, "is too large")


def test_one_node_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proto, "LARGEST_GRAPH", 5)
    decode_onnx(model(5))
    with pytest.raises(FormatError, match=r"holds 6 nodes; the limit is 5"):
        decode_onnx(model(6))


@pytest.mark.parametrize("size", [0, -2, 1 << 31, (1 << 63) - 1])
def test_a_size_that_is_none_is_refused(size: int) -> None:
    with pytest.raises(FormatError, match=r"a size is 1 or more, below 2\*\*31"):
        decode_onnx(model(size=size))


def test_a_constant_of_more_axes_is_refused() -> None:
    decode_onnx(model(weight=np.zeros((1,) * tensors.LARGEST_RANK, np.float32)))
    with pytest.raises(OaqError, match=r"17 axes"):
        decode_onnx(model(weight=np.zeros((1,) * (tensors.LARGEST_RANK + 1), np.float32)))


def test_a_name_of_a_million_letters_neither_takes_time_nor_fills_an_error() -> None:
    whole = onnx.load_model_from_string(model())
    whole.graph.node[0].op_type = "X" * 1_000_000
    with pytest.raises(OaqError) as caught:
        from oaq.capture.from_onnx import import_graph

        import_graph(decode_onnx(whole.SerializeToString()))
    assert len(str(caught.value)) < 4000


def test_a_vector_of_more_items_than_bytes_is_refused() -> None:
    root = tflite_reader._Reading(b"12345678", "m", None)  # type: ignore[arg-type]
    root.spend(8 * tflite_reader.SHARING)
    with pytest.raises(FormatError, match=r"far more than fits into its 8 bytes"):
        root.spend(1)
