"""F(2, 3) in exact integers: the identity, its bounds, and the experiment's kernel beside the reference."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
import torch

from benchmarks.winograd.__main__ import ROWS
from benchmarks.winograd.accuracy import Bounds, rounded
from benchmarks.winograd.layers import drawn_layer, kernel, library, sums_by_forms, transformed
from oaq import operators as ops
from oaq import reference
from oaq.kernels.table import native_rows

ISAS = sorted(isa for isa, name in ROWS.items() if any(row.name == name and row.available for row in native_rows()))


def direct(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (0, 1))
    return np.einsum("rpcij,nijc->rpn", windows, weight.astype(np.int64))


@pytest.mark.parametrize("seed", range(4))
def test_four_products_sum_to_what_six_do_at_the_ends_of_every_range(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.choice([0, 127], (5, 8, 4)).astype(np.int64)
    weight = rng.choice([-42, 42], (3, 3, 3, 4)).astype(np.int8)
    weight[0, :, :, 0] = [[127, 0, 0], [0, -127, 0], [-43, 42, -42]]
    assert np.array_equal(sums_by_forms(x, weight), direct(x, weight))


def test_a_row_of_taps_that_sums_to_128_is_refused() -> None:
    weight = np.array([43, 43, 42], np.int8).reshape(1, 1, 3, 1).repeat(3, axis=1)
    with pytest.raises(ValueError, match="128, more than 127"):
        transformed(weight)


@pytest.fixture(scope="module", params=ISAS)
def native(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return library(request.param, tmp_path_factory.mktemp("winograd"))


@pytest.mark.parametrize("side", [2, 4, 6, 8, 14])
def test_the_kernel_computes_the_integers_of_the_reference_for_every_rest_of_pairs(
    native: ctypes.CDLL, side: int
) -> None:
    program = drawn_layer(side, 32, 64, seed=side)
    x = np.random.default_rng(0).choice([0, 1, 64, 126, 127], program.tensors["x"].shape).astype(np.uint8)
    layer = kernel(program, native, x)
    layer.run()
    assert np.array_equal(layer.y, reference.run(program, x[None]).outputs[0][0])
    assert isinstance(program.nodes[0].op, ops.Conv2d) and np.ptp(layer.y) > 0


def test_rounded_weights_keep_their_bounds_and_lose_no_output_that_is_zero() -> None:
    weight = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    weight[2] = 0
    for bounds in (Bounds(7, (3,)), Bounds(6, (2, 3)), Bounds(8)):
        levels = rounded(weight, bounds)
        steps = torch.stack([_step(channel) for channel in levels])
        sums = (levels / steps[:, None, None, None]).round().abs()
        assert (sums.sum(bounds.axes) if bounds.axes else sums).max() <= bounds.limit
        assert not levels[2].any()


def _step(channel: torch.Tensor) -> torch.Tensor:
    """The smallest distance between levels: at most the scale, so that integers are not counted too small."""
    values = channel.abs().unique()
    gaps = torch.diff(values[values > 0], prepend=torch.zeros(1))
    return gaps[gaps > 1e-7].min() if (gaps > 1e-7).any() else torch.ones(())
