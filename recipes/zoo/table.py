"""The architectures by name: how to build each, what it reads, what kind it is; and weights that keep it alive."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from recipes.zoo import images, language, mobile, plain, residual, signals, tokens

Arrays = tuple[NDArray[Any], ...]
"""One array per input of a network, (n, ...)."""
Content = Literal["smooth", "noise", "ids", "mask", "types"]


@dataclass(frozen=True)
class Input:
    """What one input of a network holds.

    Attributes:
        shape: of one sample.
        content: "smooth": sums of noise of several sizes, as photos, sounds and films have neighbours alike; "noise";
            "ids" of words; "mask": ones, then zeros; "types": zeros, then ones.
    """

    shape: tuple[int, ...]
    content: Content = "smooth"


@dataclass(frozen=True)
class Architecture:
    """A network by its name.

    Attributes:
        name: in tables, on the command line and in files.
        kind: what it is for.
        build: the network with torch's own random weights.
        inputs: in the order of ``forward``.
    """

    name: str
    kind: str
    build: Callable[[], nn.Module]
    inputs: tuple[Input, ...]

    def samples(self, count: int, seed: int) -> Arrays:
        """``count`` samples that depend on the name and ``seed`` alone."""
        generator = np.random.default_rng((zlib.crc32(self.name.encode()), seed))
        return tuple(_draw(part, count, generator) for part in self.inputs)

    def network(self) -> nn.Module:
        """In evaluation, with weights and statistics under which no layer is silent."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(zlib.crc32(self.name.encode()))
            net = self.build()
            _initialize(net)
            _settle_statistics(net, (self.samples(8, 1000 + turn) for turn in range(4)))
        return net.eval()


def _draw(part: Input, count: int, generator: np.random.Generator) -> NDArray[Any]:
    shape = (count, *part.shape)
    if part.content == "ids":
        return generator.integers(0, language.VOCABULARY, shape)
    if part.content in ("mask", "types"):
        length = part.shape[0]
        ends = generator.integers(length // 2, length + 1, (count, 1))
        return (
            (np.arange(length) < ends).astype(np.int64)
            if part.content == "mask"
            else (np.arange(length) >= ends // 2).astype(np.int64)
        )
    if part.content == "noise":
        return generator.standard_normal(shape, dtype=np.float32)
    return _smooth(shape, generator)


def _smooth(shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.float32]:
    """(n, C, ...) of mean 0 and deviation 1: noise of coarse grids resized, finer ones weaker."""
    size = shape[2:]
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
    total = torch.zeros(shape)
    for cells, strength in ((2, 1.0), (6, 0.7), (16, 0.4), (1 << 20, 0.15)):
        grid = tuple(min(cells, extent) for extent in size)
        coarse = torch.from_numpy(generator.standard_normal((*shape[:2], *grid), dtype=np.float32))
        total += strength * F.interpolate(coarse, size, mode=mode, align_corners=False)
    return (total / total.std()).numpy()


def _initialize(net: nn.Module) -> None:
    """Weights that keep the power of activations; norms whose channels differ, as they do in trained networks."""
    for module in net.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            if module.weight.shape[0] != 1 or module.bias is not None:  # a fixed row of weights stays what it is
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu" if module.weight.ndim > 2 else "linear")
            if module.bias is not None:
                nn.init.normal_(module.bias, 0, 0.1)
        elif isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d):
            taps = module.weight[0, 0].numel() / np.prod(module.stride)
            nn.init.normal_(module.weight, 0, (2 / (module.in_channels * max(taps, 1))) ** 0.5)
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.05, 0.5)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.LayerNorm | nn.GroupNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    for name, parameter in net.named_parameters():
        if name.split(".")[-1] in ("position", "special", "bias") and parameter.ndim > 1:
            nn.init.normal_(parameter, 0, 0.3)


def _settle_statistics(net: nn.Module, batches: Iterator[Arrays]) -> None:
    """Give batch norms the mean statistics of ``batches``."""
    net.train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            module.momentum = None  # a plain mean over batches
    with torch.no_grad():
        for arrays in batches:
            net(*(torch.from_numpy(array) for array in arrays))


PHOTO: Final = (Input((3, 64, 64)),)
WORDS: Final = Input((language.LENGTH,), "ids")
MASK: Final = Input((language.LENGTH,), "mask")
SOUND: Final = (Input((1, 4096)),)

ARCHITECTURES: Final[dict[str, Architecture]] = {
    entry.name: entry
    for entry in (
        *(
            Architecture(build.__name__, kind, build, PHOTO)
            for kind, builders in (
                (
                    "residual",
                    (
                        residual.resnet_basic, residual.resnet_bottleneck, residual.resnext, residual.wide_resnet,
                        residual.se_resnet, residual.eca_resnet, residual.res2net, residual.regnet_x,
                        residual.regnet_y, residual.repvgg, residual.nfnet, residual.darknet, residual.cspnet,
                        residual.vovnet, residual.dla, residual.hrnet,
                    ),
                ),
                (
                    "stacked",
                    (
                        plain.vgg, plain.densenet, plain.hardnet, plain.inception, plain.xception, plain.squeezenet,
                    ),
                ),
                (
                    "mobile",
                    (
                        mobile.mobilenet_v1, mobile.mobilenet_v2, mobile.mobilenet_v3_small, mobile.mobilenet_v3_large,
                        mobile.efficientnet, mobile.efficientnet_v2, mobile.mnasnet, mobile.shufflenet_v1,
                        mobile.shufflenet_v2, mobile.ghostnet, mobile.lcnet, tokens.mobileone,
                    ),
                ),
                (
                    "tokens",
                    (
                        tokens.convnext, tokens.convmixer, tokens.poolformer, tokens.vit, tokens.deit, tokens.swin,
                        tokens.mlp_mixer, tokens.resmlp, tokens.mobilevit, tokens.efficientformer, tokens.levit,
                    ),
                ),
                (
                    "maps",
                    (
                        images.unet_transposed, images.unet_bilinear, images.deeplab, images.fcn, images.autoencoder,
                        images.style_transfer,
                    ),
                ),
                ("boxes", (images.ssd, images.yolo, images.yolo_raw)),
            )
            for build in builders
        ),
        Architecture("espcn", "maps", images.espcn, (Input((1, 32, 32)),)),
        Architecture("fsrcnn", "maps", images.fsrcnn, (Input((1, 32, 32)),)),
        Architecture("dcgan", "maps", images.dcgan, (Input((64, 1, 1), "noise"),)),
        Architecture("bert", "text", language.bert, (WORDS, MASK, Input((language.LENGTH,), "types"))),
        Architecture("distilbert", "text", language.distilbert, (WORDS, MASK)),
        Architecture("gpt", "text", language.gpt, (WORDS,)),
        Architecture("gru_classifier", "text", language.gru_classifier, (WORDS,)),
        Architecture("m5", "signal", signals.m5, SOUND),
        Architecture("wav2letter", "signal", signals.wav2letter, (Input((40, 96)),)),
        Architecture("conv_tasnet", "signal", signals.conv_tasnet, (Input((1, 1024)),)),
        Architecture("ds_cnn", "signal", signals.ds_cnn, (Input((1, 49, 10)),)),
        Architecture("tcn", "signal", signals.tcn, (Input((6, 64)),)),
        Architecture("crnn", "signal", signals.crnn, (Input((1, 32, 96)),)),
        Architecture("conv3d", "volume", signals.conv3d, (Input((3, 8, 32, 32)),)),
        Architecture("pointnet", "points", signals.pointnet, (Input((3, 128), "noise"),)),
    )
}  # fmt: skip
"""Every architecture by its name."""
