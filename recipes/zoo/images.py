"""Networks whose outputs are images, maps or boxes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from recipes.zoo.blocks import Branches, Residual, separable, stages, unit
from recipes.zoo.mobile import inverted
from recipes.zoo.residual import basic


def _double(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(unit(inputs, outputs), unit(outputs, outputs))


class UNet(nn.Module):
    """Down and up again with connections across (1505.04597).

    Args:
        up: makes what doubles height and width, of (inputs, outputs).
    """

    def __init__(self, up: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.down = nn.ModuleList((_double(3, 16), _double(16, 32), _double(32, 64)))
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList((up(64, 32), up(32, 16)))
        self.join = nn.ModuleList((_double(64, 32), _double(32, 16)))
        self.head = nn.Conv2d(16, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, H, W) to (n, 4, H, W)."""
        fine = self.down[0](x)
        middle = self.down[1](self.pool(fine))
        y = self.down[2](self.pool(middle))
        for up, join, across in zip(self.up, self.join, (middle, fine), strict=True):
            y = join(torch.cat([across, up(y)], 1))
        return self.head(y)


def unet_transposed() -> nn.Module:
    """Up by transposed convolutions."""
    return UNet(lambda inputs, outputs: nn.ConvTranspose2d(inputs, outputs, 2, 2))


def unet_bilinear() -> nn.Module:
    """Up by bilinear resizing with aligned corners, as many published ones do."""

    def up(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), nn.Conv2d(inputs, outputs, 1)
        )

    return UNet(up)


class Atrous(nn.Module):
    """DeepLab v3 in its structure: dilated branches and the mean of the image, then bilinear (1706.05587)."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(unit(3, 16, 3, 2), stages(inverted, 16, ((24, 2, 2), (48, 2, 2))))
        self.branches = Branches(unit(48, 24, 1), unit(48, 24, dilation=2), unit(48, 24, dilation=4))
        self.mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(48, 24, 1), nn.ReLU())
        self.join, self.head = unit(96, 32, 1), nn.Conv2d(32, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, H, W) to (n, 5, H, W)."""
        y = self.trunk(x)
        mean = F.interpolate(self.mean(y), y.shape[-2:], mode="bilinear", align_corners=False)
        y = self.head(self.join(torch.cat([self.branches(y), mean], 1)))
        return F.interpolate(y, x.shape[-2:], mode="bilinear", align_corners=False)


def deeplab() -> nn.Module:
    """Segmentation by dilation."""
    return Atrous()


class Fully(nn.Module):
    """FCN: scores of two strides added after transposed convolutions (1411.4038)."""

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Sequential(unit(3, 16, 3, 2), stages(basic, 16, ((32, 1, 2),)))
        self.late = stages(basic, 32, ((64, 1, 2),))
        self.scores = nn.ModuleList((nn.Conv2d(32, 5, 1), nn.Conv2d(64, 5, 1)))
        self.twice, self.four = nn.ConvTranspose2d(5, 5, 4, 2, 1), nn.ConvTranspose2d(5, 5, 8, 4, 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, H, W) to (n, 5, H, W)."""
        early = self.early(x)
        return self.four(self.scores[0](early) + self.twice(self.scores[1](self.late(early))))


def fcn() -> nn.Module:
    """Segmentation by transposed convolutions."""
    return Fully()


def espcn() -> nn.Module:
    """Super-resolution: channels become pixels (1609.05158)."""
    return nn.Sequential(
        nn.Conv2d(1, 48, 5, padding=2), nn.Tanh(), nn.Conv2d(48, 32, 3, padding=1), nn.Tanh(),
        nn.Conv2d(32, 9, 3, padding=1), nn.PixelShuffle(3),
    )  # fmt: skip


def fsrcnn() -> nn.Module:
    """Super-resolution: PReLU per channel, a transposed convolution of 9 x 9 (1608.00367)."""
    middle: list[nn.Module] = []
    for _ in range(3):
        middle += [nn.Conv2d(12, 12, 3, padding=1), nn.PReLU(12)]
    return nn.Sequential(
        nn.Conv2d(1, 40, 5, padding=2), nn.PReLU(40), nn.Conv2d(40, 12, 1), nn.PReLU(12), *middle, nn.Conv2d(12, 40, 1),
        nn.PReLU(40), nn.ConvTranspose2d(40, 1, 9, 3, 4, output_padding=2),
    )  # fmt: skip


class SingleShot(nn.Module):
    """SSD in its structure: boxes and classes of two strides as (n, anchors, 4) and (n, anchors, 6) (1512.02325)."""

    def __init__(self, classes: int = 6, anchors: int = 3) -> None:
        super().__init__()
        self.classes = classes
        self.trunk = nn.Sequential(unit(3, 16, 3, 2), stages(inverted, 16, ((24, 1, 2), (48, 2, 2))))
        self.further = separable(48, 64, 2)
        self.boxes = nn.ModuleList(nn.Conv2d(width, 4 * anchors, 3, padding=1) for width in (48, 64))
        self.scores = nn.ModuleList(nn.Conv2d(width, classes * anchors, 3, padding=1) for width in (48, 64))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, 3, H, W) to offsets of boxes and probabilities of classes."""
        first = self.trunk(x)
        maps = (first, self.further(first))

        def joined(heads: nn.ModuleList, size: int) -> torch.Tensor:
            parts = [head(y).permute(0, 2, 3, 1).reshape(len(x), -1, size) for head, y in zip(heads, maps, strict=True)]
            return torch.cat(parts, 1)

        return joined(self.boxes, 4), joined(self.scores, self.classes).softmax(-1)


