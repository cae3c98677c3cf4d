"""Which float nodes of a dynamic file are computed together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from oaq.capture.from_dynamic_onnx import DynamicFile
from oaq.capture.from_dynamic_onnx.chains import Chain
from oaq.capture.from_dynamic_onnx.reader import LONGEST_CHAIN, Tensors
from oaq.mixed.fused.attention import attention
from oaq.mixed.fused.patterns import Part, gelu, normalize
from oaq.mixed.fused.sizes import Sizes
from oaq.mixed.fused.steps import Fused

if TYPE_CHECKING:
    import onnx

FLOAT32: Final = 1
"""Element type of ONNX."""


def fused_steps(
    file: DynamicFile, chains: Sequence[Chain], inferred: Sequence[onnx.ValueInfoProto]
) -> tuple[Fused, ...]:
    """Patterns of a file, none of which shares a node with another or with a dynamic layer.

    Args:
        file: read.
        chains: its dynamic layers.
        inferred: what ONNX knows of its tensors.
    """
    matrices = [chain for chain in chains if chain.windows is None]
    origin = {chain.y: chain.x for chain in matrices}
    known = {value.name: _sizes(value) for value in inferred if value.type.tensor_type.HasField("shape")}
    reals = {value.name for value in inferred if value.type.tensor_type.elem_type == FLOAT32}
    tensors = Tensors(file.parts)

    def root(name: str) -> str:
        """A tensor that all tensors with its sizes, but for the last axis, lead back to."""
        for _ in range(LONGEST_CHAIN):
            name, before = origin.get(name) or _unscaled(name, tensors), name
            if name == before:
                break
        return name

    widths = {chain.y: chain.product.weight.shape[1] for chain in matrices}
    part = Part(tensors, Sizes(tensors, known, root), widths, frozenset(reals.union(widths)), root)
    taken = {name for chain in chains for name in chain.nodes}
    result: list[Fused] = []
    for node in file.parts.nodes:
        for pattern in (normalize, gelu, attention):
            found = pattern(node, part)
            if found is None or any(tensors.constant(name) is not None for name in found.reads):
                continue
            if not taken.intersection(found.inside):
                result.append(found)
                taken.update(found.inside)
    return tuple(result)


def _unscaled(name: str, tensors: Tensors) -> str:
    """What a Mul by a number for each column multiplies; ``name`` itself where there is none."""
    node = tensors.producers.get(name)
    if node is None or node.domain or node.op != "Mul" or len(node.inputs) != 2:
        return name
    constants = [tensors.constant(operand) for operand in node.inputs]
    factors = [constant for constant in constants if constant is not None and constant.ndim <= 1]
    return node.inputs[0 if constants[0] is None else 1] if len(factors) == 1 else name


def _sizes(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims)
