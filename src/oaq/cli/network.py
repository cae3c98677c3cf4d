"""A network that a verb runs: any file, its inputs read from photos and arrays as the file takes them."""

from __future__ import annotations

import argparse
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.cli.images import preprocess
from oaq.cli.opened import open_file
from oaq.data.arrays import read_named
from oaq.data.batches import ARRAYS, check_shape, files, read
from oaq.data.preprocess import Preprocess
from oaq.errors import ProgramError
from oaq.mixed.explain import unproved
from oaq.mixed.inference import InferenceSession
from oaq.mixed.program import IntegerBody, MixedProgram, Port
from oaq.program.edges import INTEGERS, to_caller
from oaq.program.int_program import IntProgram
from oaq.runtime.values import by_native, edge_integers, file_integers
from oaq.terminal import say

PHOTO_CHANNELS: Final = (1, 3, 4)
Feed = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Network:
    """A file and the session that runs it.

    Attributes:
        path: of the file.
        session: that runs it.
        recorded: how its photos are prepared; None if the file does not say.
        stored: the program of an ``.oaq`` file; None for others.
    """

    path: Path
    session: InferenceSession
    recorded: Preprocess | None
    stored: IntProgram | None = None

    @property
    def name(self) -> str:
        """The program's, or the file's where that names none."""
        return self.session.program.name if self.path.suffix.lower() == ".oaq" else self.path.stem

    @property
    def inputs(self) -> tuple[Port, ...]:
        """The inputs of the file."""
        return self.session.inputs

    def feeds(self, place: Path, arguments: argparse.Namespace) -> list[tuple[Path, Feed]]:
        """Every readable file below ``place`` as what one call takes.

        Raises:
            FormatError: there is none, or one does not decode.
            ProgramError: samples have another shape, or the file takes several inputs and an array has no name.
        """
        preprocessing = preprocess(arguments, self.recorded, self.photo_size())
        return [(path, self._feed(path, preprocessing)) for path in files(place)]

    def run(self, feed: Feed) -> Feed:
        """Outputs by name, in the file's order; samples beyond the batch that the file fixes are run in turn."""
        names = [port.name for port in self.session.get_outputs()]
        parts = [self.session.run(names, part) for part in self.parts(feed)]
        if len(parts) == 1:
            return dict(zip(names, parts[0], strict=True))
        return {name: np.concatenate(arrays) for name, arrays in zip(names, zip(*parts, strict=True), strict=True)}

    def parts(self, feed: Feed) -> list[Feed]:
        """The calls that ``feed`` is: one, or one per batch that the file fixes."""
        batches = {port.shape[0] for port in self.inputs if port.shape}
        fixed = batches.pop() if len(batches) == 1 else None
        counts = {len(array) for array in feed.values() if array.ndim}
        count = counts.pop() if len(counts) == 1 else None
        if not isinstance(fixed, int) or count in (None, fixed):
            return [feed]
        assert count is not None
        if count % fixed:
            raise ProgramError(f"{self.path}: takes {fixed} samples at a time, got {count}")
        return [
            {name: array[start : start + fixed] for name, array in feed.items()} for start in range(0, count, fixed)
        ]

    def photo_size(self) -> tuple[int, int]:
        """Rows and columns of photos, as the file's first input has them; (224, 224) where it leaves them open."""
        shape = self.inputs[0].shape or ()
        if len(shape) == 4:
            rows, columns = shape[1:3] if is_channels_last(self.inputs[0]) else shape[2:]
            if isinstance(rows, int) and isinstance(columns, int):
                return rows, columns
        return (224, 224) if len(shape) == 4 else (1, 1)

    def _feed(self, path: Path, preprocessing: Preprocess) -> Feed:
        if len(self.inputs) != 1:
            if path.suffix.lower() != ".npz":
                names = [port.name for port in self.inputs]
                raise ProgramError(f"{path}: the network takes {len(names)} inputs: give a .npz that holds {names}")
            return {name: _typed(self._port(name, path), array) for name, array in read_named(path).items()}
        (port,) = self.inputs
        integers = port.dtype in ("bool", "string") or np.dtype(port.dtype or "float32").kind in "iu"
        axes = None if port.shape is None else len(port.shape) - 1
        if path.suffix.lower() in ARRAYS and axes is not None and not 0 < axes <= 4:
            (array,) = read_named(path).values()
            return {port.name: _typed(port, array)}
        batch: NDArray[Any] = read(
            path, preprocessing, channels_last=is_channels_last(port), axes=axes, keep_integers=integers
        )
        sizes = port.shape[1:] if port.shape else batch.shape[1:]
        open_sizes = tuple(at if isinstance(at, int) else size for at, size in zip(sizes, batch.shape[1:], strict=True))
        check_shape(batch, open_sizes, path)
        if port.dtype in INTEGERS and batch.dtype == np.float32:
            batch = _quantized(self.session.program, port, batch)
        return {port.name: _typed(port, batch)}

    def _port(self, name: str, path: Path) -> Port:
        port = next((port for port in self.inputs if port.name == name), None)
        if port is None:
            names = [port.name for port in self.inputs]
            raise ProgramError(f"{path}: holds an array {name!r}; the network takes {names}")
        return port


