"""Photos in the ImageFolder layout, one folder per class, read as they are needed by any number of workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from oaq.data.batches import PHOTOS, read
from oaq.data.preprocess import Preprocess
from oaq.errors import FormatError, OaqError

LEAST_AREA = 0.35
"""Smallest part of a photo that a random crop takes."""
RATIOS = (3 / 4, 4 / 3)
LabelledBatch = tuple[torch.Tensor, torch.Tensor]


class FolderError(OaqError):
    """A folder of photos is missing, empty, or not laid out as one folder per class."""


@dataclass(frozen=True, eq=False)
class Photos:
    """Photos with labels.

    Attributes:
        paths: of the files.
        labels: of each.
        how: preprocessing.
        workers: processes that read; what they give does not depend on their number.
    """

    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    how: Preprocess
    workers: int = 0

    def __len__(self) -> int:
        return len(self.paths)

    def batches(self, size: int) -> Iterator[LabelledBatch]:
        """All in order, cropped at the centre."""
        order = torch.arange(len(self)).split(size)
        yield from self._read([indices.tolist() for indices in order], None)

    def epoch(
        self, size: int, seed: int, number: int, *, skip: int = 0, share: tuple[int, int] = (0, 1)
    ) -> Iterator[LabelledBatch]:
        """One epoch in random order, randomly cropped and mirrored; depends on the arguments only.

        Args:
            size: of a batch, over all processes; a rest shorter than that is left out.
            seed: of the run.
            number: of the epoch.
            skip: batches to leave out at the beginning; none of their files is read.
            share: (rank, processes): which part of each batch.
        """
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        order = torch.randperm(len(self), generator=generator)[: len(self) // size * size]
        rank, processes = share
        batches = [batch[rank::processes].tolist() for batch in order.split(size)[skip:]]
        yield from self._read(batches, (seed, number))

    def _read(self, batches: list[list[int]], augment: tuple[int, int] | None) -> Iterator[LabelledBatch]:
        loader = DataLoader(
            _Files(self, augment), batch_sampler=batches, num_workers=self.workers, collate_fn=_collated
        )
        for batch in loader:
            if isinstance(batch, str):
                raise FormatError(batch)
            yield batch


class _Files(Dataset[Any]):
    """One photo at a time; a file that does not decode is its message, for no exception leaves a worker whole."""

    def __init__(self, photos: Photos, augment: tuple[int, int] | None) -> None:
        self._photos, self._augment = photos, augment

    def __getitem__(self, index: int) -> tuple[np.ndarray, int] | str:
        photos = self._photos
        try:
            if self._augment is None:
                pixels = read(photos.paths[index], photos.how)[0]
            else:
                rng = np.random.default_rng((*self._augment, index))
                pixels = _cropped(photos.paths[index], photos.how, rng)
        except FormatError as error:
            return str(error)
        return pixels, photos.labels[index]


def _collated(items: Sequence[tuple[np.ndarray, int] | str]) -> LabelledBatch | str:
    wrong = [item for item in items if isinstance(item, str)]
    if wrong:
        return wrong[0]
    pixels, labels = zip(*items, strict=True)
    return torch.from_numpy(np.stack(pixels)), torch.tensor(labels)


def _cropped(path: Path, preprocess: Preprocess, rng: np.random.Generator) -> np.ndarray:
    """A random part of a photo, scaled to the network's size and mirrored at random."""
    from PIL import Image

    try:
        with Image.open(path) as opened:
            photo = opened.convert("RGB")
    except Exception as error:  # Pillow raises whatever its decoders raise
        raise FormatError(f"{path}: is not a photo that decodes: {error}. Remove it or convert it") from error
    area = photo.width * photo.height * rng.uniform(LEAST_AREA, 1.0)
    ratio = float(np.exp(rng.uniform(*np.log(RATIOS))))
    width, height = min((area * ratio) ** 0.5, photo.width), min((area / ratio) ** 0.5, photo.height)
    x_offset, top = rng.uniform(0, photo.width - width), rng.uniform(0, photo.height - height)
    kernel = getattr(Image.Resampling, preprocess.interpolation.upper())
    rows, columns = preprocess.size
    sized = photo.resize((columns, rows), kernel, box=(x_offset, top, x_offset + width, top + height))
    pixels = np.asarray(sized, np.float32) / np.float32(255)
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    scaled = (pixels - np.array(preprocess.mean, np.float32)) / np.array(preprocess.std, np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1), np.float32)


def classes_of(place: Path) -> dict[str, int]:
    """Class numbers by folder name: the names themselves if all are numbers, else their place in name order.

    Raises:
        FolderError: there are no folders.
    """
    if not place.is_dir():
        raise FolderError(f"{place}: no such folder; the layout is {place.name}/CLASS/PHOTO")
    names = sorted(path.name for path in place.iterdir() if path.is_dir())
    if not names:
        raise FolderError(f"{place}: does not hold folders; the layout is {place.name}/CLASS/PHOTO")
    if all(name.isdecimal() for name in names):
        return {name: int(name) for name in names}
    return {name: index for index, name in enumerate(names)}


def photos_below(place: Path, classes: dict[str, int], preprocess: Preprocess, workers: int = 0) -> Photos:
    """The photos of a folder of folders.

    Raises:
        FolderError: a folder is of no class in ``classes``, or there are no photos.
    """
    unknown = [name for name in classes_of(place) if name not in classes]
    if unknown:
        raise FolderError(f"{place}: {', '.join(unknown[:5])} are not among the classes of the training photos")
    photos = [
        (path, number)
        for name, number in classes.items()
        for path in sorted((place / name).rglob("*"))
        if path.suffix.lower() in PHOTOS and path.is_file()
    ]
    if not photos:
        raise FolderError(f"{place}: does not hold a photo (looked for {' '.join(sorted(PHOTOS))})")
    return Photos(tuple(path for path, _ in photos), tuple(number for _, number in photos), preprocess, workers)
