"""Register models the checker knows by itself, from the instruction manuals; and what each demands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from oaq.errors import FormatError


@dataclass(frozen=True)
class Register:
    """``lanes`` registers of ``bits`` bits that share a sum; ``group`` products are summed inside one instruction."""

    bits: int
    overflow: str
    step: int
    group: int
    group_overflow: str
    lanes: int
    max_run: int | None

    @property
    def least(self) -> int:
        """Smallest value the register holds."""
        return -(2 ** (self.bits - 1))

    @property
    def most(self) -> int:
        """Largest value the register holds."""
        return 2 ** (self.bits - 1) - 1

    @property
    def counts_partial_sums(self) -> bool:
        """Every partial sum is claimed and, if it saturates, has to fit; a wrapping one only where it is spilled."""
        return self.overflow != "wraps"

    def lanes_must_fit(self, modulo: int | None) -> bool:
        """A lane has to hold the sum itself, unless it wraps and only residues that it holds count."""
        if self.overflow == "exact":
            return False
        return self.overflow != "wraps" or modulo is None or modulo > self.bits

    @property
    def groups_must_fit(self) -> bool:
        """An instruction's own sum has to fit, unless it wraps into a register that wraps in the same width."""
        return self.group_overflow == "saturates" or (self.group_overflow == "wraps" and self.overflow != "wraps")


_QUAD_16 = Register(16, "wraps", 4, 2, "saturates", 2, None)
_QUAD_32 = Register(16, "wraps", 4, 2, "saturates", 2, 1)
_TAPS_16 = Register(16, "wraps", 2, 2, "saturates", 1, None)
_FOUR_QUADS_32 = Register(16, "wraps", 4, 2, "saturates", 2, 4)
_TWO_QUADS_32 = Register(16, "wraps", 8, 2, "saturates", 2, 1)
_SIXTEEN_16 = Register(16, "wraps", 16, 1, "exact", 8, None)
_SIXTEEN_PAIR = Register(16, "wraps", 16, 1, "exact", 8, 1)
_TAP_16 = Register(16, "wraps", 1, 1, "exact", 1, None)
_WIDENED_QUAD_16 = Register(16, "wraps", 4, 1, "exact", 4, None)
_TWO_8, _THREE_8, _FOUR_8, _SIX_8 = (Register(8, "wraps", count, count, "wraps", 1, None) for count in (2, 3, 4, 6))

KNOWN: Final[Mapping[str, Register]] = {
    "gemm_u8s8_avx2_acc16": _QUAD_16,
    "gemm_u8s8_avx512bw_acc16": _QUAD_16,
    "gemm_u8s8_avx2_acc32": _QUAD_32,
    "gemm_u8s8_avx512bw_acc32": _QUAD_32,
    "gemm_u8s8_avx2_acc32x4": _FOUR_QUADS_32,
    "gemm_u8s8_avx2_acc32x2": _TWO_QUADS_32,
    "gemm_u8s8_avx512bw_acc32x2": _TWO_QUADS_32,
    "depthwise_u8s8_avx2_acc16": _TAPS_16,
    "depthwise_u8s8_avx512bw_acc16": _TAPS_16,
    "gemm_s8s8_neon_acc16": _SIXTEEN_16,
    "gemm_s8s8_neon_acc32": _SIXTEEN_PAIR,
    "depthwise_s8s8_neon_acc16": _TAP_16,
    "gemm_u8s8_simd128_acc16": _WIDENED_QUAD_16,
    "depthwise_u8s8_simd128_acc16": _TAP_16,
    "gemm_u7s8_relaxed_acc16": _QUAD_16,
    "depthwise_u7s8_relaxed_acc16": _TAPS_16,
    "gemm_u1s8_vbmi_lookup8": _SIX_8,
    "gemm_u2s8_vbmi_lookup8": _THREE_8,
    "gemm_u3s8_vbmi_lookup8": _TWO_8,
    "gemm_u1s8_avx2_lookup8": _FOUR_8,
    "gemm_u2s8_avx2_lookup8": _TWO_8,
    "avx2-acc16": _QUAD_16,
    "avx2-acc32": _QUAD_32,
    "depthwise-acc16": _TAPS_16,
    "neon-acc16": _SIXTEEN_16,
    "neon-mlal-pair": _SIXTEEN_PAIR,
    "neon-depthwise-acc16": _TAP_16,
    "wasm-acc16": _WIDENED_QUAD_16,
}
"""Models by name: vpmaddubsw + vpaddw; vpmaddubsw + vpmaddwd; vpmaddubsw + vpaddw on tap pairs; smlal + smlal2; smull +
smlal2; smlal on a tap; i16x8.mul + i16x8.add; relaxed_dot_i8x16_i7x16 + i16x8.add; vpermb or vpshufb + vpaddb, where
an entry is a byte, so that the sum of a step that leaves it has wrapped before it is added."""


