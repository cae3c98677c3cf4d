"""Calibration without data: inputs made up so that a network holds in its layers what it held in training.

What is known of the data lies in the network: each batch norm remembers mean m and deviation d of every channel of a
layer's results. Inputs x begin as pictures of nothing (``data.pictures``), or as noise where a network reads no
pictures, and move by Adam so that for the batch

    mean over layers and channels of ((mean(z_c) - m_c)^2 + (dev(z_c) - d_c)^2) / mean(d^2)

falls (the idea of ZeroQ, 2001.00281); pictures stay inside what pixels can be. Such inputs are of no class, and a
classifier is less sure of them than of any photo: ranges of its answers would be too short, and of photos several
classes would end at the longest integer. So each input is also moved towards a class that is drawn, by cross-entropy
(as generators of data are trained in 2003.03603).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from oaq.capture.graph import FloatGraph
from oaq.data.pictures import pictures
from oaq.data.preprocess import Preprocess
from oaq.errors import CalibrationError
from oaq.ptq.execute import apply_op, clamped

Kind = Literal["statistics", "pictures"]
KINDS: Final[tuple[Kind, ...]] = ("statistics", "pictures")
RATE: Final = 0.05
"""Step of Adam, in deviations of a normalized input."""
SMALLEST: Final = 1e-8
Told = Callable[[int, int, float], None]
"""(step, steps, distance) of all batches."""


@dataclass(frozen=True)
class Synthetic:
    """How inputs are made up.

    Attributes:
        kind: "statistics": pictures moved until batch norms see what they saw in training; "pictures": as they are
            drawn, which needs no batch norm and says less.
        count: inputs.
        batch: of them moved together: statistics are those of a batch.
        steps: of Adam on each batch.
        seed: of everything.
        sureness: weight of the cross-entropy to drawn classes beside the distance, for networks whose one answer is a
            vector; 0 for vectors that are no scores of classes.
    """

    kind: Kind = "statistics"
    count: int = 32
    batch: int = 16
    steps: int = 40
    seed: int = 0
    sureness: float = 0.1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise CalibrationError(f"synthetic inputs are one of {', '.join(KINDS)}, not {self.kind!r}")
        for name in ("count", "batch", "steps"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise CalibrationError(f"synthetic: {name} is a whole number, at least 1; not {getattr(self, name)!r}")
        if not 0 <= self.sureness < float("inf"):
            raise CalibrationError(f"synthetic: sureness is finite, at least 0; not {self.sureness!r}")


@dataclass(frozen=True, eq=False)
class MadeUp:
    """Inputs, and how near they came.

    Attributes:
        batches: (n, ...) float32 each, as callers of the network lay them out.
        before, after: distance from the statistics, at the beginning and the end; not a number for "pictures".
    """

    batches: list[NDArray[np.float32]]
    before: float
    after: float


def make_up(
    graph: FloatGraph,
    settings: Synthetic | None = None,
    preprocess: Preprocess | None = None,
    report: Told | None = None,
) -> MadeUp:
    """Inputs for calibration of a network that has one input; the same for the same arguments.

    Args:
        graph: as captured, before anything is equalised.
        settings: None is ``Synthetic()``.
        preprocess: how photos go in; None: pixels have mean 0 and deviation 1 in each channel.
        report: called after every step.

    Raises:
        CalibrationError: the network has several inputs; or no batch norm whose statistics it could remember; or, for
            "pictures", reads none.
    """
    settings = settings or Synthetic()
    if len(graph.inputs) != 1:
        raise CalibrationError(f"{graph.name} reads {', '.join(graph.inputs)}: inputs are made up for networks of one")
    shape = tuple(graph.shapes[graph.inputs[0]])
    reads_pictures = len(shape) == 3 and shape[0] in (1, 3)
    if settings.kind == "pictures" and not reads_pictures:
        raise CalibrationError(f"{graph.name} reads {shape}, no pictures: calibrate it on data")
    if settings.kind == "statistics" and not graph.norms:
        raise CalibrationError(
            f"{graph.name} remembers no statistics of its data: no batch norm stands behind a layer (exporters often "
            "fold them: take the module or an export that keeps them). Calibrate it on data, or on pictures of nothing "
            "(--synthetic pictures), which say less"
        )
    first, bounds = _begun(shape, settings, preprocess) if reads_pictures else (_noise(shape, settings), None)
    parts = list(first.split(settings.batch))
    ends = [(float("nan"), float("nan"))] * len(parts)
    if settings.kind == "statistics":
        classes = _drawn_classes(graph, settings)
        for at, part in enumerate(parts):
            told = _shifted(report, at * settings.steps, settings, len(parts))
            first_class = at * settings.batch
            aim = Aim(graph, classes[first_class : first_class + settings.batch], settings)
            parts[at], ends[at] = _moved(aim, part, bounds, told)
    last = graph.is_channels_last(graph.inputs[0])
    arrays = [(part.movedim(1, -1) if last else part).contiguous().numpy() for part in parts]
    return MadeUp(arrays, *(float(np.mean(column)) for column in zip(*ends, strict=True)))


def _begun(
    shape: tuple[int, ...], settings: Synthetic, preprocess: Preprocess | None
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    """Pictures as the network takes them, and what pixels of 0 and 1 become."""
    channels, height, width = shape
    pixels = torch.from_numpy(np.stack(list(pictures(settings.count, (channels, height, width), settings.seed))))
    if preprocess is None:
        mean, std = pixels.mean(dim=(0, 2, 3)), pixels.std(dim=(0, 2, 3))
    else:
        mean, std = torch.tensor(preprocess.mean), torch.tensor(preprocess.std)
    mean, std = mean.reshape(-1, 1, 1), std.reshape(-1, 1, 1)
    return ((pixels - mean) / std).float(), ((0 - mean) / std, (1 - mean) / std)


def _noise(shape: tuple[int, ...], settings: Synthetic) -> torch.Tensor:
    return torch.randn((settings.count, *shape), generator=torch.Generator().manual_seed(settings.seed))


@dataclass(frozen=True, eq=False)
class Aim:
    """What a batch is moved towards.

    Attributes:
        graph: whose batch norms remember statistics.
        classes: (n,) drawn for the inputs; (0,) where there are none.
        settings: of the whole.
    """

    graph: FloatGraph
    classes: torch.Tensor
    settings: Synthetic

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What falls, and the distance in it."""
        distance, outputs = _distance_and_outputs(self.graph, x)
        if not len(self.classes):
            return distance, distance
        return distance + self.settings.sureness * F.cross_entropy(outputs[0], self.classes), distance


