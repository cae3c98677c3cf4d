"""Files to float32 batches: photos, .npy, .npz; the preprocessing a network was trained with, as a value."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oaq.errors import CalibrationError, FormatError, ProgramError

Batch = NDArray[np.float32]
PHOTOS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm"})
ARRAYS = frozenset({".npy", ".npz"})
FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")
KEY = "preprocess"
"""Where an ``IntProgram``'s metadata keep the preprocessing, as JSON."""


@dataclass(frozen=True)
class Preprocess:
    """Photo to float: RGB, shorter side to ``resize``, centre crop to ``size``, (pixel / 255 - mean) / std.

    Attributes:
        size: rows and columns the network takes.
        resize: length of the shorter side before cropping; None crops the largest centre square and scales that.
        mean, std: per channel, of pixels in [0, 1].
        interpolation: one of ``FILTERS``.
    """

    size: tuple[int, int]
    resize: int | None = None
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if min(self.size) < 1 or (self.resize is not None and self.resize < max(self.size)):
            raise FormatError(f"--size {self.size} is positive and --resize {self.resize} is not smaller")
        if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3) or min(self.std) <= 0:
            raise FormatError(f"--mean {self.mean} and --std {self.std} are 1 or 3 numbers each, std positive")
        if self.interpolation not in FILTERS:
            raise FormatError(f"--interpolation is one of {', '.join(FILTERS)}, not {self.interpolation!r}")

    def to_json(self) -> str:
        """For a program's metadata."""
        return json.dumps(asdict(self))

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Preprocess | None:
        """What ``oaq quantize`` recorded, if anything.

        Raises:
            FormatError: the record is damaged.
        """
        if KEY not in metadata:
            return None
        try:
            kept = json.loads(metadata[KEY])
            kept.update({key: tuple(kept[key]) for key in ("size", "mean", "std")})
            return cls(**kept)
        except (ValueError, TypeError, KeyError) as error:
            raise FormatError(f"the file's record of its preprocessing is damaged: {error}") from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The preprocessing flags."""
    group = parser.add_argument_group(
        "preprocessing of photos", "pixels are scaled to 0..1 first; fractions such as 127/255 are understood"
    )
    group.add_argument("--size", type=_size, metavar="N|HxW", help="rows and columns the network takes (default 224)")
    group.add_argument(
        "--resize", type=int, metavar="N", help="shorter side before the centre crop (default: crop first)"
    )
    group.add_argument("--mean", type=_numbers, metavar="R,G,B", help="default 0.485,0.456,0.406 (ImageNet)")
    group.add_argument("--std", type=_numbers, metavar="R,G,B", help="default 0.229,0.224,0.225 (ImageNet)")
    group.add_argument("--interpolation", choices=FILTERS, help="default bilinear")


def preprocess(arguments: argparse.Namespace, recorded: Preprocess | None, size: tuple[int, int]) -> Preprocess:
    """Flags over what the file recorded over defaults."""
    base = recorded or Preprocess(size)
    given = {
        name: getattr(arguments, name)
        for name in ("size", "resize", "mean", "std", "interpolation")
        if getattr(arguments, name) is not None
    }
    return Preprocess(**{**asdict(base), **given})


def files(place: Path) -> list[Path]:
    """The readable files below a folder in name order, or the one file given.

    Raises:
        FormatError: nothing is there.
        CalibrationError: the folder holds no photo and no array.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise FormatError(f"{place}: no such file or folder")
    found = sorted(p for p in place.rglob("*") if p.suffix.lower() in PHOTOS | ARRAYS and p.is_file())
    if not found:
        wanted = " ".join(sorted(PHOTOS | ARRAYS))
        raise CalibrationError(f"{place}: holds no photo and no array (looked for {wanted}, folders included)")
    return found


