"""torch modules of lines (C, L) and tokens (T, C): captured, quantized, trained, and run in the module's own order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import oaq
from oaq.capture.from_torch import normalize
from oaq.errors import UnsupportedOp
from oaq.ptq.execute import float_outputs
from tests.ranks.chain import check_chain, extremes_first
from tests.ranks.networks import Keywords, Tokens, trained

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "keywords": (Keywords, (5, 33)),
    "keywords, a line shorter than the kernel": (Keywords, (5, 2)),
    "tokens": (Tokens, (9, 12)),
    "one token": (Tokens, (1, 12)),
}


class Calls(nn.Module):
    """A module that is one function of its layers."""

    def __init__(self, body: Callable[..., torch.Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.body = body
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(self, x)


def outputs_of(network: nn.Module, x: np.ndarray) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        y = network(torch.from_numpy(x))
    return y if isinstance(y, tuple) else (y,)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_module_is_captured_quantized_proved_and_run_as_it_counts_axes(name: str, tmp_path: Path) -> None:
    make, shape = NETWORKS[name]
    network = trained(make())
    batches = extremes_first(shape)
    graph = normalize(network, torch.from_numpy(batches[-1]))
    for batch in batches:
        for value, expected in zip(float_outputs(graph, batch), outputs_of(network, batch), strict=True):
            np.testing.assert_allclose(value, expected.numpy(), rtol=1e-4, atol=1e-4)
    program = oaq.quantize(network, [batches[-1], extremes_first(shape, 16, seed=1)[-1]])
    check_chain(program, batches, tmp_path)
    results = oaq.Session(oaq.plan(program)).run(batches[-1])
    for value, expected in zip(
        results if isinstance(results, tuple) else (results,), outputs_of(network, batches[-1]), strict=True
    ):
        assert np.abs(value - expected.numpy()).max() < 0.15 * np.abs(expected.numpy()).max()


FORMS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "padding by words": (nn.Conv1d(4, 6, 5, padding="same", dilation=2), (4, 9)),
    "grouped, strided": (nn.Conv1d(4, 6, 3, stride=3, groups=2), (4, 10)),
    "norm alone": (nn.Sequential(nn.ReLU(), nn.BatchNorm1d(4)), (4, 9)),
    "a pool that rounds up": (nn.MaxPool1d(3, 2, ceil_mode=True), (4, 10)),
    "a dilated pool": (nn.MaxPool1d(3, 1, 1, dilation=2), (4, 10)),
    "means of thirds": (nn.AdaptiveAvgPool1d(3), (4, 9)),
    "zeros before a convolution": (nn.Sequential(nn.ConstantPad1d((3, 1), 0.0), nn.Conv1d(4, 3, 3)), (4, 5)),
    "flattened": (nn.Sequential(nn.Conv1d(4, 3, 3), nn.Flatten(), nn.Linear(21, 2)), (4, 9)),
    "tokens flattened": (nn.Sequential(nn.Linear(4, 3), nn.Flatten(), nn.Linear(27, 2)), (9, 4)),
    "tokens flattened and returned": (nn.Sequential(nn.Linear(4, 3), nn.Flatten()), (9, 4)),
    "from a line to tokens": (
        Calls(lambda s, x: s.head(s.conv(x).transpose(1, 2)), conv=nn.Conv1d(4, 6, 3), head=nn.Linear(6, 2)),
        (4, 9),
    ),
    "from tokens to a line": (
        Calls(lambda s, x: s.conv(s.wide(x).permute(0, 2, 1)), conv=nn.Conv1d(6, 4, 3), wide=nn.Linear(3, 6)),
        (9, 3),
    ),
    "an image as tokens": (
        Calls(
            lambda s, x: s.head(s.conv(x).flatten(2).transpose(1, 2)), conv=nn.Conv2d(3, 6, 2, 2), head=nn.Linear(6, 2)
        ),
        (3, 8, 6),
    ),
    "gates by channel": (
        Calls(lambda s, x: x * s.gate(x.mean(-1, keepdim=True)).sigmoid(), gate=nn.Conv1d(4, 4, 1)),
        (4, 9),
    ),
    "numbers per channel of tokens": (
        Calls(lambda s, x: s.wide(x) * torch.arange(1.0, 7.0) + torch.ones(1, 1, 6), wide=nn.Linear(3, 6)),
        (9, 3),
    ),
    "the last token": (Calls(lambda s, x: s.wide(x)[:, -1], wide=nn.Linear(3, 6)), (9, 3)),
    "the first half of a line": (Calls(lambda s, x: s.conv(x)[:, :, :4], conv=nn.Conv1d(4, 6, 3)), (4, 9)),
    "parts of tokens joined": (
        Calls(lambda s, x: torch.cat(s.wide(x).chunk(2, -1)[::-1], -1), wide=nn.Linear(3, 6)),
        (9, 3),
    ),
    "a row of an image as a line": (
        Calls(lambda s, x: s.conv(x.unsqueeze(2)).squeeze(2), conv=nn.Conv2d(4, 6, (1, 3), padding=(0, 1))),
        (4, 9),
    ),
    "a matrix at every pixel": (
        Calls(lambda s, x: s.wide(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), wide=nn.Linear(3, 6)),
        (3, 4, 5),
    ),
    "mixing positions": (nn.Sequential(nn.Conv1d(4, 4, 1), nn.Linear(9, 3)), (4, 9)),
    "joined along the line": (nn.Sequential(nn.Conv1d(4, 4, 1), Calls(lambda _, x: torch.cat([x, x], 2))), (4, 9)),
    "two orders added": (nn.Sequential(nn.Conv1d(4, 4, 1), Calls(lambda _, x: x + x.transpose(1, 2))), (4, 4)),
    "tokens in two axes of heads": (
        nn.Sequential(nn.Linear(4, 4), Calls(lambda _, x: x.reshape(len(x), 9, 2, 2).permute(0, 2, 1, 3))),
        (9, 4),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_lines_and_tokens_computes_the_same(form: str, tmp_path: Path) -> None:
    network, shape = FORMS[form]
    trained(network)
    batches = extremes_first(shape)
    graph = normalize(network, torch.from_numpy(batches[-1]))
    for batch in batches:
        for value, expected in zip(float_outputs(graph, batch), outputs_of(network, batch), strict=True):
            assert value.shape == expected.shape
            np.testing.assert_allclose(value, expected.numpy(), rtol=1e-4, atol=1e-4)
    check_chain(oaq.quantize(network, [batches[-1]]), batches, tmp_path)


REFUSED: dict[str, tuple[nn.Module, tuple[int, ...], str]] = {
    "a layer norm": (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), (9, 4), "layer_norm.*oaq has no operator for it"),
    "a mean over channels": (nn.Sequential(nn.Linear(4, 4), Calls(lambda _, x: x.mean(2))), (9, 4), "all positions"),
    "a number per position": (
        nn.Sequential(nn.Linear(4, 4), Calls(lambda _, x: x + torch.arange(9.0)[:, None])),
        (9, 4),
        "one number or one per channel",
    ),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_cannot_be_taken_is_refused_by_name(form: str) -> None:
    network, shape, words = REFUSED[form]
    with pytest.raises(UnsupportedOp, match=words):
        normalize(network.eval(), torch.zeros(2, *shape))