def ssd() -> nn.Module:
    """A detector with two outputs."""
    return SingleShot()


class C2f(nn.Module):
    """Half of the channels through blocks, all results side by side (YOLOv8)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.first, self.join = unit(inputs, outputs, 1, act="silu"), unit(3 * half, outputs, 1, act="silu")
        self.block = Residual(nn.Sequential(unit(half, half, act="silu"), unit(half, half, act="silu")))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Batch in, batch out."""
        a, b = self.first(x).chunk(2, 1)
        return self.join(torch.cat([a, b, self.block(b)], 1))


class Detector(nn.Module):
    """YOLOv8 in its structure: pyramid, decoupled heads, boxes as distributions, decoded against anchors."""

    def __init__(self, classes: int = 8, bins: int = 8) -> None:
        super().__init__()
        self.classes, self.bins = classes, bins
        self.stem = nn.Sequential(unit(3, 16, 3, 2, act="silu"), unit(16, 32, 3, 2, act="silu"), C2f(32, 32))
        self.middle = nn.Sequential(unit(32, 48, 3, 2, act="silu"), C2f(48, 48))
        self.late = nn.Sequential(unit(48, 64, 3, 2, act="silu"), C2f(64, 64))
        self.squeeze, self.pool = unit(64, 32, 1, act="silu"), nn.MaxPool2d(5, 1, 2)
        self.spread = unit(128, 64, 1, act="silu")
        self.up, self.merge = nn.Upsample(scale_factor=2), C2f(112, 48)
        self.boxes = nn.ModuleList(self._head(width, 4 * bins) for width in (48, 64))
        self.scores = nn.ModuleList(self._head(width, classes) for width in (48, 64))
        self.expect = nn.Conv2d(bins, 1, 1, bias=False)
        self.expect.weight.data[:] = torch.arange(bins, dtype=torch.float32).view(1, bins, 1, 1)

    @staticmethod
    def _head(width: int, outputs: int) -> nn.Module:
        return nn.Sequential(unit(width, 32, act="silu"), nn.Conv2d(32, outputs, 1))

    def _decoded(self, boxes: torch.Tensor, sizes: list[tuple[int, int]]) -> torch.Tensor:
        """(n, 4 * bins, A) to corners (n, 4, A) in pixels."""
        n, _, count = boxes.shape
        sides = self.expect(boxes.view(n, 4, self.bins, count).transpose(2, 1).softmax(1)).view(n, 4, count)
        grids, strides = [], []
        for stride, (height, width) in zip((8, 16), sizes, strict=True):
            rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
            grids.append(torch.stack((columns, rows)).view(2, -1))
            strides.append(torch.full((1, height * width), float(stride)))
        anchors, scale = torch.cat(grids, 1), torch.cat(strides, 1)
        before, after = sides.chunk(2, 1)
        return torch.cat((anchors - before, anchors + after), 1) * scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, H, W) to (n, 4 + classes, A)."""
        middle = self.middle(self.stem(x))
        late = self.squeeze(self.late(middle))
        parts = [late]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        late = self.spread(torch.cat(parts, 1))
        fine = self.merge(torch.cat([self.up(late), middle], 1))
        maps = (fine, late)
        raw = [torch.cat([box(y), score(y)], 1) for box, score, y in zip(self.boxes, self.scores, maps, strict=True)]
        sizes = [(int(part.shape[2]), int(part.shape[3])) for part in raw]
        joined = torch.cat([part.flatten(2) for part in raw], 2)
        boxes, scores = joined.split((4 * self.bins, self.classes), 1)
        return torch.cat((self._decoded(boxes, sizes), scores.sigmoid()), 1)


def yolo() -> nn.Module:
    """A detector with its decoder."""
    return Detector()


class Anchored(nn.Module):
    """YOLOv5 in its structure: heads reshaped to (n, anchors, H, W, 5 + classes), two outputs."""

    def __init__(self, classes: int = 8, anchors: int = 3) -> None:
        super().__init__()
        self.anchors = anchors
        self.early = nn.Sequential(unit(3, 16, 3, 2, act="silu"), unit(16, 32, 3, 2, act="silu"), C2f(32, 48))
        self.late = nn.Sequential(unit(48, 64, 3, 2, act="silu"), C2f(64, 64))
        self.heads = nn.ModuleList(nn.Conv2d(width, anchors * (5 + classes), 1) for width in (48, 64))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, 3, H, W) to raw heads."""
        early = self.early(x)

        def shaped(y: torch.Tensor) -> torch.Tensor:
            n, _, height, width = y.shape
            return y.view(n, self.anchors, -1, height, width).permute(0, 1, 3, 4, 2).contiguous()

        return shaped(self.heads[0](early)), shaped(self.heads[1](self.late(early)))


