"""A file's own functions are written out: what ONNX Runtime computes of the calls is computed of the nodes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
import pytest
from onnx import parser, printer

from oaq.capture.from_onnx.inline import write_out
from oaq.capture.from_onnx.proto import parse, without_functions
from oaq.errors import FormatError

HEAD = '<ir_version: 9, opset_import: ["" : 18, "own" : 1]>'
NESTED = f"""{HEAD}
net (float[4] x) => (float[4] y) {{
  a = own.f <slope = 0.5> (x)
  [second] b = own.f <slope = 0.125> (a)
  b__1 = Neg(b)
  y = own.g (b__1, x)
}}
<domain: "own", opset_import: ["" : 18, "own" : 1]>
f <slope: float = 0.25> (u) => (v) {{
  [inner] t = LeakyRelu <alpha: float = @slope> (u)
  s = Neg (t)
  v = own.g (s, u)
}}
<domain: "own", opset_import: ["" : 18, "own" : 1]>
g (p, q) => (r) {{
  t = Max(p, q)
  r = Neg(t)
}}"""
DEFAULT = f"""{HEAD}
net (float[4] x) => (float[4] y) {{ y = own.f (x) }}
<domain: "own", opset_import: ["" : 18, "own" : 1]>
f <slope: float = 0.25> (u) => (v) {{ v = LeakyRelu <alpha: float = @slope> (u) }}"""
CLASH = f"""{HEAD}
net (float[4] x) => (float[4] y, float[4] t__1) {{
  t__1 = Neg(x)
  a, b, c = own.f (x)
  y = Add(a, b)
}}
<domain: "own", opset_import: ["" : 18, "own" : 1]>
f (u) => (v, w, z) {{
  t = Relu(u)
  v = Neg(t)
  w = Abs(u)
  z = Neg(w)
}}"""
PASSED_ON = f"""{HEAD}
net (float[4] x) => (float[4] y) {{
  a, b = own.f (x)
  y = Sub(a, b)
}}
<domain: "own", opset_import: ["" : 18, "own" : 1]>
f (u) => (v, u) {{ v = Neg(u) }}"""
BRANCHES = f"""{HEAD}
net (float[4] x, bool c) => (float[4] y) {{
  y = own.f (x, c)
}}
<domain: "own", opset_import: ["" : 18, "own" : 1]>
f (u, c) => (v) {{
  t = Neg(u)
  v = If (c) <then_branch = left () => (l) {{ k = Relu(t)
    l = Neg(k) }}, else_branch = right () => (r) {{ r = own.g(t) }}>
}}
<domain: "own", opset_import: ["" : 18, "own" : 1]>
g (p) => (r) {{ r = Abs(p) }}"""
OMITTED = CLASH.replace("a, b, c =", "a, b =").replace("Relu(u)", "Clip(u, , k)").replace("f (u)", "f (u, k)")
RUN = {"nested": NESTED, "default": DEFAULT, "clash": CLASH, "branches": BRANCHES}


def outputs(model: onnx.ModelProto) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.array([-2, -1, 0.5, 3], np.float32)
    feed = {"x": x, "c": np.array(False)}
    return session.run(None, {value.name: feed[value.name] for value in session.get_inputs()})


@pytest.mark.parametrize("text", RUN.values(), ids=RUN)
def test_nodes_compute_what_the_calls_did(text: str) -> None:
    model = parser.parse_model(text)
    before = model.SerializeToString()
    written = write_out(model)
    assert model.SerializeToString() == before
    assert not written.functions
    assert all(node.domain == "" for node in written.graph.node)
    for after, called in zip(outputs(written), outputs(model), strict=True):
        np.testing.assert_array_equal(after, called)


@pytest.mark.parametrize("text", [NESTED, CLASH, OMITTED])
def test_names_are_those_that_onnx_gives(text: str) -> None:
    model = parser.parse_model(text)
    assert printer.to_text(write_out(model)) == printer.to_text(onnx.inliner.inline_local_functions(model))


def test_an_input_that_is_an_output_too_is_passed_on() -> None:
    nodes = write_out(parser.parse_model(PASSED_ON)).graph.node
    assert [(node.op_type, *node.input, *node.output) for node in nodes] == [
        ("Neg", "x", "a"),
        ("Identity", "x", "b"),
        ("Sub", "a", "b", "y"),
    ]


def test_an_attribute_that_a_call_leaves_out_has_the_value_that_the_function_says() -> None:
    (node,) = write_out(parser.parse_model(DEFAULT)).graph.node
    assert [(entry.name, entry.f) for entry in node.attribute] == [("alpha", 0.25)]


def test_a_function_in_another_version_of_the_operators_stays_a_call() -> None:
    model = parser.parse_model(DEFAULT.replace('["" : 18, "own" : 1]>\nf', '["" : 17, "own" : 1]>\nf'))
    written = write_out(model)
    assert [node.op_type for node in written.graph.node] == ["f"]
    assert [function.name for function in written.functions] == ["f"]


def test_versions_that_only_a_function_names_are_imported() -> None:
    text = DEFAULT.replace('"own" : 1]>\nf', '"own" : 1, "other" : 3]>\nf')
    versions = {entry.domain: entry.version for entry in write_out(parser.parse_model(text)).opset_import}
    assert versions == {"": 18, "own": 1, "other": 3}


def test_a_function_that_calls_itself_inside_a_branch_is_refused() -> None:
    text = BRANCHES.replace("r = Abs(p)", "r = own.f(p, p)")
    model = parse(parser.parse_model(text).SerializeToString(), "net.onnx")
    with pytest.raises(FormatError, match=r"net\.onnx: the function '[fg]' calls itself"):
        without_functions(model, "net.onnx")


def calling(*bodies: list[onnx.NodeProto]) -> onnx.ModelProto:
    """A net that calls the last of functions f0 (u) => (v), f1...; opset 18."""
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("own", 1)]
    functions = [
        onnx.helper.make_function("own", f"f{level}", ["u"], ["v"], body, opsets) for level, body in enumerate(bodies)
    ]
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [4]) for name in "xy")
    node = onnx.helper.make_node(f"f{len(bodies) - 1}", ["x"], ["y"], domain="own")
    return onnx.helper.make_model(
        onnx.helper.make_graph([node], "net", [x], [y]), functions=functions, opset_imports=opsets
    )


def calls_of(name: str, times: int) -> list[onnx.NodeProto]:
    return [onnx.helper.make_node(name, ["u"], [f"v{index}"], domain="own") for index in range(times)]


def test_calls_of_functions_that_hold_nothing_are_counted() -> None:
    bodies = [[], *(calls_of(f"f{level}", 64) for level in range(8))]  # 2^48 calls, no node
    with pytest.raises(FormatError, match=r"net\.onnx: its functions write out to more than 268435456 bytes"):
        without_functions(calling(*bodies), "net.onnx")


def test_constants_that_functions_repeat_are_counted() -> None:
    numbers = onnx.numpy_helper.from_array(np.zeros(1 << 20, np.uint8))
    bodies = [[onnx.helper.make_node("Constant", [], ["v"], value=numbers)], calls_of("f0", 300)]
    with pytest.raises(FormatError, match="write out to more than 268435456 bytes"):
        without_functions(calling(*bodies), "net.onnx")


def test_attributes_that_a_call_passes_on_are_counted() -> None:
    nodes = [onnx.helper.make_node("Elu", ["u"], [f"v{index}"]) for index in range(300)]
    for node in nodes:
        node.attribute.add(name="alpha", ref_attr_name="a", type=onnx.AttributeProto.STRING)
    model = calling(nodes)
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("a", b"x" * (1 << 20)))
    with pytest.raises(FormatError, match="write out to more than 268435456 bytes"):
        without_functions(model, "net.onnx")


def test_two_functions_of_one_name_are_refused() -> None:
    model = parser.parse_model(DEFAULT)
    model.functions.append(model.functions[0])
    with pytest.raises(FormatError, match=r"net\.onnx: two of its 2 functions have one name"):
        without_functions(model, "net.onnx")


def test_nodes_of_one_name_have_names_of_their_own_afterwards() -> None:
    nodes = [onnx.helper.make_node("Relu", ["u"], [f"v{index}"], "n") for index in range(4)]
    written = write_out(calling(nodes)).graph.node
    assert [node.name for node in written] == ["n__1", "n__1_0", "n__1_1", "n__1_2"]


@pytest.mark.parametrize("is_reversed", [False, True])
def test_a_long_chain_of_functions_is_written_out(is_reversed: bool) -> None:
    model = parser.parse_model(DEFAULT)
    for level in range(3000):
        model.functions.add().CopyFrom(model.functions[0])
        model.functions[-1].name = f"f{level}"
        model.functions[-1].node[0].CopyFrom(
            onnx.helper.make_node(f"f{level - 1}" if level else "f", ["u"], ["v"], domain="own")
        )
    if is_reversed:
        functions = list(reversed(model.functions))
        del model.functions[:]
        model.functions.extend(functions)
    model.graph.node[0].op_type = "f2999"
    assert [node.op_type for node in without_functions(model, "net.onnx").graph.node] == ["LeakyRelu"]
