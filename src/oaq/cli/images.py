"""The flags that say how photos are prepared."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from fractions import Fraction

from oaq.data.preprocess import FILTERS, FITS, Preprocess


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
    group.add_argument(
        "--fit", choices=FITS, help="crop the centre, stretch both sides, or pad with grey (default crop)"
    )


def preprocess(arguments: argparse.Namespace, recorded: Preprocess | None, size: tuple[int, int]) -> Preprocess:
    """Flags over what the file recorded over defaults."""
    base = recorded or Preprocess(size)
    overrides = {
        name: getattr(arguments, name)
        for name in ("size", "resize", "mean", "std", "interpolation", "fit")
        if getattr(arguments, name) is not None
    }
    return Preprocess(**{**asdict(base), **overrides})


def _size(text: str) -> tuple[int, int]:
    rows, _, columns = text.lower().partition("x")
    return int(rows), int(columns or rows)


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(Fraction(part.strip())) for part in text.split(","))
