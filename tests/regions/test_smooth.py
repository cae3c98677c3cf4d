"""Channels of like size where tokens enter regions: exact in float, and worth several dB where one channel is large."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from oaq.capture.graph import FloatLinear
from oaq.regions import quantize_onnx
from oaq.regions.agreement import agreement
from oaq.regions.smooth import channel_factors, exit_factors, scaled, with_factors
from oaq.regions.source import open_float, split_file
from tests.regions import nets

pytest.importorskip("onnxruntime")
LARGE = 3
"""The channel that is a hundred times as large as the others."""


class Uneven(nn.Module):
    """A layer of tokens between a LayerNormalization with one large channel and a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(8), nn.Linear(8, 8)
        with torch.no_grad():
            self.norm.weight[LARGE] = 100.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.norm(x)).softmax(-1)


def uneven() -> tuple[bytes, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    samples = [rng.normal(size=(2, 5, 8)).astype(np.float32) for _ in range(6)]
    return nets.exported(nets.seeded(Uneven), [torch.from_numpy(samples[0])], {"x": {0: "batch", 1: "length"}}), samples


def test_factors_are_powers_of_two_and_the_layer_takes_them_back() -> None:
    content, samples = uneven()
    split = split_file(open_float(content), {"x": samples[0].shape})
    (entry,) = split.entries
    rng = np.random.default_rng(1)
    batch = {entry.tensor: rng.normal(size=(2, 8, 5)).astype(np.float32)}
    batch[entry.tensor][:, LARGE] *= 100
    factors = channel_factors(split, [batch])
    factor = factors[entry.tensor]
    assert np.array_equal(np.log2(factor), np.round(np.log2(factor))) and factor.argmin() == LARGE
    (before,), (after,) = (
        [node.op for node in graph.nodes if isinstance(node.op, FloatLinear)]
        for graph in (split.graph, with_factors(split, factors).graph)
    )
    (entering,) = scaled([batch], factors)
    expected = np.einsum("nk,bkt->bnt", before.weight.astype(np.float64), batch[entry.tensor])
    result = np.einsum("nk,bkt->bnt", after.weight.astype(np.float64), entering[entry.tensor])
    assert np.allclose(expected, result, rtol=1e-12)


def test_a_large_channel_does_not_take_the_steps_of_the_others() -> None:
    content, samples = uneven()
    (output,) = agreement(quantize_onnx(content, samples))
    assert output.sqnr_db is not None and output.sqnr_db > 20.0


def test_a_tensor_without_numbers_in_some_channels_keeps_these() -> None:
    content, samples = uneven()
    split = split_file(open_float(content), {"x": samples[0].shape})
    (entry,) = split.entries
    assert channel_factors(split, [{entry.tensor: np.zeros((1, 8, 5), np.float32)}]) == {}


def test_results_that_leave_are_scaled_in_the_rows_of_their_layer() -> None:
    content, samples = uneven()
    split = split_file(open_float(content), {"x": samples[0].shape})
    (leaving,) = split.exits
    values = np.ones((2, 5, 8), np.float32)
    values[..., LARGE] = 40
    factors = exit_factors(split, [{leaving.file: values}])
    factor = factors[leaving.tensor]
    assert factor[LARGE] == 1 / 32 and set(np.delete(factor, LARGE)) == {1.0}
    (before,), (after,) = (
        [node.op for node in graph.nodes if isinstance(node.op, FloatLinear)]
        for graph in (split.graph, with_factors(split, factors).graph)
    )
    assert np.array_equal(after.weight, before.weight * factor[:, None])
    assert np.array_equal(after.bias, before.bias * factor)
