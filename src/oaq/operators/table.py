"""The only list of operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from oaq.errors import ProgramError
from oaq.operators import (
    add,
    avg_pool,
    concat,
    conv2d,
    depth_to_space,
    global_avg_pool,
    linear,
    lookup,
    max_pool,
    mul,
    pad,
    reshape,
    resize,
    slice,
)
from oaq.operators.operator import AnyRules, Op
from oaq.operators.tensor import Shape

OPERATORS: Final[dict[str, AnyRules]] = {
    rules.name: rules
    for rules in (
        conv2d.RULES,
        linear.RULES,
        add.RULES,
        mul.RULES,
        concat.RULES,
        max_pool.RULES,
        avg_pool.RULES,
        global_avg_pool.RULES,
        resize.RULES,
        depth_to_space.RULES,
        lookup.RULES,
        reshape.RULES,
        pad.RULES,
        slice.RULES,
    )
}
"""Rules of every operator, by name."""


def rules_of(op: Op) -> AnyRules:
    """The rules of a value.

    Raises:
        ProgramError: its class is not in the table.
    """
    rules = OPERATORS.get(type(op).__name__)
    if rules is None or rules.value is not type(op):
        raise ProgramError(f"{type(op).__name__} is not an operator of an IntProgram")
    return rules


def family_of(op: Op) -> str:
    """The kernel family that computes a value.

    Raises:
        ProgramError: its class is not in the table.
    """
    return rules_of(op).family_of(op)


def output_shape(op: Op, inputs: Sequence[Shape]) -> Shape:
    """The result's shape, one sample, channels last.

    Raises:
        ProgramError: the inputs do not fit the operator; the message names the operator and the shapes.
    """
    rules = rules_of(op)
    arity = rules.arity_of(op)
    if len(inputs) != arity:
        raise ProgramError(f"{rules.name}: takes {arity} inputs, got {len(inputs)}")
    return rules.shape(op, inputs)
