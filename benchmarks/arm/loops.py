"""Inner loops as assembly: those of our rows, as the cross compiler makes them, and those that others publish."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.cmake_build import ROOT
from benchmarks.cross_build import cross_compiler, environment

LABEL = re.compile(r"^(\.L\w+):")
FUNCTION = re.compile(r"^_Z\w+:")
BACK = re.compile(r"\s+(?:b\.\w+|cbnz|cbz|tbnz|tbz)\s.*?(\.L\w+)\b")
INSTRUCTION = re.compile(r"^\s+([a-z][a-z0-9.]*)\b")
PRODUCTS = {"smlal": 8, "smlal2": 8, "smull": 8, "smull2": 8, "sdot": 16, "usmmla": 32}
"""Products that one instruction of our rows computes."""
PAIRED, WIDENING = "pairs spilled at every step (2x8c8, mlal)", "widening, 4 lanes (4x8, mlal-lane)"
"""Loops that others publish: the steps of XNNPACK's qs8-gemm kernels, instruction by instruction."""
FLAGS = {"neon": (), "dotprod": ("-mcpu=generic+dotprod",), "i8mm": ("-mcpu=generic+dotprod+i8mm",)}


@dataclass(frozen=True)
class Loop:
    """One turn of an inner loop.

    Attributes:
        name: of the row, or of what others publish.
        text: the instructions, one a line.
        products: that it computes.
    """

    name: str
    text: str
    products: int

    @property
    def instructions(self) -> int:
        """How many it has."""
        return sum(INSTRUCTION.match(line) is not None for line in self.text.splitlines())


def assembly(file: str, isa: str) -> str:
    """What the cross compiler makes of a file of ``native`` for an instruction set, with the flags of the build.

    Raises:
        CannotBuild: there is no cross compiler.
        subprocess.CalledProcessError: it refuses the file.
    """
    flags = ("-S", "-g0", "-O3", "-DNDEBUG", "-DOAQ_ARM64", "-std=c++20", "-fPIC", "-ffp-contract=off", *FLAGS[isa])
    command = [cross_compiler(), "c++", "--target=aarch64-linux-musl", *flags, "-I", ROOT / "native"]
    source, output = ROOT / "native" / file, ROOT / "build" / "arm" / f"{isa}.s"
    output.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([*command, source, "-o", output], check=True, capture_output=True, env=environment())
    return output.read_text(encoding="utf-8")


def innermost(text: str) -> Iterator[tuple[str, str]]:
    """The mangled name of the function, and the lines, of every loop without another inside."""
    lines, labels, function = text.splitlines(), dict[str, int](), ""
    for at, line in enumerate(lines):
        label = LABEL.match(line)
        if label:
            labels[label[1]] = at
        if FUNCTION.match(line):
            function = line.partition(":")[0]
        back = BACK.match(line)
        if back and back[1] in labels:
            body = lines[labels[back[1]] : at + 1]
            if not any(LABEL.match(inner) for inner in body[1:]):
                yield function, "\n".join(body) + "\n"


def products_of(text: str) -> int:
    """Products that a turn computes."""
    names = [match[1] for match in map(INSTRUCTION.match, text.splitlines()) if match]
    return sum(PRODUCTS.get(name, 0) for name in names)


def row_loop(row: str, file: str, isa: str, marks: tuple[str, ...]) -> Loop:
    """The loop of a row that computes most products a turn, of the functions whose names have all of ``marks``.

    Raises:
        ValueError: there is none.
    """
    bodies = [body for function, body in innermost(assembly(file, isa)) if all(mark in function for mark in marks)]
    if not bodies or not products_of(max(bodies, key=products_of)):
        raise ValueError(f"no loop of {file} multiplies in a function with {marks}")
    body = max(bodies, key=products_of)
    return Loop(row, body, products_of(body))


def own_loops() -> Iterator[Loop]:
    """The inner loops of the matrix rows at their largest tile."""
    for rule, name in (("Acc16", "neon_acc16"), ("Acc32", "neon_acc32"), ("Exact", "neon_exact")):
        yield row_loop(f"gemm_s8s8_{name}", "gemm/arm/neon.cc", "neon", (rule, "Li4E"))
    yield row_loop("gemm_s8s8_dotprod", "gemm/arm/dotprod.cc", "dotprod", ("QuadsILi2ELi4EE",))
    yield row_loop("gemm_u8s8_i8mm", "gemm/arm/i8mm.cc", "i8mm", ("EightsILi8EE",))


def widening_lanes() -> Loop:
    """Eight k of 4 rows by 8 outputs in four-lane sums of 32 bits: both sides widened to 16 bits, ``smlal`` by lane.

    The step of XNNPACK's ``qs8-gemm-*x8-neon-mlal-lane`` kernels as a sequence of instructions: one load and one
    widening for each row and each k of weights, two multiplications for each row and k.
    """
    rows, lines = 4, [".Lwiden:"]
    for row in range(rows):
        lines += [f"\tldr d{row}, [x{row}], #8", f"\tsxtl v{row}.8h, v{row}.8b"]
    for k in range(8):
        weights = rows + k % 2
        lines += [f"\tldr d{weights}, [x9], #8", f"\tsxtl v{weights}.8h, v{weights}.8b"]
        for row in range(rows):
            lines += [f"\tsmlal v{16 + 2 * row}.4s, v{weights}.4h, v{row}.h[{k}]"]
            lines += [f"\tsmlal2 v{17 + 2 * row}.4s, v{weights}.8h, v{row}.h[{k}]"]
    lines += ["\tsubs x10, x10, #8", "\tb.hs .Lwiden"]
    return Loop(WIDENING, "\n".join(lines) + "\n", 8 * 8 * rows)


def paired_sums() -> Loop:
    """Sixteen k of 2 rows by 8 outputs: smull, smlal of the next eight, sadalp.

    The step of XNNPACK's ``qs8-gemm-2x8c8-neon-mlal`` kernel as a sequence of instructions: every operand is a load of
    eight bytes.
    """
    rows, lines = 2, [".Lpairs:"]
    lines += [f"\tldr d{2 * row + half}, [x{row}], #8" for row in range(rows) for half in range(2)]
    for output in range(8):
        lines += ["\tldr d8, [x9], #8", "\tldr d9, [x9, #56]"]
        for row in range(rows):
            product = 10 + row
            lines += [
                f"\tsmull v{product}.8h, v{2 * row}.8b, v8.8b",
                f"\tsmlal v{product}.8h, v{2 * row + 1}.8b, v9.8b",
            ]
            lines += [f"\tsadalp v{16 + 8 * row + output}.4s, v{product}.8h"]
    lines += ["\tsubs x10, x10, #16", "\tb.hs .Lpairs"]
    return Loop(PAIRED, "\n".join(lines) + "\n", 16 * 8 * rows)
