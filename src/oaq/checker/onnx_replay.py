"""A graph in QDQ form walked node by node, each compared with the one that a program demands next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.checker.onnx_model import Attribute, OnnxModel
from oaq.checker.program import NamedArrays, Node, Program, Tensor
from oaq.checker.rounding import Dyadic, divide, dyadic, is_normal, times
from oaq.errors import FormatError


def first_to_last(rank: int) -> tuple[int, ...]:
    """Permutation of (batch, C, ...), a sample having ``rank`` axes, that puts the channels last."""
    return (0, *range(2, rank + 1), 1)


def last_to_first(rank: int) -> tuple[int, ...]:
    """Permutation of (batch, ..., C), a sample having ``rank`` axes, that puts the channels first."""
    return (0, rank, *range(1, rank))


@dataclass(frozen=True)
class Constant:
    """A constant whose values the program takes from the graph."""

    ndim: int
    dtypes: tuple[type[np.generic], ...]


Expected = str | NDArray[Any] | Constant
"""What an input has to be: this value, this constant, or a constant of this kind."""


@dataclass
class Replay:
    """How far the graph has been walked.

    Attributes:
        model: the file.
        program: what its certificate is about: everything but the arrays.
        scales: of each tensor, float32.
        stored: arrays that a graph does not hold.
        where: begins every message.
        arrays: of the program, as far as they have been read.
        u8: name in the graph of each tensor written so far.
        position: of the next node.
    """

    model: OnnxModel
    program: Program
    scales: Mapping[str, np.float32]
    stored: NamedArrays
    where: str
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    u8: dict[str, str] = field(default_factory=dict)
    position: int = 0

    def refuse(self, subject: str, message: str) -> FormatError:
        """The error that says that the graph is not the program's."""
        return FormatError(
            f"{self.where}: {subject}: {message}. The graph is not the one its certificate is about; export it again"
        )

    def take(
        self, subject: str, kind: str, inputs: Sequence[Expected], **attributes: Attribute
    ) -> tuple[str, list[Any]]:
        """The next node: its result, and the values of its inputs that are a ``Constant``.

        Raises:
            FormatError: the next node differs in anything; the message begins with ``subject``.
        """
        if self.position == len(self.model.nodes):
            raise self.refuse(subject, f"ends before its {kind}")
        node = self.model.nodes[self.position]
        self.position += 1
        if (node.kind, dict(node.attributes), len(node.inputs)) != (kind, attributes, len(inputs)):
            raise self.refuse(
                subject,
                f"has {node.kind} {dict(node.attributes)} of {len(node.inputs)} inputs where {kind} {attributes} of "
                f"{len(inputs)} belongs",
            )
        constants = []
        for name, expected in zip(node.inputs, inputs, strict=True):
            if isinstance(expected, str):
                if name != expected:
                    raise self.refuse(subject, f"{kind} reads {name!r} where {expected!r} belongs")
                continue
            value = self._constant(name, expected, f"{subject}: {kind}")
            constants += [value] if isinstance(expected, Constant) else []
        return node.output, constants

    def _constant(self, name: str, expected: NDArray[Any] | Constant, subject: str) -> NDArray[Any]:
        value = self.model.constants.get(name)
        if value is None:
            raise self.refuse(subject, f"reads {name!r}, which is not a constant")
        if isinstance(expected, Constant):
            if value.ndim != expected.ndim or value.dtype.type not in expected.dtypes:
                raise self.refuse(subject, f"{name!r} is {value.dtype} of shape {value.shape}")
        elif (value.dtype, value.shape) != (expected.dtype, expected.shape) or value.tobytes() != expected.tobytes():
            raise self.refuse(subject, f"{name!r} holds {_excerpt(value)}, not {_excerpt(expected)}")
        return value

    def quantize(self, subject: str, real: str, tensor: str, *, clip: bool = True) -> None:
        """QuantizeLinear into ``tensor``, and the Clip to its range where there is one."""
        spec = self.program.tensors[tensor]
        output, _ = self.take(subject, "QuantizeLinear", [real, *self._affine(spec)])
        if clip and (spec.lo, spec.hi) != (0, 255):
            output, _ = self.take(subject, "Clip", [output, np.array(spec.lo, np.uint8), np.array(spec.hi, np.uint8)])
        self.u8[tensor] = output

    def dequantize(self, subject: str, tensor: str) -> str:
        """The real values of ``tensor``."""
        spec = self.program.tensors[tensor]
        return self.take(subject, "DequantizeLinear", [self.u8[tensor], *self._affine(spec)])[0]

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Shape of one sample, channels last."""
        return self.program.tensors[tensor].shape

    def moves(self, node: Node) -> None:
        """Integers are handed on, so input and output stand for the same reals, and the output's range holds them."""
        x, y = self.program.tensors[node.inputs[0]], self.program.tensors[node.output]
        if self.scales[x.name] != self.scales[y.name] or x.zero != y.zero or not y.lo <= x.lo <= x.hi <= y.hi:
            raise self.refuse(node.name, f"{node.kind} changes the scale, the zero point or the range")

    def store(self, node: Node, key: str, value: NDArray[Any]) -> None:
        """Keep one of the program's arrays."""
        self.arrays[f"nodes/{self.program.nodes.index(node)}/{key}"] = np.ascontiguousarray(value)

    def stored_multipliers(self, node: Node) -> list[tuple[Fraction, Fraction]]:
        """Multipliers of a node whose rescaling the graph leaves to scales alone, each with the room its bits leave.

        That is half of the last bit of a fixed-point multiplier, which rounds what the scales say; 0 for a float.
        """
        place = f"nodes/{self.program.nodes.index(node)}/requantize"
        value, shift = self._stored_numbers(f"{place}.multiplier"), self._stored_numbers(f"{place}.shift")
        fits = value is not None and value.dtype == (np.float32 if shift is None else np.int32)
        if value is None or not fits or not np.all(np.isfinite(value)):
            raise self.refuse(node.name, f"the certificate has no '{place}.multiplier'")
        if shift is None:
            return [(Fraction(multiplier), Fraction(0)) for multiplier in value.tolist()]
        if shift.dtype != np.int32 or shift.shape != value.shape or np.any((shift < 1) | (shift > 62)):
            raise self.refuse(node.name, f"'{place}.shift' are not shifts of 1 to 62, one per multiplier")
        units = [Fraction(1, 1 << places) for places in shift.tolist()]
        return [(unit * multiplier, unit / 2) for multiplier, unit in zip(value.tolist(), units, strict=True)]

    def _stored_numbers(self, key: str) -> NDArray[Any] | None:
        """A list of numbers stored beside the graph; None if it has no such list."""
        value = self.stored.get(key)
        if value is None or value.ndim != 1:
            return None
        self.arrays[key] = value
        return value

    def ratio(self, tensor: str) -> Dyadic:
        """Its scale, exactly."""
        return dyadic(float(self.scales[tensor]))

    def multipliers(self, node: Node, scale: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """float32(s_x * s_w) of each output, and that divided by s_y: what runtimes that sum integers multiply by.

        Raises:
            FormatError: a scale is not positive, or float32 has no room for a result.
        """
        x, y = self.ratio(node.inputs[0]), self.ratio(node.output)
        if not np.all(np.isfinite(scale)) or np.any(scale <= 0):
            raise self.refuse(node.name, "a scale of its weights is not positive")
        products = [times(x, dyadic(weight_scale)) for weight_scale in scale.tolist()]
        quotients = [divide(product, y) for product in products]
        if not all(map(is_normal, products)) or not all(map(is_normal, quotients)):
            raise self.refuse(node.name, "a multiplier is not a normal float32")
        sums, factors = (
            np.array([math.ldexp(*number) for number in many], np.float32) for many in (products, quotients)
        )
        return sums, factors

    def _affine(self, spec: Tensor) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        return np.array(self.scales[spec.name], np.float32), np.array(spec.zero, np.uint8)


def _excerpt(value: NDArray[Any]) -> str:
    """A constant for a message."""
    return f"{value.dtype} {value.ravel()[:6].tolist()}{' ...' if value.size > 6 else ''} of shape {value.shape}"
