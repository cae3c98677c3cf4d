"""Programs in C: every operator, drawn programs, edges, hostile names; bit-equal to the reference, sanitized."""

from __future__ import annotations

import itertools
import re
import secrets
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.soundness.draw import draw
from benchmarks.soundness.inputs import draw_inputs
from oaq import operators as ops
from oaq.cli import main
from oaq.errors import AccumulatorOverflow, FormatError, OaqError, UnsupportedOp
from oaq.export import c
from oaq.export.c_source.nodes import RULES
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import SEMANTICS, Requantize
from oaq.operators import TensorSpec
from oaq.overflow.analyze import analyze
from oaq.program.files import Part
from oaq.program.int_program import IntProgram, Node
from oaq.program.plain import from_plain
from oaq.reference import run
from oaq.seal import model_signature, save
from oaq.seal.signature import PART, SAMPLES
from tests.export.c_programs import SANITIZED, STRICT, Workload, outputs_in_c, workload_of
from tests.modular import KINDS, modular_op, modular_program
from tests.operators.test_operators import program_of
from tests.report import small
from tests.strategies import INPUT_KINDS, Builder, random_input

DRAWN = 24
"""Drawn programs that one run compiles and compares."""


def sampled(program: IntProgram, seed: int = 3) -> Workload:
    rng = np.random.default_rng(seed)
    specs = [program.tensors[name] for name in program.inputs]
    arrays = [
        np.concatenate([random_input(rng, (1, *spec.shape), spec.range, kind) for kind in INPUT_KINDS])
        for spec in specs
    ]
    return Workload(program, arrays)


def assert_equal_to_the_reference(workloads: list[Workload], folder: Path, *flags: str) -> None:
    results = outputs_in_c(workloads, folder, ("gcc", *(flags or SANITIZED)))
    for workload, outputs in zip(workloads, results, strict=True):
        expected = run(workload.program, workload.inputs).outputs
        for name, output, truth in zip(workload.program.outputs, outputs, expected, strict=True):
            np.testing.assert_array_equal(output, truth, err_msg=f"{workload.program.name}: {name}")


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_every_sample_of_every_operator_is_the_reference_in_every_integer(semantics, tmp_path: Path) -> None:
    cases = [case for name in RULES for case in ops.OPERATORS[name].cases(semantics)]
    assert_equal_to_the_reference([sampled(program_of(case, semantics)) for case in cases], tmp_path)


def test_drawn_programs_are_the_reference_in_every_integer(tmp_path: Path) -> None:
    seed = secrets.randbelow(1 << 32)
    sys.stdout.write(f"\nprograms of seed {seed}\n")
    workloads: list[Workload] = []
    for index in itertools.count():
        drawn = draw(seed, index)
        try:
            program = from_plain(drawn.header, drawn.arrays)
            analyze(program)
        except OaqError:  # some are drawn to be refused
            continue
        if lacking := {type(node.op).__name__ for node in program.nodes} - RULES.keys():
            assert lacking == {"Coarsen"}  # refused by name, as the test of refusals has it
            continue
        inputs = draw_inputs(drawn.header, drawn.arrays, drawn.draws)
        workloads.append(workload_of(replace(program, name=f"{seed}/{index}"), inputs))
        if len(workloads) == DRAWN:
            break
    assert_equal_to_the_reference(workloads, tmp_path)


def test_sums_that_wrap_by_design_are_the_reference_and_wrap_without_undefined_behaviour(tmp_path: Path) -> None:
    rng, workloads = np.random.default_rng(1), []
    for kind in KINDS:
        for bits, zero in ((2, 0), (8, 128), (16, 255)):
            op, shape = modular_op(rng, kind, bits, shared=bits == 8)
            program = modular_program(op, shape, zero)
            workloads.append(sampled(replace(program, name=f"{kind} {bits} {zero}")))
    assert_equal_to_the_reference(workloads, tmp_path)


