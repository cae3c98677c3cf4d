"""Sums of products of small integers on a GPU: exact, and on its matrix units.

What cuDNN chooses for a convolution may be Winograd or FFT, which form other numbers and round them. Here a convolution
is one matrix product of its unfolded operands, which forms the products and sums of some of them and nothing else:

    operands    magnitudes of at most 255     bfloat16 (8 bits of significand): exact
    products    below 2**16                   exact in whatever holds them
    sums        below 2**24, caller's word    float32: exact in every order, in parts, and by units that truncate
    wider sums  below 2**53                   operands and sums in float64

The gradient is that of the same convolution in ordinary float32: cuDNN, with whatever the caller allows it (TF32,
algorithms that are not deterministic).
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.nn.functional as F

from oaq.capture.graph import FloatConv2d
from oaq.operators.windows import Window


def convolved(x: torch.Tensor, weight: torch.Tensor, op: FloatConv2d) -> torch.Tensor:
    """A convolution of integers, summed exactly.

    Args:
        x: (batch, C, H, W) or (batch, C, L) integers of at most 255, float32; float64 where sums need it.
        weight: (N, C / groups, kh, kw) or (N, C / groups, kl) integers of at most 255, of the same dtype.
        op: whose geometry it has.

    Returns:
        (batch, N, oh, ow) or (batch, N, ol) in channels-last order, of the dtype of ``x``.
    """
    if len(op.kernel) == 1:  # a line is an image of one row
        window = Window(op.kernel, op.stride, op.padding, op.dilation).over_image()
        row = FloatConv2d(op.weight[:, :, None], op.bias, window.stride, window.padding, window.dilation, op.groups)
        return convolved(x[:, :, None], weight[:, :, None], row)[:, :, 0]
    return _Convolved.apply(x, weight, op)  # type: ignore[return-value]


class _Convolved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, op: FloatConv2d) -> torch.Tensor:  # noqa: ANN401
        ctx.save_for_backward(x.float(), weight.float())
        ctx.op = op
        rows = weight.permute(0, 2, 3, 1).reshape(op.groups, len(weight) // op.groups, -1)
        columns, (height, width) = unfolded(x.to(_operand_dtype(x)), op)
        total = _product(columns, rows.to(columns.dtype)).to(x.dtype)  # (groups, M, N / groups)
        return total.transpose(0, 1).reshape(len(x), height, width, len(weight)).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:  # noqa: ANN401
        (x, weight), op, dtype = ctx.saved_tensors, ctx.op, gradient[0].dtype
        top, bottom, left, right = op.padding
        symmetric = (top, left) == (bottom, right)
        wide = x if symmetric else F.pad(x, (left, right, top, bottom))
        padding = [top, left] if symmetric else [0, 0]
        of_x, of_weight, _ = torch.ops.aten.convolution_backward(
            gradient[0].float(), wide, weight, None, list(op.stride), padding, list(op.dilation), False, [0, 0],
            op.groups, [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False],
        )  # fmt: skip
        if of_x is not None and not symmetric:
            of_x = of_x[:, :, top : top + x.shape[2], left : left + x.shape[3]]
        return None if of_x is None else of_x.to(dtype), None if of_weight is None else of_weight.to(dtype), None


def unfolded(x: torch.Tensor, op: FloatConv2d) -> tuple[torch.Tensor, tuple[int, int]]:
    """(groups, batch * oh * ow, K) operands, K in the order kh, kw, channel; and (oh, ow)."""
    top, bottom, left, right = op.padding
    (kh, kw), (sh, sw), (dh, dw) = op.weight.shape[2:], op.stride, op.dilation
    wide = F.pad(x, (left, right, top, bottom)).permute(0, 2, 3, 1).contiguous()
    batch, height, width, channels = wide.shape
    size = (height - dh * (kh - 1) - 1) // sh + 1, (width - dw * (kw - 1) - 1) // sw + 1
    s0, s1, s2, _ = wide.stride()
    windows = wide.as_strided(
        (op.groups, batch, *size, kh, kw, channels // op.groups),
        (channels // op.groups, s0, s1 * sh, s2 * sw, s1 * dh, s2 * dw, 1),
    )
    return windows.reshape(op.groups, batch * prod(size), -1), size


def _operand_dtype(x: torch.Tensor) -> torch.dtype:
    """What operands are multiplied as; torch before 2.8 has no product of bfloat16 that is summed in float32."""
    mixed = x.device.type == "cuda" and hasattr(torch.ops.aten.bmm, "dtype")
    return torch.bfloat16 if mixed and x.dtype is torch.float32 else x.dtype


def _product(columns: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """(G, M, K) and (G, N, K) to (G, M, N); float32 of bfloat16."""
    if columns.dtype is not torch.bfloat16:
        return columns @ rows.mT
    if len(columns) == 1:
        return torch.mm(columns[0], rows[0].mT, out_dtype=torch.float32)[None]
    return torch.bmm(columns, rows.mT, out_dtype=torch.float32)