EXACT: Final = frozenset(
    {
        "gemm_u8s8_scalar",
        "gemm_s8s8_scalar",
        "gemm_u8s8_avx2_exact",
        "gemm_u8s8_vnni",
        "gemm_u8s8_avxvnni",
        "gemm_u8s8_amx",
        "gemm_s8s8_neon_exact",
        "gemm_s8s8_dotprod",
        "gemm_u8s8_i8mm",
        "depthwise_s8s8_neon_exact",
        "gemm_u8s8_simd128_exact",
        "gemm_u7s8_relaxed_exact",
        "depthwise_u8s8_simd128_exact",
        "depthwise_u8s8_scalar",
        "depthwise_s8s8_scalar",
        "depthwise_u8s8_avx2_exact",
        "depthwise_u8s8_vnni",
        "depthwise_u8s8_avxvnni",
        "exact-s32",
    }
)
"""Registers of s32 only, by whole name: scalar code, vpmaddwd or i32x4.dot on widened operands, vpdpbusd, tdpbusd,
sdot, usmmla, relaxed_dot_add on operands of 7 bits. The 32-bit total covers them, whatever their step; a name that is
not here is trusted for nothing."""


RAW: Final = (0, 0, 255)
"""The form of operands that are multiplied as they lie in memory: [shift, least, most]."""
_LOWER: Final = (128, -128, 127)
_SEVEN_BITS: Final = (0, 0, 127)
_ONE_BIT, _TWO_BITS, _THREE_BITS = ((0, 0, 2**bits - 1) for bits in (1, 2, 3))
FORMS: Final[Mapping[str, tuple[int, int, int]]] = {
    "gemm_s8s8_neon_acc16": _LOWER,
    "gemm_s8s8_neon_acc32": _LOWER,
    "gemm_s8s8_neon_exact": _LOWER,
    "gemm_s8s8_dotprod": _LOWER,
    "gemm_s8s8_scalar": _LOWER,
    "depthwise_s8s8_neon_acc16": _LOWER,
    "depthwise_s8s8_neon_exact": _LOWER,
    "depthwise_s8s8_scalar": _LOWER,
    "gemm_u7s8_relaxed_acc16": _SEVEN_BITS,
    "gemm_u7s8_relaxed_exact": _SEVEN_BITS,
    "depthwise_u7s8_relaxed_acc16": _SEVEN_BITS,
    "gemm_u1s8_vbmi_lookup8": _ONE_BIT,
    "gemm_u1s8_avx2_lookup8": _ONE_BIT,
    "gemm_u2s8_vbmi_lookup8": _TWO_BITS,
    "gemm_u2s8_avx2_lookup8": _TWO_BITS,
    "gemm_u3s8_vbmi_lookup8": _THREE_BITS,
}
"""Operands as rows multiply them, where that is not ``RAW``. Their sums are proved in this form and in no other: s8
rows multiply u8 less 128, what relaxed SIMD makes of operands beyond 7 bits differs from CPU to CPU, and an operand of
more bits than its share of an index changes what its neighbours look up."""


def register(plain: object, name: str) -> Register:
    """A model as the certificate states it.

    Raises:
        FormatError: it is not a model.
    """
    keys = ("bits", "overflow", "step", "group", "group_overflow", "lanes", "max_run")
    if not isinstance(plain, dict) or set(plain) != set(keys):
        raise FormatError(f"register {name!r}: needs exactly {sorted(keys)}")
    numbers = [plain[key] for key in ("bits", "step", "group", "lanes")]
    run = plain["max_run"]
    fits = all(type(value) is int and 1 <= value <= 1024 for value in numbers) and plain["bits"] <= 32
    fits = fits and (run is None or (type(run) is int and run >= 1)) and plain["step"] % plain["group"] == 0
    if not fits or any(plain[key] not in ("wraps", "saturates", "exact") for key in ("overflow", "group_overflow")):
        raise FormatError(f"register {name!r}: {plain} is not a register model")
    return Register(**plain)


def trusted(name: str, claimed: Register, table: Mapping[str, Mapping[str, Any]] | None) -> tuple[Register, str | None]:
    """The model to check against: the caller's table first, then ``KNOWN``, else the certificate's own word.

    Returns:
        the model, and a sentence if only the caller or the certificate vouches for it.
    """
    if table is not None and name in table:
        model = register(dict(table[name]), name)
        vouched = name in KNOWN or _is_exact(name, model)
        return model, None if vouched else f"the register {name} is as its row declares: {model}"
    if name in KNOWN:
        return KNOWN[name], None
    if _is_exact(name, claimed):
        return claimed, None
    return claimed, f"the register {name} is as the certificate says: {claimed}"


def contradicts(name: str, model: Register) -> str | None:
    """Why a row must not declare ``model``: it allows more than the register of that name does.

    A row may ask for more spills than its register needs, and for nothing else.
    """
    manual = KNOWN.get(name)
    if manual is None or (
        replace(model, max_run=manual.max_run) == manual
        and (manual.max_run is None or (model.max_run is not None and model.max_run <= manual.max_run))
    ):
        return None
    return f"its row declares {model}, by the instruction manuals it is {manual}"


def _is_exact(name: str, model: Register) -> bool:
    return name in EXACT and model.overflow == model.group_overflow == "exact"
