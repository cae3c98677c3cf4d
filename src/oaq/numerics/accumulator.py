"""The register a sum lives in: how wide it is, which products share it, and what happens when it is left.

Source of the models: the instruction set manuals (vpmaddubsw saturates a pair to s16, vpaddw wraps, vpdpbusd is exact
in s32, smlal wraps). ``docs/math/overflow.md`` has the table and derives what each model needs proved.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final, Literal

from oaq.numerics.formats import signed
from oaq.numerics.ranges import IntRange

Overflow = Literal["wraps", "saturates", "exact"]


@dataclass(frozen=True)
class Accumulator:
    """A register model.

    One inner *step* consumes ``step`` consecutive operands k. Operands come in *groups* of ``group`` consecutive k
    whose products one instruction sums (2 for vpmaddubsw); what leaves the group's ``bits`` there does
    ``group_overflow``. Group sums are then added in turn into ``lanes`` registers (``cells.lane_of``) of ``bits`` bits
    with behaviour ``overflow``. A *run* is the number of steps between two spills; after a run every lane is added
    into s32.

    Attributes:
        name: how reports call it.
        bits: width of a lane and of a group sum, 2..32. 32 with ``overflow == "exact"`` means: proved by the s32 total.
        overflow: what a lane does when a sum leaves it.
        step: operands k per inner step, >= 1.
        group: products summed inside one instruction, divides ``step``.
        group_overflow: what one instruction does when the group's sum leaves ``bits``.
        lanes: registers that share the sum of one output, >= 1; ``group * lanes`` divides ``step`` or equals a multiple
            of it, so that the lane of k depends on k modulo ``group * lanes`` only.
        max_run: most steps between spills the kernel can do; ``None`` is no limit, 1 is a spill at every step.
    """

    name: str
    bits: int
    overflow: Overflow
    step: int = 1
    group: int = 1
    group_overflow: Overflow = "exact"
    lanes: int = 1
    max_run: int | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 32:
            raise ValueError(f"{self.name}: an accumulator has 2 to 32 bits, not {self.bits}")
        if min(self.step, self.group, self.lanes) < 1 or self.step % self.group:
            raise ValueError(f"{self.name}: step {self.step}, group {self.group}, lanes {self.lanes} do not fit")
        if self.max_run is not None and self.max_run < 1:
            raise ValueError(f"{self.name}: a run has at least one step, not {self.max_run}")

    @property
    def range(self) -> IntRange:
        """What one lane can hold."""
        return signed(self.bits)

    @property
    def lanes_must_fit(self) -> bool:
        """Whether a narrow lane must hold the sum itself."""
        return self.overflow != "exact"

    def counting(self, modulo: int | None) -> Accumulator:
        """This register where only sums modulo 2**``modulo`` count; as it is if ``modulo`` is None."""
        if modulo is None:
            return self
        values = {field.name: getattr(self, field.name) for field in fields(Accumulator)}
        return ResidueAccumulator(**values, modulo=modulo)

    @property
    def is_exact(self) -> bool:
        """True iff nothing narrower than s32 is ever summed."""
        return self.overflow == "exact" and self.group_overflow == "exact"


@dataclass(frozen=True)
class ResidueAccumulator(Accumulator):
    """A register of which only sums modulo 2**``modulo`` count.

    Attributes:
        modulo: b. Lanes of b bits or more that wrap hold all that is needed of any sum.
    """

    modulo: int = 32

    @property
    def lanes_must_fit(self) -> bool:
        """Whether a narrow lane must hold the sum itself: it does not if it wraps and its residue is what counts."""
        return self.overflow == "saturates" or (self.overflow == "wraps" and self.modulo > self.bits)


def modulo_of(accumulator: Accumulator) -> int | None:
    """The b modulo 2**b of which sums count in ``accumulator``; None where sums themselves count."""
    return accumulator.modulo if isinstance(accumulator, ResidueAccumulator) else None


AVX2_ACC16: Final = Accumulator("avx2-acc16", 16, "wraps", step=4, group=2, group_overflow="saturates", lanes=2)
"""vpmaddubsw + vpaddw on a k-quad; spill by vpmaddwd with ones + vpaddd. Also AVX-512BW."""
AVX2_ACC32: Final = Accumulator(
    "avx2-acc32", 16, "wraps", step=4, group=2, group_overflow="saturates", lanes=2, max_run=1
)
"""vpmaddubsw + vpmaddwd + vpaddd: a spill at every step, so only a pair can leave s16."""
AVX2_ACC32X4: Final = Accumulator(
    "avx2-acc32x4", 16, "wraps", step=4, group=2, group_overflow="saturates", lanes=2, max_run=4
)
"""vpmaddubsw + vpaddw on up to four k-quads, then vpmaddwd + vpaddd once for all of them."""
AVX2_ACC32X2: Final = Accumulator(
    "avx2-acc32x2", 16, "wraps", step=8, group=2, group_overflow="saturates", lanes=2, max_run=1
)
"""vpmaddubsw on two k-quads, vpaddw, then vpmaddwd + vpaddd once for both: a lane holds two pairs. Dynamic layers."""
DEPTHWISE_ACC16: Final = Accumulator("depthwise-acc16", 16, "wraps", step=2, group=2, group_overflow="saturates")
"""vpmaddubsw on two interleaved taps + vpaddw: one 16-bit lane per channel."""
EXACT_S32: Final = Accumulator("exact-s32", 32, "exact", step=4)
"""vpdpbusd, sdot, or widening to 16 bits before vpmaddwd: only the s32 total matters."""
NEON_ACC16: Final = Accumulator("neon-acc16", 16, "wraps", step=16, lanes=8)
"""smlal + smlal2 into eight 16-bit lanes, k modulo 8; spill by sadalp."""
NEON_MLAL_PAIR: Final = Accumulator("neon-mlal-pair", 16, "wraps", step=16, lanes=8, max_run=1)
"""smull + smlal2 + sadalp: a lane holds the products k and k + 8."""

NEON_DEPTHWISE_ACC16: Final = Accumulator("neon-depthwise-acc16", 16, "wraps")
"""smlal, a tap at a time: one 16-bit lane per channel; spill by saddw."""

WASM_ACC16: Final = Accumulator("wasm-acc16", 16, "wraps", step=4, lanes=4)
"""i16x8.mul + i16x8.add on operands widened to 16 bits: four lanes, k modulo 4; spill by i32x4.extadd_pairwise."""


def pure(bits: int, overflow: Overflow = "wraps") -> Accumulator:
    """One ``bits``-bit register that sums all of K: FPGA, custom hardware, the paper's whole-sum check."""
    return Accumulator(f"{bits}-bit", bits, overflow)
