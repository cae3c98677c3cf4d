"""What a quantized ONNX file takes and gives: its own order, shape and types, at both ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

import oaq
from oaq.errors import ProgramError
from oaq.program.plain import fingerprint
from tests.mixed.nets import Net, by_runtime, image

pytest.importorskip("onnxruntime")


def session_of(path: Path) -> oaq.Session:
    imported = oaq.import_model(path)
    assert not imported.islands, imported.islands
    return oaq.Session(oaq.plan(imported.program))


def outputs_of(session: oaq.Session, x: object) -> tuple[np.ndarray, ...]:
    y = session.run(x)  # type: ignore[arg-type]
    return y if isinstance(y, tuple) else (y,)


HEADS: dict[str, Callable[[Net, str], str]] = {
    "as it is": lambda net, y: y,
    "channels last": lambda net, y: net.op("Transpose", y, perm=[0, 2, 3, 1]),
    "columns before rows": lambda net, y: net.op("Transpose", y, perm=[0, 1, 3, 2]),
    "flat": lambda net, y: net.op("Flatten", y),
    "positions before channels": lambda net, y: net.op(
        "Reshape", net.op("Transpose", y, perm=[0, 2, 3, 1]), net.constant([1, 40, 6], np.int64)
    ),
    "a detector's head: boxes of three numbers": lambda net, y: net.op(
        "Reshape",
        net.op("Transpose", net.op("Reshape", y, net.constant([1, 2, 3, 8, 5], np.int64)), perm=[0, 1, 3, 4, 2]),
        net.constant([1, -1, 3], np.int64),
    ),
    "an axis more": lambda net, y: net.op("Unsqueeze", y, net.constant([1], np.int64)),
}


@pytest.mark.parametrize("head", HEADS)
def test_results_come_back_in_the_shape_and_order_of_the_file(head: str, tmp_path: Path) -> None:
    net = Net()
    net.output(HEADS[head](net, net.conv(net.qdq(net.input([1, 4, 8, 5]), 0.02))))
    path = net.save(tmp_path / "net.onnx")
    x = image(1, 4, 8, 5)
    (wanted,), session = by_runtime(path, {"x": x}), session_of(path)
    (y,) = outputs_of(session, x)
    assert (y.shape, y.dtype) == (wanted.shape, wanted.dtype)
    assert np.abs(y - wanted).max() <= 0.1501
    several = outputs_of(session, np.concatenate([x, x * np.float32(0.5), x]))[0]
    np.testing.assert_array_equal(several[2:], y)
    oaq.save(session.plan.program, tmp_path / "net.oaq")
    again = oaq.load(tmp_path / "net.oaq")
    np.testing.assert_array_equal(outputs_of(oaq.Session(oaq.plan(again)), {"x": x})[0], y)


def test_an_edge_is_no_part_of_the_fingerprint_and_absent_where_there_is_nothing_to_say(tmp_path: Path) -> None:
    programs = []
    for transposed in (False, True):
        net = Net()
        y = net.conv(net.qdq(net.input([1, 4, 8, 8]), 0.02))
        net.output(net.op("Transpose", y, perm=[0, 2, 3, 1]) if transposed else y)
        programs.append(oaq.import_model(net.save(tmp_path / "net.onnx")).program)
    plain, turned = programs
    assert "file_outputs" not in plain.metadata and "file_outputs" in turned.metadata
    assert plain.nodes[0].op.weight.tolist() == turned.nodes[0].op.weight.tolist()  # type: ignore[union-attr]
    bare = {key: value for key, value in turned.metadata.items() if key != "file_outputs"}
    assert fingerprint(oaq.IntProgram(*(getattr(turned, name) for name in FIELDS), metadata=bare)) == fingerprint(
        turned
    )


FIELDS = ("name", "inputs", "outputs", "tensors", "nodes", "requantize")


@pytest.mark.parametrize(
    ("kind", "dtype", "zero"), [(TensorProto.UINT8, np.uint8, 131), (TensorProto.INT8, np.int8, -5)]
)
@pytest.mark.parametrize("nhwc", [False, True])
def test_a_file_of_integers_takes_and_gives_integers_of_its_types(
    kind: int, dtype: type, zero: int, nhwc: bool, tmp_path: Path
) -> None:
    net = Net()
    x = net.input([1, 8, 5, 4] if nhwc else [1, 4, 8, 5], kind)
    first = net.op("DequantizeLinear", x, net.constant(0.02), net.constant(zero, dtype))
    y = net.op("Conv", net.op("Transpose", first, perm=[0, 3, 1, 2]) if nhwc else first, net.weight((6, 4, 3, 3)))
    y = net.op("QuantizeLinear", y, net.constant(0.15), net.constant(zero, dtype))
    net.output(net.op("Transpose", y, perm=[0, 2, 3, 1]) if nhwc else y, kind=kind)
    path = net.save(tmp_path / "net.onnx")
    ends = np.iinfo(dtype)
    array = np.random.default_rng(0).integers(ends.min, ends.max + 1, (3, *((8, 5, 4) if nhwc else (4, 8, 5))))
    array = array.astype(dtype)
    array.reshape(-1)[:2] = (ends.min, ends.max)
    session = session_of(path)
    for sample in array:
        (wanted,), (y,) = by_runtime(path, {"x": sample[None]}), outputs_of(session, sample[None])
        assert (y.shape, y.dtype) == (wanted.shape, wanted.dtype)
        assert np.abs(y.astype(int) - wanted.astype(int)).max() <= 1
    (other,) = {np.uint8, np.int8} - {dtype}
    with pytest.raises(ProgramError, match=rf"input 'x': takes {np.dtype(dtype).name} .*, the file's own integers"):
        session.run(array.astype(other))
    with pytest.raises(ProgramError, match="got int64"):
        session.run(array.astype(np.int64))


def test_tokens_are_given_and_returned_as_the_file_has_them(tmp_path: Path) -> None:
    net = Net()
    x = net.qdq(net.input([2, 5, 16]), 0.02)
    net.output(net.qdq(net.op("MatMul", x, net.weight((16, 7))), 0.1))
    path = net.save(tmp_path / "net.onnx")
    x_ = image(2, 5, 16)
    (wanted,), (y,) = by_runtime(path, {"x": x_}), outputs_of(session_of(path), x_)
    assert y.shape == wanted.shape == (2, 5, 7)
    assert np.abs(y - wanted).max() <= 0.1001


def test_several_inputs_and_outputs_come_by_the_names_and_in_the_order_of_the_file(tmp_path: Path) -> None:
    net = Net()
    a, b = net.qdq(net.input([1, 4, 8, 8], name="second"), 0.02), net.qdq(net.input([1, 4, 8, 8], name="a/first"), 0.03)
    joined = net.conv(net.qdq(net.op("Add", a, b), 0.05))
    net.output(net.op("Flatten", net.conv(joined, 6, 3)), "late")
    net.output(net.op("Transpose", joined, perm=[0, 2, 3, 1]), "early")
    net.output(joined, "early again")
    path = net.save(tmp_path / "net.onnx")
    feed = {"second": image(1, 4, 8, 8), "a/first": image(1, 4, 8, 8, seed=1)}
    session = session_of(path)
    for given in (feed, list(feed.values())):
        for y, wanted in zip(outputs_of(session, given), by_runtime(path, feed), strict=True):
            assert y.shape == wanted.shape
            assert np.abs(y - wanted).max() <= 0.3001
    with pytest.raises(ProgramError, match=r"takes the inputs \['second', 'a/first'\], got \['second'\]"):
        session.run({"second": feed["second"]})
