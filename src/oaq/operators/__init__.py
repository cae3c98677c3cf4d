"""Operators of a program of integers: one file each, with value, shape, law, image, work and sample cases.

A value is frozen, holds exact integers and says what it means; every tensor it reads or writes is u8 with an affine map
and an effective range (``TensorSpec``). ``zx`` and ``zy`` in its docstring are the zero points of input and output, and
every result is clamped to the output's effective range. ``OPERATORS`` is the only list: files, reference, ranges, cost
model, targets, calibration and tests read it, and ``tests/architecture/test_operators.py`` asks every walker that has
rules of its own to answer for each entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from oaq.errors import ProgramError
from oaq.operators import (
    add,
    avg_pool,
    channel_lookup,
    coarsen,
    concat,
    conv2d,
    depth_to_space,
    gather,
    global_avg_pool,
    linear,
    lookup,
    max_pool,
    mul,
    pad,
    reshape,
    resize,
    slice,
    transpose,
)
from oaq.operators.add import Add
from oaq.operators.avg_pool import AvgPool
from oaq.operators.channel_lookup import ChannelLookup
from oaq.operators.coarsen import Coarsen
from oaq.operators.concat import Concat
from oaq.operators.conv2d import Conv2d
from oaq.operators.depth_to_space import DepthToSpace
from oaq.operators.gather import Gather
from oaq.operators.global_avg_pool import GlobalAvgPool
from oaq.operators.linear import Linear
from oaq.operators.lookup import Lookup
from oaq.operators.max_pool import MaxPool
from oaq.operators.mul import Mul
from oaq.operators.operator import AnyRules, Op
from oaq.operators.pad import Pad
from oaq.operators.products import Products, Weights
from oaq.operators.reshape import Reshape
from oaq.operators.resize import Mode as ResizeMode
from oaq.operators.resize import Resize
from oaq.operators.slice import Slice
from oaq.operators.tensor import Shape, TensorSpec
from oaq.operators.transpose import Transpose
from oaq.operators.windows import LARGEST_WINDOW, Padding, Pair, Window

__all__ = [
    "LARGEST_WINDOW",
    "OPERATORS",
    "Add",
    "AvgPool",
    "ChannelLookup",
    "Coarsen",
    "Concat",
    "Conv2d",
    "DepthToSpace",
    "Gather",
    "GlobalAvgPool",
    "Linear",
    "Lookup",
    "MaxPool",
    "Mul",
    "Op",
    "Pad",
    "Padding",
    "Pair",
    "Products",
    "Reshape",
    "Resize",
    "ResizeMode",
    "Shape",
    "Slice",
    "TensorSpec",
    "Transpose",
    "Weights",
    "Window",
    "family_of",
    "output_shape",
    "rules_of",
]

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
        channel_lookup.RULES,
        reshape.RULES,
        pad.RULES,
        slice.RULES,
        transpose.RULES,
        gather.RULES,
        coarsen.RULES,
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
