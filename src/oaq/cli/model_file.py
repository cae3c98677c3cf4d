"""A network of integers for a verb, from any file that holds one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from oaq.capture.from_dynamic_onnx import read_dynamic
from oaq.capture.from_dynamic_onnx.importer import import_file
from oaq.capture.imported import Imported
from oaq.capture.model_file import SUFFIXES, import_model, stored_unsigned
from oaq.cli.opened import Opened, open_file, opened
from oaq.errors import UnsupportedOp
from oaq.overflow.settle import settle
from oaq.terminal import say

HELP = "an .oaq file, or an .onnx or .tflite file of 8-bit integers"


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A file and what it holds.

    Attributes:
        opened: its program, and how inputs are read.
        imported: how the program relates to the file.
    """

    opened: Opened
    imported: Imported

    @property
    def unsigned(self) -> frozenset[str]:
        """Layers whose weights the file stores as u8."""
        return stored_unsigned(self.imported)

    @property
    def islands(self) -> tuple[str, ...]:
        """The parts that stay in float, one line each."""
        return tuple(
            f"{len(island.nodes)} float operators ({', '.join(dict.fromkeys(kind for _, kind in island.nodes[:6]))}) "
            f"{'before' if island.where == 'input' else 'after' if island.where == 'output' else 'inside'} the integers"
            + (f": {island.why}" if island.why else "")
            for island in self.imported.islands
        )


def open_diagnosed(path: Path) -> ModelFile:
    """``open_model``, or the layers of a file whose activations are quantized as they come, whatever its shapes are.

    Raises:
        FormatError: it is missing, damaged, edited, or called otherwise.
        UnsupportedOp: it does not hold a layer of 8-bit integers.
    """
    if path.suffix.lower() == ".onnx":
        file = read_dynamic(path)
        if file.is_dynamic:
            imported = import_file(file)
            return ModelFile(opened(path, replace(imported.program, name=path.stem), {}), imported)
    return open_model(path)


def open_model(path: Path) -> ModelFile:
    """Read a file of any kind.

    Raises:
        FormatError: it is missing, damaged, edited, or called otherwise.
        UnsupportedOp: it does not hold a layer of 8-bit integers.
    """
    if path.suffix.lower() == SUFFIXES[0]:
        opened_file = open_file(path)
        return ModelFile(opened_file, Imported(opened_file.program, (), (), {}))
    imported = import_model(path)
    return ModelFile(opened(path, replace(imported.program, name=path.stem), {}), imported)


def open_whole(path: Path) -> Opened:
    """A file whose integers can be run from its own inputs alone; biases that leave 32 bits to no effect are settled.

    Raises:
        UnsupportedOp: float operators inside the network compute some of its integers.
    """
    model = open_model(path)
    if not model.imported.is_whole:
        raise UnsupportedOp(
            f"{path}: {model.islands[0]}; its integers cannot be run without them. oaq doctor looks at every layer all "
            "the same"
        )
    settled = settle(model.opened.program)
    if settled.outputs:
        spots = ", ".join(f"{name}:{output}" for name, outputs in settled.outputs.items() for output in outputs)
        say.warn(
            f"{path}: sums of {spots} can leave 32 bits, where other kernels wrap; their results are the same for "
            "every input, so a bias inside 32 bits gives them too and is taken"
        )
    return replace(model.opened, program=settled.program)
