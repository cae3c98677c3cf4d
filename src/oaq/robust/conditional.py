"""Bounds that hold on a set of inputs only, for questions about overflow under a condition.

What ``overflow.analyze`` proves holds for every input. Inputs known to lie in a set reach less: these bounds say how
much, and are worth nothing outside the set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic

import numpy as np

from oaq.numerics.ranges import ChannelRanges
from oaq.program.int_program import IntProgram
from oaq.robust.certificate import Certificate, of_ranges
from oaq.robust.narrow import narrowed
from oaq.robust.network import Network
from oaq.robust.prove import lowered
from oaq.robust.ranges import Range, intervals
from oaq.robust.region import Region
from oaq.robust.tree import BITS


@dataclass(frozen=True, eq=False)
class ConditionalRanges:
    """Ranges over a set.

    Attributes:
        tensors: of each tensor, channel by channel over all positions: what its integers can be, zero point included.
        sums: of each summing node (Conv2d, Linear), output by output over all positions: what its totals can be.
        certificate: ``oaq.checker.robust_ranges`` derives both from it again.
    """

    tensors: Mapping[str, ChannelRanges]
    sums: Mapping[str, ChannelRanges]
    certificate: Certificate = field(repr=False)

    def overflowing(self, bits: int) -> Mapping[str, tuple[int, ...]]:
        """Outputs, by node, whose totals can leave a two's complement register of ``bits`` bits on the set."""
        low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        outside = {
            name: tuple(int(at) for at in np.flatnonzero((ends.lo < low) | (ends.hi > high)))
            for name, ends in self.sums.items()
        }
        return {name: outputs for name, outputs in outside.items() if outputs}


def conditional_ranges(program: IntProgram, region: Region, seconds: float = 10.0) -> ConditionalRanges:
    """Ranges of every tensor and total for the inputs of a set: intervals, narrowed by multipliers where that pays.

    Args:
        program: of one input and one output.
        region: a box, or a list, whose smallest box is taken.
        seconds: of narrowing.
    """
    network = lowered(program)
    box: Range = tuple(  # type: ignore[assignment]
        end.reshape(1, -1).astype(np.int64) - network.zeros[0] for end in (region.lo, region.hi)
    )
    needed = frozenset(range(len(network.layers)))
    limits, claims = narrowed(network, box, needed, -1, monotonic() + seconds)
    ranges = intervals(network, box, limits, needed)
    names = (program.inputs[0], *(node.output for node in program.nodes))
    tensors = {
        name: _by_channel(ranges.tensors[at], program.tensors[name].channels, network.zeros[at])
        for at, name in enumerate(names)
    }
    totals = _sums(program, network, ranges.accumulators)
    ends = {f"tensors/{at}": tensors[name] for at, name in enumerate(names)}
    ends |= {f"sums/{at}": totals[name] for at, name in enumerate(network.names) if name in totals}
    arrays = {f"{place}/{end}": getattr(value, end) for place, value in ends.items() for end in ("lo", "hi")}
    return ConditionalRanges(tensors, totals, of_ranges(program, region, claims, arrays, BITS))


def _sums(program: IntProgram, network: Network, accumulators: list[Range | None]) -> dict[str, ChannelRanges]:
    summing = {node.name for node in program.summing_nodes()}
    result = {}
    for at, name in enumerate(network.names):
        ends = accumulators[at]
        if name in summing and ends is not None:
            result[name] = _by_channel(ends, program.tensors[program.by_name[name].output].channels, 0)
    return result


def _by_channel(ends: Range, channels: int, zero: int) -> ChannelRanges:
    lo, hi = (end[0].reshape(-1, channels) + zero for end in ends)
    return ChannelRanges(lo.min(axis=0), hi.max(axis=0))
