"""Programs in C, compiled with a harness that feeds them from files and run."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oaq.export import c
from oaq.program.inputs import ProgramInputs, in_order
from oaq.program.int_program import IntProgram

STRICT = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror")
SANITIZED = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
Arrays = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class Workload:
    """A program and (samples, ...) of each input."""

    program: IntProgram
    inputs: Arrays


def outputs_in_c(
    workloads: Sequence[Workload], folder: Path, compiler: Sequence[str] = ("gcc",), runner: Sequence[str] = ()
) -> list[list[NDArray[np.uint8]]]:
    """What each program computes in C: per workload (samples, ...) of each output.

    Args:
        workloads: compiled into one executable.
        folder: for sources and executable.
        compiler: command and flags besides ``STRICT``.
        runner: command before the executable.
    """
    sources, parts = [], ["#include <stdio.h>\n#include <stdlib.h>\n"]
    for index, workload in enumerate(workloads):
        written = c(workload.program, folder, f"net{index}", None)
        sources.append(written.files[1])
        parts.append(_driver(f"net{index}", workload, written.files[0].read_text()))
    calls = "".join(f"  run_net{index}();\n" for index in range(len(workloads)))
    parts.append(f"int main(void) {{\n{calls}  return 0;\n}}\n")
    (folder / "harness.c").write_text("".join(parts))
    executable = folder / "harness"
    command = [*compiler, *STRICT, "-o", executable, folder / "harness.c", *sources]
    subprocess.run(command, check=True)
    feed = b"".join(
        np.ascontiguousarray(x[sample]).tobytes()
        for workload in workloads
        for sample in range(len(workload.inputs[0]))
        for x in workload.inputs
    )
    done = subprocess.run([*runner, executable], input=feed, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return _split(workloads, done.stdout)


def workload_of(program: IntProgram, inputs: ProgramInputs) -> Workload:
    """With the inputs in order, however a caller holds them."""
    return Workload(program, in_order(program, inputs))


def _driver(net: str, workload: Workload, header: str) -> str:
    lines = [line for line in header.splitlines() if line.startswith(f"int {net}_run(")]
    names = [
        word.strip(" *;)") for word in lines[0].partition("(")[2].replace("uint8_t", "").replace("const", "").split(",")
    ]
    buffers = "".join(f"static uint8_t {net}_{name}[{net.upper()}_{name.upper()}_SIZE];\n" for name in names[1:])
    arguments = ", ".join(f"{net}_{name}" for name in names)
    feed = "".join(
        f"    if (fread({net}_{name}, 1, sizeof {net}_{name}, stdin) != sizeof {net}_{name}) exit(3);\n"
        for name in names[1:]
        if name.startswith("in_")
    )
    give = "".join(
        f"    if (fwrite({net}_{name}, 1, sizeof {net}_{name}, stdout) != sizeof {net}_{name}) exit(3);\n"
        for name in names[1:]
        if name.startswith("out_")
    )
    return (
        f'#include "{net}.h"\nstatic uint8_t {net}_arena[{net.upper()}_ARENA_BYTES];\n{buffers}'
        f"static void run_{net}(void) {{\n  int sample;\n"
        f"  for (sample = 0; sample < {len(workload.inputs[0])}; sample++) {{\n"
        f"{feed}    if ({net}_run({arguments}) != 0) exit(4);\n{give}  }}\n}}\n"
    )


def _split(workloads: Sequence[Workload], stdout: bytes) -> list[list[NDArray[np.uint8]]]:
    results, at = [], 0
    for workload in workloads:
        shapes = [workload.program.tensors[name].shape for name in workload.program.outputs]
        samples = len(workload.inputs[0])
        outputs = [np.empty((samples, *shape), np.uint8) for shape in shapes]
        for sample in range(samples):
            for output in outputs:
                size = output[sample].size
                output[sample] = np.frombuffer(stdout, np.uint8, size, at).reshape(output.shape[1:])
                at += size
        results.append(outputs)
    assert at == len(stdout)
    return results
