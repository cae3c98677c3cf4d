"""What is measured and scored: MR slices with a mask, and blocks of photos with a matrix, from the folder of --data.

``DIR/mri`` holds ``brain_test_NN.png`` and ``mask_NN.mat``, ``DIR/blocks`` the photos of Set11 and
``phi_0_25_1089.mat`` with ``Initialization_Matrix_25.mat``, as their authors publish them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.data.photos import read_pixels
from oaq.errors import FormatError
from recipes.qpan.fourier import Pair, Real, sample_spectrum, zero_filled
from recipes.qpan.matfiles import read_arrays

SIDE: Final = 33
"""Rows and columns of a block."""
SET11: Final = (
    *("Monarch", "Parrots", "barbara", "boats", "cameraman", "fingerprint"),
    *("flinstones", "foreman", "house", "lena256", "peppers256"),
)


SLICES: Final = tuple(range(1, 51))
"""Numbers of the test slices."""


@dataclass(frozen=True, eq=False)
class Slice:
    """A slice of a head, and what was measured of it.

    Attributes:
        name: of its file.
        image: (rows, columns) in 0..1.
        spectrum: what was measured.
        start: (rows, columns) zero-filled.
    """

    name: str
    image: Real
    spectrum: Pair
    start: Real


@dataclass(frozen=True, eq=False)
class Blocks:
    """A photo in blocks, and what was measured of them.

    Attributes:
        name: of its file.
        image: (rows, columns) in 0..1.
        measured: (n, m) numbers of each block.
        start: (n, side * side) first guess of each.
    """

    name: str
    image: Real
    measured: Real
    start: Real


@dataclass(frozen=True, eq=False)
class BlockSampling:
    """How blocks are measured.

    Attributes:
        matrix: (m, side * side).
        guess: (side * side, m): the linear map from measurements to a first guess.
    """

    matrix: Real
    guess: Real


def read_grey(path: Path) -> Real:
    """(rows, columns) brightness in 0..1 of a picture; colours by BT.601.

    Raises:
        FormatError: it does not decode.
    """
    from PIL import Image

    return np.asarray(Image.fromarray(read_pixels(path)).convert("L"), np.float64) / 255


def read_mask(path: Path) -> Real:
    """(rows, columns) of 0 and 1, lowest frequencies in the corners.

    Raises:
        FormatError: the file holds no such matrix.
    """
    mask = _array(path, "mask_matrix").astype(np.float64)
    if mask.ndim != 2 or not np.isin(mask, (0, 1)).all():
        raise FormatError(f"{path}: mask_matrix is not a matrix of 0 and 1")
    return mask


def measured_slice(name: str, image: Real, mask: Real) -> Slice:
    """A slice and its measurements.

    Raises:
        FormatError: the mask is of another size.
    """
    if image.shape != mask.shape:
        raise FormatError(f"{name}: {image.shape[0]} x {image.shape[1]} pixels; the mask has {mask.shape}")
    spectrum = sample_spectrum(image, mask)
    return Slice(name, image, spectrum, zero_filled(spectrum))


def read_slices(folder: Path, mask: Real, numbers: Sequence[int] = SLICES) -> list[Slice]:
    """The numbered test slices, measured.

    Raises:
        FormatError: one is missing, or does not decode.
    """
    paths = [folder / f"brain_test_{number:02}.png" for number in numbers]
    return [measured_slice(path.stem, read_grey(path), mask) for path in paths]


def read_block_sampling(folder: Path) -> BlockSampling:
    """The matrix of 25 % and its first guess.

    Raises:
        FormatError: they are missing, or do not fit each other.
    """
    matrix = _array(folder / "phi_0_25_1089.mat", "phi").astype(np.float64)
    guess = _array(folder / "Initialization_Matrix_25.mat", "Qinit").astype(np.float64)
    if matrix.shape[1:] != (SIDE * SIDE,) or guess.shape != matrix.shape[::-1]:
        raise FormatError(f"{folder}: phi is {matrix.shape} and Qinit {guess.shape}; (m, {SIDE * SIDE}) is expected")
    return BlockSampling(matrix, guess)


def measured_blocks(name: str, image: Real, sampling: BlockSampling) -> Blocks:
    """A photo, cut into blocks and measured."""
    measured = cut(image) @ sampling.matrix.T
    return Blocks(name, image, measured, measured @ sampling.guess.T)


def read_set11(folder: Path, sampling: BlockSampling) -> list[Blocks]:
    """The eleven photos of Set11, measured.

    Raises:
        FormatError: one is missing, or does not decode.
    """
    return [measured_blocks(path.stem, read_grey(path), sampling) for path in set11(folder)]


def set11(folder: Path) -> list[Path]:
    """Where the photos of Set11 lie."""
    return [folder / f"{name}.tif" for name in SET11]


def cut(image: Real) -> Real:
    """(n, side * side) blocks of an image, row by row; the right and the lower edge are filled up by black."""
    rows, columns = image.shape
    padded = np.pad(image, ((0, -rows % SIDE), (0, -columns % SIDE)))
    down, across = padded.shape[0] // SIDE, padded.shape[1] // SIDE
    return padded.reshape(down, SIDE, across, SIDE).swapaxes(1, 2).reshape(-1, SIDE * SIDE)


def join(blocks: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """(rows, columns) of ``cut``'s blocks."""
    down, across = -(-shape[0] // SIDE), -(-shape[1] // SIDE)
    padded = blocks.reshape(down, across, SIDE, SIDE).swapaxes(1, 2).reshape(down * SIDE, across * SIDE)
    return padded[: shape[0], : shape[1]]


def _array(path: Path, name: str) -> NDArray[Any]:
    arrays = read_arrays(path)
    if name not in arrays:
        raise FormatError(f"{path}: holds {', '.join(arrays) or 'nothing'}, not {name}")
    if not np.isfinite(arrays[name]).all():
        raise FormatError(f"{path}: {name} has entries that are not finite")
    return arrays[name]
