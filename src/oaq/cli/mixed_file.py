"""An ONNX file of which parts stay in float, for verbs that prove, time or report its integers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import UnsupportedOp
from oaq.mixed.inference import is_integer_throughout, program_of_file
from oaq.mixed.load import OnnxFile, mixed_program, open_axes, read_onnx
from oaq.mixed.program import IntegerBody, MixedProgram, Port
from oaq.program.int_program import IntProgram

SPREAD: Final = 2.0
"""Reals that nothing says more about are drawn between minus and plus this."""


@dataclass(frozen=True, eq=False)
class MixedFile:
    """A file and its regions.

    Attributes:
        path: of the file.
        program: at the sizes of the file, an open batch being ``batch``.
        batch: samples per call.
    """

    path: Path
    program: MixedProgram
    batch: int

    @property
    def parts(self) -> dict[str, IntProgram]:
        """The programs of its integer regions by the regions' names."""
        return {
            region.name: region.body.program for region in self.program.regions if isinstance(region.body, IntegerBody)
        }

    def sample(self) -> dict[str, NDArray[Any]]:
        """An array per input, the same every time: reals over the range that integers are made of, integers of all."""
        rng = np.random.default_rng(0)
        return {
            port.name: _random_array(self.program, port, _sizes(port, self.batch), rng) for port in self.program.inputs
        }


def open_mixed(path: Path, batch: int = 1) -> MixedFile | None:
    """An ONNX or TFLite file with float parts; None for files that are integers from end to end.

    Args:
        path: of the file.
        batch: samples per call, where the file leaves that open.

    Raises:
        FormatError: it is missing or damaged.
        UnsupportedOp: it holds no integers, or leaves sizes open.
    """
    file = open_regions(path, batch) if path.suffix.lower() in (".onnx", ".tflite") else None
    return None if file is None or is_integer_throughout(file.program) else file


def open_regions(path: Path, batch: int = 1) -> MixedFile:
    """``open_mixed`` of any such file."""
    if path.suffix.lower() == ".tflite":
        return MixedFile(path, program_of_file(path), batch)
    file = read_onnx(path)
    _require_sizes(file)
    program = mixed_program(file, {port.name: _sizes(port, batch) for port in file.inputs if port.shape})
    if not program.integers:
        raise UnsupportedOp(f"{path}: no part of it is integers, so there is nothing to prove: {program.float_reason}")
    return MixedFile(path, program, batch)


def _require_sizes(file: OnnxFile) -> None:
    for name, axes in open_axes(file).items():
        if any(axes) and (axes[0] != 0 or len(axes) > 1):
            raise UnsupportedOp(
                f"{file.where}: input {name!r} leaves the sizes of axes {list(axes)} open; fix them in the file with "
                "onnxruntime.tools.make_dynamic_shape_fixed. oaq run takes it as it is"
            )


def _sizes(port: Port, batch: int) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else batch for size in port.shape or ())


def _random_array(program: MixedProgram, port: Port, sizes: tuple[int, ...], rng: np.random.Generator) -> NDArray[Any]:
    dtype = np.dtype(port.dtype or "float32")
    if dtype.kind in "iu":
        ends = np.iinfo(dtype) if dtype.itemsize == 1 else None
        return rng.integers(ends.min if ends else 0, (ends.max if ends else 1) + 1, sizes).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, sizes).astype(bool)
    for body in (region.body for region in program.regions):
        for edge in body.entries if isinstance(body, IntegerBody) else ():
            if edge.name == port.name:
                spec = body.program.tensors[edge.tensor]  # type: ignore[union-attr]
                q = rng.integers(spec.range.lo, spec.range.hi + 1, sizes).astype(np.uint8)
                return spec.affine.dequantize(q).astype(dtype)
    return rng.uniform(-SPREAD, SPREAD, sizes).astype(dtype)
