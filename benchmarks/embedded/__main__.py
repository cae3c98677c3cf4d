"""Compile programs of ``oaq export --c`` for five machines and run their self-tests there.

    python -m benchmarks.embedded [--record] [NET.oaq ...]

The machines: this one (gcc), AArch64 (Debian's gcc, or the compiler of the ziglang wheel; QEMU's user mode),
WebAssembly (that compiler, Node), Cortex-M4 and Cortex-M7 (arm-none-eabi-gcc, QEMU's MPS2 boards with 4 MB for
constants). A self-test
passes if the signature is the one that the reference computes here. Sizes are those of the compiled source alone, in
bytes, as ``size`` counts them: text holds code and constants. Without files a small network is taken. What is missing
here is a line that says NOT RUN; ends with 1 if a signature differs or a compiler fails.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import oaq
from benchmarks.arm.emulator import NoEmulator, emulator
from benchmarks.cross_build import cross_compiler, environment
from benchmarks.harness import Result, add_record, save, stamp
from oaq import operators as ops
from oaq.export.c_source.write import CSource
from oaq.numerics.affine import Affine
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec
from oaq.operators.products import sample
from oaq.program.int_program import IntProgram, Node
from oaq.terminal import say
from oaq.terminal.table import Table

HERE = Path(__file__).parent
STRICT = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror")
SECONDS = 900
Row = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Machine:
    """Where a program is compiled for and run.

    Attributes:
        name: of the machine.
        compiler: command and flags.
        extra: more of them for a whole program.
        runner: command before the program; asked late, for it may be missing.
        size: program that counts the bytes of an object file.
    """

    name: str
    compiler: tuple[str, ...]
    extra: tuple[str, ...]
    runner: Callable[[], Sequence[str]]
    size: str


def machines() -> tuple[Machine, ...]:
    """All five; what of them is missing shows when they are used."""
    zig = (str(cross_compiler()), "cc")
    debian = shutil.which("aarch64-linux-gnu-gcc")
    aarch64 = (debian,) if debian is not None else (*zig, "-target", "aarch64-linux-musl")
    links = (str(HERE / "cortex_m.c"), "-T", str(HERE / "cortex_m.ld"), "--specs=rdimon.specs")

    def cortex(name: str, cpu: str, fpu: str, board: str) -> Machine:
        flags = (f"-mcpu={cpu}", "-mthumb", "-mfloat-abi=hard", f"-mfpu={fpu}")
        board_flags = ("-machine", board, "-nographic", "-semihosting-config", "enable=on,target=native", "-kernel")
        return Machine(
            name,
            ("arm-none-eabi-gcc", *flags),
            links,
            lambda: ("qemu-system-arm", *board_flags),
            "arm-none-eabi-size",
        )

    return (
        Machine("x86-64", ("gcc",), (), lambda: (), "size"),
        Machine("AArch64", aarch64, ("-static",), lambda: (str(emulator()),), "size"),
        Machine(
            "WebAssembly",
            (*zig, "-target", "wasm32-wasi"),
            (),
            lambda: ("node", "--no-warnings", str(HERE / "wasi.mjs")),
            "",
        ),
        cortex("Cortex-M4", "cortex-m4", "fpv4-sp-d16", "mps2-an386"),
        cortex("Cortex-M7", "cortex-m7", "fpv5-d16", "mps2-an500"),
    )


def small_network() -> IntProgram:
    """Three convolutions, a mean and a matrix over 24 x 24 pixels, with weights that are drawn."""
    rng = np.random.default_rng(1)
    shapes = {"x": (24, 24, 1), "a": (12, 12, 8), "b": (12, 12, 8), "c": (12, 12, 16), "d": (1, 1, 16), "e": (16,)}
    specs = {name: TensorSpec(name, shape, Affine(0.05, 0)) for name, shape in (shapes | {"y": (10,)}).items()}

    def convolution(shape: tuple[int, ...], **geometry: object) -> ops.Conv2d:
        weight = rng.integers(-60, 61, shape).astype(np.int8)
        return ops.Conv2d(weight, *sample(weight, "float32_half_even"), **geometry)  # type: ignore[arg-type]

    dense = rng.integers(-60, 61, (10, 16)).astype(np.int8)
    nodes = (
        Node("stem", convolution((8, 3, 3, 1), stride=(2, 2), padding=(1, 1, 1, 1)), ("x",), "a"),
        Node("deep", convolution((8, 3, 3, 1), padding=(1, 1, 1, 1), groups=8), ("a",), "b"),
        Node("wide", convolution((16, 1, 1, 8)), ("b",), "c"),
        Node("mean", ops.GlobalAvgPool(Requantize(np.array([1 / 144], np.float32))), ("c",), "d"),
        Node("flat", ops.Reshape((16,)), ("d",), "e"),
        Node("classify", ops.Linear(dense, *sample(dense, "float32_half_even")), ("e",), "y"),
    )
    return IntProgram("small-cnn", ("x",), ("y",), specs, nodes)


def rows(program: IntProgram, written: CSource, folder: Path, names: Sequence[str] | None) -> Iterator[Row]:
    """A line per machine, of those named."""
    header, source, _, selftest = written.files
    common = (("network", program.name), ("arena", str(written.arena)), ("constants", str(written.constants)))
    for machine in machines():
        if names is not None and machine.name not in names:
            continue
        target = folder / f"{machine.name}.o"
        text, verdict = "", _call([*machine.compiler, *STRICT, "-c", source, "-o", target])
        if not verdict:
            text = _text_bytes(machine, target)
            program_file = folder / f"{machine.name}.{'wasm' if machine.name == 'WebAssembly' else 'out'}"
            verdict = _call(
                [*machine.compiler, *STRICT, f"-I{header.parent}", target, selftest, *machine.extra, "-o", program_file]
            )
            verdict = verdict or _run(machine, program_file, written.signature)
        say.words(f"{program.name}, {machine.name}: {verdict}")
        yield (*common, ("machine", machine.name), ("text", text), ("signature", verdict))


def _call(command: Sequence[object]) -> str:
    """Empty, or why the command did not do its work."""
    name = str(command[0])
    if shutil.which(name) is None:
        return f"NOT RUN: there is no {Path(name).name} here"
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment())
    if "will not fit in region" in done.stderr or "overflowed by" in done.stderr:
        return "compiled; NOT RUN: does not fit the emulated board"
    return "" if done.returncode == 0 else f"FAILED: {done.stderr.strip()[-400:]}"


def _run(machine: Machine, program: Path, signature: str) -> str:
    try:
        runner = machine.runner()
    except NoEmulator as error:
        return f"compiled; NOT RUN: {error}"
    if runner and shutil.which(runner[0]) is None:
        return f"compiled; NOT RUN: there is no {runner[0]} here"
    done = subprocess.run([*runner, str(program)], capture_output=True, text=True, timeout=SECONDS)
    if done.returncode or done.stdout.split()[:2] != ["signature:", signature]:
        return f"FAILED: {(done.stdout + done.stderr).strip()[-400:]}"
    return "equal"


def _text_bytes(machine: Machine, target: Path) -> str:
    if not machine.size or shutil.which(machine.size) is None:
        return ""
    return subprocess.run([machine.size, target], capture_output=True, text=True, check=True).stdout.split()[6]


def main() -> int:
    """Export, compile, run, write the result; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="NET.oaq")
    parser.add_argument("--machines", nargs="+", metavar="NAME", help="some of them; default: all five")
    add_record(parser)
    options = parser.parse_args()
    programs = [small_network(), *(oaq.load(path) for path in options.files)]
    lines: list[Row] = []
    for program in programs:
        with tempfile.TemporaryDirectory() as folder:
            lines += rows(program, oaq.export.c(program, Path(folder) / "c", "net"), Path(folder), options.machines)
    names = tuple(name for name, _ in lines[0])
    say.tables([Table("Programs in C", names, tuple(tuple(value for _, value in line) for line in lines))])
    notes = ("text: code and constants of the compiled source, bytes, -O2; other targets run under emulators, untimed",)
    command = " ".join(["python -m benchmarks.embedded", *(path.name for path in options.files)])
    path = save(Result("embedded", command, stamp(), rows=tuple(lines), notes=notes), "embedded", record=options.record)
    say.words(str(path))
    return int(any("FAILED" in value for line in lines for _, value in line))


if __name__ == "__main__":
    raise SystemExit(main())