@pytest.mark.parametrize(
    "flags", [("-O0",), ("-O3", "-march=native", "-ffp-contract=fast"), ("-O2", "-m32", "-mfpmath=387")]
)
def test_no_flag_changes_an_integer(flags: tuple[str, ...], tmp_path: Path) -> None:
    if (
        "-m32" in flags
        and subprocess.run(
            ["gcc", "-m32", "-xc", "-", "-o", tmp_path / "x"], input=b"int main(void){return 0;}", capture_output=True
        ).returncode
    ):
        flags = ("-O2", "-mfpmath=387")  # x87 has 64 bits of significand whatever the size of a pointer
    programs = [
        program_of(case, "float32_half_even")
        for name in ("Conv2d", "Add", "Mul", "Concat")
        for case in ops.OPERATORS[name].cases("float32_half_even")
    ]
    assert_equal_to_the_reference([sampled(program) for program in programs], tmp_path, *flags)


def test_flags_that_round_otherwise_are_refused_by_the_compiler(tmp_path: Path) -> None:
    written = c(small.program(), tmp_path)
    done = subprocess.run(
        ["gcc", "-c", "-ffast-math", written.files[1], "-o", tmp_path / "x.o"], capture_output=True, text=True
    )
    assert done.returncode and "compile without -ffast-math" in done.stderr


def add_of(multiplier: tuple[float, float]) -> IntProgram:
    builder = Builder("add", "float32_half_even")
    names = [builder.input((65536,), Affine(0.05, zero)) for zero in (0, 255)]
    builder.add(ops.Add(Requantize(np.array(multiplier, np.float32))), names, Affine(0.05, 3))
    return builder.finish()


@pytest.mark.parametrize("multiplier", [(0.5, 0.25), (1 / 3, 1 / 7), (0.1, 0.3), (1e-30, 2.0**119), (1.5, 1.5)])
def test_sums_of_two_round_three_times_for_every_pair_of_integers(multiplier, tmp_path: Path) -> None:
    a, b = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    program = add_of(multiplier)
    assert_equal_to_the_reference(
        [Workload(program, [a.reshape(1, -1), b.reshape(1, -1)])], tmp_path, "-O3", "-march=native"
    )


ENDS = """
#include "ends.h"
#include <stdio.h>
static float real[4096];
static uint8_t q[4096], y[4096], arena[ENDS_ARENA_BYTES];
int main(void) {
  if (fread(real, 4, 4096, stdin) != 4096) return 1;
  ends_quantize_in_x(real, q);
  if (ends_run(arena, q, y) != 0) return 2;
  ends_dequantize_out_y(y, real);
  return fwrite(q, 1, 4096, stdout) != 4096 || fwrite(real, 4, 4096, stdout) != 4096;
}
"""


def test_real_values_become_the_integers_of_the_law_and_back(tmp_path: Path) -> None:
    spec = TensorSpec("x", (4096,), Affine(0.037, 91), IntRange(5, 250))
    builder = IntProgram(
        "ends",
        ("x",),
        ("y",),
        {"x": spec, "y": replace(spec, name="y", shape=(64, 64))},
        (Node("n", ops.Reshape((64, 64)), ("x",), "y"),),
    )
    written = c(builder, tmp_path)
    rng = np.random.default_rng(0)
    real = rng.normal(0, 4, 4096).astype(np.float32)
    real[:256] = (np.arange(256) - 128 + 0.5).astype(np.float32) * np.float32(0.037)
    real[256:260] = [np.inf, -np.inf, 3e38, -0.0]
    (tmp_path / "main.c").write_text(ENDS)
    subprocess.run(
        ["gcc", *STRICT, *SANITIZED, tmp_path / "main.c", written.files[1], "-o", tmp_path / "main"], check=True
    )
    out = subprocess.run([tmp_path / "main"], input=real.tobytes(), capture_output=True, check=True).stdout
    q = spec.affine.quantize(real, spec.range)
    np.testing.assert_array_equal(np.frombuffer(out, np.uint8, 4096), q)
    np.testing.assert_array_equal(np.frombuffer(out, np.float32, 4096, 4096), spec.affine.dequantize(q))


