"""In which order callers lay out a tensor's axes: what the metadata of a network say.

Programs hold channels last, float graphs channels first. Callers keep the order of the file or module that they come
from. ``metadata["input_layout"]`` says which it is for every tensor that a caller sees; ``metadata["layout:NAME"]``
says it of one tensor where that differs: a network may read (C, L) and return (T, C).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from oaq.errors import ProgramError

Layout = Literal["NCHW", "NHWC"]
"""Channels before all positions, or after them, whatever the number of axes: (C, L), (C, H, W); (T, C), (H, W, C)."""
LAYOUT: Final = "input_layout"
LAYOUTS: Final = ("NCHW", "NHWC")


def layout_key(tensor: str) -> str:
    """Key of the metadata that says a layout of one tensor alone."""
    return f"layout:{tensor}"


def layout_of(metadata: Mapping[str, str], tensor: str, default: Layout = "NHWC") -> Layout:
    """How callers lay out ``tensor``; ``default`` where the metadata are silent.

    Raises:
        ProgramError: the metadata say something else than NCHW or NHWC.
    """
    key = layout_key(tensor) if layout_key(tensor) in metadata else LAYOUT
    layout = metadata.get(key, default)
    if layout == "NCHW":
        return "NCHW"
    if layout == "NHWC":
        return "NHWC"
    raise ProgramError(f"metadata {key!r} is {layout!r}; it is NCHW or NHWC")


def channels_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(..., C) as (C, ...); (C,) as it is."""
    return (*shape[-1:], *shape[:-1])


def channels_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(C, ...) as (..., C); (C,) as it is."""
    return (*shape[1:], *shape[:1])
