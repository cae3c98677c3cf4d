"""Slices of heads with a tissue per pixel: an averaged head for training, and a second head to test on.

* The averaged head is MNI ICBM 152, 2009a: the mean of 152 heads without their skulls, with maps of how much of a voxel
  is grey and how much is white matter (PyPI nilearn, BSD-3). It is one averaged brain: slices of it say how much
  integers lose against float, not how good a network is on patients.
* The other head is ch2, without its skull (Debian mricron-data). Its tissues are not drawn: where a number needs a
  truth, it is the averaged head's map at the same millimetres, and is called that.

Slices lie across the axis of the body. Test slices come in blocks, and slices beside a block are left out of training,
so that no training slice is next to one that is tested.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.tasks.task import Picture
from recipes.data.packages import Package, fetch, unpack
from recipes.data.registries import apt_download, deb_members
from recipes.segmentation.nifti import Volume, read_volume, resampled

NILEARN: Final = Package(
    "nilearn",
    "0.14.1",
    "nilearn-0.14.1-py3-none-any.whl",
    "725206484e9fb3f6691f9c2d20204a068759d5072f12055324702ee0cb2bbe8a",
    11_509_444,
)
MRICRON: Final = Package(
    "mricron-data",
    "1.2.20211006+dfsg-4",
    "mricron-data_1.2.20211006+dfsg-4_all.deb",
    "d40aa0ed66cf89bf6cafa049ad3884703c9d975c2ee2737525b7196528df9d6f",
    16_122_652,
    client="apt-get",
)
MNI: Final = "nilearn/datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
CH2: Final = "usr/share/mricron/templates/ch2bet.nii.gz"
LABELS: Final = ("background", "fluid and other", "grey matter", "white matter")
SIDE: Final = 192
"""Rows and columns of a slice, 1 mm each: all of a brain fits."""
CENTRE: Final = (0.0, -17.0)
"""Millimetres, left to right and back to front, of the middle of a slice."""
BLOCK: Final = 12
"""Slices of a block."""
PERIOD: Final = 4
"""One block of so many is for testing."""
GUARD: Final = 2
"""Slices on each side of a test block that are in neither set."""
LEAST_TISSUE: Final = 0.03
"""Share of a slice that must be brain for the slice to be used."""
BRIGHTEST: Final = 99.0
"""Percentile of a brain's voxels that is made white: heads differ in how bright they were stored."""


@dataclass(frozen=True, eq=False)
class Slices:
    """Slices of one head, from below to above.

    Attributes:
        titles: head and height.
        photos: (n, SIDE, SIDE) uint8.
        masks: (n, SIDE, SIDE) int64, index into ``LABELS``.
    """

    titles: tuple[str, ...]
    photos: NDArray[np.uint8]
    masks: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.titles)

    def select(self, where: NDArray[np.bool_]) -> Slices:
        """Those for which (n,) ``where`` is true."""
        titles = tuple(title for title, use in zip(self.titles, where.tolist(), strict=True) if use)
        return Slices(titles, self.photos[where], self.masks[where])

    def picture(self, number: int) -> Picture:
        """A slice as a photo, (SIDE, SIDE, 3)."""
        return np.repeat(self.photos[number][..., None], 3, axis=2)


def averaged_head() -> tuple[Slices, Slices]:
    """Slices to train on and slices to test on, of the averaged head.

    Raises:
        FetchError: the package cannot be fetched.
    """
    brain, tissues = _averaged()
    slices = _slices("averaged head", brain, tissues)
    test, train = parts(np.array([int(title.rpartition(" ")[2].removesuffix("mm")) for title in slices.titles]))
    return slices.select(train), slices.select(test)


def other_head() -> Slices:
    """Slices of ch2; masks are the averaged head's, at the same millimetres.

    Raises:
        FetchError: a package cannot be fetched.
    """
    brain = read_volume(deb_members(fetch(MRICRON, apt_download), [CH2])[CH2], CH2)
    _, tissues = _averaged()
    masks = resampled(tissues, brain)
    masks = np.where(brain.voxels == 0, 0, np.maximum(masks, 1))
    slices = _slices("ch2", brain, Volume(masks, brain.origin, brain.spacing))
    return slices.select(np.arange(len(slices)) % PERIOD == 0)


def parts(heights: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) whether a slice at a height (mm) is for testing, and (n,) whether it is for training.

    >>> [part.sum() for part in parts(np.arange(48))]
    [np.int64(12), np.int64(32)]
    """
    test = heights // BLOCK % PERIOD == PERIOD // 2
    neighbours = sum(((heights + shift) // BLOCK % PERIOD == PERIOD // 2).astype(int) for shift in (-GUARD, GUARD)) > 0
    return test, ~neighbours & ~test


@cache
def _averaged() -> tuple[Volume, Volume]:
    """The averaged brain, and the tissue of every voxel."""
    names = [MNI.format(kind) for kind in ("t1", "gm", "wm")]
    paths = unpack(NILEARN, names)
    brain, grey, white = (read_volume(paths[name].read_bytes(), paths[name].name) for name in names)
    return brain, Volume(tissues_of(brain.voxels, grey.voxels, white.voxels), brain.origin, brain.spacing)


def tissues_of(brain: NDArray[Any], grey: NDArray[Any], white: NDArray[Any]) -> NDArray[np.int64]:
    """The tissue of every voxel: what most of it is; all arrays of one shape, maps in 0..255."""
    remainder = 255 - np.minimum(grey.astype(np.int64) + white, 255)
    most = np.stack([remainder, grey.astype(np.int64), white.astype(np.int64)]).argmax(axis=0) + 1
    return np.where(brain == 0, 0, most)


def _slices(head: str, brain: Volume, tissues: Volume) -> Slices:
    """Every slice with enough brain in it, nose up, left on the left."""
    voxels = brain.voxels.astype(np.float64)
    white = np.percentile(voxels[voxels > 0], BRIGHTEST)
    grey_levels = (voxels / white * 255).round().clip(0, 255).astype(np.uint8)
    titles, photos, masks = [], [], []
    for number in range(brain.voxels.shape[2]):
        photo, mask = (_cut(array[:, :, number], brain) for array in (grey_levels, tissues.voxels))
        if np.mean(mask > 0) >= LEAST_TISSUE:
            titles.append(f"{head} {round(brain.origin[2] + number * brain.spacing[2]):+d}mm")
            photos.append(photo)
            masks.append(mask)
    return Slices(tuple(titles), np.stack(photos), np.stack(masks).astype(np.int64))


def _cut(plane: NDArray[Any], volume: Volume) -> NDArray[Any]:
    """(SIDE, SIDE) of an (x, y) plane around ``CENTRE``, zeros where it ends."""
    frame = np.zeros((SIDE, SIDE), plane.dtype)
    corner = [round((CENTRE[axis] - volume.origin[axis]) / volume.spacing[axis]) - SIDE // 2 for axis in (0, 1)]
    low = [max(0, start) for start in corner]
    high = [min(plane.shape[axis], corner[axis] + SIDE) for axis in (0, 1)]
    part = plane[low[0] : high[0], low[1] : high[1]]
    x, y = low[0] - corner[0], low[1] - corner[1]
    frame[x : x + part.shape[0], y : y + part.shape[1]] = part
    return np.ascontiguousarray(frame.T[::-1])
