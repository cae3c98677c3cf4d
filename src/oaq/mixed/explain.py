"""A mixed program in words: which regions there are, where they begin, why some stay in float, how long they took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from oaq.escape import escape_text
from oaq.mixed.counts import count_text
from oaq.mixed.execute import MixedSession
from oaq.mixed.program import DynamicBody, FloatBody, FusedBody, IntegerBody, MixedProgram, Region
from oaq.mixed.schedule import DYNAMIC
from oaq.program.int_program import IntProgram

NOTHING: Final = "nothing is proved"
NAMES: Final = 4
"""Tensors at a boundary that are shown."""


def explain(program: MixedProgram, session: MixedSession | None = None) -> str:
    """One paragraph per region.

    Args:
        program: to show.
        session: that has run it: adds who ran each region and its time.
    """
    return "\n".join([summary(program), *(line for region in program.regions for line in lines(region, session))])


def summary(program: MixedProgram) -> str:
    """How much of a file is proved."""
    if not program.integers:
        reason = f": {program.float_reason}" if program.float_reason else ""
        return escape_text(f"{program.name}: no region of integers, so {NOTHING}{reason}")
    layers = sum(map(_layers, program.integers))
    kind = "dynamic region" if all(region.kind == DYNAMIC for region in program.integers) else "integer region"
    text = f"{program.name}: {count_text(len(program.integers), kind)}, {count_text(layers, 'layer')} proved"
    if program.floats:
        count = sum(len(region.nodes) for region in program.floats)
        text += f"; {count_text(len(program.floats), 'float region')}, {count_text(count, 'node')} not proved"
    return escape_text(text)


def integer_programs(program: MixedProgram) -> list[IntProgram]:
    """The programs of the regions of integers, in execution order."""
    return [region.body.program for region in program.regions if isinstance(region.body, IntegerBody)]


def unproved(program: MixedProgram, session: MixedSession | None = None) -> str:
    """One line on the parts that no proof speaks of; "" if there are none."""
    if not program.floats:
        return ""
    parts = [f"{region.operators}{_executed_by(region, program, session)}" for region in program.floats]
    text = f"not proved: {'; '.join(parts)}"
    if not program.integers:
        text = f"no integers to prove, so {NOTHING}: {parts[0] if parts else ''}"
        text += f" ({program.float_reason})" if program.float_reason else ""
    return escape_text(text)


def lines(region: Region, session: MixedSession | None) -> list[str]:
    """A region: what it is, between which tensors, why, by whom, how long."""
    if not isinstance(region.body, FloatBody | FusedBody):
        head = f"{region.name}: {count_text(len(region.nodes), 'node')}, {count_text(_layers(region), 'layer')} proved"
    else:
        head = f"{region.name}: {count_text(len(region.nodes), 'node')}, not proved: {region.operators}"
    result = [head, f"  from {_tensors(region.reads)} to {_tensors(region.writes)}"]
    if region.nodes:
        first, last = region.nodes[0], region.nodes[-1]
        ends = f"{first[0]} ({first[1]})" + (f" .. {last[0]} ({last[1]})" if last != first else "")
        result.append(f"  nodes {ends}")
    if region.reason:
        result.append(f"  in float because: {region.reason}")
    for time in session.profile() if session is not None else ():
        if time.region == region.name:
            result.append(f"  {time.nanoseconds / 1e6:.3f} ms by {time.label}" + _conversion(time.conversion))
    return [escape_text(line) for line in result]


def _layers(region: Region) -> int:
    """How many layers of a region are proved."""
    if isinstance(region.body, IntegerBody):
        return len(list(region.body.program.summing_nodes()))
    return sum(len(part.layers) for part in region.body.parts) if isinstance(region.body, DynamicBody) else 0


def _conversion(nanoseconds: int) -> str:
    return f", {nanoseconds / 1e6:.3f} ms of it between the file's values and integers" if nanoseconds else ""


def _executed_by(region: Region, program: MixedProgram, session: MixedSession | None) -> str:
    if session is None:
        return ""
    return f" by {session.executors[list(program.regions).index(region)].label}"


def _tensors(names: Sequence[str]) -> str:
    if not names:
        return "integers of another region"
    return ", ".join(names[:NAMES]) + (f" and {len(names) - NAMES} more" if len(names) > NAMES else "")
