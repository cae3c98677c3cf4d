"""Inputs that become integers, outputs that become reals: what a session does at its ends, and ONNX Runtime's nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from oaq.errors import Mismatch
from oaq.kernels.table import native_module
from oaq.numerics.affine import Affine
from oaq.numerics.formats import U8
from oaq.report.latency import Turn, turn

Direction = Literal["quantize", "dequantize"]
AFFINE: Final = Affine(0.05, 7)
IMAGES: Final[dict[str, tuple[tuple[int, int], ...]]] = {
    "in cache": ((1, 50176), (3, 16384), (192, 256)),
    "in memory": ((3, 5_000_000), (192, 80_000)),
}
"""(channels, pixels): 50 kB of integers and 200 kB of reals lie in a second cache, 15 and 60 MB in none."""


@dataclass(frozen=True)
class Edge:
    """One end of a session: (channels, pixels) reals and (pixels, channels) integers.

    ONNX Runtime does not move channels: its integers stay (channels, pixels).
    """

    direction: Direction
    size: str
    shape: tuple[int, int]
    streams: bool = True
    is_linear: bool = False

    @property
    def name(self) -> str:
        """Direction and channels."""
        return f"{self.direction}, {self.shape[0]} channels"

    @property
    def bytes(self) -> int:
        """Reals and integers."""
        return 5 * prod(self.shape)

    def reals(self) -> NDArray[np.float32]:
        """A batch of one."""
        return np.random.default_rng(1).normal(0, 5, (1, *self.shape)).astype(np.float32)


def edges() -> Iterator[Edge]:
    """Both directions, every size."""
    for size, shapes in IMAGES.items():
        for shape in shapes:
            yield Edge("quantize", size, shape)
            yield Edge("dequantize", size, shape)


def native_turn(edge: Edge, isa: str) -> Turn:
    """Native code by one instruction set, compared with the law.

    Raises:
        Mismatch: other numbers.
    """
    native, real = native_module(), edge.reals()
    q = np.empty((1, edge.shape[1], edge.shape[0]), np.uint8)
    back = np.empty_like(real)
    form = (AFFINE.scale, AFFINE.zero_point)
    native.quantize(real, q, *form, (0, 255), isa)
    native.dequantize(q, back, *form, isa)
    expected = AFFINE.quantize(real.transpose(0, 2, 1), U8)
    if not np.array_equal(q, expected) or not np.array_equal(back, AFFINE.dequantize(expected).transpose(0, 2, 1)):
        raise Mismatch(f"{edge.name} on {isa}: other numbers than the law's")
    if edge.direction == "quantize":
        return turn(lambda: native.quantize(real, q, *form, (0, 255), isa))
    return turn(lambda: native.dequantize(q, back, *form, isa))


def edge_model(edge: Edge) -> bytes:
    """QuantizeLinear or DequantizeLinear alone, as ONNX."""
    from onnx import TensorProto, helper, numpy_helper

    constants = {"s": np.float32(AFFINE.scale), "z": np.uint8(AFFINE.zero_point)}
    kinds = [TensorProto.FLOAT, TensorProto.UINT8]
    operator = "QuantizeLinear" if edge.direction == "quantize" else "DequantizeLinear"
    ports = [
        helper.make_tensor_value_info(name, kind, [1, *edge.shape])
        for name, kind in zip(("x", "y"), kinds if edge.direction == "quantize" else kinds[::-1], strict=True)
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "s", "z"], ["y"])], "edge", ports[:1], ports[1:], tensors
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def peer_input(edge: Edge) -> NDArray[Any]:
    """What ONNX Runtime's node is given."""
    real = edge.reals()
    return real if edge.direction == "quantize" else AFFINE.quantize(real, U8)


def edge_turns(
    edge: Edge, isas: list[str], bind: Callable[[bytes, NDArray[Any]], Callable[[], Any]]
) -> dict[str, Turn]:
    """A turn for each instruction set, and one of ONNX Runtime under "onnxruntime"."""
    turns = {isa: native_turn(edge, isa) for isa in isas}
    return turns | {"onnxruntime": turn(bind(edge_model(edge), peer_input(edge)))}
