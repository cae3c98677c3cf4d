"""Files with float parts through every verb that takes them: opened and run as regions, looked at, repaired, captured.

Float parts are computed by our own operators here: ONNX Runtime itself ends the process on some damaged files, which
says nothing about oaq. What oaq hands to it is the same either way.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

import oaq
from benchmarks.fuzz.mutants import Mutant
from oaq.capture.from_float_onnx import normalize as normalize_onnx
from oaq.capture.from_float_tflite import normalize as normalize_tflite
from oaq.cli.model_file import open_diagnosed
from oaq.errors import OaqError
from oaq.kernels.table import cpu_isas
from oaq.mixed.inference import NodeArg

RUNTIME: Final = "onnxruntime"
MOST_INPUT: Final = 1 << 16
"""Numbers of an input of a file that is run."""
OPEN: Final = (2, 1, 3)
"""Sizes that stand for those that a file leaves open."""
LOOKED_AT, REPAIRED, CAPTURED = 4, 8, 4
"""Every so many-th file is diagnosed, repaired, captured as a float network, whatever became of it before."""
DTYPES: Final = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
DTYPES_OF_INTEGERS: Final = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool")


def pass_through(mutant: Mutant, index: int, reach: Callable[[str], None]) -> None:
    """Send a file through; the last error of oaq is raised again when every verb has had its turn.

    Raises:
        OaqError: a verb refused the file.
    """
    refusal: OaqError | None = None
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as folder, without_runtime():
        path = Path(folder) / f"broken{mutant.suffix}"
        path.write_bytes(mutant.content)
        for verb in _verbs(mutant, index):
            try:
                verb(path, index, reach)
            except OaqError as error:
                refusal = error
    if refusal is not None:
        raise refusal


def _fast_folder() -> str | None:
    """Memory instead of a disk, where there is such a folder."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


@contextmanager
def without_runtime() -> Iterator[None]:
    """Hide ONNX Runtime, so that float regions are computed by oaq."""
    nothing: Any = None
    before = sys.modules.get(RUNTIME)
    sys.modules[RUNTIME] = nothing
    try:
        yield
    finally:
        del sys.modules[RUNTIME]
        if before is not None:
            sys.modules[RUNTIME] = before


Verb = Callable[[Path, int, Callable[[str], None]], None]


def _verbs(mutant: Mutant, index: int) -> list[Verb]:
    verbs: list[Verb] = [] if mutant.kind == "tflite float" else [_run]
    if index % LOOKED_AT == 0:
        verbs.append(_diagnose)
    if index % REPAIRED == 1 and mutant.suffix == ".onnx":
        verbs.append(_repair)
    if mutant.kind == "tflite float" or index % CAPTURED == 2:
        verbs.append(_capture)
    return verbs


def _run(path: Path, index: int, reach: Callable[[str], None]) -> None:
    isas = (*cpu_isas(), None)
    source = path.read_bytes() if path.suffix == ".onnx" else path
    session = oaq.InferenceSession(source, isa=isas[index % len(isas)], threads=1 + index % 7 // 6)
    reach("opened")
    feed = {}
    for port in session.get_inputs():
        shape = [size if isinstance(size, int) else OPEN[at % len(OPEN)] for at, size in enumerate(port.shape)]
        if prod(shape) > MOST_INPUT:
            return
        feed[port.name] = _values(port, shape, index)
    session.get_outputs()
    session.run(None, feed)
    session.explain()
    reach("run")


def _values(port: NodeArg, shape: list[int], index: int) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(index)
    name = port.type.removeprefix("tensor(").removesuffix(")")
    if name in DTYPES_OF_INTEGERS:
        return rng.integers(0, 2 if name == "bool" else 100, shape).astype(name)
    if name == "string":
        return np.full(shape, "x", object)
    return rng.normal(0, 2, shape).astype(DTYPES.get(port.type, np.float32))


def _diagnose(path: Path, index: int, reach: Callable[[str], None]) -> None:
    model = open_diagnosed(path)
    oaq.diagnose(model.opened.program, unsigned=model.unsigned, islands=model.islands).to_json()
    reach("diagnosed")


def _repair(path: Path, index: int, reach: Callable[[str], None]) -> None:
    oaq.repair.repair(path, ("avx2-acc32", "20 bits")[index // REPAIRED % 2])
    reach("repaired")


def _capture(path: Path, index: int, reach: Callable[[str], None]) -> None:
    (normalize_onnx if path.suffix == ".onnx" else normalize_tflite)(path)
    reach("captured")
