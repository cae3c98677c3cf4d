"""Stamped result files: what was measured, by which command, on which machine, at which commit."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from oaq.program.atomic import write_atomically
from oaq.report import codec
from oaq.report.data import Environment, Latency
from oaq.report.environment import environment


@dataclass(frozen=True)
class Result:
    """What a result file holds.

    Attributes:
        benchmark: which program made it.
        command: how to make it again.
        environment: stamp.
        latency: the timings; None for a benchmark of another kind.
        facts: (name, value) about the subject: MACs, layers, average run, predicted cost.
        rows: further figures, one dictionary-like tuple of pairs per line.
        notes: what a reader must know.
    """

    benchmark: str
    command: str
    environment: Environment
    latency: Latency | None = None
    facts: tuple[tuple[str, str], ...] = ()
    rows: tuple[tuple[tuple[str, str], ...], ...] = ()
    notes: tuple[str, ...] = field(default=())


def stamp() -> Environment:
    """The environment that goes into every result file."""
    return environment()


def write(result: Result, path: Path) -> Path:
    """Write the file, whole or not at all; returns the path."""
    write_atomically(path, [(json.dumps(codec.encode(result), indent=1) + "\n").encode()])
    return path


def load(path: Path) -> Result:
    """Read a result file.

    Raises:
        FormatError: it is not one.
    """
    return codec.decode(Result, json.loads(path.read_text(encoding="utf-8")), str(path))
