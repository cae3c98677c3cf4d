"""ConvTranspose, and Max and Min of several operands, between quantizers: integers of ONNX Runtime's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.capture.from_onnx import import_quantized
from oaq.errors import UnsupportedOp
from tests.capture.from_onnx.files import model, node
from tests.capture.from_onnx.test_operators import (
    DEQUANTIZE_RESULT,
    MAP,
    QUANTIZE,
    QUANTIZE_RESULT,
    RNG,
    kinds,
    run,
    s8,
)

DEQUANTIZE = node("DequantizeLinear", ["q", "s", "z"], "d")
RESULT = [QUANTIZE_RESULT, DEQUANTIZE_RESULT]


def transposed(
    groups: int = 1, *, per_channel: bool = True, taps: tuple[int, ...] = (3, 4)
) -> tuple[list[onnx.NodeProto], dict]:
    """Nodes up to the dequantized weights, and constants: weights (4, 3, taps) and their scales on axis 1."""
    scale = RNG.uniform(0.001, 0.01, 3 if per_channel else ()).astype(np.float32)
    more = {"axis": 1} if per_channel else {}
    nodes = [QUANTIZE, DEQUANTIZE, node("DequantizeLinear", ["w", "ws"], "wd", **more)]
    return nodes, {"w": s8(4, 3, *taps), "ws": scale}


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("more", [
    {"strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"strides": [2, 2]},
    {"strides": [3, 2], "output_padding": [1, 0]},
    {"strides": [2, 1], "group": 2, "pads": [0, 1, 2, 0]},
    {"strides": [2, 2], "group": 4, "dilations": [2, 1]},
    {},
], ids=str)  # fmt: skip
def test_a_transposed_convolution_is_the_runtimes(more: dict[str, Any], per_channel: bool, tmp_path: Path) -> None:
    nodes, constants = transposed(per_channel=per_channel)
    nodes = [*nodes, node("ConvTranspose", ["d", "wd"], "f", **more), *RESULT]
    imported, seen = run(tmp_path, nodes, (2, 4, 5, 6), constants)
    assert kinds(imported)[0] == "Conv2d" and not imported.islands and set(seen.most.values()) == {0}
    assert not imported.sources, "weights of phases are not those of the file: none may be changed there"


def test_a_transposed_convolution_over_a_line_has_a_bias_and_a_clamp(tmp_path: Path) -> None:
    nodes, constants = transposed(taps=(5,))
    steps = (np.float32(0.05) * constants["ws"]).astype(np.float32)
    bias = {"b": RNG.integers(-900, 900, 3).astype(np.int32), "bs": steps}
    nodes += [
        node("DequantizeLinear", ["b", "bs"], "bd", axis=0),
        node("ConvTranspose", ["d", "wd", "bd"], "c", strides=[3], pads=[1, 1]),
        node("Relu", ["c"], "f"),
        *RESULT,
    ]
    imported, seen = run(tmp_path, nodes, (1, 4, 7), {**constants, **bias})
    assert kinds(imported)[0] == "Conv2d" and not imported.islands and set(seen.most.values()) == {0}


def test_scales_of_input_channels_stay_in_float_by_name(tmp_path: Path) -> None:
    nodes, constants = transposed()
    nodes[2] = node("DequantizeLinear", ["w", "ws"], "wd", axis=0)
    nodes += [node("ConvTranspose", ["d", "wd"], "f"), *RESULT, node("MatMul", ["y", "v"], "end")]
    path = tmp_path / "net.onnx"
    constants |= {"ws": np.full(4, 0.01, np.float32), "v": np.ones((9, 2), np.float32)}
    path.write_bytes(model(nodes, {"x": [1, 4, 5, 6]}, ["end"], {**MAP, **constants}).SerializeToString())
    with pytest.raises(UnsupportedOp, match="a scale per input channel"):
        import_quantized(path)


def layers(count: int) -> tuple[list[onnx.NodeProto], list[str], dict[str, NDArray[Any]]]:
    """Some layers of x, each with a scale of its result's own, and the names of these."""
    nodes, names, constants = [QUANTIZE, DEQUANTIZE], [], {}
    for place in range(count):
        constants |= {
            f"w{place}": s8(4, 4, 1, 1),
            f"ws{place}": np.float32(0.004),
            f"s{place}": np.float32(0.05 + 0.013 * place),
            f"z{place}": np.uint8(100 + 9 * place),
        }
        scale = [f"s{place}", f"z{place}"]
        nodes += [
            node("DequantizeLinear", [f"w{place}", f"ws{place}"], f"wd{place}"),
            node("Conv", ["d", f"wd{place}"], f"c{place}"),
            node("QuantizeLinear", [f"c{place}", *scale], f"q{place}"),
            node("DequantizeLinear", [f"q{place}", *scale], f"d{place}"),
        ]
        names.append(f"d{place}")
    return nodes, names, {name: np.asarray(value) for name, value in constants.items()}


@pytest.mark.parametrize("between", [(), ("Relu",), ("Clip",)], ids=str)
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("op", ["Max", "Min"])
def test_the_extreme_of_several_tensors_is_the_runtimes(
    op: str, count: int, between: tuple[str, ...], tmp_path: Path
) -> None:
    nodes, names, constants = layers(count)
    nodes.append(node(op, names, "m" if between else "f"))
    ends = {"lo": np.float32(-0.5), "hi": np.float32(0.75)}
    if between:
        nodes.append(node(between[0], ["m", *(ends if between == ("Clip",) else ())], "f"))
    imported, seen = run(tmp_path, [*nodes, *RESULT], (2, 4, 5, 6), {**constants, **ends})
    assert not imported.islands and set(seen.most.values()) == {0}
    assert sum(isinstance(step.op, ops.MaxPool) for step in imported.program.nodes) == 1


def test_an_extreme_of_a_tensor_and_itself_compares_nothing(tmp_path: Path) -> None:
    nodes, names, constants = layers(1)
    imported, seen = run(tmp_path, [*nodes, node("Max", names * 2, "f"), *RESULT], (1, 4, 2, 3), constants)
    assert "MaxPool" not in kinds(imported) and set(seen.most.values()) == {0}


@pytest.mark.parametrize("move", [
    node("Transpose", ["r"], "f", perm=[0, 3, 2, 1]),
    node("Unsqueeze", ["r", "two"], "f"),
    node("Reshape", ["r", "units"], "f"),
], ids=["turned", "one more", "units"])  # fmt: skip
def test_a_function_of_each_channel_keeps_its_axis_where_axes_are_counted_anew(
    move: onnx.NodeProto, tmp_path: Path
) -> None:
    nodes, names, constants = layers(1)
    slopes = {"slope": np.array([0.1, 0.4, 0.7, 0.9], np.float32).reshape(4, 1, 1), "two": np.array([2], np.int64)}
    constants |= slopes | {"units": np.array([1, 1, 4, 4, 4], np.int64)}
    shape = (1, 4, 4, 4)  # of equal axes, so that a wrong one would go through
    imported, seen = run(tmp_path, [*nodes, node("PRelu", [*names, "slope"], "r"), move, *RESULT], shape, constants)
    assert "ChannelLookup" in kinds(imported) and not imported.islands and max(seen.most.values()) <= 1
