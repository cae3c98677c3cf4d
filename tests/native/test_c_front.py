"""oaq.h: a program in C loads plans and computes the integers of the reference, and errors come as codes and text."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import oaq
from benchmarks.fuzz_plans import ROOT, build, campaign, fuzz, outside, plans
from oaq.reference import run
from tests.strategies import random_input

HEADER = oaq.include_dir()
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-pedantic")
PLANS = 60
CASES = 3000
COMPILER = os.environ.get("CC", "gcc")

pytestmark = pytest.mark.xdist_group("liboaq")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """run_plan.c, compiled as C11 and linked with liboaq.so."""
    library, path = build(), tmp_path_factory.mktemp("c") / "run_plan"
    compile_plan_runner(path, library, "-DCOUNT_BLOCKS", "-fsanitize=address,undefined", "-g")
    return path


def compile_plan_runner(path: Path, library: Path, *flags: str) -> None:
    """Compile run_plan.c by the installed header to ``path``, linked with the liboaq.so of a folder."""
    link = ("-I", HEADER, "-L", library, "-loaq", f"-Wl,-rpath,{library}")
    source = Path(__file__).with_name("run_plan.c")
    subprocess.run([COMPILER, "-std=c11", *WARNINGS, *flags, source, *link, "-o", path], check=True, env=outside())


def run_plan(program: Path, folder: Path, content: bytes, batch: int, x: bytes) -> subprocess.CompletedProcess[str]:
    (folder / "plan").write_bytes(content)
    (folder / "x").write_bytes(x)
    command = [program, folder / "plan", str(batch), folder / "x", folder / "y"]
    return subprocess.run(command, capture_output=True, text=True, env=outside())


@pytest.mark.parametrize("standard", ["-std=c99", "-std=c11"])
def test_the_header_is_plain_c(standard: str, tmp_path: Path) -> None:
    source = tmp_path / "only.c"
    source.write_text('#include "oaq.h"\n#include "oaq.h"\nint main(void) { return 0; }\n')
    command = [COMPILER, standard, *WARNINGS, "-Wstrict-prototypes", "-I", HEADER, "-fsyntax-only", source]
    subprocess.run(command, check=True, env=outside())


def test_a_program_in_c_computes_the_integers_of_the_reference(program: Path, tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(2), set()
    for planned, content in list(plans())[-PLANS:]:
        net = planned.program
        specs = [net.tensors[name] for name in net.inputs]
        x = tuple(random_input(rng, (2, *spec.shape), spec.range) for spec in specs)
        process = run_plan(program, tmp_path, content, 2, b"".join(array.tobytes() for array in x))
        assert process.returncode == 0, process.stdout + process.stderr[-3000:]
        *described, allocated = process.stdout.splitlines()
        assert allocated == "allocated 0"
        tensors = [("input", name) for name in net.inputs] + [("output", name) for name in net.outputs]
        for line, (kind, name) in zip(described, tensors, strict=True):
            spec = net.tensors[name]
            words = (kind, name, f"{float(np.float32(spec.affine.scale)):g}", spec.affine.zero_point)
            assert line == " ".join(map(str, (*words, spec.range.lo, spec.range.hi, *spec.shape)))
        assert (tmp_path / "y").read_bytes() == b"".join(array.tobytes() for array in run(net, x).outputs)
        rows |= {node.row.name for node in planned.nodes}
    assert len(rows) > 20


def test_the_installed_header_and_library_are_all_that_a_program_in_c_needs(tmp_path: Path) -> None:
    assert (HEADER / "oaq.h").read_bytes() == (ROOT / "native" / "front" / "c" / "oaq.h").read_bytes()
    compile_plan_runner(tmp_path / "run_plan", oaq.library_dir())
    planned, content = next(iter(plans()))
    net = planned.program
    x = tuple(
        random_input(np.random.default_rng(3), (2, *net.tensors[name].shape), net.tensors[name].range)
        for name in net.inputs
    )
    process = run_plan(tmp_path / "run_plan", tmp_path, content, 2, b"".join(array.tobytes() for array in x))
    assert process.returncode == 0, process.stdout + process.stderr[-3000:]
    assert (tmp_path / "y").read_bytes() == b"".join(array.tobytes() for array in run(net, x).outputs)


def test_an_error_is_a_code_and_a_sentence(program: Path, tmp_path: Path) -> None:
    planned, content = next(iter(plans()))
    process = run_plan(program, tmp_path, content[:-1], 1, b"")
    assert (process.returncode, process.stdout.split(":")[0]) == (1, "load")
    assert "are there" in process.stdout
    narrow = next(
        (drawn, written) for drawn, written in plans() if drawn.program.tensors[drawn.program.inputs[0]].range.hi < 255
    )
    planned, content = narrow
    sizes = sum(int(np.prod(planned.program.tensors[name].shape)) for name in planned.program.inputs)
    process = run_plan(program, tmp_path, content, 1, b"\xff" * sizes)
    assert process.returncode == 1
    assert "run: oaq_run: an integer lies outside its input's range" in process.stdout


def test_hostile_plans_end_in_an_error_or_in_a_run(tmp_path: Path) -> None:
    counts = fuzz(campaign(CASES, 5, tmp_path / "corpus"), tmp_path / "checkpoint.json").totals()
    assert counts["loaded"] + counts["refused"] + counts["needs more memory than allowed"] == CASES
    assert min(counts["ran"], counts["refused"]) > CASES // 20
