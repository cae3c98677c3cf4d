"""An ``.oaq`` file opened for a verb: the program, how its inputs are prepared, what was seen when it was made."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oaq.cli.images import preprocess
from oaq.data.batches import Batch, check_shape, files, read
from oaq.data.preprocess import Preprocess
from oaq.errors import ProgramError
from oaq.kernels.cpus import default_threads
from oaq.program.edges import Edge
from oaq.program.files import Part
from oaq.program.files import read as read_archive
from oaq.program.int_program import IntProgram
from oaq.report.data import Evidence
from oaq.report.evidence_part import stored_evidence
from oaq.runtime.values import caller_edge

THREADS_HELP = "threads (default: as many as this process may use CPUs; see oaq info)"


@dataclass(frozen=True, eq=False)
class Opened:
    """A file and its parts."""

    path: Path
    program: IntProgram
    parts: Mapping[str, Part]
    evidence: Evidence | None
    recorded: Preprocess | None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample as the caller gives it: (C, H, W), (H, W, C), (C, L), (T, C) or (C,)."""
        return self.input_edge.shape

    @property
    def input_edge(self) -> Edge:
        """How the caller sees the one input.

        Raises:
            ProgramError: there are several.
        """
        if len(self.program.inputs) != 1:
            raise ProgramError(f"{self.path}: takes {len(self.program.inputs)} inputs; this verb feeds one")
        return caller_edge(self.program, self.program.inputs[0])

    def read(self, path: Path, preprocessing: Preprocess) -> Batch:
        """Samples of one file, in the shape the program takes.

        Raises:
            FormatError: the file does not decode.
            ProgramError: its samples have another shape.
        """
        edge, shape = self.input_edge, self.input_shape
        last = len(shape) == 3 and list(edge.order) == sorted(edge.order)
        batch = read(path, preprocessing, channels_last=last, axes=len(shape), keep_integers=edge.is_integer)
        check_shape(batch, shape, path)
        return batch

    def preprocess(self, arguments: argparse.Namespace) -> Preprocess:
        """Flags over what the file recorded over defaults."""
        shape = self.program.tensors[self.program.inputs[0]].shape
        return preprocess(arguments, self.recorded, (shape[0], shape[1]) if len(shape) == 3 else (1, 1))

    def batches(self, place: Path, arguments: argparse.Namespace, limit: int | None = None) -> list[tuple[Path, Batch]]:
        """Every readable file below ``place`` with its samples, the first ``limit`` of them.

        Raises:
            FormatError: there is none, or one does not decode.
            ProgramError: samples have another shape, or ``limit`` is less than one.
        """
        if limit is not None and limit < 1:
            raise ProgramError(f"--limit {limit}: at least one file has to be read; leave the data out to read none")
        preprocessing = self.preprocess(arguments)
        return [(path, self.read(path, preprocessing)) for path in files(place)[:limit]]


def open_file(path: Path) -> Opened:
    """Read an ``.oaq`` file.

    Raises:
        FormatError: it is missing, truncated, edited, or of another version.
    """
    archive = read_archive(path)
    return opened(path, archive.program, archive.parts)


def opened(path: Path, program: IntProgram, parts: Mapping[str, Part]) -> Opened:
    """What a file holds, once it has been read.

    Raises:
        FormatError: the evidence among its parts is none.
    """
    return Opened(
        path=path,
        program=program,
        parts=parts,
        evidence=stored_evidence(parts, str(path)),
        recorded=Preprocess.from_metadata(program.metadata),
    )


def add_execution(parser: argparse.ArgumentParser) -> None:
    """--isa and --threads."""
    parser.add_argument(
        "--isa",
        help="best instruction set to use: scalar, avx2, avxvnni, avx512bw, vbmi, vnni, amx "
        "(default: OAQ_ISA, then best)",
    )
    parser.add_argument("--threads", type=int, default=default_threads(), metavar="N", help=THREADS_HELP)
