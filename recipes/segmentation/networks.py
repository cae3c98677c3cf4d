"""The segmenters of the recipe: how they are built and trained, on what, and what their outputs mean."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from oaq.data.preprocess import Preprocess
from oaq.program.atomic import write_atomically
from oaq.program.int_program import IntProgram
from oaq.qat import Config, Target, convert
from oaq.tasks import Segmenter, Task, segment
from oaq.terminal import say
from recipes.data import photos
from recipes.detection import composited
from recipes.networks import NETWORKS as CLASSIFIERS
from recipes.networks import load_weights
from recipes.segmentation import heads, scenes
from recipes.segmentation.deeplab import DeepLab
from recipes.segmentation.samples import IGNORE, Masked
from recipes.segmentation.sources import MaskSource, source_of
from recipes.segmentation.unet import Rise, UNet
from recipes.training import Loss, Stage, train_float, train_integers

OUTPUT: Final = "logits"
TRAIN_SEED, TEST_SEED = 11, 1
BACKGROUND: Final = 0.3
"""Weight of the background's pixels, which most of a photo's are."""
SCENES: Final = 512
"""Composited photos to train on."""


def pixel_loss(logits: torch.Tensor, masks: torch.Tensor, background: float = 1.0) -> torch.Tensor:
    """Cross entropy over the pixels that count, those of class 0 by a weight of ``background``."""
    weights = torch.ones(logits.shape[1], device=logits.device)
    weights[0] = background
    return F.cross_entropy(logits, masks, weights, ignore_index=IGNORE)


@dataclass(frozen=True)
class SegmentationNetwork:
    """A segmenter by its name.

    Attributes:
        name: on the command line and in result files.
        make: the float network before training, for inputs of a size.
        task: what it is for, for inputs of a size.
        rows: of its input unless --size says otherwise.
        multiple: of which rows are one.
        samples: to train and calibrate on: that many, the same ones in every run; None: all.
        tests: samples that are scored, by name, from how many composited scenes are asked for; read once.
        floating, integers: stages of training.
        loss: what training makes small.
        note: what readers of its figures must know.
        budget: predicted cost at which it is quantized unless --budget says otherwise.
    """

    name: str
    make: Callable[[], nn.Module]
    task: Callable[[int], Task]
    rows: int
    multiple: int
    samples: Callable[[int | None], Sequence[Masked]]
    tests: Callable[[int], dict[str, Sequence[Masked]]]
    floating: Stage
    integers: Stage
    note: str
    loss: Loss = pixel_loss
    budget: float | None = 1.02

    def source(self, rows: int, count: int | None = None) -> MaskSource:
        """What it is trained on; of ``count`` samples, what it is calibrated on."""
        return source_of(self.samples(count), self.task(rows).preprocess)


@cache
def cut_outs() -> list[composited.CutOut]:
    """The cut-outs of ``composited``, unpacked once: their archive takes half a minute to open."""
    return composited.cut_outs()


def head_task(rows: int) -> Task:
    """Tissues on a slice: one channel, a square input."""
    preprocess = Preprocess((rows, rows), mean=(0.25,), std=(0.25,), fit="stretch")
    return segment(preprocess, heads.LABELS, Segmenter(OUTPUT, ignore=IGNORE))


def scene_task(rows: int) -> Task:
    """Objects on a photo of any shape: the whole of it, in an input of 3 : 4."""
    return segment(Preprocess((rows, rows * 4 // 3), fit="pad"), scenes.LABELS, Segmenter(OUTPUT, ignore=IGNORE))


def slices_of(slices: heads.Slices) -> list[Masked]:
    """Slices as samples."""
    return [Masked(title, slices.picture(at), slices.masks[at]) for at, title in enumerate(slices.titles)]


def head_tests(_scenes: int) -> dict[str, Sequence[Masked]]:
    """Blocks of the averaged head that training never sees, and the other head."""
    return {"slices": slices_of(heads.averaged_head()[1]), "ch2": slices_of(heads.other_head())}


def head_samples(count: int | None) -> list[Masked]:
    """Slices of the averaged head, evenly spaced over its training slices."""
    samples = slices_of(heads.averaged_head()[0])
    places = np.linspace(0, len(samples) - 1, min(count or len(samples), len(samples))).round().astype(int)
    return [samples[place] for place in places.tolist()]


def scene_samples(count: int | None) -> Sequence[Masked]:
    """Composited photos on backgrounds that tests do not have."""
    count = count or SCENES
    stream = scenes.training_scenes(cut_outs(), photos.calibration(), count, TRAIN_SEED)
    return list(say.track(stream, "composite scenes", count))


def scene_tests(count: int) -> dict[str, Sequence[Masked]]:
    """Composited photos on photos that calibration and training never see."""
    objects, places = cut_outs(), composited.backgrounds()
    return {"scenes": list(scenes.masked_scenes(objects, places, count, TEST_SEED))}


def make_unet(rise: Rise) -> nn.Module:
    """A U-Net of random weights, always the same."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return UNet(len(heads.LABELS), rise)


