"""Operators of a program of integers: one file each, with value, shape, law, image, work and sample cases.

A value is frozen, holds exact integers and says what it means; every tensor it reads or writes is u8 with an affine map
and an effective range (``TensorSpec``). ``zx`` and ``zy`` in its docstring are the zero points of input and output, and
every result is clamped to the output's effective range. ``table.OPERATORS`` is the only list.
"""

from __future__ import annotations

from oaq.operators.add import Add
from oaq.operators.avg_pool import AvgPool
from oaq.operators.concat import Concat
from oaq.operators.conv2d import Conv2d
from oaq.operators.depth_to_space import DepthToSpace
from oaq.operators.global_avg_pool import GlobalAvgPool
from oaq.operators.linear import Linear
from oaq.operators.lookup import Lookup
from oaq.operators.max_pool import MaxPool
from oaq.operators.mul import Mul
from oaq.operators.operator import Op
from oaq.operators.pad import Pad
from oaq.operators.products import Products, Weights
from oaq.operators.reshape import Reshape
from oaq.operators.resize import Resize
from oaq.operators.slice import Slice
from oaq.operators.table import OPERATORS, family_of, output_shape, rules_of
from oaq.operators.tensor import Shape, TensorSpec
from oaq.operators.windows import LARGEST_WINDOW, Padding, Pair, Window

__all__ = [
    "LARGEST_WINDOW",
    "OPERATORS",
    "Add",
    "AvgPool",
    "Concat",
    "Conv2d",
    "DepthToSpace",
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
    "Shape",
    "Slice",
    "TensorSpec",
    "Weights",
    "Window",
    "family_of",
    "output_shape",
    "rules_of",
]
