"""The register models a model file may meet in the world: which products whose kernels sum together, as data.

A file of weights does not say in which order a kernel sums them. Each entry says which orders it assumes, and
whether that was tried: ``benchmarks/saturating_pairs.py`` gives every pair of products of small layers an output of its
own and looks which of them a runtime saturates; ``tests/doctor/test_openvino.py`` repeats that for OpenVINO.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from oaq.errors import ProgramError
from oaq.numerics.accumulator import (
    AVX2_ACC16,
    AVX2_ACC32,
    AVX2_ACC32X2,
    DEPTHWISE_ACC16,
    EXACT_S32,
    NEON_ACC16,
    NEON_MLAL_PAIR,
    Accumulator,
    pure,
)
from oaq.numerics.formats import S8, U8, WIDE_WEIGHT
from oaq.numerics.ranges import IntRange

Order = Literal["flat", "taps", "rows", "columns"]
WHOLE_SUM = re.compile(r"([0-9]{1,9})(?:[ -]?bits?)?")


@dataclass(frozen=True)
class RegisterModel:
    """How one family of kernels sums the products of an output.

    An order says at which place each product (row, column, channel) of the window stands; groups and lanes count
    places. "flat" is row, column, channel without gaps. "taps" begins every tap at a multiple of four, "rows" every row
    of the window; "columns" is column, row, channel without gaps. Where several are given, a layer is safe only if it
    is in each of them: kernels of different runtimes, or for different shapes, differ.

    Narrow registers are spilled, and what they spill meets the bias, in 32 bits: every model has that register behind
    its own (``sums.registers_of``), and a layer is safe only if both hold what they are asked to.

    Attributes:
        name: on the command line.
        accumulator: the register of convolutions and matrix products.
        depthwise: of depthwise convolutions, over taps.
        orders: of products.
        found_in: where kernels like this are.
        assumption: what is taken for granted about them.
        single_channel: further orders for convolutions with one channel per group.
        shift: subtracted from the u8 integers before they are multiplied; 128 where kernels take s8 activations.
        operands: what an activation may be besides; outside it the instruction is not defined.
        weights: what a weight may be; a layer with others cannot use the instruction and is summed in s32.
        deployed: what runtimes use today without being asked: decides ``oaq doctor``'s exit code.
        checked: how the assumption was tried; empty if it was not.
    """

    name: str
    accumulator: Accumulator
    depthwise: Accumulator
    orders: tuple[Order, ...]
    found_in: str
    assumption: str
    single_channel: tuple[Order, ...] = ()
    shift: int = 0
    operands: IntRange = U8
    weights: IntRange = S8
    deployed: bool = False
    checked: str = ""

    def summing(self, is_depthwise: bool) -> Accumulator:
        """The register that sums this kind of layer."""
        return self.depthwise if is_depthwise else self.accumulator

    def to_json(self) -> dict[str, Any]:
        """Plain data for reports."""
        register = self.accumulator
        return {
            "name": self.name,
            "bits": register.bits,
            "overflow": register.overflow,
            "group": register.group,
            "group_overflow": register.group_overflow,
            "lanes": register.lanes,
            "max_run": register.max_run,
            "depthwise": "as convolutions" if self.depthwise == register else self.depthwise.name,
            "orders": list(self.orders),
            "orders_single_channel": list(self.single_channel),
            "shift": self.shift,
            "operands": [self.operands.lo, self.operands.hi],
            "weights": [self.weights.lo, self.weights.hi],
            "deployed": self.deployed,
            "found_in": self.found_in,
            "assumption": self.assumption,
            "checked": self.checked,
        }


_DOT_I7: Final = Accumulator(
    "wasm-relaxed-i7", 16, "wraps", step=8, group=2, group_overflow="wraps", lanes=4, max_run=1
)
_OURS: Final = "oaq's own rows, by their tests; not tried on other tools"

REGISTERS: Final = (
    RegisterModel(
        "avx2-acc32",
        AVX2_ACC32,
        EXACT_S32,
        ("taps", "flat"),
        "vpmaddubsw, vpmaddwd, vpaddd: OpenVINO and oneDNN, ONNX Runtime, PyTorch; x86 with AVX2 and no VNNI",
        "products 2i and 2i + 1 share an instruction, counted per tap (oneDNN) or over the window (ONNX Runtime); "
        "depthwise layers are widened first",
        single_channel=("rows", "columns"),
        deployed=True,
        checked="OpenVINO 2026.4.1 held to AVX2; ONNX Runtime 1.32.0, PyTorch 2.13.0 (oneDNN) on an emulated Haswell",
    ),
    RegisterModel(
        "avx2-fbgemm",
        AVX2_ACC32,
        AVX2_ACC32,
        ("flat",),
        "vpmaddubsw, vpmaddwd, vpaddd, depthwise layers too: PyTorch's FBGEMM engine on x86 without VNNI",
        "products 2i and 2i + 1 of the whole window share an instruction; in depthwise layers taps 2i and 2i + 1 do",
        checked="PyTorch 2.13.0 (FBGEMM) on an emulated Haswell",
    ),
    RegisterModel(
        "avx2-acc32x2",
        AVX2_ACC32X2,
        EXACT_S32,
        ("flat",),
        "vpmaddubsw twice, vpaddw, vpmaddwd, vpaddd: oaq's rows for dynamic layers",
        "products 0, 1, 4, 5 and 2, 3, 6, 7 (mod 8) share a 16-bit lane; what fits here fits avx2-acc32 in that order",
        checked=_OURS,
    ),
    RegisterModel(
        "avx2-acc16",
        AVX2_ACC16,
        DEPTHWISE_ACC16,
        ("flat",),
        "vpmaddubsw, vpaddw over all of K: oaq's 16-bit rows without their spills; FBGEMM acc16 between its own",
        "products 0, 1 and 2, 3 (mod 4) make two lanes; nothing is spilled before the sum is complete",
        checked=_OURS,
    ),
    RegisterModel(
        "avx512bw",
        AVX2_ACC32,
        EXACT_S32,
        ("taps", "flat"),
        "vpmaddubsw, vpmaddwd, vpaddd in 512 bits: OpenVINO, oneDNN on Skylake-X",
        "as avx2-acc32",
        single_channel=("rows", "columns"),
        deployed=True,
        checked="OpenVINO 2026.4.1 held to AVX512_CORE; ONNX Runtime and PyTorch not tried",
    ),
    RegisterModel(
        "vnni",
        EXACT_S32,
        EXACT_S32,
        ("flat",),
        "vpdpbusd; sdot, udot, usdot; widening before multiplying",
        "only the 32-bit sum counts; a partial sum in any order may be held",
        weights=WIDE_WEIGHT,
        deployed=True,
        checked="OpenVINO 2026.4.1 and ONNX Runtime 1.32.0 on a CPU with AVX-512 VNNI",
    ),
    RegisterModel(
        "neon-mlal-pair",
        NEON_MLAL_PAIR,
        EXACT_S32,
        ("flat",),
        "smull, smlal2, sadalp: ONNX Runtime, XNNPACK and MNN on Arm before v8.2",
        "activations are stored as s8 (u8 - 128); products k and k + 8 of sixteen share a 16-bit lane",
        shift=128,
        deployed=True,
    ),
    RegisterModel(
        "neon-acc16",
        NEON_ACC16,
        EXACT_S32,
        ("flat",),
        "smlal, smlal2 into eight 16-bit lanes over all of K: MNN's overflow-aware kernels",
        "activations are stored as s8 (u8 - 128); products of equal k mod 8 share a lane; one spill at the end",
        shift=128,
    ),
    RegisterModel(
        "wasm-relaxed-i7",
        _DOT_I7,
        _DOT_I7,
        ("flat",),
        "i16x8.relaxed_dot_i8x16_i7x16_s in WebAssembly",
        "activations are the 7-bit operand: above 127 the result depends on the engine; pairs must fit 16 bits",
        operands=IntRange(0, 127),
    ),
)


def registers_named(names: Sequence[str] = ()) -> tuple[RegisterModel, ...]:
    """The models called so; all if none is named. "20", "20 bits" and "20-bit" is one register for all of K.

    Raises:
        ProgramError: no such model.
    """
    if not names:
        return REGISTERS
    by_name = {model.name: model for model in REGISTERS}
    return tuple(by_name[name] if name in by_name else _whole_sum(name) for name in dict.fromkeys(names))


def _whole_sum(name: str) -> RegisterModel:
    match = WHOLE_SUM.fullmatch(name.strip().lower())
    if match is None or not 2 <= int(match[1]) <= 32:
        names = ", ".join(model.name for model in REGISTERS)
        raise ProgramError(f"no register model is called {name!r}; there are {names}, and N bits (2 to 32)")
    register = pure(int(match[1]))
    return RegisterModel(
        register.name,
        register,
        register,
        ("flat",),
        "one register for all of K: FPGA, custom hardware",
        "it wraps; activations are unsigned as stored",
        weights=WIDE_WEIGHT,
    )
