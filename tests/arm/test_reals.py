"""Reals to integers and back, and the loops of dynamic layers, on emulated CPUs: by NEON and by the loops for any CPU.

No program of C takes reals, so these loops are called one by one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.arm.build import REALS, build
from benchmarks.arm.emulator import CPUS, run_program
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from tests.arm.machine import require_emulator
from tests.reals import NUMBERS, SCALES, reals

pytestmark = pytest.mark.xdist_group("arm")

ISAS = ("scalar", "neon")
SIZES = ((1, 1), (1, 1000), (3, 15), (3, 16), (3, 300), (16, 256), (17, 40), (33, 257))
"""Channels and pixels."""
Call = tuple[str, Path, Path, Sequence[object], NDArray[np.generic], str]
"""What is called, input and output, the other fields, what it has to give, and what it has to say."""


class Calls:
    """Calls of one kind by one instruction set, collected and then run together."""

    def __init__(self, folder: Path, isa: str) -> None:
        self.folder, self.isa = folder, isa
        self.lines: list[str] = []
        self.expected: list[tuple[Path, NDArray[np.generic], str]] = []

    def add(self, kind: str, x: NDArray[np.generic], y: NDArray[np.generic], *fields: object, says: str = "ok") -> None:
        """A call, and what it gives and says."""
        number = len(self.lines)
        given, taken = self.folder / f"{number}.x", self.folder / f"{number}.y"
        given.write_bytes(x.tobytes())
        self.lines.append("\t".join(map(str, (kind, self.isa, given, taken, *fields))) + "\n")
        self.expected.append((taken, y, says))

    def check(self, cpu: str, tolerance: float = 0.0) -> None:
        """Run all of them on an emulated CPU; every bit is the expected one, or all float32 within ``tolerance``."""
        said = run_program(build(REALS), [], cpu, "".join(self.lines)).split()
        assert len(said) == len(self.expected)
        for (path, y, says), word, line in zip(self.expected, said, self.lines, strict=True):
            assert word == says, line
            if tolerance:
                assert np.allclose(np.fromfile(path, np.float32), y.reshape(-1), rtol=tolerance, atol=tolerance), line
            elif says == "ok":
                assert path.read_bytes() == y.tobytes(), line


@pytest.fixture(params=ISAS)
def calls(request: pytest.FixtureRequest, tmp_path: Path) -> Calls:
    require_emulator()
    return Calls(tmp_path, request.param)


@pytest.mark.parametrize("cpu", CPUS)
def test_reals_become_the_integers_of_the_law_and_come_back(calls: Calls, cpu: str) -> None:
    for scale, (zero_point, ends), (channels, pixels) in product(SCALES, NUMBERS, SIZES):
        affine, real = Affine(float(np.float32(scale)), zero_point), reals(scale, (channels, pixels))
        q = affine.quantize(real.T, IntRange(*ends)).astype(np.uint8)
        number = float(np.float32(scale)).hex()
        calls.add("quantize", real, np.ascontiguousarray(q), channels, pixels, number, zero_point, *ends)
        with np.errstate(over="ignore"):
            back = np.ascontiguousarray(affine.dequantize(q).T.astype(np.float32))
        calls.add("dequantize", np.ascontiguousarray(q), back, channels, pixels, number, zero_point)
    for (channels, pixels), place in product(SIZES, (0, -1)):
        real = np.ones((channels, pixels), np.float32)
        real.flat[place] = np.nan
        calls.add("quantize", real, real, channels, pixels, "0.05", 9, 0, 255, says="nan")
    calls.check(cpu)


@pytest.mark.parametrize("cpu", CPUS)
def test_extremes_pass_over_what_is_no_number(calls: Calls, cpu: str) -> None:
    for count, scale in product((1, 3, 4, 5, 15, 16, 17, 33, 1000), (1.0, 1e-38)):
        real = reals(scale, (count,))
        for x in (real, -np.abs(real), np.abs(real), np.where(np.arange(count) % 3, real, np.float32("nan"))):
            x = x.astype(np.float32)
            with np.errstate(invalid="ignore"):
                ends = [np.fmin(np.fmin.reduce(x), 0), np.fmax(np.fmax.reduce(x), 0)]
            calls.add("extremes", x, np.nan_to_num(np.array(ends, np.float32), posinf=np.inf, neginf=-np.inf) + 0)
    calls.check(cpu)


@pytest.mark.parametrize("cpu", CPUS)
def test_sums_of_dynamic_layers_leave_as_the_law_says(calls: Calls, cpu: str) -> None:
    rng = np.random.default_rng(4)
    for rows, (tile, columns), which in product((1, 4), ((4, 3), (8, 8), (16, 13)), range(8)):
        integers = rng.integers(-(2**31), 2**31, rows * tile).astype(np.int32).reshape(rows, tile)
        integers[:, ::3] = rng.choice([2**31 - 1, -(2**31), 2**24 + 1, -1, 0], integers[:, ::3].shape)
        row_scale, scale = (rng.choice(np.array([0.013, 1e-30, 3.0, 1e10], np.float32), size) for size in (rows, tile))
        row_zero, excess = (rng.integers(-(2**9), 2**9, rows).astype(np.int32) for _ in range(2))
        sums, weight_zero = (rng.integers(-(2**22), 2**22, tile).astype(np.int32) for _ in range(2))
        bias = rng.normal(0, 1e3, tile).astype(np.float32)
        t = integers.astype(np.int64)
        t = t - row_zero[:, None].astype(np.int64) * sums if which & 1 else t
        t = t - excess[:, None].astype(np.int64) * weight_zero if which & 2 else t
        y = t.astype(np.int32).astype(np.float32) * (row_scale[:, None] * scale)
        y = (y + bias if which & 4 else y)[:, :columns].astype(np.float32)
        parts = (integers, row_scale, row_zero, excess, sums, weight_zero, scale, bias)
        numbers = np.concatenate([part.reshape(-1).view(np.int32) for part in parts])
        calls.add("leave", numbers, np.ascontiguousarray(y), rows, tile, columns, which)
    calls.check(cpu)


@pytest.mark.parametrize("cpu", CPUS)
def test_float_parts_are_near_exact_arithmetic(calls: Calls, cpu: str) -> None:
    rng, erfc = np.random.default_rng(5), np.frompyfunc(math.erfc, 1, 1)

    def draw(*shape: int) -> NDArray[np.float32]:
        return rng.normal(size=shape).astype(np.float32)

    def add(kind: str, parts: Sequence[NDArray[np.float32]], y: NDArray[np.generic], *sizes: int) -> None:
        calls.add(kind, np.concatenate([part.reshape(-1) for part in parts]), y, *sizes)

    for width in (1, 3, 4, 5, 31, 64):
        x, other, gain, bias = draw(3, width), draw(3, width), draw(width), draw(width)
        wide = x.astype(np.float64)
        add("gelu", (x, gain), wide * 0.5 * erfc(-wide / math.sqrt(2)).astype(np.float64) * gain, 3, width)
        off = wide + other - (wide + other).mean(axis=1, keepdims=True)
        add(
            "normalize",
            (x, other, gain, bias),
            off / np.sqrt((off**2).mean(axis=1, keepdims=True) + 1e-5) * gain + bias,
            3,
            width,
        )
    for rows, keys, depth, width in ((1, 1, 1, 1), (2, 3, 5, 8), (17, 33, 32, 32), (9, 70, 7, 13)):
        q, k, v, shift = draw(rows, depth), draw(keys, depth), draw(keys, width), draw(rows, keys)
        powers = np.exp(q.astype(np.float64) @ k.T.astype(np.float64) * 0.5 + shift)
        add("attend", (q, k, v, shift), powers / powers.sum(axis=1, keepdims=True) @ v, rows, keys, depth, width)
    calls.check(cpu, 2e-5)
