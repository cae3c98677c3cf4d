"""How much memory the reference takes for one node, from shapes alone: asked before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Final

from oaq.operators import Resize, TensorSpec
from oaq.program.int_program import Node
from oaq.program.memory import memory_limit, require_memory

WIDE: Final = 8
"""Bytes of the integers that everything is computed in."""
COPIES: Final = 3
"""Arrays of one size that live at the same time, at most: a value, its successor, a temporary."""


def require_node_memory(node: Node, inputs: Sequence[TensorSpec], y: TensorSpec, batch: int) -> None:
    """Refuse a node whose inputs, padded, what lies between, and result do not fit the memory limit.

    Args:
        node: of a program.
        inputs: the tensors it reads.
        y: the tensor it writes.
        batch: samples computed together.

    Raises:
        MemoryLimit: see ``oaq.program.memory``.
    """
    padding: tuple[int, ...] = getattr(node.op, "padding", ())
    elements = prod(y.shape)
    for spec in inputs:
        *sizes, channels = spec.shape
        sides = [before + after for before, after in zip(padding[::2], padding[1::2], strict=True)]
        sides += [0] * (len(sizes) - len(sides))
        elements += channels * prod(size + side for size, side in zip(sizes, sides, strict=False))
    if isinstance(node.op, Resize) and node.op.mode == "bilinear":
        elements += 2 * prod(y.shape) // y.shape[1] * inputs[0].shape[1]  # all rows, before columns are; two weighed
    require_memory(COPIES * WIDE * batch * elements, memory_limit(), f"{node.name}: the reference")
