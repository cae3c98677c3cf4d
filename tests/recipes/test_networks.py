"""The recipes' networks: as large as published, with the names of the published weights, and strict about weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recipes.models.efficientnet_lite import SameConv2d, efficientnet_lite0, efficientnet_lite1
from recipes.models.mobilenet_v2 import MobileNetV2
from recipes.models.resnet import resnet18
from recipes.networks import NETWORKS, WeightsError, load_weights


@pytest.mark.parametrize(
    ("make", "parameters", "tensors", "first", "last"),
    [
        (efficientnet_lite0, 4_652_008, 296, "_conv_stem.weight", "_fc.bias"),
        (efficientnet_lite1, 5_416_680, 386, "_conv_stem.weight", "_fc.bias"),
        (MobileNetV2, 3_504_872, 314, "features.0.0.weight", "classifier.1.bias"),
        (resnet18, 11_689_512, 122, "conv1.weight", "fc.bias"),
    ],
)
def test_a_network_has_the_published_size_and_names(make, parameters, tensors, first, last) -> None:
    net = make()
    names = list(net.state_dict())
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert (len(names), names[0], names[-1]) == (tensors, first, last)


def test_names_inside_the_blocks_are_the_published_ones() -> None:
    names = set(efficientnet_lite0().state_dict())
    assert {"_blocks.1._expand_conv.weight", "_blocks.15._bn2.running_var", "_blocks.0._depthwise_conv.weight"} <= names
    assert "_blocks.0._expand_conv.weight" not in names
    names = set(MobileNetV2().state_dict())
    assert {"features.1.conv.0.0.weight", "features.1.conv.2.bias", "features.17.conv.3.running_mean"} <= names


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 2)])
def test_same_padding_is_tensorflows(size: int, kernel: int, stride: int) -> None:
    conv = SameConv2d(1, 1, kernel, stride)
    x = torch.randn(1, 1, size, size + 1, generator=torch.Generator().manual_seed(0))
    y = conv(x)
    assert y.shape[2:] == (-(-size // stride), -(-(size + 1) // stride))
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    top = total // 2  # the smaller half is above
    padded = torch.nn.functional.pad(x, (0, 40, top, 40))
    window = padded[0, 0, :kernel, :]
    left = max((-(-(size + 1) // stride) - 1) * stride + kernel - size - 1, 0) // 2
    window = torch.nn.functional.pad(window, (left, 0))[:, :kernel]
    assert torch.allclose(y[0, 0, 0, 0], (window * conv.weight[0, 0]).sum(), atol=1e-6)


def test_random_weights_depend_on_the_seed_only() -> None:
    torch.manual_seed(1)
    first = resnet18(3)
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    second = resnet18(3)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.conv1.weight, resnet18(4).conv1.weight)


def test_only_networks_with_weights_count_as_trained() -> None:
    assert {name for name, one in NETWORKS.items() if not one.trained} == {"resnet18"}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pth"
    torch.save(MobileNetV2(10).state_dict(), path)
    return path


def test_weights_load_into_the_network_they_are_of(saved: Path) -> None:
    load_weights(MobileNetV2(10), saved)


def test_weights_of_another_network_are_one_error(saved: Path) -> None:
    with pytest.raises(WeightsError, match=r"weights\.pth: is not a state dictionary of MobileNetV2: .*size mismatch"):
        load_weights(MobileNetV2(11), saved)
    with pytest.raises(WeightsError, match="is not a state dictionary of ResNet18"):
        load_weights(resnet18(), saved)


def test_missing_and_truncated_weights_are_one_error(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        load_weights(MobileNetV2(10), tmp_path / "none.pth")
    saved.write_bytes(saved.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="is not a state dictionary of MobileNetV2"):
        load_weights(MobileNetV2(10), saved)


def test_weights_that_would_run_code_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "was_here",))

    torch.save({"features.0.0.weight": Evil()}, path)
    with pytest.raises(WeightsError):
        load_weights(MobileNetV2(), path)
    assert not (tmp_path / "was_here").exists()


def test_weights_with_nan_are_one_error(saved: Path) -> None:
    state = torch.load(saved, weights_only=True)
    state["classifier.1.bias"][3] = float(np.nan)
    torch.save(state, saved)
    with pytest.raises(WeightsError, match=r"classifier\.1\.bias holds values that are not finite"):
        load_weights(MobileNetV2(10), saved)