def yolo_raw() -> nn.Module:
    """A detector without its decoder."""
    return Anchored()


def autoencoder() -> nn.Module:
    """Down to a vector of 64 and up again."""
    return nn.Sequential(
        unit(3, 16, 3, 2), unit(16, 32, 3, 2), unit(32, 48, 3, 2), nn.Flatten(), nn.Linear(48 * 64, 64),
        nn.Linear(64, 48 * 64), nn.ReLU(), nn.Unflatten(1, (48, 8, 8)),
        nn.ConvTranspose2d(48, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(),
        nn.ConvTranspose2d(16, 3, 4, 2, 1), nn.Sigmoid(),
    )  # fmt: skip


def dcgan() -> nn.Module:
    """A generator: noise (n, 64, 1, 1) to images (1511.06434)."""

    def up(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        conv = nn.ConvTranspose2d(inputs, outputs, 4, stride, stride - 1, bias=False)
        return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]

    layers = [*up(64, 96, 1), *up(96, 64, 2), *up(64, 32, 2)]
    return nn.Sequential(*layers, nn.ConvTranspose2d(32, 3, 4, 2, 1), nn.Tanh())


class StyleTransfer(nn.Module):
    """Fast style transfer: reflected borders, instance norms, nearest resizing (1603.08155)."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(self._conv(3, 16, 5), self._conv(16, 32, 3, 2), self._conv(32, 48, 3, 2))
        self.blocks = nn.Sequential(*(Residual(self._conv(48, 48, 3)) for _ in range(2)))
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), self._conv(48, 32, 3), nn.Upsample(scale_factor=2))
        self.last = nn.Sequential(self._conv(32, 16, 3), nn.ReflectionPad2d(1), nn.Conv2d(16, 3, 3))

    @staticmethod
    def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Module:
        return nn.Sequential(
            nn.ReflectionPad2d(kernel // 2),
            nn.Conv2d(inputs, outputs, kernel, stride),
            nn.InstanceNorm2d(outputs, affine=True),
            nn.ReLU(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images in, images out."""
        return self.last(self.up(self.blocks(self.down(x))))


def style_transfer() -> nn.Module:
    """Images to images with instance norms."""
    return StyleTransfer()
