"""A 3 x 3 layer by F(2, 3) along rows: its weights transformed and packed, its native kernel built and called."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.micro import aligned
from oaq import operators as ops
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec
from oaq.operators.products import multipliers_of
from oaq.program.int_program import IntProgram, Node

SOURCE: Final = Path(__file__).parent / "kernel.cc"
FLAGS: Final = {
    "vnni": ("-DVECTOR=512", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512vnni"),
    "avxvnni": ("-DVECTOR=256", "-mavx2", "-mfma", "-mavxvnni"),
}
"""Compiler flags by instruction set."""
OPERANDS: Final = IntRange(0, 127)
"""Operands whose sums of two are u8 and whose differences are s8."""
TAPS_SUM: Final = 127
"""Most that the three taps of a row may sum to in absolute value: then every transformed weight is an s8."""
ZERO: Final = 128

Ints = NDArray[np.int64]


def transformed(weight: NDArray[np.int8]) -> Ints:
    """(N, 3, 3, C) weights to (4, N, 3, C): g0, g0 + g1 + g2, g0 - g1 + g2, g2 of each row of three taps.

    Raises:
        ValueError: one of them is not an s8.
    """
    g0, g1, g2 = (weight[:, :, tap].astype(np.int64) for tap in range(3))
    forms = np.stack([g0, g0 + g1 + g2, g0 - g1 + g2, g2])
    if np.abs(forms).max(initial=0) > TAPS_SUM:
        raise ValueError(f"a transformed weight is {np.abs(forms).max()}, more than {TAPS_SUM}")
    return forms


def sums_by_forms(x: Ints, weight: NDArray[np.int8]) -> Ints:
    """(rows + 2, columns + 2, C) operands to (rows, columns, N) sums, columns even, by four products for six.

    What the kernel computes, in integers without bounds: a check of the identity, not of the kernel.
    """
    pairs = (x.shape[1] - 2) // 2
    d0, d1, d2, d3 = (x[:, tap : tap + 2 * pairs : 2] for tap in range(4))
    inputs = np.stack([d0 - d2, d1 + d2, d2 - d1, d1 - d3])
    rows = len(x) - 2
    taps = np.stack([inputs[:, tap : tap + rows] for tap in range(3)], axis=3)
    m0, m1, m2, m3 = np.einsum("frptc,fntc->frpn", taps, transformed(weight))
    even, odd = 2 * m0 + m1 + m2, m1 - m2 - 2 * m3
    if (even % 2).any() or (odd % 2).any():
        raise ValueError("twice a sum is odd")
    return np.stack([even // 2, odd // 2], axis=2).reshape(rows, 2 * pairs, -1)


def drawn_layer(side: int, channels: int, outputs: int, seed: int = 0) -> IntProgram:
    """A layer of ``side`` x ``side`` outputs without padding whose weights and operands F(2, 3) takes."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(-42, 43, (outputs, 3, 3, channels)).astype(np.int8)
    weight[0, 0, :, 0], weight[-1, -1, :, -1] = (42, 43, 42), (-42, 43, -42)
    op = ops.Conv2d(
        weight=weight,
        bias=rng.integers(-1000, 1000, outputs).astype(np.int32),
        requantize=Requantize(rng.uniform(0.5, 1.5, outputs).astype(np.float32) * np.float32(0.02 / channels**0.5)),
    )
    x = TensorSpec("x", (side + 2, side + 2, channels), Affine(0.05), OPERANDS)
    y = TensorSpec("y", (side, side, outputs), Affine(0.05, ZERO))
    return IntProgram(
        f"{side}x{side}x{channels}-{outputs}", ("x",), ("y",), {"x": x, "y": y}, (Node("layer", op, ("x",), "y"),)
    )


def library(isa: str, folder: Path) -> ctypes.CDLL:
    """The kernel built for an instruction set.

    Raises:
        RuntimeError: it does not compile; the compiler's words follow.
    """
    target = folder / f"winograd_{isa}.so"
    command = ["g++", "-O3", "-std=c++20", "-fPIC", "-shared", *FLAGS[isa], str(SOURCE), "-o", str(target)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        raise RuntimeError(process.stderr[-4000:])
    return ctypes.CDLL(str(target))


@dataclass(frozen=True, eq=False)
class Kernel:
    """A layer ready to run.

    Attributes:
        run: computes it, into ``y``.
        y: (side, side, outputs) u8.
    """

    run: Callable[[], None]
    y: NDArray[np.uint8]


def kernel(program: IntProgram, native: ctypes.CDLL, x: NDArray[np.uint8]) -> Kernel:
    """A drawn layer on one input, (side + 2, side + 2, channels)."""
    op = program.nodes[0].op
    if not isinstance(op, ops.Conv2d):
        raise TypeError(f"{op} is not a convolution")
    outputs, _, _, channels = op.weight.shape
    tile, (side, columns, _) = int(native.winograd_tile()), program.tensors["y"].shape
    if outputs % tile or channels % 4 or columns % 2:
        raise ValueError(f"{outputs} outputs, {channels} channels, {columns} columns: tiles are of {tile}, 4 and 2")
    forms = transformed(op.weight)
    quads = forms.reshape(4, outputs // tile, tile, 3, channels // 4, 4).transpose(1, 3, 4, 0, 2, 5)
    weights = aligned(quads.shape, np.int8)
    weights[:] = quads
    # Differences are stored 128 higher; twice a sum takes the first form twice, the last of the second sum less twice.
    f0, _, f2, f3 = forms.sum(axis=(2, 3))
    shifts = 128 * np.stack([2 * f0 + f2, -f2 - 2 * f3])
    bias = np.ascontiguousarray(2 * op.bias.astype(np.int64) - shifts, dtype=np.int32)
    scale = np.ascontiguousarray(multipliers_of(op, program.name).multiplier / np.float32(2), dtype=np.float32)
    room = aligned(((side + 2) * (columns // 2) * 4 * channels,), np.uint8)
    y = aligned((side, columns, outputs), np.uint8)
    call = native.winograd
    addresses = [array.ctypes.data_as(ctypes.c_void_p) for array in (x, room, y, weights, bias, scale)]  # keep arrays
    sizes = [ctypes.c_int(value) for value in (side, columns // 2, channels, outputs)]

    def run() -> None:
        call(*addresses[:3], *sizes, *addresses[3:], ctypes.c_int(ZERO))

    return Kernel(run, y)
