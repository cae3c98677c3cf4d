"""A TFLite graph while it is drawn: activations with their scales, and the numbers that operators are drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from benchmarks.tflite_files import Model, filled

Shape = tuple[int, ...]
ELEMENTS: Final = 6000
"""Largest activation drawn."""
ACTIVATIONS: Final = (0, 0, 0, 1, 2, 3)
"""Fused activations, by the schema's numbers: none, RELU, RELU_N1_TO_1, RELU6."""


@dataclass(frozen=True)
class Activation:
    """A tensor that an operator may read.

    Attributes:
        index: in the file.
        shape: batch of 1 included.
        scale: float32.
        zero: as stored.
    """

    index: int
    shape: Shape
    scale: float
    zero: int


class Draft:
    """A graph of int8 or of uint8.

    Attributes:
        rng: draws everything.
        kind: of activations.
        net: the file.
        written: activations, in order.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.kind: type[np.integer] = np.int8 if rng.random() < 0.65 else np.uint8
        self.net = Model()
        self.written: list[Activation] = []

    @property
    def ends(self) -> tuple[int, int]:
        """Least and most of the element type."""
        info = np.iinfo(self.kind)
        return int(info.min), int(info.max)

    def choose(self, *options: Any) -> Any:  # noqa: ANN401 (whatever is chosen from)
        """One of them."""
        return options[int(self.rng.integers(len(options)))]

    def chance(self, share: float) -> bool:
        """True so often."""
        return bool(self.rng.random() < share)

    def whole(self, least: int, most: int) -> int:
        """An integer, both ends included."""
        return int(self.rng.integers(least, most + 1))

    def zero(self) -> int:
        """A zero point: any, an end, or the middle."""
        low, high = self.ends
        return self.choose(self.whole(low, high), self.whole(low, high), low, high, (low + high + 1) // 2)

    def scale_from(self, typical: float) -> float:
        """A scale near ``typical``: equal, a simple or any ratio to it; now and then far off."""
        ratio = self.choose(
            1.0, 1.0, 0.5, 2.0, 0.25, 4.0, 1.5, *(10.0 ** self.rng.uniform(-0.7, 0.7) for _ in range(5))
        )
        if self.chance(0.03):
            ratio = 10.0 ** self.rng.uniform(-4, 4)
        return float(np.float32(typical * ratio))

    def activation(self, shape: Shape, scale: float, zero: int | None = None) -> Activation:
        """Declare a tensor."""
        zero = self.zero() if zero is None else zero
        index = self.net.tensor(f"t{len(self.written)}", shape, self.kind, scale=[scale], zero=[zero])
        activation = Activation(index, shape, float(np.float32(scale)), zero)
        self.written.append(activation)
        return activation

    def constant(self, data: NDArray[Any] | list[Any], kind: type[np.generic] = np.int32, **quantization: Any) -> int:  # noqa: ANN401
        """Declare a constant."""
        array = np.asarray(data, kind)
        name = f"k{len(self.net.graph.tensors)}"
        return self.net.tensor(name, array.shape, kind, data=array, **quantization)

    def integers(self, shape: Shape) -> NDArray[np.int64]:
        """Integers of the element type: anywhere, or near one another."""
        low, high = self.ends
        if self.chance(0.2):
            middle = self.whole(low + 4, high - 4)
            return self.rng.integers(middle - 4, middle + 5, shape)
        return self.rng.integers(low, high + 1, shape)

    def append(self, code: str, inputs: list[int], y: Activation, table: str = "", **options: Any) -> Activation:  # noqa: ANN401
        """Apply an operator; ``table`` names its options."""
        self.write(code, inputs, [y], table, **options)
        return y

    def write(self, code: str, inputs: list[int], results: list[Activation], table: str = "", **options: Any) -> None:  # noqa: ANN401
        """Likewise, of several results."""
        entry = None
        if table:
            entry = (getattr(schema.BuiltinOptions, table), filled(getattr(schema, f"{table}T"), **options))
        number = getattr(schema.BuiltinOperator, code)
        self.net.operator(number, inputs, [result.index for result in results], entry)

    def content(self) -> bytes:
        """The file: what nothing reads is an output, besides the last result."""
        read = {index for operator in self.net.graph.operators for index in operator.inputs}
        outputs = [item.index for item in self.written[1:] if item.index not in read]
        return self.net.content([self.written[0].index], outputs)