def test_an_integer_outside_of_its_range_is_refused(tmp_path: Path) -> None:
    spec = TensorSpec("x", (4,), Affine(1.0, 9), IntRange(5, 250))
    program = IntProgram(
        "p",
        ("x",),
        ("y",),
        {"x": spec, "y": replace(spec, name="y")},
        (Node("n", ops.Lookup(np.full(256, 9, np.uint8)), ("x",), "y"),),
    )
    for bad in (4, 251):
        with pytest.raises(AssertionError):
            outputs_in_c([Workload(program, [np.array([[5, 250, 9, bad]], np.uint8)])], tmp_path)
    assert_equal_to_the_reference([Workload(program, [np.array([[5, 250, 9, 9]], np.uint8)])], tmp_path)


def test_inputs_that_are_outputs_and_reshapes_at_the_ends_are_copied(tmp_path: Path) -> None:
    affine = Affine(1.0, 0)
    specs = {
        name: TensorSpec(name, shape, affine)
        for name, shape in {"x": (2, 3), "a": (6,), "b": (3, 2), "c": (6,), "d": (2, 3)}.items()
    }
    table = ops.Lookup((255 - np.arange(256)).astype(np.uint8))
    nodes = (
        Node("flat", ops.Reshape((6,)), ("x",), "a"),
        Node("turned", table, ("a",), "c"),
        Node("shaped", ops.Reshape((3, 2)), ("c",), "b"),
        Node("again", ops.Reshape((2, 3)), ("b",), "d"),
    )
    program = IntProgram("ends", ("x",), ("x", "b", "d", "c"), specs, nodes)
    assert_equal_to_the_reference([sampled(program)], tmp_path)


def test_the_self_test_prints_the_signature_of_oaq_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(small.program(), tmp_path / "net.oaq")
    assert main(["export", str(tmp_path / "net.oaq"), "--c", str(tmp_path / "c"), "--name", "my_net"]) == 0
    signature = model_signature(small.program())
    assert f"signature: {signature}" in capsys.readouterr().out
    files = sorted(path.name for path in (tmp_path / "c").iterdir())
    assert files == ["my_net.c", "my_net.h", "my_net_constants.h", "my_net_selftest.c"]
    command = ["gcc", *STRICT, *SANITIZED, *sorted((tmp_path / "c").glob("*.c")), "-o", tmp_path / "selftest"]
    subprocess.run(command, check=True)
    assert (
        subprocess.run([tmp_path / "selftest"], capture_output=True, text=True, check=True).stdout
        == f"signature: {signature}\n"
    )
    header = tmp_path / "c" / "my_net.h"
    header.write_text(header.read_text().replace(signature, "0" * 64))
    subprocess.run(command, check=True)
    done = subprocess.run([tmp_path / "selftest"], capture_output=True, text=True)
    assert done.returncode == 1 and f"expected:  {'0' * 64}" in done.stdout
    assert main(["verify", str(tmp_path / "net.oaq"), "--quick"]) == 0
    assert f"signature: {signature}" in capsys.readouterr().out


def test_many_inputs_and_outputs_have_one_signature(tmp_path: Path) -> None:
    builder = Builder("two", "float32_half_even")
    names = [builder.input((5, 3), Affine(0.05, zero), IntRange(3, 200)) for zero in (9, 100)]
    y = builder.add(ops.OPERATORS["Add"].cases("float32_half_even")[0].op, names, Affine(0.05, 90))
    z = builder.add(ops.OPERATORS["Lookup"].cases("float32_half_even")[0].op, [y], Affine(0.05, 90))
    program = replace(builder.finish(), outputs=(z, y))
    written = c(program, tmp_path)
    subprocess.run(["gcc", *STRICT, *SANITIZED, *written.files[1::2], "-o", tmp_path / "selftest"], check=True)
    done = subprocess.run([tmp_path / "selftest"], capture_output=True, text=True, check=True)
    assert done.stdout == f"signature: {model_signature(program)}\n"


HOSTILE = ("*/ int x; /*", "a\\\n#error", "??/\n", 'q"; system("ls")', "int", "", "in_", "\u5c42", "x" * 300, "X", "x")


