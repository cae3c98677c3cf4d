"""How much of a file is integers: products of its regions, and what is float between them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod

from oaq import operators as ops
from oaq.capture.from_onnx.graph import OnnxNode
from oaq.mixed.program import DynamicBody, FloatBody, FusedBody, IntegerBody, MixedProgram
from oaq.report.build import macs

MATRICES = frozenset({"Gemm", "MatMul", "FusedMatMul"})
WINDOWS = frozenset({"Conv", "ConvTranspose"})
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
FREE = frozenset(
    {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Concat", "Split", "Slice", "Cast"}
    | {"QuantizeLinear", "DequantizeLinear", "Shape", "Gather", "Expand", "Pad", "Constant"}
)
"""They only move values; named as "moves" where a float region does nothing else."""


@dataclass(frozen=True)
class Shares:
    """What a mixed program consists of.

    Attributes:
        integers, floats: multiply-accumulates of one call, of layers in regions of that kind.
        operators: of float regions, as "3 Softmax, Erf"; "12 moves" if they only move values; "" if there are none.
    """

    integers: int
    floats: int
    operators: str

    @property
    def part(self) -> float:
        """Share of the products that are integers; 1.0 where there are none."""
        total = self.integers + self.floats
        return 1.0 if total == 0 else self.integers / total


def shares(program: MixedProgram) -> Shares:
    """Count the products of every region, batch 1."""
    integers = floats = moves = 0
    operators: Counter[str] = Counter()
    for region in program.regions:
        if isinstance(region.body, IntegerBody):
            body = region.body.program
            integers += sum(
                macs(node.op, body.tensors[node.output].shape)
                for node in body.nodes
                if isinstance(node.op, ops.Products)
            )
        elif isinstance(region.body, DynamicBody):
            operators["dynamic layer"] += sum(len(part.layers) for part in region.body.parts)
        elif isinstance(
            region.body, FusedBody
        ):  # of files that leave their sizes open: how many products, no one knows
            operators.update(kind for _, kind in region.nodes if kind not in FREE)
            moves += sum(kind in FREE for _, kind in region.nodes)
        else:
            floats += sum(_products(node, region.body) for node in region.body.nodes)
            operators.update(node.op for node in region.body.nodes if node.op not in FREE)
            moves += sum(node.op in FREE for node in region.body.nodes)
    if moves and not operators:
        operators["moves"] = moves
    words = (f"{count} {name}" if count > 1 else name for name, count in operators.most_common())
    return Shares(integers, floats, ", ".join(words))


def _products(node: OnnxNode, body: FloatBody) -> int:
    """Multiply-accumulates of a float node, as far as shapes are known."""

    def shape(name: str) -> tuple[int, ...]:
        if name in body.constants:
            return body.constants[name].shape
        kind = body.types.get(name)
        return () if kind is None or kind.shape is None else kind.shape

    if node.op in MATRICES:
        left = shape(node.inputs[0])
        columns = left[0] if node.op == "Gemm" and node.attributes.get("transA") else left[-1] if left else 0
        return prod(shape(node.outputs[0])) * columns
    if node.op in WINDOWS:
        positions = shape(node.outputs[0] if node.op == "Conv" else node.inputs[0])
        kernel = shape(node.inputs[1])
        return prod(positions) * prod(kernel[1:]) if positions and kernel else 0
    if node.op in RECURRENT:
        count = prod(shape(node.inputs[0])[:2])
        return count * (prod(shape(node.inputs[1])) + prod(shape(node.inputs[2])))
    return 0