def open_network(path: Path, arguments: argparse.Namespace) -> Network:
    """Any file, ready to run; what of it is not proved, and biases that were settled, are told on standard error.

    Raises:
        FormatError: it is missing, damaged, or called otherwise.
        UnsupportedOp: a part that stays in float cannot be run here.
        AccumulatorOverflow: sums are not proved to fit their registers.
    """
    recorded, stored = None, None
    if path.suffix.lower() == ".oaq":
        opened = open_file(path)
        recorded, stored = opened.recorded, opened.program
    session = InferenceSession(path, threads=arguments.threads, isa=arguments.isa)
    return Network(path, session, recorded, stored)


def tell(network: Network) -> str:
    """What is not proved of what has run, told on standard error; returns it, "" if all is."""
    program = network.session.program
    spots = [spot for region in program.regions if isinstance(region.body, IntegerBody) for spot in region.body.settled]
    if spots:
        say.warn(
            f"{network.path}: sums of {', '.join(spots)} can leave 32 bits, where other kernels wrap; their results "
            "are the same for every input, so a bias inside 32 bits gives them too and is taken"
        )
    text = unproved(program, network.session.opened)
    if text:
        say.warn(f"{network.path}: {text}")
    return text


def is_channels_last(port: Port) -> bool:
    """Whether an input takes photos as (n, rows, columns, channels)."""
    shape = port.shape or ()
    return len(shape) == 4 and shape[3] in PHOTO_CHANNELS and shape[1] not in PHOTO_CHANNELS


def _typed(port: Port, array: NDArray[Any]) -> NDArray[Any]:
    """Numbers of another width as the file's reals; integers as they are: their type says what they mean."""
    if port.dtype in ("float32", "float16", "float64") and array.dtype.kind in "fiu":
        return array.astype(port.dtype, copy=False)
    return array


def _quantized(program: MixedProgram, port: Port, real: NDArray[np.float32]) -> NDArray[Any]:
    """Reals, such as photos, as the integers that the file takes: it says what they mean.

    Raises:
        ProgramError: it does not.
    """
    for region in program.regions:
        for edge in region.body.entries if isinstance(region.body, IntegerBody) else ():
            if edge.name == port.name and edge.is_integer:
                q = edge_integers(region.body.program, edge, real, by_native)  # type: ignore[union-attr]
                return file_integers(edge, to_caller(edge, q)).view(edge.dtype)
    raise ProgramError(f"input {port.name!r}: takes {port.dtype}, and nothing says which real each integer means")


def save_outputs(path: Path, outputs: Feed) -> list[bytes]:
    """The content of ``--save``: a ``.npz`` holds all outputs by name, any other file the first and a line says so."""
    buffer = io.BytesIO()
    if path.suffix.lower() == ".npz":
        np.savez(buffer, **outputs)  # type: ignore[arg-type]
        return [buffer.getvalue()]
    first, *remaining = outputs
    if remaining:
        names = ", ".join(map(repr, remaining))
        say.warn(f"{path}: holds the output {first!r}, not {names}; a name that ends in .npz keeps all")
    np.save(buffer, outputs[first])
    return [buffer.getvalue()]
