"""One number for a network: here, on Arm, in WebAssembly and in C it is what oaq verify and make demo print."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import oaq
from benchmarks.web.node import run_cases as run_in_wasm
from oaq.export import c
from oaq.kernels.plan import plan
from oaq.program.int_program import IntProgram
from oaq.runtime import Session
from oaq.seal.inputs import Inputs, signature_inputs
from oaq.seal.signature import model_signature
from tests.arm.machine import require_emulator
from tests.foreign.cases import Images, forced
from tests.foreign.detector import detector
from tests.web.machine import require_engine
from tests.web.test_package import classifier

pytestmark = pytest.mark.xdist_group("web")

NETWORKS: dict[str, Callable[[], IntProgram]] = {"classifier": classifier, "detector": detector}


@pytest.fixture(params=NETWORKS)
def program(request: pytest.FixtureRequest) -> IntProgram:
    return NETWORKS[request.param]()


def signature_of(program: IntProgram, outputs: Images | str) -> str:
    assert not isinstance(outputs, str), outputs
    shaped = [
        values.reshape(len(values), *program.tensors[name].shape)
        for name, values in zip(program.outputs, outputs, strict=True)
    ]
    return model_signature(program, lambda _inputs: shaped)


def test_native_code_here_has_it(program: IntProgram) -> None:
    session = Session(oaq.plan(program))

    def runner(inputs: Inputs) -> Images:
        return session.run_integers(inputs)

    assert model_signature(program, runner) == model_signature(program)


@pytest.mark.parametrize(("target", "cpu"), [("neon", "cortex-a72"), ("i8mm", "max")])
def test_arm_has_it(program: IntProgram, target: str, cpu: str) -> None:
    require_emulator()
    from benchmarks.arm.emulator import run_cases

    case = forced(program.name, plan(program, table=target), signature_inputs(program))
    (outputs,) = run_cases([case.case], cpu)
    assert signature_of(program, outputs) == model_signature(program)


@pytest.mark.parametrize(("target", "build"), [("wasm", "simd128"), ("wasm-relaxed", "relaxed")])
def test_webassembly_has_it(program: IntProgram, target: str, build: str) -> None:
    require_engine()
    case = forced(program.name, plan(program, table=target), signature_inputs(program))
    (outputs,) = run_in_wasm([case.case], build)
    assert signature_of(program, outputs) == model_signature(program)


def test_c_has_it(program: IntProgram, tmp_path: Path) -> None:
    written = c(program, tmp_path, "net")
    assert written.signature == model_signature(program)
    sources = sorted(tmp_path.glob("*.c"))
    subprocess.run(["gcc", "-std=c11", "-O2", *map(str, sources), "-o", tmp_path / "selftest"], check=True)
    done = subprocess.run([tmp_path / "selftest"], capture_output=True, text=True, check=True)
    assert done.stdout == f"signature: {model_signature(program)}\n"
