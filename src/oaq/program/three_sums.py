"""A layer of piecewise weights in the published form: three sums of an output, each with a multiplier of its own.

With q1 the weights of the centre, q2 those of the tails in steps beyond the breakpoint, and o the signs of the tails
(``choose.published``), for operands x and their zero point zx:

    A = bias + sum q1 (x - zx)        S = sum q2 (x - zx)        O = sum o (x - zx)
    y = clamp(round_half_even((f32(A) m1 + f32(S) m2) + f32(O) m3) + zy)

in float32, each product and each sum rounded, never fused: equal on every IEEE machine. m1 = s_x s1 / s_y and so on. y
is monotone in each of the three sums.

No operator and no file holds such a layer (docs/decisions/0053): it stands beside a program, for the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.numerics.ranges import IntRange
from oaq.numerics.rounding import round_half_even
from oaq.operators import Products
from oaq.operators.products import multipliers_of
from oaq.program.int_program import IntProgram

LARGEST: Final = 2.0**64
Sums = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]


@dataclass(frozen=True, eq=False)
class ThreeSums:
    """Weights and multipliers of a layer.

    Attributes:
        centre, tail, sign: int8, in the operator's own form of weights. Where ``sign`` is not 0 the centre is, and the
            other way round; ``tail`` has the sign of ``sign``.
        bias: (N,) int32, at the scale of the first sum.
        multipliers: (3, N) float32, 0 to 2**64, the first greater than 0.

    Raises:
        ProgramError: shapes, types or values are others.
    """

    centre: NDArray[np.int8]
    tail: NDArray[np.int8]
    sign: NDArray[np.int8]
    bias: NDArray[np.int32]
    multipliers: NDArray[np.float32]

    def __post_init__(self) -> None:
        shapes = {part.shape for part in (self.centre, self.tail, self.sign)}
        dtypes = {part.dtype for part in (self.centre, self.tail, self.sign)}
        outputs = len(self.bias)
        if len(shapes) != 1 or dtypes != {np.dtype(np.int8)} or len(self.centre) != outputs:
            raise ProgramError(
                f"three sums have three int8 weights of one shape and a bias for each output, not {shapes}"
            )
        if self.bias.dtype != np.int32 or self.multipliers.dtype != np.float32:
            raise ProgramError("three sums have an int32 bias and float32 multipliers")
        if self.multipliers.shape != (3, outputs) or not _are_multipliers(self.multipliers):
            raise ProgramError(f"three sums have (3, {outputs}) multipliers from 0 to 2**64, the first greater than 0")
        if np.any(np.abs(self.sign.astype(np.int16)) > 1) or np.any((self.centre != 0) & (self.sign != 0)):
            raise ProgramError("three sums: a weight lies in the centre or in a tail, whose sign is -1 or 1")
        if np.any(np.sign(self.tail) * np.sign(self.sign) != np.abs(np.sign(self.tail))):
            raise ProgramError("three sums: the steps of a tail have its sign")

    def parts(self, op: Products) -> tuple[Products, Products, Products]:
        """``op`` with the weights of each sum; the bias is in the first."""
        nothing = np.zeros_like(self.bias)
        return (
            replace(op, weight=self.centre, bias=self.bias),
            replace(op, weight=self.tail, bias=nothing),
            replace(op, weight=self.sign, bias=nothing),
        )

    def apply(self, sums: Sums, zero_point: int, clamp: IntRange) -> NDArray[np.int64]:
        """Integers inside ``clamp`` from three (..., N) sums inside s32."""
        first, second, third = (
            part.astype(np.float32) * multiplier for part, multiplier in zip(sums, self.multipliers, strict=True)
        )
        scaled = round_half_even((first + second) + third)
        low, high = np.float32(clamp.lo - zero_point), np.float32(clamp.hi - zero_point)
        return np.clip(scaled, low, high).astype(np.int64) + zero_point


@dataclass(frozen=True, eq=False)
class ExactProgram:
    """A program of which some layers are three sums.

    Attributes:
        program: tensors, and the operators that are not replaced.
        layers: by the name of the node that each stands for.

    Raises:
        ProgramError: a name is that of no layer, or weights have another shape than its.
    """

    program: IntProgram
    layers: Mapping[str, ThreeSums]

    def __post_init__(self) -> None:
        for name, layer in self.layers.items():
            node = self.program.by_name.get(name)
            if node is None or not isinstance(node.op, Products):
                raise ProgramError(f"{self.program.name}: no layer is called {name!r}")
            if layer.centre.shape != node.op.weight.shape:
                raise ProgramError(
                    f"{name}: weights have the shape {node.op.weight.shape}, those of three sums {layer.centre.shape}"
                )
            if multipliers_of(node.op, name).shift is not None:
                raise ProgramError(f"{name}: three sums are requantized in float32; the layer is of fixed point")


def _are_multipliers(multipliers: NDArray[np.float32]) -> bool:
    """Products of them with sums in s32 are finite, and so are sums of three."""
    return bool((multipliers >= 0).all() and (multipliers <= LARGEST).all() and (multipliers[0] > 0).all())
