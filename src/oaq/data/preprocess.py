"""How a network takes its photos: a value that a program's metadata keep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Final

from oaq.errors import FormatError

FILTERS: Final = ("nearest", "bilinear", "bicubic", "lanczos")
FITS: Final = ("crop", "stretch", "pad")
PAD: Final = 114
"""Grey level of what "pad" leaves free, 0..255: the field's habit."""
LARGEST_SIDE: Final = 16384
"""Rows or columns of a photo: files record them, and a larger one would only ask for memory."""
KEY: Final = "preprocess"
"""Where an ``IntProgram``'s metadata keep the preprocessing, as JSON."""


@dataclass(frozen=True)
class Preprocess:
    """Photo to float: RGB, fitted into ``size``, (pixel / 255 - mean) / std.

    Attributes:
        size: rows and columns the network takes.
        resize: length of the shorter side before cropping; None crops the largest centre square and scales that.
        mean, std: per channel, of pixels in [0, 1].
        interpolation: one of ``FILTERS``.
        fit: "crop" scales the shorter side and cuts out the centre, "stretch" scales both sides on their own, "pad"
            scales the longer side and fills the rest with grey.
    """

    size: tuple[int, int]
    resize: int | None = None
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"
    fit: str = "crop"

    def __post_init__(self) -> None:
        sides = (*self.size, *(() if self.resize is None else (self.resize,)))
        if len(self.size) != 2 or not all(type(side) is int and 1 <= side <= LARGEST_SIDE for side in sides):
            raise FormatError(f"size {self.size} and resize {self.resize} are whole numbers from 1 to {LARGEST_SIDE}")
        if self.resize is not None and self.resize < max(self.size):
            raise FormatError(f"resize {self.resize} is at least the larger side of size {self.size}")
        if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3):
            raise FormatError(f"mean {self.mean} and std {self.std} are 1 or 3 numbers each")
        if not all(isfinite(value) for value in (*self.mean, *self.std)) or min(self.std) <= 0:
            raise FormatError(f"mean {self.mean} and std {self.std} are finite, std is positive")
        if self.interpolation not in FILTERS:
            raise FormatError(f"interpolation is one of {', '.join(FILTERS)}, not {self.interpolation!r}")
        if self.fit not in FITS:
            raise FormatError(f"fit is one of {', '.join(FITS)}, not {self.fit!r}")
        if self.resize is not None and self.fit != "crop":
            raise FormatError(f"resize {self.resize} is of photos that are cropped; with fit {self.fit!r} leave it out")

    def to_json(self) -> str:
        """JSON for a program's metadata; "crop", which was all there was once, is not written."""
        return json.dumps({key: value for key, value in asdict(self).items() if (key, value) != ("fit", "crop")})

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Preprocess | None:
        """The preprocessing that ``oaq quantize`` recorded; None if there is no record.

        Raises:
            FormatError: the record is damaged.
        """
        if KEY not in metadata:
            return None
        try:
            record = json.loads(metadata[KEY])
            record.update({key: tuple(record[key]) for key in ("size", "mean", "std")})
            return cls(**record)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, FormatError) as error:
            raise FormatError(f"the file's record of its preprocessing is damaged: {error}") from error
