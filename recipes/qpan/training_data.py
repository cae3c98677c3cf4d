"""What networks are trained on: blocks of free photos, and slices of one averaged head (PyPI nilearn, BSD-3).

The head is the average of 152, so its slices are smooth: what is scored on slices of it flatters. Sampling is our own,
of a fixed seed, so that training needs nothing but free packages: blocks are measured by orthonormal random rows, heads
along lines through the middle of the spectrum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from oaq.terminal import say
from recipes.data.packages import unpack
from recipes.qpan.fourier import Real
from recipes.qpan.networks import Normal, block_normal, fourier_normal
from recipes.qpan.samples import SIDE, BlockSampling, read_grey
from recipes.segmentation.heads import MNI, NILEARN
from recipes.segmentation.nifti import read_volume
from recipes.superres.pictures import training_photos

TaskName = Literal["mri", "blocks"]
TASKS: Final[tuple[TaskName, ...]] = ("mri", "blocks")
SHARE: Final = {"mri": 0.20, "blocks": 0.25}
"""Part of the numbers that is measured."""
SLICE: Final = 128
"""Rows and columns of the parts of slices that are trained on."""
LARGE: Final = 1200
"""Pixels of a side from which on a photo is halved."""
BLOCKS: Final = 6000
"""Blocks of all photos that are drawn from."""
FLATTEST: Final = 0.02
"""Least deviation of a block that is drawn."""
SEED: Final = 2105


@dataclass(frozen=True, eq=False)
class Problem:
    """Images of one size, and how they are measured.

    Attributes:
        images: (n, 1, rows, columns) in 0..1.
        normal: A'A.
        starts: from images to where the iteration starts.
    """

    images: torch.Tensor
    normal: Normal
    starts: Callable[[torch.Tensor], torch.Tensor]


@cache
def problem_of(task: TaskName) -> Problem:
    """What a task is trained on; made once.

    Raises:
        FetchError: a package cannot be fetched.
    """
    if task == "mri":
        normal = fourier_normal(line_mask(SLICE, SHARE[task]))
        return Problem(_parts(head_slices()), normal, normal)
    sampling = random_sampling(SIDE, SHARE[task])
    images = torch.from_numpy(photo_blocks()).view(-1, 1, SIDE, SIDE)
    guess = torch.from_numpy((sampling.guess @ sampling.matrix).astype(np.float32))
    return Problem(images, block_normal(sampling.matrix, SIDE), lambda x: (x.flatten(1) @ guess.T).view_as(x))


@cache
def photo_blocks() -> NDArray[np.float32]:
    """(n, side * side) blocks of the photos, none of them flat."""
    rng, paths = np.random.default_rng(SEED), training_photos()
    blocks: list[Real] = []
    for path in say.track(paths, "decode photos to train on"):
        image = read_grey(path)
        image = image[::2, ::2] if max(image.shape) > LARGE else image
        for _ in range(-(-BLOCKS // len(paths))):
            top, first = (int(rng.integers(0, side - SIDE + 1)) for side in image.shape)
            block = image[top : top + SIDE, first : first + SIDE]
            if block.std() >= FLATTEST:
                blocks.append(block.reshape(-1))
    return np.array(blocks, np.float32)


@cache
def head_slices() -> NDArray[np.float32]:
    """(n, 256, 256) slices of the averaged head across all three axes, in 0..1, black around."""
    name = MNI.format("t1")
    voxels = np.asarray(read_volume(unpack(NILEARN, [name])[name].read_bytes(), name).voxels, np.float32)
    voxels = voxels / np.percentile(voxels, 99.9)
    slices = []
    for axis in range(3):
        for index in range(voxels.shape[axis] // 4, voxels.shape[axis] * 3 // 4, 2):
            part = np.clip(np.rot90(voxels.take(index, axis)), 0, 1)
            before = [(256 - side) // 2 for side in part.shape]
            ends = [(at, 256 - side - at) for at, side in zip(before, part.shape, strict=True)]
            slices.append(np.pad(part, ends))
    return np.stack(slices)


def _parts(slices: NDArray[np.float32]) -> torch.Tensor:
    """(n, 1, SLICE, SLICE) parts of slices around their middle, at places of a fixed seed."""
    rng = np.random.default_rng(SEED)
    parts = []
    for image in slices:
        for _ in range(4):
            top, first = (int(at) for at in rng.integers(32, 256 - SLICE - 32 + 1, 2))
            parts.append(image[top : top + SLICE, first : first + SLICE])
    return torch.from_numpy(np.stack(parts))[:, None]


def random_sampling(side: int, share: float) -> BlockSampling:
    """Orthonormal random rows, and the linear first guess of least error on the training blocks."""
    count = round(share * side * side)
    rows = np.linalg.qr(np.random.default_rng(SEED).normal(size=(side * side, count)))[0].T
    blocks = photo_blocks().astype(np.float64)
    measured = blocks @ rows.T
    guess = np.linalg.solve(measured.T @ measured + 1e-3 * np.eye(count), measured.T @ blocks).T
    return BlockSampling(rows, np.asarray(guess, np.float64))


def line_mask(side: int, share: float) -> Real:
    """(side, side) of 0 and 1: as many lines through the middle as measure ``share`` of the numbers."""
    for lines in range(1, 4 * side):
        angles = np.arange(lines) * np.pi / lines
        offsets = np.arange(-side, side + 1)[:, None] / 2
        rows, columns = (np.rint(offsets * turn).astype(int) for turn in (np.sin(angles), np.cos(angles)))
        inside = (abs(rows) < side / 2) & (abs(columns) < side / 2)
        mask = np.zeros((side, side))
        mask[rows[inside] % side, columns[inside] % side] = 1
        if mask.mean() >= share:
            return mask
    raise ValueError(f"{share} of {side} x {side} numbers is more than lines measure")
