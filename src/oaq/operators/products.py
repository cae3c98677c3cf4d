"""What every operator that sums products with constant weights is: rows of weights in the order kernels sum them.

    acc[n] = bias[n] + sum_k rows[n, k] * (x[k] - zx);  y = requantize(acc, zy)

``requantize`` is multipliers, or a table of residues: then sums wrap by design (docs/decisions/0056).

Packed K order of one output: k = (tap * C_group) + c, taps in memory order of the kernel axes; for a depthwise
convolution C_group is 1, so k counts taps. Bounds, schedules, witnesses, packing and native rows read ``rows``,
``window``, ``groups`` and ``parts`` only, so a further operator of this kind needs no change in them.

What is meant to come here (docs/decisions/0026): a transposed convolution is rows and a window over a spread input;
piecewise weights have a single scale and are ordinary rows (0053). A product of two activations has no constant rows:
it is an ``Op`` of its own whose ``image`` reads two ranges, as ``mul`` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError, UnsupportedOp
from oaq.numerics.formats import S8, S32, WIDE_WEIGHT
from oaq.numerics.modular import Modular
from oaq.numerics.requantize import Requantize, Semantics
from oaq.operators.checks import check_count, frozen
from oaq.operators.operator import Op, Specs
from oaq.operators.tensor import TensorSpec
from oaq.operators.windows import Window

Weights = NDArray[np.signedinteger[Any]]
"""int8; int16 in [-255, 255] where one weight leaves int8 (a u8 less its zero point)."""


@dataclass(frozen=True, eq=False)
class Part:
    """Products that are summed and requantized together.

    Attributes:
        rows: (N, K) weights in packed order, a view.
        requantize: N multipliers, or a table of residues.
    """

    rows: Weights
    requantize: Requantize | Modular


@dataclass(frozen=True, eq=False)
class Products(Op):
    """Sums of products with constant weights.

    Attributes:
        weight: (N, ..., K's last factor) in the operator's own form; row n in memory order is row n of ``rows``.
        bias: (N,) int32 at scale s_x * s_w[n].
        requantize: N multipliers, or a table of residues for each output, or one for all.
    """

    weight: Weights
    bias: NDArray[np.int32]
    requantize: Requantize | Modular

    @property
    def rows(self) -> Weights:
        """(N, K) weights in packed order, a view."""
        return self.weight.reshape(len(self.weight), -1)

    @property
    def outputs(self) -> int:
        """N."""
        return len(self.weight)

    @property
    def terms(self) -> int:
        """K, the products of one output."""
        return self.weight[0].size

    @property
    def window(self) -> Window | None:
        """Where operands are read; None: from the last axis alone, at every position of the leading axes."""
        return None

    @property
    def channel_groups(self) -> int:
        """Groups of input channels; each output reads one."""
        return 1

    @property
    def group_channels(self) -> int:
        """Input channels that one output reads."""
        return self.weight.shape[-1]

    def is_depthwise(self) -> bool:
        """One input channel per output and one output per input channel, in an image or a line.

        Rows of their own sum those; in a volume each group is a matrix of one row.
        """
        is_flat = self.window is None or self.window.rank < 3
        return is_flat and is_depthwise(self.channel_groups, self.outputs, self.group_channels)

    @property
    def wrap_bits(self) -> int | None:
        """The b where sums count modulo 2**b, by design; None where they are exact."""
        return self.requantize.bits if isinstance(self.requantize, Modular) else None

    @property
    def tile_groups(self) -> int:
        """Groups that a tile of outputs must not span; 1 for depthwise, whose tiles cut the channels."""
        return 1 if self.is_depthwise() else self.channel_groups

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is summed under which multipliers."""
        return (Part(self.rows, self.requantize),)


def is_depthwise(groups: int, outputs: int, group_channels: int) -> bool:
    """Whether every output reads one input channel, and every input channel makes one output."""
    return groups > 1 and groups == outputs and group_channels == 1


def freeze(op: Products, ndim: tuple[int, ...]) -> None:
    """Check and freeze the arrays of ``op``; called where it is constructed.

    Raises:
        ProgramError: a type, rank (one of ``ndim``) or size does not fit.
    """
    name = type(op).__name__
    rank = np.ndim(op.weight) if np.ndim(op.weight) in ndim else ndim[0]
    weight = frozen(f"{name} weight", _narrowest(name, op.weight), np.int8, rank, np.int16)
    bias = frozen(f"{name} bias", op.bias, np.int32, 1)
    if len(bias) != len(weight):
        raise ProgramError(f"{name}: {len(bias)} biases for {len(weight)} outputs")
    object.__setattr__(op, "weight", weight)
    object.__setattr__(op, "bias", bias)
    if not isinstance(op.requantize, Modular):
        check_count(name, op.requantize, len(weight))
    elif len(op.requantize) not in (1, len(weight)):
        raise ProgramError(f"{name}: {len(op.requantize)} tables of residues for {len(weight)} outputs")


def _narrowest(name: str, weight: Weights) -> Weights:
    """int16 only where int8 does not do, so that a network has one form (and one fingerprint)."""
    source = np.asarray(weight)
    if source.dtype != np.int16 or not source.size:
        return source
    low, high = int(source.min()), int(source.max())
    if low < WIDE_WEIGHT.lo or high > WIDE_WEIGHT.hi:
        raise ProgramError(f"{name}: weights lie in [-255, 255] (a u8 less its zero point), not in [{low}, {high}]")
    return source.astype(np.int8) if low >= S8.lo and high <= S8.hi else source


def multipliers_of(op: Products, where: str) -> Requantize:
    """The multipliers of a layer, for what knows no other way from sums to integers.

    Raises:
        UnsupportedOp: its sums wrap by design.
    """
    if isinstance(op.requantize, Modular):
        raise UnsupportedOp(
            f"{where}: its sums count modulo 2**{op.requantize.bits} by design (method 'wrap'), which is not known here"
        )
    return op.requantize


def check_total(op: Products, inputs: Specs, y: TensorSpec) -> None:
    """Check the total by its crudest bound, so that every later sum may trust 32 (and the reference 64) bits.

    Raises:
        ProgramError: there are too many products, or a table of residues leaves the output's range.
    """
    if isinstance(op.requantize, Modular):
        low, high = int(op.requantize.table.min()), int(op.requantize.table.max())
        if low < y.range.lo or high > y.range.hi:
            raise ProgramError(f"the tables of residues hold {low}..{high}, outside {y.range}")
    x = inputs[0]
    reach = max(abs(x.range.lo - x.affine.zero_point), abs(x.range.hi - x.affine.zero_point), x.range.hi)
    if op.terms * reach * 255 >= 1 << 62:
        raise ProgramError(f"{op.terms} terms of size {reach * 255} are beyond {S32} and any proof here")


def sample(weight: Weights, semantics: Semantics) -> tuple[NDArray[np.int32], Requantize]:
    """Biases and multipliers under which the results of ``weight`` use most of an output range.

    Args:
        weight: (N, ...).
        semantics: of the multipliers.
    """
    spread = np.maximum(np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(axis=1), 1) * 255
    bias = (spread // 7 * np.where(np.arange(len(weight)) % 2, 1, -1)).astype(np.int32)
    return bias, Requantize.from_scales((400 / spread).astype(np.float32), semantics)


def sample_weight(shape: tuple[int, ...]) -> NDArray[np.int8]:
    """(N, ...) int8 that reach both ends of [-127, 127] and differ from one another."""
    values = np.arange(int(np.prod(shape)), dtype=np.int64) * 89 % 255 - 127
    return values.astype(np.int8).reshape(shape)
