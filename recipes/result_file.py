"""Stamped result files: what was measured, by which command, on which machine, at which commit."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from oaq.errors import FormatError
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


TIMED = frozenset(
    {
        "accuracy_times",
        "bands",
        "compilers",
        "cost_model",
        "cuda_step",
        "demo",
        "kernels",
        "litert",
        "micro",
        "networks",
        "winograd",
    }
    | {
        "browser",
        "contended",
        "dynamic",
        "operators",
        "piecewise_times",
        "pruning_times",
        "ptq_pareto",
        "qat_pareto",
        "quantize_time",
        "session",
        "skipped",
        "sparse_product",
        "tune",
    }
)
"""Benchmarks whose figures are times: those of one CPU say nothing of another, so each has a folder of its own."""


def place_of(result: Result, results: Path) -> Path:
    """The folder of ``results`` where ``result`` belongs: of its CPU if it holds times."""
    return results / cpu_folder(result.environment.cpu) if result.benchmark in TIMED else results


def store(result: Result, results: Path, name: str) -> Path:
    """Write ``name.json`` where it belongs in ``results``, whole or not at all; returns the path."""
    path = place_of(result, results) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    return write(result, path)


def cpu_folder(cpu: str) -> str:
    """Name of the folder of results of a CPU.

    >>> cpu_folder("AMD EPYC (family 25, model 17)")
    'amd-epyc-family-25-model-17'
    """
    return re.sub(r"[^a-z0-9]+", "-", cpu.lower()).strip("-") or "unknown-cpu"


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
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON, or of UTF-8
        raise FormatError(f"{path}: is not a result file: {error}") from error
    return codec.decode(Result, value, str(path))
