"""How a layer is laid out for its kernel: family, packed K order, groups that tiles must not span."""

from __future__ import annotations

from dataclasses import dataclass

from oaq.errors import NoKernel
from oaq.program import ops

FAMILIES: dict[type, str] = {
    ops.Linear: "gemm",
    ops.Add: "add",
    ops.Mul: "mul",
    ops.Concat: "concat",
    ops.MaxPool: "max_pool",
    ops.AvgPool: "avg_pool",
    ops.GlobalAvgPool: "global_avg_pool",
    ops.Resize: "resize",
    ops.DepthToSpace: "depth_to_space",
    ops.Lookup: "lookup",
    ops.Reshape: "copy",
    ops.Pad: "pad",
    ops.Slice: "slice",
}


@dataclass(frozen=True, eq=False)
class Layout:
    """The weights of a Conv2d or Linear in the order kernels sum them.

    Attributes:
        weight: (N, K) int8 (or int16, see ``overflow.wide``) in packed K order, not padded:
            k = (kh * KW + kw) * C_group + c; depthwise: taps.
        tile_groups: groups that a tile of outputs must not span: the convolution's, but 1 for depthwise, whose tiles
            cut the channels.
    """

    weight: ops.Weights
    tile_groups: int


def family(op: ops.Op) -> str:
    """The kernel family that computes ``op``.

    Raises:
        NoKernel: there is none.
    """
    if isinstance(op, ops.Conv2d):
        return "depthwise" if op.is_depthwise() else "gemm"
    if type(op) not in FAMILIES:
        raise NoKernel(f"no kernel family computes {type(op).__name__}")
    return FAMILIES[type(op)]


def layout(op: ops.Conv2d | ops.Linear) -> Layout:
    """Lay out a layer; the weights are a view."""
    groups = 1 if isinstance(op, ops.Linear) or op.is_depthwise() else op.groups
    return Layout(op.weight.reshape(op.weight.shape[0], -1), groups)
