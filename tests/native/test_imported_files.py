"""Files of other tools in native code, on every instruction set here: the reference's integers, whatever comes in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import onnx_files, tflite_files
from oaq.capture.from_onnx import import_quantized
from oaq.capture.from_tflite import import_tflite
from oaq.kernels.plan import plan
from oaq.kernels.table import cpu_isas
from oaq.overflow.settle import settle
from oaq.program.int_program import IntProgram
from oaq.reference import run
from oaq.runtime import Session

BY_TOOLS = sorted((Path(__file__).parents[1] / "capture" / "from_onnx" / "by_tools").glob("*.onnx"))
FORMS = onnx_files.every()
BATCH = 5


def inputs(program: IntProgram) -> tuple[np.ndarray, ...]:
    """Noise, each end of the range, and both ends mixed."""
    rng = np.random.default_rng(0)
    made = []
    for name in program.inputs:
        spec = program.tensors[name]
        lo, hi = spec.range.lo, spec.range.hi
        x = rng.integers(lo, hi + 1, (BATCH, *spec.shape))
        x[1], x[2], x[3] = lo, hi, rng.choice([lo, hi], spec.shape)
        made.append(x.astype(np.uint8))
    return tuple(made)


def equal_on_every_isa(program: IntProgram) -> None:
    """Every output of every sample, by every plan and with two threads."""
    program = settle(program).program
    given = inputs(program)
    expected = run(program, given).outputs
    assert len(program.outputs) == len(expected) > 0
    isas = cpu_isas()
    assert isas
    for isa in isas:
        for threads in (1, 2):
            got = Session(plan(program, isa), threads=threads).run_integers(given)
            for one, law in zip(got, expected, strict=True):
                np.testing.assert_array_equal(one, law, err_msg=f"{program.name} on {isa}, {threads} threads")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_onnx_runs_exactly(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"{form}.onnx"
    path.write_bytes(FORMS[form])
    equal_on_every_isa(import_quantized(path).program)


@pytest.mark.parametrize("path", BY_TOOLS, ids=[path.stem for path in BY_TOOLS])
def test_files_of_every_tool_run_exactly(path: Path) -> None:
    equal_on_every_isa(import_quantized(path).program)


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_tflite_runs_exactly(kind: type[np.generic]) -> None:
    equal_on_every_isa(import_tflite(tflite_files.network(1, kind)).program)