def test_hostile_names_write_no_code(tmp_path: Path) -> None:
    spec = TensorSpec("t", (3,), Affine(1.0, 0))
    names = [name or " " for name in HOSTILE]
    table = ops.Lookup((255 - np.arange(256)).astype(np.uint8))
    tensors = {name: replace(spec, name=name) for name in [*names, *(f"{name}~" for name in names)]}
    nodes = tuple(Node(name, table, (name,), f"{name}~") for name in names)
    program = IntProgram("*/#include </etc/passwd>", tuple(names), tuple(f"{name}~" for name in names), tensors, nodes)
    written = c(program, tmp_path)
    subprocess.run(["gcc", *STRICT, *written.files[1::2], "-o", tmp_path / "selftest"], check=True)
    done = subprocess.run([tmp_path / "selftest"], capture_output=True, text=True, check=True)
    assert done.stdout == f"signature: {model_signature(program)}\n"
    assert all(path.parent == tmp_path and path.name.isascii() for path in written.files)


@pytest.mark.parametrize("name", ["", "1x", "a b", "../x", "int", "a__b", "\u00e9"])
def test_a_prefix_that_is_no_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="is not a name in C"):
        c(small.program(), tmp_path, name)


def test_an_operator_without_a_function_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from oaq.export.c_source import nodes

    monkeypatch.setattr(nodes, "RULES", {name: rule for name, rule in RULES.items() if name != "GlobalAvgPool"})
    with pytest.raises(UnsupportedOp, match="mean: C export knows no GlobalAvgPool"):
        c(small.program(), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_is_not_proved_is_not_written(tmp_path: Path) -> None:
    spec = TensorSpec("x", (70000,), Affine(1.0, 0))
    op = ops.Linear(np.full((1, 70000), 127, np.int8), np.zeros(1, np.int32), Requantize(np.array([1e-6], np.float32)))
    program = IntProgram(
        "p", ("x",), ("y",), {"x": spec, "y": TensorSpec("y", (1,), Affine(1.0, 0))}, (Node("n", op, ("x",), "y"),)
    )
    with pytest.raises(AccumulatorOverflow, match="n, output 0"):
        c(program, tmp_path)


def test_a_folder_that_cannot_be_made_and_options_that_exclude_one_another_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FormatError, match="cannot be made"):
        c(small.program(), tmp_path / "file" / "c")
    with pytest.raises(FormatError, match="cannot be made"):
        c(small.program(), tmp_path / "a\0b")
    save(small.program(), tmp_path / "net.oaq")
    assert main(["export", str(tmp_path / "net.oaq"), "--out", "x.onnx", "--name", "x"]) == 2
    assert main(["export", str(tmp_path / "net.oaq"), "--out", "x.onnx", "--c", "x"]) == 2
    assert main(["export", str(tmp_path / "net.oaq")]) == 2


def test_the_header_is_c_plus_plus_too(tmp_path: Path) -> None:
    c(small.program(), tmp_path)
    assert shutil.which("g++")
    (tmp_path / "user.cc").write_text(
        '#include "small.h"\nint main() { return small_run(nullptr, nullptr, nullptr); }\n'
    )
    subprocess.run(["g++", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", tmp_path / "user.cc"], check=True)


@pytest.mark.parametrize("name", RULES)
def test_no_function_calls_a_library_or_takes_a_kilobyte_of_stack(name: str, tmp_path: Path) -> None:
    for semantics in SEMANTICS:
        case = next(iter(ops.OPERATORS[name].cases(semantics)))
        source = c(program_of(case, semantics), tmp_path, "net").files[1]
        command = ["gcc", *STRICT, "-Wpedantic", "-Wvla", "-Wstack-usage=1024", "-O2", "-c", source]
        subprocess.run([*command, "-o", tmp_path / "net.o"], check=True)
        symbols = subprocess.run(["nm", "-u", tmp_path / "net.o"], capture_output=True, text=True, check=True).stdout
        assert not re.findall(r"\w+", symbols.replace("_GLOBAL_OFFSET_TABLE_", "").replace(" U ", " "))


def test_a_signature_of_other_samples_is_computed_anew(tmp_path: Path) -> None:
    """The self-test computes as many samples as ``oaq verify``; a file may have been signed with more."""
    program = small.program()
    for samples, expected in ((SAMPLES, "0" * 64), (SAMPLES + 1, model_signature(program))):
        part = Part({"version": 1, "samples": samples, "sha256": "0" * 64})
        assert c(program, tmp_path, parts={PART: part}).signature == expected
