"""Photos: 20 labelled ones to test on, 64 others to calibrate on, and further ones to compare on. None is in two sets.

* Test: the 20 ImageNet photos of PyPI foolbox (MIT); the label is in the file name.
* Calibration: colour photos of PyPI mvtb-data (the images of Corke's "Robotics, Vision and Control") and scikit-image.
  scikit-image alone would be a tenth of the download but has eight colour photos; docs/decisions says what
  that costs.
* Comparison (float against integers, no labels needed): the test photos and those of mvtb-data and scikit-image that
  calibration leaves out, five views of each.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oaq.data.batches import Batch, read
from oaq.data.preprocess import Preprocess
from recipes.data.packages import Package, members, unpack

FOOLBOX = Package(
    "foolbox",
    "3.3.4",
    "foolbox-3.3.4-py3-none-any.whl",
    "11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb",
    1_677_112,
)
MVTB = Package(
    "mvtb-data",
    "1.6.1",
    "mvtb_data-1.6.1-py3-none-any.whl",
    "0ca9c30e100fa272421068a167ea6529085ff8f4afdca72e5fad681c52cabdbf",
    130_050_552,
)
SCIKIT_IMAGE = Package(
    "scikit-image",
    "0.26.0",
    "scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    13_711_217,
    ("--platform=manylinux_2_28_x86_64", "--python-version=3.11", "--implementation=cp", "--abi=cp311"),
)
LABELLED = re.compile(r"foolbox/data/imagenet_\d+_(\d+)\.jpg")


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


CALIBRATION_MVTB = _names("""
    58060.png
    arucoboard.png building2-3.png butterfly.jpg church.jpg eiffel-1.png eiffel-2.png flowers1.png flowers2.png
    flowers3.png
    flowers4.png flowers5.png flowers6.png flowers7.png flowers8.png flowers9.png greenscreen.png image3.jpg
    lab-scene.png monalisa.png notre-dame.png parks.png road.png rocks2-l.png roof.png tags.png tomato_124.png
    tomato_14.png tomato_35.png tomato_54.png walls-l.png yellowtargets.png mosaic/aerial-08.png mosaic/aerial-09.png
    mosaic/aerial-10.png mosaic/aerialphoto.png campus/P1070491.png campus/P1070493.png campus/P1070494.png
    campus/P1070495.png campus/P1070496.png campus/P1070497.png campus/P1070498.png campus/P1070499.png
    campus/P1070500.png campus/P1070501.png campus/P1070503.png campus/P1070504.png campus/P1070505.png
    campus/P1070506.png campus/P1070507.png campus/P1070509.png campus/P1070510.png campus/P1070512.png
    campus/P1070514.png campus/P1070515.png
""")
CALIBRATION_SCIKIT = _names("""
    astronaut.png chelsea.png coffee.png hubble_deep_field.jpg ihc.png motorcycle_left.png retina.jpg rocket.jpg
""")
COMPARISON_MVTB = _names("""
    campus/holdout/P1070492.png campus/holdout/P1070502.png campus/holdout/P1070508.png campus/holdout/P1070511.png
    campus/holdout/P1070513.png building2-1.png castle.png penguins.png street.png wheres-wally.png fisheye_target.png
    adelson.png calibration/left01.jpg mosaic/aerial2-001.png mosaic/aerial2-006.png seq/im.001.png seq/im.005.png
    seq/im.009.png
""")
COMPARISON_SCIKIT = _names("brick.png camera.png coins.png grass.png gravel.png moon.png")


@dataclass(frozen=True)
class Labelled:
    """A photo and its ImageNet class."""

    path: Path
    label: int


def labelled() -> list[Labelled]:
    """The 20 labelled photos in their own order."""
    names = {name: match[1] for name in members(FOOLBOX) if (match := LABELLED.fullmatch(name))}
    paths = unpack(FOOLBOX, names)
    return [Labelled(paths[name], int(names[name])) for name in sorted(names)]


def calibration(count: int = 64) -> list[Path]:
    """Photos to calibrate on, at most ``count``: every k-th, so that fewer are still of every kind."""
    paths = _from(MVTB, "mvtbdata/images/", CALIBRATION_MVTB) + _from(SCIKIT_IMAGE, "skimage/data/", CALIBRATION_SCIKIT)
    indices = np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int)
    return [paths[index] for index in indices]


def comparison() -> list[Path]:
    """Photos that calibration never sees: the labelled ones first, then others."""
    mvtb = _from(MVTB, "mvtbdata/images/", COMPARISON_MVTB)
    return [photo.path for photo in labelled()] + mvtb + _from(SCIKIT_IMAGE, "skimage/data/", COMPARISON_SCIKIT)


def _from(package: Package, folder: str, names: tuple[str, ...]) -> list[Path]:
    paths = unpack(package, (folder + name for name in names))
    return [paths[folder + name] for name in names]


def views(path: Path, preprocess: Preprocess) -> Batch:
    """Five views of one photo, (5, 3, H, W): the centre as ``preprocess`` cuts it, and the corners around it.

    Raises:
        FormatError: the photo does not decode.
    """
    rows, columns = preprocess.size
    side = preprocess.resize or max(preprocess.size)
    scaled = read(path, dataclasses.replace(preprocess, size=(side, side), resize=side))[0]
    down, right = side - rows, side - columns
    places = [(down // 2, right // 2), (0, 0), (0, right), (down, 0), (down, right)]
    return np.stack([scaled[:, top : top + rows, column : column + columns] for top, column in places])
