"""An ONNX file of which parts stay in float, for verbs that prove, time or report its integers."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.cli.sizes import explained, refuse_shape, sizes_of
from oaq.dynamic import DynamicLayer
from oaq.errors import OaqError, UnsupportedOp
from oaq.mixed.inference import is_integer_throughout, program_of_file
from oaq.mixed.load import mixed_program, open_axes, read_onnx
from oaq.mixed.program import DynamicBody, IntegerBody, MixedProgram, Port
from oaq.program.int_program import IntProgram

SPREAD: Final = 2.0
"""Reals that nothing says more about are drawn between minus and plus this."""


@dataclass(frozen=True, eq=False)
class MixedFile:
    """A file and its regions.

    Attributes:
        path: of the file.
        program: at ``shapes``.
        shapes: of every input.
        is_open: the file leaves sizes beyond the batch open.
    """

    path: Path
    program: MixedProgram
    shapes: Mapping[str, tuple[int, ...]]
    is_open: bool = False

    @property
    def parts(self) -> dict[str, IntProgram]:
        """The programs of its integer regions by the regions' names."""
        return {
            region.name: region.body.program for region in self.program.regions if isinstance(region.body, IntegerBody)
        }

    @property
    def dynamic(self) -> dict[str, tuple[DynamicLayer, ...]]:
        """The layers of its dynamic regions by the regions' names."""
        return {
            region.name: tuple(layer for part in region.body.parts for layer in part.layers)
            for region in self.program.regions
            if isinstance(region.body, DynamicBody)
        }

    def sample(self, integers: int = 1) -> dict[str, NDArray[Any]]:
        """An array per input, the same every time: reals over the range that integers are made of, bytes of all.

        Wider integers, which index something or mask it, are ``integers`` throughout.
        """
        rng = np.random.default_rng(0)
        return {
            port.name: _random_array(self.program, port, self.shapes.get(port.name, ()), (rng, integers))
            for port in self.program.inputs
        }


def open_mixed(path: Path, arguments: argparse.Namespace) -> MixedFile | None:
    """An ONNX or TFLite file with float parts or open sizes; None for files that are integers from end to end.

    Args:
        path: of the file.
        arguments: ``--batch`` and ``--shape``.

    Raises:
        FormatError: it is missing or damaged.
        UnsupportedOp: it holds no integers.
    """
    if path.suffix.lower() not in (".onnx", ".tflite"):
        refuse_shape(arguments.shape, path)
        return None
    file = open_regions(path, arguments)
    return None if is_integer_throughout(file.program) and not file.is_open else file


def open_regions(
    path: Path, arguments: argparse.Namespace, sample: Mapping[str, tuple[int, ...]] | None = None
) -> MixedFile:
    """``open_mixed`` of any such file.

    Args:
        path: of the file.
        arguments: ``--shape``, and ``--batch`` where the verb has it.
        sample: shapes of arrays at hand by input; they decide sizes that the file leaves open.
    """
    batch = getattr(arguments, "batch", 1)
    if path.suffix.lower() == ".tflite":
        refuse_shape(arguments.shape, path)
        program = program_of_file(path)
        return MixedFile(path, program, {port.name: _sizes(port, batch) for port in program.inputs})
    file = read_onnx(path)
    shapes = sizes_of(file.inputs, arguments.shape, batch, sample, path)
    is_open = any(any(axes) for axes in open_axes(file).values())
    try:
        program = mixed_program(file, {name: shape for name, shape in shapes.items() if shape})
    except OaqError as error:
        raise explained(error, file.inputs, shapes) from error
    if not program.integers:
        error = UnsupportedOp(
            f"{path}: no part of it is integers, so there is nothing to prove: {program.float_reason}"
        )
        raise explained(error, file.inputs, shapes)
    return MixedFile(path, program, shapes, is_open)


def _sizes(port: Port, batch: int) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else batch for size in port.shape or ())


def _random_array(
    program: MixedProgram, port: Port, sizes: tuple[int, ...], source: tuple[np.random.Generator, int]
) -> NDArray[Any]:
    rng, integer = source
    dtype = np.dtype(port.dtype or "float32")
    if dtype.kind in "iu":
        if dtype.itemsize > 1:
            return np.full(sizes, integer, dtype)
        ends = np.iinfo(dtype)
        return rng.integers(ends.min, ends.max + 1, sizes).astype(dtype)
    if dtype.kind == "b":
        return np.full(sizes, bool(integer))
    for body in (region.body for region in program.regions):
        for edge in body.entries if isinstance(body, IntegerBody) else ():
            if edge.name == port.name:
                spec = body.program.tensors[edge.tensor]  # type: ignore[union-attr]
                q = rng.integers(spec.range.lo, spec.range.hi + 1, sizes).astype(np.uint8)
                return spec.affine.dequantize(q).astype(dtype)
    return rng.uniform(-SPREAD, SPREAD, sizes).astype(dtype)