def read(path: Path, how: Preprocess, *, channels_last: bool = False) -> Batch:
    """One file as (n, C, H, W) float32: a photo is one sample, an array as many as its first axis says.

    Arrays are taken as they are, already preprocessed: (C, H, W) or (n, C, H, W). ``channels_last`` makes photos
    (n, H, W, C).

    Raises:
        FormatError: the file does not decode, or holds no such array.
    """
    if path.suffix.lower() in ARRAYS:
        return _read_array(path)
    photo = _read_photo(path, how)
    return np.ascontiguousarray(photo.transpose(1, 2, 0) if channels_last else photo)[None]


class Batches:
    """Files as batches, read again at every pass, so that memory holds one batch only."""

    def __init__(self, paths: Sequence[Path], how: Preprocess, size: int, *, channels_last: bool = False) -> None:
        self.paths, self._how, self._size, self._last = list(paths), how, size, channels_last

    def __len__(self) -> int:
        return -(-len(self.paths) // self._size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.paths), self._size):
            some = self.paths[start : start + self._size]
            parts = [read(path, self._how, channels_last=self._last) for path in some]
            shapes = {part.shape[1:] for part in parts}
            if len(shapes) > 1:
                names = ", ".join(
                    f"{p.name} {part.shape[1:]}" for p, part in zip(self.paths[start:], parts, strict=False)
                )
                raise CalibrationError(f"the samples differ in shape: {names}")
            yield np.concatenate(parts)


def _read_array(path: Path) -> Batch:
    try:
        arrays = _arrays(path)
    except Exception as error:  # numpy lets zipfile's, zlib's and tokenize's errors through
        raise FormatError(f"{path}: is not a readable NumPy file: {error}") from error
    if len(arrays) != 1:
        raise FormatError(f"{path}: holds {len(arrays)} arrays ({', '.join(arrays)}); one is expected")
    (array,) = arrays.values()
    if array.ndim not in (1, 2, 3, 4) or array.size == 0 or array.dtype.kind not in "fiu":
        raise FormatError(
            f"{path}: a sample is numbers of shape (C, H, W) or (n, C, H, W), not {array.dtype} {array.shape}"
        )
    return np.ascontiguousarray(array if array.ndim in (2, 4) else array[None], np.float32)


def _arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    with path.open("rb") as file:  # numpy leaves a file it opened itself open when it does not decode
        loaded = np.load(file, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            return {"": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}


def _read_photo(path: Path, how: Preprocess) -> Batch:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            photo = ImageOps.exif_transpose(opened).convert("RGB" if len(how.mean) == 3 else "L")
    except FileNotFoundError as error:
        raise FormatError(f"{path}: no such file") from error
    except Exception as error:  # Pillow raises whatever its decoders raise
        raise FormatError(f"{path}: is not a photo that decodes: {error}. Remove it or convert it") from error
    pixels = np.asarray(
        _fit(photo, how, getattr(Image.Resampling, how.interpolation.upper())), np.float32
    ) / np.float32(255)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    scaled = (pixels - np.array(how.mean, np.float32)) / np.array(how.std, np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1), np.float32)


def _fit(photo, how: Preprocess, kernel):  # noqa: ANN001, ANN202  (Pillow is optional: its types are not here)
    rows, columns = how.size
    if how.resize is None:
        scale = max(columns / photo.width, rows / photo.height)
        width, height = columns / scale, rows / scale
        left, top = (photo.width - width) / 2, (photo.height - height) / 2
        return photo.resize((columns, rows), kernel, box=(left, top, left + width, top + height))
    scale = how.resize / min(photo.size)
    sized = photo.resize((max(columns, round(photo.width * scale)), max(rows, round(photo.height * scale))), kernel)
    left, top = (sized.width - columns) // 2, (sized.height - rows) // 2
    return sized.crop((left, top, left + columns, top + rows))


def _size(text: str) -> tuple[int, int]:
    rows, _, columns = text.lower().partition("x")
    return int(rows), int(columns or rows)


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(Fraction(part.strip())) for part in text.split(","))


def check_shape(batch: Batch, wanted: tuple[int, ...], where: object) -> None:
    """One sample's shape against the program's input.

    Raises:
        ProgramError: they differ.
    """
    if batch.shape[1:] != wanted:
        raise ProgramError(f"{where}: a sample has the shape {batch.shape[1:]}, the network takes {wanted}")
