"""A torch module as a file: right for every number of samples that the file says it takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from oaq.mixed.inference import InferenceSession
from oaq.regions.module import exported

pytest.importorskip("onnxscript")


class ByLength(nn.Module):
    """A head of a detector that asks Python for the number of samples."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).permute(0, 2, 3, 1).reshape(len(x), -1, 4).softmax(-1)


class ByShape(ByLength):
    """The same, with a number that stays open."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).permute(0, 2, 3, 1).flatten(1, 2).unflatten(2, (3, 4)).flatten(1, 2).softmax(-1)


class Mixing(ByLength):
    """Samples that change each other, a number of them written into the module."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).reshape(4, -1) - self.conv(x).mean()


class Named(ByLength):
    """Two inputs by name; one has no axis."""

    def forward(self, x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * gain


def batches(count: int = 5, size: int = 4) -> list[torch.Tensor]:
    return [
        torch.from_numpy(np.random.default_rng(n).normal(size=(size, 3, 6, 6)).astype(np.float32)) for n in range(count)
    ]


def assert_equal(module: nn.Module, session: InferenceSession, feed: dict[str, torch.Tensor]) -> None:
    with torch.inference_mode():
        expected = module(**feed).numpy()
    names = [port.name for port in session.get_inputs()]
    (result,) = session.run(None, {name: part.numpy() for name, part in zip(names, feed.values(), strict=True)})
    assert result.shape == expected.shape
    assert np.allclose(result, expected, atol=1e-5)


def test_a_number_of_samples_that_python_was_asked_for_makes_a_file_of_one_sample_and_batches_are_taken_apart() -> None:
    module = ByLength().eval()
    content, samples = exported(module, batches())
    session = InferenceSession(content)
    (port,) = session.get_inputs()
    assert port.shape == [1, 3, 6, 6]
    single = list(samples)
    assert [part["input"].shape for part in single] == [(1, 3, 6, 6)] * 20
    assert_equal(module, session, {"x": single[7]["input"]})


def test_a_number_that_stays_open_is_right_for_every_number() -> None:
    module = ByShape().eval()
    content, samples = exported(module, batches())
    session = InferenceSession(content)
    assert isinstance(session.get_inputs()[0].shape[0], str)
    assert len(list(samples)) == 5
    for count in (1, 2, 3, 7):
        assert_equal(module, session, {"x": torch.cat(batches(2))[:count]})


def test_samples_that_change_each_other_stay_together() -> None:
    module = Mixing().eval()
    content, samples = exported(module, batches())
    session = InferenceSession(content)
    together = list(samples)
    assert [part["input"].shape for part in together] == [(4, 3, 6, 6)] * 5
    assert_equal(module, session, {"x": together[3]["input"]})


@pytest.mark.parametrize("gain", [torch.tensor(2.0), torch.tensor([[[2.0, 1.0, 0.5, 3.0]]])])
def test_what_is_the_same_for_all_samples_goes_with_every_one(gain: torch.Tensor) -> None:
    module = Named().eval()
    content, samples = exported(module, [{"x": part, "gain": gain} for part in batches(2)])
    session, parts = InferenceSession(content), list(samples)
    assert torch.equal(torch.cat([part["x"] for part in parts]), torch.cat(batches(2)))
    for part in parts:
        assert torch.equal(part["gain"], gain)
        assert_equal(module, session, part)
