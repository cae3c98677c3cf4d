"""Convolutions as one product of unfolded operands: the same integers and the same gradients as torch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from oaq.capture.graph import FloatConv2d
from oaq.qat.exact import convolved

GEOMETRIES = {
    "3x3": ((5, 6, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "1x1 strided": ((5, 6, 1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 1),
    "odd padding": ((4, 6, 2, 3), (2, 1), (0, 1, 2, 1), (1, 1), 1),
    "dilated groups": ((6, 2, 3, 3), (1, 2), (2, 2, 2, 2), (2, 2), 3),
    "one weight per group": ((6, 1, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 6),
}
"""(N, C / groups, kh, kw), stride, padding (top, bottom, left, right), dilation, groups; six channels in."""


def conv(name: str) -> FloatConv2d:
    shape, stride, padding, dilation, groups = GEOMETRIES[name]
    weight, bias = np.zeros(shape, np.float32), np.zeros(shape[0], np.float32)
    return FloatConv2d(weight, bias, stride, padding, dilation, groups)


def plain(x: torch.Tensor, weight: torch.Tensor, op: FloatConv2d) -> torch.Tensor:
    """In float64, as torch does it on the CPU."""
    top, bottom, left, right = op.padding
    return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, None, op.stride, 0, op.dilation, op.groups)


def integers(shape: tuple[int, ...], most: int, seed: int) -> torch.Tensor:
    return torch.randint(-most, most + 1, shape, generator=torch.Generator().manual_seed(seed)).float()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_sums_and_gradients_are_those_of_a_convolution(
    name: str, dtype: torch.dtype, layout: torch.memory_format
) -> None:
    op = conv(name)
    x = integers((2, 6, 9, 8), 255, 0).to(dtype, memory_format=layout).requires_grad_()
    weight = integers(op.weight.shape, 127, 1).to(dtype).requires_grad_()
    found, wanted = convolved(x, weight, op), plain(x.double(), weight.double(), op)
    assert found.dtype is dtype
    assert torch.equal(found.double(), wanted)
    up = torch.randn(found.shape, generator=torch.Generator().manual_seed(2))
    mine = torch.autograd.grad((found * up).sum(), (x, weight))
    theirs = torch.autograd.grad((wanted * up).sum(), (x, weight))
    for one, other in zip(mine, theirs, strict=True):
        assert one.dtype is dtype
        assert torch.allclose(one.double(), other.double(), rtol=1e-4, atol=1e-4 * float(other.abs().max()))


def test_only_the_gradients_that_are_wanted_are_made() -> None:
    op = conv("3x3")
    x, weight = integers((1, 6, 5, 5), 255, 0), integers(op.weight.shape, 127, 1).requires_grad_()
    convolved(x, weight, op).sum().backward()
    assert weight.grad is not None
    assert not convolved(x, weight.detach(), op).requires_grad