def _drawn_classes(graph: FloatGraph, settings: Synthetic) -> torch.Tensor:
    """A class for each input, (count,); (0,) where answers are no scores, or one of them is all there is."""
    shapes = [graph.shapes[name] for name in graph.outputs]
    if not settings.sureness or len(shapes) != 1 or len(shapes[0]) != 1 or shapes[0][0] < 2:
        return torch.zeros(0, dtype=torch.int64)
    return torch.randint(shapes[0][0], (settings.count,), generator=torch.Generator().manual_seed(settings.seed))


def _moved(
    aim: Aim,
    begun: torch.Tensor,
    bounds: tuple[torch.Tensor, torch.Tensor] | None,
    report: Callable[[int, float], None],
) -> tuple[torch.Tensor, tuple[float, float]]:
    """One batch, and its distance before and after; of all steps the one that came nearest to its aim is kept."""
    x = begun.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], RATE)
    nearest, least, before, after = begun, float("inf"), float("nan"), float("nan")
    for step in range(aim.settings.steps + 1):
        optimizer.zero_grad()
        total, part = aim(x)
        value, distance = float(total.detach()), float(part.detach())
        before = distance if step == 0 else before
        if value < least:
            nearest, least, after = x.detach().clone(), value, distance
        if step == aim.settings.steps:
            break
        total.backward()
        optimizer.step()
        if bounds is not None:
            with torch.no_grad():
                x.copy_(torch.minimum(torch.maximum(x, bounds[0]), bounds[1]))
        report(step + 1, distance)
    return nearest, (before, after)


def distance_from_norms(graph: FloatGraph, x: torch.Tensor) -> torch.Tensor:
    """What a batch's means and deviations differ by from those that batch norms remember; differentiable."""
    return _distance_and_outputs(graph, x)[0]


def _distance_and_outputs(graph: FloatGraph, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    last = {name: node.name for node in graph.nodes for name in node.inputs}
    tensors, distances = {graph.inputs[0]: x}, []
    for node in graph.nodes:
        result = apply_op(node, [tensors[name] for name in node.inputs])
        if node.output in graph.norms:
            mean, deviation = (torch.from_numpy(array) for array in graph.norms[node.output])
            axes = [axis for axis in range(result.ndim) if axis != 1]
            unlike = (result.mean(dim=axes) - mean).square()
            spread = torch.sqrt(result.var(dim=axes, correction=0) + SMALLEST)
            unlike = unlike + (spread - deviation).square()
            distances.append(unlike.mean() / deviation.square().mean().clamp_min(SMALLEST))
        tensors[node.output] = clamped(node, result)
        for name in node.inputs:
            if last[name] == node.name and name not in graph.outputs:
                tensors.pop(name, None)
    return torch.stack(distances).mean(), [tensors[name] for name in graph.outputs]


def _shifted(report: Told | None, offset: int, settings: Synthetic, batches: int) -> Callable[[int, float], None]:
    if report is None:
        return lambda _step, _distance: None
    return lambda step, distance: report(offset + step, settings.steps * batches, distance)
