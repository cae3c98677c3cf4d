"""``quantize_onnx``: from a float network of any operators to an ONNX file whose layers are proved integers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from oaq.capture.from_float_onnx.split import Split
from oaq.mixed.inference import InferenceSession
from oaq.program.atomic import write_atomically
from oaq.program.int_program import IntProgram
from oaq.regions.assemble import assemble, remainder_of
from oaq.regions.calibrate import FloatRunner, region_batches
from oaq.regions.samples import Feed, feeds
from oaq.regions.smooth import channel_factors, exit_factors, scaled, with_factors
from oaq.regions.source import FloatFile, open_float, split_file
from oaq.seal.parts import sealed_parts

if TYPE_CHECKING:
    from oaq.ptq.options import Options
    from oaq.ptq.progress import Progress
    from oaq.ptq.quantize import QuantizeReport

ATTEMPTS: Final = 8
"""Times that further tensors may turn out to be needed in float."""


@dataclass(frozen=True, eq=False)
class QuantizedFile:
    """An ONNX file in QDQ form, of which regions are proved integers.

    Attributes:
        content: its bytes.
        program: all regions of integers as one program, whose inputs are where values enter them.
        split: which nodes of the float file these stand for, and why the others stay in float.
        choices: what was chosen for each layer.
        file: the float network.
        samples: calibration samples as single runs.
    """

    content: bytes
    program: IntProgram
    split: Split
    choices: QuantizeReport
    file: FloatFile
    samples: tuple[Feed, ...]

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            FormatError: ``path`` cannot be written.
        """
        write_atomically(path, [self.content])

    @cached_property
    def session(self) -> InferenceSession:
        """The file, ready to run."""
        return InferenceSession(self.content, threads=os.cpu_count() or 1)

    def explain(self) -> str:
        """Which layers are proved, where each region begins and ends, and why the others stay in float."""
        from oaq.regions.words import explain

        return explain(self.split)


def quantize_onnx(
    model: Any,  # noqa: ANN401 (a path, bytes, or a torch module)
    samples: Iterable[Any],
    options: Options | None = None,
    *,
    name: str | None = None,
    progress: Progress | None = None,
    metadata: Mapping[str, str] | None = None,
) -> QuantizedFile:
    """Quantize what of a network can be integers; the rest stays in float, as it is.

    Args:
        model: the name of a float ONNX file or its bytes, or a ``torch.nn.Module``.
        samples: typical inputs: arrays (n, ...), mappings by the inputs' names, or sequences in their order; of any
            dtype the network takes.
        options: see ``ptq.Options``.
        name: of the program; None takes the file's.
        progress: see ``oaq.quantize``.
        metadata: further entries of the program's.

    Returns:
        The file: plain ONNX Runtime runs it, ``oaq.InferenceSession`` runs its regions as proved integers, and it
        carries their certificate.

    Raises:
        CalibrationError: there are no samples, or they do not fit.
        UnsupportedOp: no layer of the network can become integers.
        FormatError: the file is missing or damaged.
    """
    from oaq.ptq.quantize import quantize_with_report

    if not isinstance(model, str | os.PathLike | bytes):
        from oaq.regions.module import exported

        model, samples = exported(model, samples)
    file = open_float(model if isinstance(model, bytes) else Path(model))
    runs = tuple(feeds(file.inputs, samples))
    split = complete_split(file, {name: array.shape for name, array in runs[0].items()})
    runner = FloatRunner(file, [end.file for end in (*split.entries, *split.exits)], os.cpu_count() or 1)
    factors = channel_factors(split, region_batches(split, runner, runs))
    factors |= exit_factors(split, map(runner.run, runs))
    split = with_factors(split, factors)
    batches = scaled(region_batches(split, runner, runs), factors)
    program, choices = quantize_with_report(split.graph, batches, options, progress=progress)
    program = replace(program, name=name or program.name, metadata={**program.metadata, **(metadata or {})})
    content = assemble(file, split, program, sealed_parts(program), factors)
    return QuantizedFile(content, program, split, choices, file, runs)


def complete_split(file: FloatFile, shapes: dict[str, tuple[int, ...]]) -> Split:
    """The split whose exits are all that the nodes left in float read, shape arithmetic included.

    Raises:
        UnsupportedOp: no layer of it can become integers.
    """
    also: tuple[str, ...] = ()
    split = split_file(file, shapes)
    for _ in range(ATTEMPTS):
        missing = remainder_of(file, split).missing
        if not missing:
            break
        also = (*also, *missing)
        split = split_file(file, shapes, also)
    return split
