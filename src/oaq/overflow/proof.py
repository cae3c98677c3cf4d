"""What ``analyze`` proves about a program: the value everything below it is planned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from oaq.numerics.formats import S32
from oaq.numerics.ranges import ChannelRanges, IntRange
from oaq.overflow.operands import Operands
from oaq.program.pickling import flatten, rebuild
from oaq.terminal.shown import in_a_line, in_a_notebook

Tier = Literal["proved", "observed"]

ASSUMPTIONS: Final = (
    "every integer of a program input lies in the effective range the program declares for it (the session checks)",
    "operands of a layer may take any values of their proved ranges, independently of each other",
    "kernels load raw integers, the zero point at padded positions, and add bias - zero_point * sum(weights) in s32",
    "each register behaves as its kernel row declares (exact, wraps, saturates), as the instruction manuals say",
    "float32 arithmetic is IEEE 754, round to nearest even, and is not contracted to fused multiply-add",
)
"""What a proof takes for granted; anything else it derives."""


@dataclass(frozen=True, eq=False)
class NodeProof:
    """The sums of one Conv2d or Linear, for every input.

    Attributes:
        node: its name.
        operands: ranges of what it multiplies, as loaded.
        total: (N,) the law's sum, bias + sum w * (x - zx): what is requantized.
        raw: (N,) sum w * x as loaded, without bias, at the end.
        raw_partial: (N,) the same for every partial sum in every order: whatever s32 a kernel holds on the way.
        folded_bias: (N,) int32, bias - zx * sum w: what turns ``raw`` into ``total``.
        positions: output positions of one sample that compute this sum (OH * OW, or 1).
        shift: what kernels subtract from a u8 before they multiply it (``overflow.forms``); ``analyze`` proves 0.
        modulo: b where the law is the sum modulo 2**b: then registers that wrap may be left, s32 too, and
            ``folded_bias`` counts modulo 2**32. None: the law is the sum, and no register is left.
    """

    node: str
    operands: Operands
    total: ChannelRanges
    raw: ChannelRanges
    raw_partial: ChannelRanges
    folded_bias: NDArray[np.int32]
    positions: int
    shift: int = 0
    modulo: int | None = None

    @property
    def bits(self) -> int:
        """Bits of the narrowest wrapping register that could sum all of K of any output without a spill."""
        return self.raw.envelope().signed_bits

    @property
    def total_bits(self) -> int:
        """Bits of the narrowest register that holds every total."""
        return self.total.envelope().signed_bits

    @property
    def headroom_bits(self) -> int:
        """Bits of s32 that no total uses."""
        return 32 - self.total_bits

    def to_json(self) -> dict[str, Any]:
        """Plain numbers for reports."""
        return {
            "node": self.node,
            "total": _ends(self.total.envelope()),
            "raw": _ends(self.raw.envelope()),
            "raw_partial": _ends(self.raw_partial.envelope()),
            "bits": self.bits,
            "total_bits": self.total_bits,
            "headroom_bits": self.headroom_bits,
            "positions": self.positions,
            "outputs": len(self.total),
            "terms": int(self.operands.lo.shape[1]),
            **({} if self.modulo is None else {"wraps_by_design_modulo_bits": self.modulo}),
        }


@dataclass(frozen=True, eq=False)
class Proof:
    """Where every integer of a program can go, for every input.

    Attributes:
        program: the program's name.
        ranges: of every tensor, per channel.
        nodes: the sums, by node name (Conv2d and Linear only).
        tier: "proved": holds for all inputs under ``assumptions``.
        assumptions: what is taken for granted.
    """

    program: str
    ranges: Mapping[str, ChannelRanges]
    nodes: Mapping[str, NodeProof]
    tier: Tier = "proved"
    assumptions: tuple[str, ...] = ASSUMPTIONS

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranges", MappingProxyType(dict(self.ranges)))
        object.__setattr__(self, "nodes", MappingProxyType(dict(self.nodes)))

    def __repr__(self) -> str:
        bits = max((node.total_bits for node in self.nodes.values()), default=0)
        return in_a_line(
            "Proof",
            self.program,
            [("", self.tier), ("layers", len(self.nodes)), ("widest total in bits", bits)],
        )

    def _repr_html_(self) -> str:
        rows = [(node.node, node.bits, node.total_bits, str(node.total.envelope())) for node in self.nodes.values()]
        return in_a_notebook(repr(self), ("layer", "bits without a spill", "bits of the total", "total"), rows)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle and copy by the constructor."""
        return rebuild, (flatten(self),)

    def __getitem__(self, node: str) -> NodeProof:
        return self.nodes[node]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers for reports."""
        return {
            "program": self.program,
            "tier": self.tier,
            "assumptions": list(self.assumptions),
            "tensors": {name: _ends(ranges.envelope()) for name, ranges in self.ranges.items()},
            "nodes": [node.to_json() for node in self.nodes.values()],
            "register": _ends(S32),
        }


def _ends(interval: IntRange) -> list[int]:
    return [interval.lo, interval.hi]
