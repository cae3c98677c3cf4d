"""Programs in C on AArch64: compiled by another compiler, run under the emulator, the reference in every integer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.arm.emulator import emulator
from benchmarks.cross_build import cross_compiler, environment
from oaq import operators as ops
from oaq.export.c_source.nodes import RULES
from oaq.numerics.requantize import SEMANTICS
from oaq.reference import run
from tests.arm.machine import require_emulator
from tests.export.c_programs import outputs_in_c
from tests.export.test_c_source import sampled
from tests.operators.test_operators import program_of


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_every_sample_of_every_operator_is_the_reference_in_every_integer(
    semantics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_emulator()
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    cases = [case for name in RULES for case in ops.OPERATORS[name].cases(semantics)]
    workloads = [sampled(program_of(case, semantics)) for case in cases]
    compiler = (str(cross_compiler()), "cc", "-target", "aarch64-linux-musl", "-static", "-O2")
    results = outputs_in_c(workloads, tmp_path, compiler, (str(emulator()), "-cpu", "cortex-a53"))
    for workload, outputs in zip(workloads, results, strict=True):
        for output, expected in zip(outputs, run(workload.program, workload.inputs).outputs, strict=True):
            np.testing.assert_array_equal(output, expected, err_msg=workload.program.name)
