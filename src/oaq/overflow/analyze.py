"""Walk a program once and prove, for every input, where its integers and sums can go."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import AccumulatorOverflow, UnsupportedOp
from oaq.numerics.formats import S32
from oaq.numerics.modular import wrapped
from oaq.numerics.ranges import ChannelRanges
from oaq.operators import Products, TensorSpec, rules_of
from oaq.overflow.bounds import weight_bound
from oaq.overflow.operands import Operands, operands_as_loaded
from oaq.overflow.proof import NodeProof, Proof
from oaq.program.int_program import IntProgram, Node
from oaq.program.memory import memory_limit, require_memory

BYTES_PER_CHANNEL: Final = 64
"""Two int64 ends, and what an operator holds besides while it computes them: measured at 50."""


def analyze(program: IntProgram) -> Proof:
    """Prove the range of every tensor and of every sum.

    Args:
        program: what to prove; its inputs are assumed to lie in their declared effective ranges.

    Raises:
        AccumulatorOverflow: an s32 a kernel holds (a raw partial sum, the folded bias, the total) can overflow, in a
            layer whose law is not modulo 2**b; the message names the node, the output and the range.
        MemoryLimit: the ranges of all channels take more memory than ``OAQ_MEMORY_LIMIT`` allows.
    """
    channels = sum(spec.channels for spec in program.tensors.values())
    require_memory(channels * BYTES_PER_CHANNEL, memory_limit(), f"{program.name}: proving {channels} channels")
    ranges = {
        name: ChannelRanges.constant(program.tensors[name].range, program.tensors[name].channels)
        for name in program.inputs
    }
    nodes: dict[str, NodeProof] = {}
    known = KnownBounds()
    for node in program.nodes:
        inputs = [ranges[name] for name in node.inputs]
        specs, y = program.specs(node), program.tensors[node.output]
        if isinstance(node.op, Products):
            proof = prove_sums(node, inputs[0], specs[0], prod(y.shape[:-1]), known)
            nodes[node.name] = proof
            ranges[node.output] = node.op.requantize.image(proof.total, y.affine.zero_point, y.range)
        else:
            ranges[node.output] = output_ranges(node, inputs, specs, y)
    return Proof(program.name, ranges, nodes)


def output_ranges(
    node: Node, inputs: Sequence[ChannelRanges], specs: Sequence[TensorSpec], y: TensorSpec
) -> ChannelRanges:
    """What each channel of the output can hold; for every operator that sums no products.

    Args:
        node: whose operator it is.
        inputs: ranges of its inputs.
        specs: their tensors.
        y: the output's tensor.

    Raises:
        AccumulatorOverflow: a pool's window is so large that its sum leaves s32.
        UnsupportedOp: the operator sums products.
    """
    rule = rules_of(node.op).image
    if rule is None:
        raise UnsupportedOp(f"{node.name}: {type(node.op).__name__} sums products, which prove_sums bounds")
    return rule(node.op, inputs, specs, y, node.name)


class KnownBounds:
    """Bounds of weights and operands seen before: a head that is called for every level is bounded once.

    They depend on nothing else, so what is found again was derived from the very same integers.
    """

    def __init__(self) -> None:
        self._bounds: dict[bytes, tuple[ChannelRanges, ChannelRanges]] = {}
        self.derived = 0

    def of(self, weight: NDArray[np.integer], x: Operands) -> tuple[ChannelRanges, ChannelRanges]:
        """Ranges of the final and of every partial sum."""
        digest = hashlib.sha256(f"{weight.dtype.str} {weight.shape} {x.lo.shape}".encode())
        for array in (weight, x.lo, x.hi):
            digest.update(np.ascontiguousarray(array).tobytes())
        key = digest.digest()
        if key not in self._bounds:
            raw = weight_bound(weight, x.lo, x.hi, partial=False)
            partial = raw if x.contain_zero() else weight_bound(weight, x.lo, x.hi, partial=True)
            self._bounds[key] = raw, partial
            self.derived += 1
        return self._bounds[key]


def prove_sums(
    node: Node, x: ChannelRanges, spec: TensorSpec, positions: int, known: KnownBounds | None = None
) -> NodeProof:
    """Prove the sums of one node that sums products and whose input channels lie in ``x``.

    Args:
        node: of a program.
        x: ranges of its input's channels.
        spec: its input.
        positions: at which it sums.
        known: bounds derived before; None: there are none.

    Raises:
        AccumulatorOverflow: see ``analyze``.
        TypeError: the node sums no products.
    """
    op = node.op
    if not isinstance(op, Products):
        raise TypeError(f"{node.name}: {type(op).__name__} has no sum of products")
    operands = operands_as_loaded(op, x, spec)
    weight = op.rows
    raw, partial = (KnownBounds() if known is None else known).of(weight, operands)
    folded = op.bias.astype(np.int64) - spec.affine.zero_point * weight.sum(axis=1, dtype=np.int64)
    if op.wrap_bits is None:
        _require_s32(node, "its bias folded with the zero point", folded, folded)
        # From zero or from the bias, in whatever order products arrive: no partial sum leaves s32.
        _require_s32(node, "a partial sum", np.minimum(partial.lo, 0), np.maximum(partial.hi, 0))
        _require_s32(
            node, "a partial sum with bias", folded + np.minimum(partial.lo, 0), folded + np.maximum(partial.hi, 0)
        )
    folded32 = wrapped(folded, 32).astype(np.int32)
    folded32.flags.writeable = False
    total = ChannelRanges(folded + raw.lo, folded + raw.hi)
    return NodeProof(node.name, operands, total, raw, partial, folded32, positions, modulo=op.wrap_bits)


def _require_s32(node: Node, quantity: str, lo: NDArray[np.int64], hi: NDArray[np.int64]) -> None:
    wrong = (lo < S32.lo) | (hi > S32.hi)
    if not wrong.any():
        return
    output = int(np.argmax(wrong))
    low, high = int(lo[output]), int(hi[output])
    bits = 1 + max(max(high, 0).bit_length(), (~low).bit_length() if low < 0 else 0)
    raise AccumulatorOverflow(
        f"{node.name}, output {output}: the 32-bit sum needs {bits} bits: {quantity} can reach [{low}, {high}].\n"
        "Scale the layer's weights or bias down, narrow its clips (oaq quantize --budget ...), or split the layer. "
        f"Show the input that reaches it: oaq witness MODEL --at {node.name}:{output}"
    )
