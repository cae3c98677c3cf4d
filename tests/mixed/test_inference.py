"""Any file by ONNX Runtime's own calls: integers proved, the rest in float, results as the file gives them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import oaq
from oaq.errors import ProgramError, UnsupportedOp
from oaq.mixed import execute
from oaq.mixed.inference import InferenceSession
from tests.mixed.nets import Net, by_runtime, image

runtime = pytest.importorskip("onnxruntime")

STEP = 0.15


def begin(net: Net, shape: tuple[int | str, ...] = (1, 4, 8, 8)) -> str:
    """A first layer of integers."""
    return net.conv(net.qdq(net.input(shape), 0.02))


def norm(net: Net, tensor: str, size: int = 8) -> str:
    return net.op("LayerNormalization", tensor, net.constant(np.linspace(0.5, 2, size)), net.constant(np.ones(size)))


def softmax_head(net: Net) -> None:
    net.output(net.op("Softmax", net.op("Flatten", begin(net))))


def two_heads(net: Net) -> None:
    y = begin(net)
    net.output(net.op("ArgMax", y, axis=1, keepdims=0), "class", TensorProto.INT64)
    net.output(net.op("Transpose", y, perm=[0, 2, 3, 1]), "logits")
    net.output(net.op("ReduceMean", y, axes=[2, 3], keepdims=0), "mean")


def ceil_pool(net: Net) -> None:
    y = net.op(
        "AveragePool",
        begin(net),
        kernel_shape=[3, 3],
        strides=[2, 2],
        pads=[1] * 4,
        ceil_mode=1,
        count_include_pad=1,
    )
    net.output(net.qdq(y))


def middle(net: Net) -> None:
    net.output(net.conv(net.qdq(norm(net, begin(net)), 0.03), 6, 5))


def two_middles(net: Net) -> None:
    y = net.conv(net.qdq(norm(net, begin(net)), 0.03), 6, 6)
    y = net.conv(net.qdq(net.op("Softmax", y, axis=1), 0.004, 0), 6, 5)
    net.output(net.op("Softmax", y, axis=1))


def forked(net: Net) -> None:
    """Integers of the first region are read by the second as integers."""
    y = begin(net)
    gate = net.qdq(norm(net, y), 0.03)
    net.output(net.conv(net.qdq(net.op("Add", y, gate), 0.2), 6, 5))


def float_first(net: Net) -> None:
    x = net.input([1, 4, 8, 8])
    y = net.op("Conv", x, net.constant(net.rng.normal(size=(4, 4, 3, 3))), pads=[1] * 4)
    net.output(net.conv(net.qdq(y, 0.05)))


def real_sums(net: Net) -> None:
    net.output(net.op("Conv", begin(net), net.weight((2, 6, 3, 3))))


def attention(net: Net) -> None:
    """Two activations multiplied: float between integer products."""
    x = net.qdq(net.input([1, 5, 16]), 0.02)
    q, k, v = (net.qdq(net.op("MatMul", x, net.weight((16, 16), 0.01)), 0.1) for _ in range(3))
    scores = net.op("Softmax", net.op("MatMul", q, net.op("Transpose", k, perm=[0, 2, 1])))
    mixed = net.qdq(net.op("MatMul", scores, v), 0.1)
    net.output(net.qdq(net.op("MatMul", mixed, net.weight((16, 7), 0.01)), 0.1))


NETS: dict[str, tuple[Callable[[Net], None], str]] = {
    "softmax head": (softmax_head, "IF"),
    "two heads of integers and of floats": (two_heads, "IF"),
    "pool that counts its padding": (ceil_pool, "IF"),
    "float in the middle": (middle, "IFI"),
    "float twice": (two_middles, "IFIFIF"),
    "fork": (forked, "IFI"),
    "float first": (float_first, "FI"),
    "sums left real": (real_sums, "IF"),
    "attention": (attention, "IFI"),
}


def regions(session: InferenceSession) -> str:
    return "".join("I" if region.kind == "integer" else "F" for region in session.program.regions)


def feed_of(path: Path, seed: int = 0) -> dict[str, np.ndarray]:
    model = onnx.load(str(path))
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in model.graph.input}
    return {name: image(*shape, seed=seed) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", NETS)
def test_a_file_with_float_parts_gives_what_onnx_runtime_gives(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, kinds = NETS[name]
    net = Net()
    write(net)
    path = net.save(tmp_path / "net.onnx")
    session = InferenceSession(path)
    assert regions(session) == kinds
    monkeypatch.setattr(execute, "runtime_version", lambda: None)
    own = InferenceSession(path)
    for seed in range(3):
        feed = feed_of(path, seed)
        expected, ours = by_runtime(path, feed), session.run(None, feed)
        assert [(y.shape, y.dtype) for y in ours] == [(y.shape, y.dtype) for y in expected]
        for y, right in zip(ours, expected, strict=True):
            if y.dtype.kind == "f":
                assert np.abs(y - right).max() <= STEP * 1.001
            else:
                np.testing.assert_array_equal(y, right)
        for y, other in zip(own.run(None, feed), ours, strict=True):
            np.testing.assert_allclose(y, other, rtol=1e-5, atol=1e-6)
    by = [executor.label for executor in own.opened.executors]  # type: ignore[union-attr]
    assert all(("float operators" in label) == (kind == "F") for label, kind in zip(by, kinds, strict=True))
    assert [time.region for time in session.profile()] == [region.name for region in session.program.regions]


def test_an_operator_of_onnx_runtime_alone_runs_there_and_is_named_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Net()
    y = net.op("Resize", begin(net), "", net.constant([1, 1, 2, 2]), mode="cubic")
    net.output(net.conv(net.qdq(y), 6, 5))
    path = net.save(tmp_path / "net.onnx")
    feed = feed_of(path)
    session = InferenceSession(path)
    assert regions(session) == "IFI"
    assert np.abs(session.run(None, feed)[0] - by_runtime(path, feed)[0]).max() <= STEP * 1.001
    monkeypatch.setattr(execute, "runtime_version", lambda: None)
    with pytest.raises(UnsupportedOp, match=r"node 'Resize6' \(Resize\) stays in float.*pip install onnxruntime"):
        InferenceSession(path)


def test_a_branch_inside_stays_as_it_is_and_the_integers_around_it_are_proved(tmp_path: Path) -> None:
    net = Net()
    y = begin(net)
    condition = net.op("Greater", net.op("ReduceMean", y, keepdims=0), net.constant(0.05))
    branches = []
    for name, node in (
        ("then", helper.make_node("Add", [y, "two"], ["a"])),
        ("else", helper.make_node("Neg", [y], ["b"])),
    ):
        value = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, [1, 6, 8, 8])
        two = [numpy_helper.from_array(np.float32(2), "two")] if name == "then" else []
        branches.append(helper.make_graph([node], name, [], [value], two))
    y = net.op("If", condition, then_branch=branches[0], else_branch=branches[1])
    net.output(net.conv(net.qdq(y), 6, 5))
    path = net.save(tmp_path / "net.onnx")
    session = InferenceSession(path)
    assert regions(session) == "IFI"
    for seed in range(4):
        feed = feed_of(path, seed)
        assert np.abs(session.run(None, feed)[0] - by_runtime(path, feed)[0]).max() <= STEP * 1.001


def test_sizes_left_open_are_those_of_the_arrays_with_a_plan_for_each(tmp_path: Path) -> None:
    net = Net()
    y = begin(net, ("n", 4, "h", "w"))
    net.output(net.op("Softmax", net.op("ReduceMean", y, axes=[2, 3], keepdims=0)))
    path = net.save(tmp_path / "net.onnx")
    session = InferenceSession(path)
    assert [(end.name, end.type, end.shape) for end in session.get_inputs()] == [
        ("x", "tensor(float)", ["n", 4, "h", "w"])
    ]
    assert [(end.name, end.type, end.shape) for end in session.get_outputs()] == [("y", "tensor(float)", ["n", 6])]
    for shape in ((1, 4, 8, 8), (3, 4, 5, 9), (2, 4, 8, 8), (1, 4, 8, 8)):
        x = image(*shape)
        (y_,) = session.run(["y"], {"x": x})
        np.testing.assert_allclose(y_, by_runtime(path, {"x": x})[0], atol=STEP)
        assert y_.shape == (shape[0], 6)


def test_a_batch_left_open_reaches_shapes_that_the_file_computes_from_it(tmp_path: Path) -> None:
    net = Net()
    y = begin(net, ("batch", 4, 8, 8))
    count = net.op(
        "Unsqueeze", net.op("Gather", net.op("Shape", y), net.constant(0, np.int64)), net.constant([0], np.int64)
    )
    target = net.op("Concat", count, net.constant([-1], np.int64), axis=0)
    net.output(net.op("Reshape", norm(net, y), target))
    path = net.save(tmp_path / "net.onnx")
    session = InferenceSession(path)
    for batch in (1, 3, 2):
        x = image(batch, 4, 8, 8)
        (y_,) = session.run(None, {"x": x})
        assert y_.shape == (batch, 384)
        np.testing.assert_allclose(y_, by_runtime(path, {"x": x})[0], atol=1e-4)


def test_a_float_file_runs_and_says_that_nothing_is_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net()
    net.output(net.op("Relu", net.input(["n", "k"])))
    path = net.save(tmp_path / "net.onnx")
    for _ in range(2):
        session = InferenceSession(path)
        for shape in ((3, 4), (1, 7)):
            x = image(*shape)
            np.testing.assert_array_equal(session.run(None, {"x": x})[0], np.maximum(x, 0))
        assert "nothing is proved: " in session.explain()
        monkeypatch.setattr(execute, "runtime_version", lambda: None)


def test_what_the_file_does_not_have_is_refused_with_what_it_has(tmp_path: Path) -> None:
    net = Net()
    softmax_head(net)
    session = InferenceSession(net.save(tmp_path / "net.onnx"))
    x = image(1, 4, 8, 8)
    for names, feed, message in (
        (None, {"z": x}, r"no input is called 'z'; there are \['x'\]"),
        (None, {}, r"the input 'x' is missing"),
        (["z"], {"x": x}, r"no output is called 'z'; there are \['y'\]"),
        (None, {"x": x.astype(np.float64)}, r"takes tensor\(float\), got tensor\(double\); convert it"),
        (None, {"x": x[:, :3]}, r"has the shape \[1, 4, 8, 8\] in the file, got \(1, 3, 8, 8\)"),
        (None, {"x": np.ma.masked_array(x)}, "masked"),
        (None, {"x": "text"}, "takes an array, got str"),
    ):
        with pytest.raises(ProgramError, match=message):
            session.run(names, feed)  # type: ignore[arg-type]


def test_a_script_written_for_onnx_runtime_runs_with_another_import(tmp_path: Path) -> None:
    net = Net()
    two_heads(net)
    path = net.save(tmp_path / "net.onnx")
    results = []
    for ort in (runtime, oaq):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        assert "CPUExecutionProvider" in ort.get_available_providers() and ort.get_device() == "CPU"
        session = ort.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
        name, shape = session.get_inputs()[0].name, session.get_inputs()[0].shape
        x = image(*shape)
        labels = [output.name for output in session.get_outputs()]
        results.append((name, shape, labels, session.get_providers(), session.run(labels[::-1], {name: x})))
    ours, theirs = results[1], results[0]
    assert ours[:4] == theirs[:4]
    for y, right in zip(ours[4], theirs[4], strict=True):
        np.testing.assert_allclose(y, right, atol=STEP * 1.001)


def test_bytes_and_files_of_integers_open_too(tmp_path: Path) -> None:
    net = Net()
    net.output(net.op("Transpose", begin(net, ("batch", 4, 8, 8)), perm=[0, 2, 3, 1]), "last")
    path = net.save(tmp_path / "net.onnx")
    oaq.save(oaq.import_model(path).program, tmp_path / "net.oaq")
    x = image(3, 4, 8, 8)
    for source in (path, path.read_bytes(), tmp_path / "net.oaq"):
        session = InferenceSession(source)
        assert regions(session) == "I"
        (y,) = session.run(["last"], {"x": x})
        np.testing.assert_array_equal(y, by_runtime(path, {"x": x})[0])
        session.run(None, {"x": x[:1]})
        assert len(session._by_sizes) == 1, "integers from end to end take any batch"


def test_regions_that_no_asked_output_needs_are_not_run(tmp_path: Path) -> None:
    net = Net()
    two_heads(net)
    session = InferenceSession(net.save(tmp_path / "net.onnx"))
    session.run(["logits"], {"x": image(1, 4, 8, 8)})
    assert [time.region for time in session.profile()] == ["integer 1"]


def test_explain_names_every_boundary_and_its_reason(tmp_path: Path) -> None:
    net = Net()
    middle(net)
    session = InferenceSession(net.save(tmp_path / "net.onnx"))
    session.run(None, {"x": image(1, 4, 8, 8)})
    text = session.explain()
    assert "2 integer regions, 2 layers proved; 1 float region, 1 node not proved" in text
    assert "in float because: LayerNormalization6 (LayerNormalization): oaq has no integer operator" in text
    assert "from t5_0 to t6_0" in text
    assert f"ms by ONNX Runtime {runtime.__version__}" in text and "between the file's values and integers" in text


@pytest.mark.parametrize("own", [False, True])
def test_an_input_that_nothing_reads_is_taken_all_the_same(
    own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Net()
    x, _ = net.input([1, 4]), net.input([1, 3], name="unread")
    net.output(net.op("Relu", x))
    path = net.save(tmp_path / "net.onnx")
    if own:
        monkeypatch.setattr(execute, "runtime_version", lambda: None)
    feed = {"x": image(1, 4), "unread": image(1, 3)}
    np.testing.assert_array_equal(InferenceSession(path).run(None, feed)[0], np.maximum(feed["x"], 0))


@pytest.mark.parametrize("own", [False, True])
def test_integers_of_four_bits_in_a_float_region_saturate_at_theirs(
    own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Net(opset=21)
    y = norm(net, begin(net))
    zero = helper.make_tensor("zero", TensorProto.INT4, [], [1])
    net.constants.append(zero)
    s = net.constant(0.25)
    y = net.op("DequantizeLinear", net.op("QuantizeLinear", y, s, "zero"), s, "zero")
    net.output(net.op("Softmax", y))
    model = net.model()
    model.ir_version = 10
    path = tmp_path / "net.onnx"
    onnx.save(model, str(path))
    if own:
        monkeypatch.setattr(execute, "runtime_version", lambda: None)
    session = InferenceSession(path)
    assert regions(session) == "IF"
    feed = feed_of(path)
    np.testing.assert_allclose(session.run(None, feed)[0], by_runtime(path, feed)[0], atol=0.02)


def test_arrays_given_back_on_the_way_change_no_output(tmp_path: Path) -> None:
    net = Net()
    middle(net)
    session = oaq.InferenceSession(net.save(tmp_path / "net.onnx"))
    feed = {"x": image(1, 4, 8, 8)}
    outputs = session.run(None, feed)
    assert session.opened is not None
    names = [port.name for port in session.get_outputs()]
    state = session.opened.trace(feed, names)
    assert {name for region in session.program.regions for name in region.reads} <= set(state.tensors)
    for name, output in zip(names, outputs, strict=True):
        assert np.array_equal(output, state.tensors[name])
    assert [time.region for time in session.profile()] == [region.name for region in session.program.regions]
