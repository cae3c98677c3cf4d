"""Attention as exporters write it out: heads split, two products of tensors, Softmax between them, heads joined.

    q, k, v: Reshape to (batch, tokens, heads, columns), Transpose
    MatMul, Div or Mul by a number, Add of a shift, Softmax, MatMul, Transpose, Reshape

q, k and v are results of dynamic layers on one tensor's tokens, so that their sizes are known to be alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from oaq.capture.from_dynamic_onnx.reader import operand_beside, result_of
from oaq.capture.from_onnx.attributes import integer, integers
from oaq.capture.from_onnx.graph import OnnxNode
from oaq.mixed.fused.patterns import Part, factor_behind, names_of, results_of
from oaq.mixed.fused.sizes import Entry, Size
from oaq.mixed.fused.steps import Attention, Fused

HEADS_FIRST: Final = (0, 2, 1, 3)
COLUMNS_FIRST: Final = (0, 2, 3, 1)
LAST_TWO: Final = (0, 1, 3, 2)
ALONG_ONE_AXIS: Final = 13
"""Version of ONNX's operators from which on Softmax takes one axis; before, all axes from the one it names."""


@dataclass
class _Found:
    """Nodes of a pattern so far, and the factor of its scores."""

    nodes: list[OnnxNode] = field(default_factory=list)
    scale: float = 1.0


def attention(softmax: OnnxNode, part: Part) -> Fused | None:
    """The attention around a Softmax."""
    if softmax.domain or softmax.op != "Softmax" or integer(softmax, "axis", _usual_axis(part)) not in (-1, 3):
        return None
    found = _Found([softmax])
    name, shift = softmax.input_name(0), ""
    addition = part.producer(name, "Add")
    if addition is not None:
        found.nodes.append(addition)
        scores = [operand for operand in addition.inputs if part.producer(operand, "Div", "Mul", "MatMul")]
        if len(addition.inputs) != 2 or not scores:
            return None
        name = scores[0]
        shift = operand_beside(addition, name)
    name = _unscaled(name, part, found)
    product, mixing = part.producer(name, "MatMul"), part.reader(result_of(softmax), "MatMul")
    if product is None or mixing is None or mixing.input_name(0) != result_of(softmax):
        return None
    found.nodes += [product, mixing]
    q = _split(product.input_name(0), part, found, transposed=False)
    k = _split(product.input_name(1), part, found, transposed=True)
    values = _Found()
    v = _split(mixing.input_name(1), part, values, transposed=False)
    if values.scale != 1.0:
        return None
    found.nodes += values.nodes
    if q is None or k is None or v is None or not q[1] == k[1] == v[1] or part.widths[q[0]] != part.widths[k[0]]:
        return None
    if len({part.root(x) for x, _ in (q, k, v)}) != 1:
        return None
    result = _joined(result_of(mixing), (v[0], q[1]), part, found)
    if result is None:
        return None
    constant = part.tensors.constant(shift) if shift else None
    reads = (q[0], k[0], v[0], *((shift,) if shift and constant is None else ()))
    scaling = factor_behind(result, part.widths[v[0]], part)
    if scaling is not None:
        found.nodes.append(scaling[0])
        result = result_of(scaling[0])
    factor = None if scaling is None else scaling[1]
    order = {node.name: place for place, node in enumerate(part.tensors.parts.nodes)}
    nodes = sorted(found.nodes, key=lambda node: order[node.name])
    return Attention(names_of(nodes), reads, (result,), results_of(nodes), q[1], found.scale, constant, factor)


def _usual_axis(part: Part) -> int:
    """The axis of a Softmax that names none."""
    return -1 if part.tensors.parts.opsets.get("", ALONG_ONE_AXIS) >= ALONG_ONE_AXIS else 1


def _unscaled(name: str, part: Part, found: _Found) -> str:
    """What is behind multiplications by numbers, which are found."""
    while (node := part.producer(name, "Div", "Mul")) is not None:
        operands = [operand for operand in node.inputs if part.number(operand) is None]
        factor = part.factor(node, operands[0]) if len(operands) == 1 else None
        if factor is None:
            return name
        found.nodes.append(node)
        found.scale *= factor
        name = operands[0]
    return name


def _split(name: str, part: Part, found: _Found, *, transposed: bool) -> tuple[str, int] | None:
    """(the tensor whose heads these are, how many); None if it is not so made."""
    name = _unscaled(name, part, found)
    moved = part.producer(name, "Transpose")
    if moved is None:
        return None
    found.nodes.append(moved)
    order = integers(moved, "perm", 4)
    if transposed and order == LAST_TWO:
        name = _unscaled(moved.inputs[0], part, found)
        moved = part.producer(name, "Transpose")
        if moved is None or integers(moved, "perm", 4) != HEADS_FIRST:
            return None
        found.nodes.append(moved)
    elif order != (COLUMNS_FIRST if transposed else HEADS_FIRST):
        return None
    split = part.producer(_unscaled(moved.inputs[0], part, found), "Reshape")
    if split is None or integer(split, "allowzero", 0):
        return None
    found.nodes.append(split)
    x, entries = split.inputs[0], part.sizes.entries(split.input_name(1))
    if x not in part.widths or entries is None or len(entries) != 4:
        return None
    heads = _heads(entries, part.widths[x])
    # What remains is the tokens only if there are no further axes before them.
    is_split = _keeps_tokens(entries, part.root(x)) and (-1 not in entries[:2] or part.rank(x) == 3)
    return (x, heads) if is_split and heads is not None else None


def _heads(entries: tuple[Entry, ...], width: int) -> int | None:
    """How many heads make ``width`` columns; at most one entry of the four is -1."""
    heads, columns = entries[2:]
    if not isinstance(heads, int) or not isinstance(columns, int) or entries.count(-1) > 1:
        return None
    if heads == -1 and columns > 0:
        heads = width // columns
    elif columns == -1 and heads > 0:
        columns = width // heads
    return heads if heads > 0 and columns > 0 and heads * columns == width else None


def _keeps_tokens(entries: tuple[Entry, ...], root: str) -> bool:
    """The first two axes stay: named, copied (0), or what remains (-1)."""
    return all(
        entry == Size(root, axis) or (isinstance(entry, int) and entry in (0, -1))
        for axis, entry in enumerate(entries[:2])
    )


def _joined(name: str, heads: tuple[str, int], part: Part, found: _Found) -> str | None:
    """The tensor in which heads lie side by side again; ``heads`` are those of a tensor, and how many."""
    x, _ = heads
    moved = part.reader(name, "Transpose")
    if moved is None or integers(moved, "perm", 4) != HEADS_FIRST:
        return None
    joined = part.reader(result_of(moved), "Reshape")
    if joined is None or joined.input_name(0) != result_of(moved) or integer(joined, "allowzero", 0):
        return None
    entries = part.sizes.entries(joined.input_name(1))
    if entries is None or len(entries) != 3 or entries[2] not in (-1, part.widths[x]) or entries.count(-1) > 1:
        return None
    found.nodes += [moved, joined]
    return result_of(joined) if _keeps_tokens(entries, part.root(x)) else None
