"""Files to float32 batches: photos, ``.npy``, ``.npz``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from oaq.data.arrays import read_array
from oaq.data.photos import read_photo
from oaq.data.preprocess import Preprocess
from oaq.errors import CalibrationError, FormatError, ProgramError

Batch: TypeAlias = NDArray[np.float32]
PHOTOS: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm"})
ARRAYS: Final = frozenset({".npy", ".npz"})


def files(place: str | Path) -> list[Path]:
    """The readable files below a folder in name order, or the file itself.

    Raises:
        FormatError: nothing is there.
        CalibrationError: the folder holds neither a photo nor an array.
    """
    place = Path(place)
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise FormatError(f"{place}: no such file or folder")
    suffixes = PHOTOS | ARRAYS
    paths = sorted(path for path in place.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    if not paths:
        raise CalibrationError(
            f"{place}: holds neither a photo nor an array (looked for {' '.join(sorted(suffixes))}, folders included)"
        )
    return paths


def read(
    path: str | Path,
    preprocess: Preprocess,
    *,
    channels_last: bool = False,
    axes: int | None = None,
    keep_integers: bool = False,
) -> Batch:
    """One file as (n, C, H, W) float32: a photo is one sample, an array as many as its first axis says.

    Arrays are taken as they are, already preprocessed: (C, H, W) or (n, C, H, W). ``channels_last`` makes photos
    (n, H, W, C). ``axes`` is how many axes a sample has, 2 for (C, L) and (T, C): without it, an array of three axes is
    one image. ``keep_integers`` leaves arrays of integers what they are.

    Raises:
        FormatError: the file does not decode, or holds no such array.
    """
    path = Path(path)
    if path.suffix.lower() in ARRAYS:
        return read_array(path, axes, keep_integers=keep_integers)
    photo = read_photo(path, preprocess)
    return np.ascontiguousarray(photo.transpose(1, 2, 0) if channels_last else photo)[None]


AT_ONCE: Final = 4
"""Files decoded at once: decoders let go of the interpreter."""


class Batches:
    """Files as batches, read again at every pass, so that memory holds one batch only.

    Args:
        source: a folder (see ``files``), one file, or the files themselves.
        preprocess: how photos are prepared.
        size: files per batch.
        limit: at most so many files; None is all of them.
        channels_last: photos as (n, H, W, C).
        axes: of a sample in arrays; None takes (n, C), (C, H, W) and (n, C, H, W).

    Raises:
        FormatError, CalibrationError: nothing is there to read (see ``files``), or ``size`` or ``limit`` is
            less than 1.

    >>> len(Batches(["a.jpg", "b.jpg", "c.jpg"], Preprocess((224, 224)), size=2))
    2
    """

    def __init__(
        self,
        source: str | Path | Sequence[str | Path],
        preprocess: Preprocess,
        size: int = 8,
        *,
        limit: int | None = None,
        channels_last: bool = False,
        axes: int | None = None,
    ) -> None:
        if size < 1 or (limit is not None and limit < 1):
            raise CalibrationError(f"size {size} and limit {limit} are at least 1")
        paths = files(source) if isinstance(source, str | Path) else [Path(path) for path in source]
        self.paths = paths[:limit]
        self._preprocess, self._size, self._channels_last, self._axes = preprocess, size, channels_last, axes

    def __len__(self) -> int:
        return -(-len(self.paths) // self._size)

    def __iter__(self) -> Iterator[Batch]:
        with ThreadPoolExecutor(AT_ONCE, "oaq-photos") as pool:
            for start in range(0, len(self.paths), self._size):
                paths = self.paths[start : start + self._size]
                parts = list(pool.map(self._read, paths))
                if len({part.shape[1:] for part in parts}) > 1:
                    shapes = ", ".join(f"{path.name} {part.shape[1:]}" for path, part in zip(paths, parts, strict=True))
                    raise CalibrationError(f"the samples differ in shape: {shapes}")
                yield np.concatenate(parts)

    def _read(self, path: Path) -> Batch:
        return read(path, self._preprocess, channels_last=self._channels_last, axes=self._axes)


def check_shape(batch: Batch, expected: tuple[int, ...], where: object) -> None:
    """Compare one sample's shape with the program's input.

    Raises:
        ProgramError: they differ.
    """
    if batch.shape[1:] != expected:
        raise ProgramError(f"{where}: a sample has the shape {batch.shape[1:]}, the network takes {expected}")
