"""What a plan hands to kernels: every number and place that is not the program's is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

import oaq
from oaq import operators as ops
from oaq.checker import check
from oaq.errors import AccumulatorOverflow, FormatError
from oaq.kernels.plan import NodePlan, Plan
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.overflow.certificate import to_parts
from oaq.program.plain import to_plain
from oaq.runtime.certify import certificate_of, check_plan, require_safe
from oaq.runtime.memory import Arena, plan_memory
from tests.strategies import Builder, conv2d


def planned() -> Plan:
    """A convolution, a sum with its input, a reshape: tensors of several lives."""
    rng = np.random.default_rng(3)
    builder = Builder("small")
    x = builder.input((4, 4, 8), Affine(0.05, 7), IntRange(2, 240))
    a = builder.add(conv2d(rng, (8, 1, 1, 8)), [x], Affine(0.05, 9), IntRange(3, 200), name="conv")
    b = builder.add(conv2d(rng, (8, 1, 1, 8)), [a], Affine(0.05, 11), IntRange(3, 200), name="next")
    total = ops.Add(Requantize(np.array([0.5, 0.5], np.float32)))
    c = builder.add(total, [a, b], Affine(0.05, 5), IntRange(1, 250), name="add")
    builder.add(ops.Reshape((128,)), [c], name="flat")
    return oaq.plan(builder.finish())


def changed(plan: Plan, name: str, change: Callable[[NodePlan], NodePlan]) -> Plan:
    """The plan with one node changed."""
    return replace(plan, nodes=tuple(change(node) if node.node.name == name else node for node in plan.nodes))


CHANGES: dict[str, tuple[str, Callable[[NodePlan], NodePlan], str]] = {
    "the clamp is u8": ("conv", lambda n: replace(n, clamp=IntRange(0, 255)), r"clamp \[0, 255\].*\[3, 200\]"),
    "a zero point of the input": ("conv", lambda n: replace(n, x_zero_points=(8,)), r"x_zero_points \[8\]"),
    "inputs' zero points swapped": ("add", lambda n: replace(n, x_zero_points=n.x_zero_points[::-1]), "x_zero_points"),
    "the zero point of the output": ("add", lambda n: replace(n, y_zero_point=6), "y_zero_point 6"),
    "a folded bias off by one": (
        "conv",
        lambda n: replace(n, folded_bias=n.folded_bias + np.int32(1)),
        r"folded bias of output 0 .*\(8 differ\)",
    ),
    "no folded bias": ("next", lambda n: replace(n, folded_bias=None), "folded bias is"),
    "another multiplier": (
        "add",
        lambda n: replace(n, node=replace(n.node, op=ops.Add(Requantize(np.array([0.5, 0.5000001], np.float32))))),
        "another array nodes/2/requantize.multiplier",
    ),
    "inputs swapped": (
        "add",
        lambda n: replace(n, node=replace(n.node, inputs=n.node.inputs[::-1])),
        "runs other operators",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_number_that_is_not_the_programs_is_refused(case: str) -> None:
    name, change, says = CHANGES[case]
    plan = planned()
    assert check_plan(plan).safe
    with pytest.raises(AccumulatorOverflow, match=says):
        oaq.Session(changed(plan, name, change))


def moved(arena: Arena, plan: Plan, **offsets: int) -> Arena:
    """The arena with the results of some nodes elsewhere."""
    places = {plan[node].node.output: offset for node, offset in offsets.items()}
    return replace(arena, offsets=MappingProxyType({**arena.offsets, **places}))


def test_an_arena_whose_tensors_overlap_leave_it_or_die_early_is_refused() -> None:
    plan = planned()
    good = plan_memory(plan.program)
    first = good.offsets[plan.program.inputs[0]]
    of = {name: good.offsets[plan[name].node.output] for name in ("conv", "next", "add", "flat")}
    assert require_safe(plan, good) is not None
    bad = {
        "writes over .* while it reads it": moved(good, plan, conv=first),
        "reads .* whose bytes have been overwritten|writes over": moved(good, plan, next=of["conv"]),
        r"lies in bytes 65\.\.": moved(good, plan, conv=of["conv"] + 65),
        "lies in bytes -64": moved(good, plan, conv=-64),
        r"of an arena of 64": replace(good, size=64),
        "not its input's bytes": moved(good, plan, flat=of["add"] + 64),
        "does not have": replace(good, in_place=frozenset({"flat", "other"})),
        "places for 4 tensors of 5": replace(
            good, offsets=MappingProxyType({k: v for k, v in good.offsets.items() if k != plan["flat"].node.output})
        ),
    }
    for says, arena in bad.items():
        arena = replace(arena, size=max(arena.size, good.size + 256)) if arena.size == good.size else arena
        with pytest.raises(AccumulatorOverflow, match=says.replace("65", str(of["conv"] + 65))):
            require_safe(plan, arena)


def test_a_tensor_that_dies_early_is_seen_by_who_reads_it() -> None:
    plan = planned()
    good = plan_memory(plan.program)
    arena = replace(moved(good, plan, next=good.size), size=good.size + 128)
    assert require_safe(plan, arena) is not None
    # The first layer's result is read by the sum as well: the second layer's may not take its place.
    program = plan.program
    extra = replace(
        program, nodes=tuple(replace(n, inputs=(program.inputs[0],)) if n.name == "next" else n for n in program.nodes)
    )
    other = oaq.plan(extra)
    early = moved(plan_memory(extra), other, next=plan_memory(extra).offsets[other["conv"].node.output])
    with pytest.raises(AccumulatorOverflow, match=r"add: reads .* whose bytes have been overwritten"):
        require_safe(other, early)


@pytest.mark.parametrize("assumptions", [[], ["all is well"]])
def test_a_certificate_of_other_assumptions_is_refused(assumptions: list[str]) -> None:
    plan = planned()
    content, claims = to_parts(certificate_of(plan))
    verdict = check(*to_plain(plan.program), {**content, "assumptions": assumptions}, claims)
    assert "its assumptions lack" in str(verdict.findings[0])


def test_a_layout_that_no_session_runs_is_refused() -> None:
    plan = planned()
    content, claims = to_parts(certificate_of(plan))
    header, arrays = to_plain(plan.program)
    verdict = check({**header, "metadata": {"input_layout": "XYZ"}}, arrays, content, claims)
    assert "input_layout 'XYZ', which is neither NCHW nor NHWC" in str(verdict.findings[0])


@pytest.mark.parametrize("place", [64.0, "64", None, True])
def test_a_place_that_is_no_integer_is_refused(place: object) -> None:
    plan = planned()
    good = plan_memory(plan.program)
    name = plan["conv"].node.output
    arena = replace(good, offsets=MappingProxyType({**good.offsets, name: place}), size=good.size + 4096)
    with pytest.raises((AccumulatorOverflow, FormatError)):
        require_safe(plan, arena)


def test_a_tensor_whose_last_line_lies_behind_the_arena_is_refused() -> None:
    plan = planned()
    good = plan_memory(plan.program)
    first, place = plan.program.inputs[0], good.size  # (4, 4, 8) takes two lines
    offsets = MappingProxyType({**good.offsets, first: place})
    require_safe(plan, replace(good, offsets=offsets, size=place + 128))
    says = f"lies in bytes {place}..{place + 127} of an arena of {place + 64}"
    with pytest.raises(AccumulatorOverflow, match=says):
        require_safe(plan, replace(good, offsets=offsets, size=place + 64))
