"""Sizes that an ONNX file leaves open: ``--shape``, those of a sample, or sensible ones."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from oaq.errors import ConfigError, OaqError, ProgramError
from oaq.mixed.program import Port
from oaq.terminal import say

ROWS: Final = 224
"""Rows and columns of an image."""
LENGTH: Final = 128
"""Any other size: tokens of a text, samples of a line."""


def add_shape(parser: argparse.ArgumentParser) -> None:
    """--shape."""
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="NAME=N",
        help="a size that an ONNX file leaves open, by its name in the file (--shape length=64), or all of an input "
        f"(--shape image=1x3x480x640); repeat for several (default: --batch, {ROWS} rows and columns, {LENGTH} else)",
    )


def sizes_of(
    inputs: Sequence[Port],
    requested: Sequence[str] = (),
    batch: int = 1,
    sample: Mapping[str, tuple[int, ...]] | None = None,
    where: str | Path = "model",
) -> dict[str, tuple[int, ...]]:
    """Every size of every input whose rank is known.

    Args:
        inputs: of the file.
        requested: ``--shape``, each NAME=N or INPUT=NxN...
        batch: for axes 0 that are left open.
        sample: shapes of arrays at hand, by input: they go before what is requested.
        where: the file, for messages.

    Raises:
        ConfigError: a request is none, names nothing that is open, or contradicts the file.
    """
    named, whole = _requests(inputs, requested, where)
    chosen: dict[str, int] = {}
    shapes = {}
    for port in inputs:
        if port.shape is None:
            continue
        if sample is not None and port.name in sample and len(sample[port.name]) == len(port.shape):
            shapes[port.name] = tuple(sample[port.name])
        elif port.name in whole:
            shapes[port.name] = whole[port.name]
        else:
            sizes = []
            for axis, size in enumerate(port.shape):
                if isinstance(size, int):
                    sizes.append(size)
                elif size in named:
                    sizes.append(named[size])
                elif axis == 0:
                    sizes.append(batch)
                else:
                    sizes.append(ROWS if len(port.shape) == 4 else LENGTH)
                    chosen[size or f"axis {axis} of {port.name}"] = sizes[-1]
            shapes[port.name] = tuple(sizes)
    if chosen:
        text = ", ".join(f"{name} = {size}" for name, size in chosen.items())
        example = next((name for name in chosen if " " not in name), f"{inputs[0].name}=1x...")
        say.warn(f"{where}: leaves sizes open; taken: {text} (--shape {example.partition('=')[0]}=... takes others)")
    return shapes


def _requests(
    inputs: Sequence[Port], requested: Sequence[str], where: str | Path
) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
    named: dict[str, int] = {}
    whole: dict[str, tuple[int, ...]] = {}
    open_names = [size for port in inputs for size in port.shape or () if isinstance(size, str)]
    ports = {port.name: port for port in inputs}
    for text in requested:
        name, equals, value = text.rpartition("=")
        try:
            numbers = tuple(int(number) for number in value.lower().split("x"))
        except ValueError:
            numbers = ()
        if not equals or not numbers or min(numbers) < 1:
            raise ConfigError(f"--shape {text}: write NAME=128, or INPUT=1x3x480x640, in numbers of at least 1")
        if name in ports and ports[name].shape is not None:
            whole[name] = _fitting(ports[name], numbers, text)
        elif name in open_names and len(numbers) == 1:
            named[name] = numbers[0]
        else:
            open_ones = ", ".join(dict.fromkeys(open_names)) or "none by name"
            raise ConfigError(
                f"--shape {text}: {where} has no open size and no input of that name; open sizes: {open_ones}; inputs: "
                f"{', '.join(ports)}"
            )
    return named, whole


def _fitting(port: Port, numbers: tuple[int, ...], text: str) -> tuple[int, ...]:
    sizes = port.shape or ()
    fits = len(sizes) == len(numbers) and all(
        not isinstance(size, int) or size == number for size, number in zip(sizes, numbers, strict=True)
    )
    if not fits:
        shown = "x".join("?" if size is None else str(size) for size in sizes)
        raise ConfigError(f"--shape {text}: the file has {port.name!r} as {shown}")
    return numbers


def explained(error: OaqError, inputs: Sequence[Port], shapes: Mapping[str, tuple[int, ...]]) -> OaqError:
    """An error of a file at sizes that were chosen for it, with how to choose others; of fixed sizes as it is."""
    is_open = any(not isinstance(size, int) for port in inputs for size in (port.shape or ())[1:])
    if not is_open or "--shape" in str(error):
        return error
    return type(error)(f"{error} (at {shapes_text(shapes)}; --shape takes other sizes)")


def shapes_text(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Shapes for a message.

    >>> shapes_text({"ids": (1, 128), "image": (1, 3, 8, 8)})
    'ids 1x128, image 1x3x8x8'
    """
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())


def shapes_of(feed: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """Shapes of arrays by name."""
    return {name: array.shape for name, array in feed.items()}


def refuse_shape(requested: Sequence[str], path: Path) -> None:
    """Say that a file leaves no size open that could be chosen.

    Raises:
        ProgramError: one was asked for.
    """
    if requested:
        raise ProgramError(f"{path}: --shape {requested[0]}: only ONNX files leave sizes open")