def make_deeplab() -> nn.Module:
    """DeepLab over a trained trunk; the other weights are random, always the same.

    Raises:
        FetchError: the trunk's weights cannot be fetched.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        net = DeepLab(len(scenes.LABELS))
    net.take_trunk(CLASSIFIERS["mobilenet-v2"].load())  # type: ignore[arg-type]
    return net


def _unet(name: str, rise: Rise) -> SegmentationNetwork:
    return SegmentationNetwork(
        name,
        partial(make_unet, rise),
        head_task,
        rows=128,
        multiple=8,
        samples=head_samples,
        tests=head_tests,
        floating=Stage(40, 8, 0.05, 1e-4, warmup=20),
        integers=Stage(4, 8, 1e-4, 1e-4),
        budget=1.0,
        note="One averaged brain: training and test slices are blocks of it; tissues of ch2 are not drawn.",
    )


NETWORKS: Final[Mapping[str, SegmentationNetwork]] = {
    network.name: network
    for network in (
        _unet("unet", "transposed"),
        _unet("unet-resize", "resize"),
        SegmentationNetwork(
            "deeplab",
            make_deeplab,
            scene_task,
            rows=144,
            multiple=48,
            samples=scene_samples,
            tests=scene_tests,
            floating=Stage(10, 8, 0.04, 1e-4, warmup=40),
            integers=Stage(2, 8, 1e-4, 1e-4),
            note="Photos are composited: cut-outs on photos, with exact masks; the same cut-outs in training and test.",
            loss=partial(pixel_loss, background=BACKGROUND),
        ),
    )
}


def load_float(
    network: SegmentationNetwork, weights: Path | None, rows: int, folder: Path, epochs: int
) -> tuple[nn.Module, Task]:
    """The float network in eval mode and what it is for: weights of a file, or trained now, going on where it stopped.

    Args:
        network: which.
        weights: state dictionary; None: trained.
        rows: of the input.
        folder: for checkpoints, and for the weights that come of them, by rows and epochs.
        epochs: of training; 0: random weights.

    Raises:
        WeightsError, FetchError, FormatError: what is needed is missing, damaged, or of another network.
    """
    net, task = network.make(), network.task(rows)
    if weights is not None:
        load_weights(net, weights)
    elif epochs:
        trained = folder / f"float-{rows}-{epochs}.pt"
        if trained.exists():
            load_weights(net, trained)
        else:
            train_segmenter(net, network, rows, folder, epochs)
            write_atomically(trained, [_stored(net)])
    return net.eval(), task


def train_segmenter(net: nn.Module, network: SegmentationNetwork, rows: int, folder: Path, epochs: int) -> None:
    """Train in place; a folder that holds the end of this very training gives it back."""
    folder.mkdir(parents=True, exist_ok=True)
    stage = dataclasses.replace(network.floating, epochs=epochs)
    train_float(net, network.source(rows), stage, folder / f"float-{rows}.ckpt", torch.device("cpu"), loss=network.loss)


def _stored(net: nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)
    return buffer.getvalue()


def trained_integers(net: nn.Module, network: SegmentationNetwork, rows: int, folder: Path, epochs: int) -> IntProgram:
    """The integers of a trained float network, trained on under 16-bit lanes that are proved (``oaq.qat``).

    Raises:
        TrainingError, FormatError: see ``oaq.qat.fit``; what an earlier run left may be of another network.
    """
    stage, source = dataclasses.replace(network.integers, epochs=epochs), network.source(rows)
    config = Config(method="proved", target=Target("avx2", run=8))
    trained = train_integers(
        net, source, config, stage, folder / f"qat-{rows}", device=torch.device("cpu"), loss=network.loss
    )
    return convert(trained)


def renamed(task: Task, names: Sequence[str]) -> Task:
    """``task`` for a network that calls its output ``names[0]``."""
    return segment(task.preprocess, task.labels, dataclasses.replace(task.decoder, output=names[0]))
