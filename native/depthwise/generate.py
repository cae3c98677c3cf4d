"""Write the lines of outputs of the x86 depthwise rows: one template for every arithmetic and square window.

    python generate.py depthwise_x86.S

Each function computes a line of outputs of one tile of channels, two neighbours at a time, so that weights are loaded
once for both; ``DepthwiseCall`` in depthwise.h says from what. Compilers keep such sums in memory (GCC 12 does, arrays
or not); here every register has a name. Registers of all functions:

    rdi  bits of the steps that a spill follows       rsi  weights     rdx  y        rcx  outputs left
    r8 to r12  lines of the window, moving along      rax  x_step      r14  bytes between outputs of y
    rbx  bias    r13  multipliers, those of words in their way    rsp  s32 sums between two spills
    r15  where s32 sums go instead, or the way to bytes (requantize/ways.h)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

X, X_STEP, OUTPUTS, WEIGHTS, ENDS, BIAS, SCALE, Y, Y_STRIDE, SUMS, ZERO = range(0, 88, 8)
LO, HI, WAY, WORDS = ZERO + 4, ZERO + 8, 104, 112
FLOATS, IN_WORDS = 1, 2
"""Ways from sums to bytes that are not the general one: native/requantize/ways.h."""
LINES = ("%r8", "%r9", "%r10", "%r11", "%r12")


@dataclass(frozen=True)
class Arithmetic:
    """How one step of a row is summed.

    Attributes:
        name: of the table row, without "depthwise_u8s8_".
        register: "ymm" or "zmm".
        taps: of a step.
        step_bytes: of its weights.
        sums: register of the first s32 sum; each output has four.
        step: instructions of one step.
        is_narrow: sums have 16 bits, two registers of an output, until a spill widens them.
    """

    name: str
    register: str
    taps: int
    step_bytes: int
    sums: int
    step: Callable[[Line, int, bool], Iterator[str]]
    is_narrow: bool = False


@dataclass(frozen=True)
class Line:
    """One loop: neighbours of one window that are computed together."""

    how: Arithmetic
    side: int
    outputs: int

    @property
    def bytes(self) -> int:
        """Of one register, and of one pixel of a tile."""
        return 32 if self.how.register == "ymm" else 64

    @property
    def steps(self) -> int:
        """Of the window."""
        return -(-self.side * self.side // self.how.taps)

    def reg(self, index: int) -> str:
        """By number."""
        return f"%{self.how.register}{index}"

    def sum(self, output: int, j: int) -> str:
        """The j-th register of s32 sums."""
        return self.reg(self.how.sums + 4 * output + j)

    def narrow(self, output: int, half: int) -> str:
        """A register of s16 sums."""
        return self.reg(2 * output + half)

    def move(self, source: str, to: str) -> str:
        """A whole register to or from memory."""
        return f"vmovdqu{'8' if self.bytes == 64 else ''} {source}, {to}"

    def clear(self, register: str) -> str:
        """To zero."""
        return f"vpxor{'d' if self.bytes == 64 else ''} {register}, {register}, {register}"

    def pixel(self, output: int, tap: int) -> str:
        """Address under a tap; one that only fills up the last step reads the last pixel, times zero."""
        row, column = divmod(min(tap, self.side * self.side - 1), self.side)
        return f"{column * self.bytes or ''}({LINES[row]}{',%rax' if output else ''})"


ZERO_POINT, LOWEST, HIGHEST, NOTHING, EVEN = 13, 14, 15, 12, 12


def pair_sums(line: Line, step: int, first: bool) -> Iterator[str]:
    """Interleave two taps; vpmaddubsw + vpaddw. The first step leaves products and adds nothing."""
    weights = [line.reg(4), line.reg(5)]
    for half in range(2):
        yield line.move(f"{step * line.how.step_bytes + half * line.bytes}(%rsi)", weights[half])
    for output in range(line.outputs):
        one, other, low = line.reg(6), line.reg(7), line.reg(8)
        yield line.move(line.pixel(output, 2 * step), one)
        yield line.move(line.pixel(output, 2 * step + 1), other)
        yield f"vpunpcklbw {other}, {one}, {low}"
        yield f"vpunpckhbw {other}, {one}, {one}"
        for half, operands in enumerate((low, one)):
            into = line.narrow(output, half) if first else operands
            yield f"vpmaddubsw {weights[half]}, {operands}, {into}"
            if not first:
                yield f"vpaddw {into}, {line.narrow(output, half)}, {line.narrow(output, half)}"


def wide_pair_sums(line: Line, step: int, first: bool) -> Iterator[str]:
    """Interleave two taps and widen them; vpmaddwd + vpaddd."""
    del first
    nothing = line.reg(NOTHING)
    for output in range(line.outputs):
        one, other, low, high = (line.reg(index) for index in (8, 9, 10, 11))
        yield line.move(line.pixel(output, 2 * step), one)
        yield line.move(line.pixel(output, 2 * step + 1), other)
        yield f"vpunpcklbw {other}, {one}, {low}"
        yield f"vpunpckhbw {other}, {one}, {high}"
        for j, (half, which) in enumerate(((low, "l"), (low, "h"), (high, "l"), (high, "h"))):
            into = one if j % 2 == 0 else other
            yield f"vpunpck{which}bw {nothing}, {half}, {into}"
            yield f"vpmaddwd {step * line.how.step_bytes + j * line.bytes}(%rsi), {into}, {into}"
            yield f"vpaddd {into}, {line.sum(output, j)}, {line.sum(output, j)}"


def quad_sums(line: Line, step: int, first: bool) -> Iterator[str]:
    """Interleave four taps; vpdpbusd."""
    del first
    weights = [line.reg(24 + j) for j in range(4)]
    for j in range(4):
        yield line.move(f"{step * line.how.step_bytes + j * line.bytes}(%rsi)", weights[j])
    for output in range(line.outputs):
        x = [line.reg(16 + tap) for tap in range(4)]
        for tap in range(4):
            yield line.move(line.pixel(output, 4 * step + tap), x[tap])
        for half, which in enumerate("lh"):
            one, other, both = line.reg(20 + half * 2), line.reg(21 + half * 2), line.reg(28)
            yield f"vpunpck{which}bw {x[1]}, {x[0]}, {one}"
            yield f"vpunpck{which}bw {x[3]}, {x[2]}, {other}"
            for part, lane in enumerate("lh"):
                j = half * 2 + part
                yield f"vpunpck{lane}wd {other}, {one}, {both}"
                yield f"vpdpbusd {weights[j]}, {both}, {line.sum(output, j)}"


ROWS = (
    Arithmetic("avx2_acc16", "ymm", 2, 64, 4, pair_sums, is_narrow=True),
    Arithmetic("avx2_exact", "ymm", 2, 128, 0, wide_pair_sums),
    Arithmetic("avx512bw_acc16", "zmm", 2, 128, 4, pair_sums, is_narrow=True),
    Arithmetic("vnni", "zmm", 4, 256, 0, quad_sums),
)


def widened(line: Line, output: int) -> Iterator[str]:
    """An output's s16 sums as s32: even ones times one and their neighbours times zero; odd ones shifted."""
    for j in range(0, 4, 2):
        half = line.narrow(output, j // 2)
        yield f"vpmaddwd {line.reg(EVEN)}, {half}, {line.sum(output, j)}"
        yield f"vpsrad $16, {half}, {line.sum(output, j + 1)}"


def kept(line: Line, output: int, j: int) -> str:
    """Where s32 sums lie between two spills."""
    return f"{(output * 4 + j) * line.bytes}(%rsp)"


def sum_window(line: Line) -> Iterator[str]:
    """All steps in one run: to s16 sums where they are narrow, else to s32 sums with their bias."""
    if not line.how.is_narrow:
        for output in range(line.outputs):
            yield from (line.move(f"{j * line.bytes}(%rbx)", line.sum(output, j)) for j in range(4))
    for step in range(line.steps):
        yield from line.how.step(line, step, step == 0)


def widened_window(line: Line) -> Iterator[str]:
    """The narrow sums of one run as s32, bias added."""
    for output in range(line.outputs):
        yield from widened(line, output)
    for output in range(line.outputs):
        yield from (f"vpaddd {j * line.bytes}(%rbx), {line.sum(output, j)}, {line.sum(output, j)}" for j in range(4))


def sum_runs(line: Line) -> Iterator[str]:
    """The same in several runs: a spill wherever the bit of a step is set."""
    places = [(output, j) for output in range(line.outputs) for j in range(4)]
    for output, j in places:
        yield line.move(f"{j * line.bytes}(%rbx)", line.reg(4))
        yield line.move(line.reg(4), kept(line, output, j))
    yield from (line.clear(line.reg(index)) for index in range(2 * line.outputs))
    for step in range(line.steps):
        yield from line.how.step(line, step, False)
        yield f"btl ${step}, %edi"
        yield f"jnc 3{step:02}f"
        for output in range(line.outputs):
            yield from widened(line, output)
        for output, j in places:
            yield f"vpaddd {kept(line, output, j)}, {line.sum(output, j)}, {line.sum(output, j)}"
            yield line.move(line.sum(output, j), kept(line, output, j))
        yield from (line.clear(line.reg(index)) for index in range(2 * line.outputs))
        yield f"3{step:02}:"
    yield from (line.move(kept(line, output, j), line.sum(output, j)) for output, j in places)


def products_of_floats(line: Line) -> Iterator[str]:
    """Sums that are floats already times their multipliers, which serve all outputs at once."""
    for j in range(4):
        scale = line.reg(ZERO_POINT)
        yield line.move(f"{j * line.bytes}(%r13)", scale)
        for output in range(line.outputs):
            yield f"vfmadd213ps {(4 + j) * line.bytes}(%r13), {scale}, {line.sum(output, j)}"


def requantized(line: Line, output: int, as_floats: bool) -> Iterator[str]:
    """As u8 to y; ``as_floats``: zero point and lowest value are 0, where packing saturates anyway.

    Multipliers are below 1, so the product fits s32; packing saturates twice and changes nothing the clamp keeps.
    """
    sums = [line.sum(output, j) for j in range(4)]
    for j, each in enumerate(sums):
        if not as_floats:
            yield f"vcvtdq2ps {each}, {each}"
            yield f"vmulps {j * line.bytes}(%r13), {each}, {each}"
        yield f"vcvtps2dq {each}, {each}"
    for first in (0, 2):
        yield f"vpackssdw {sums[first + 1]}, {sums[first]}, {sums[first]}"
        if not as_floats:
            yield f"vpaddsw {line.reg(ZERO_POINT)}, {sums[first]}, {sums[first]}"
    yield f"vpackuswb {sums[2]}, {sums[0]}, {sums[0]}"
    if not as_floats:
        yield f"vpmaxub {line.reg(LOWEST)}, {sums[0]}, {sums[0]}"
    yield f"vpminub {line.reg(HIGHEST)}, {sums[0]}, {sums[0]}"
    if line.how.is_narrow:
        yield f"vpshufb oaq_depthwise_order(%rip), {sums[0]}, {sums[0]}"
    yield line.move(sums[0], f"(%rdx{',%r14' if output else ''})")


def in_words(line: Line, output: int) -> Iterator[str]:
    """As u8 to y in 16 bits: a saturated sum with its bias times a multiplier of 2^-15, rounded half up."""
    if line.how.is_narrow:
        halves = [line.narrow(output, half) for half in range(2)]
        for half, words in enumerate(halves):
            yield f"vpaddsw {(2 + half) * line.bytes}(%r13), {words}, {words}"
    else:
        halves = [line.sum(output, j) for j in (0, 2)]
        for half, words in enumerate(halves):
            yield f"vpackssdw {line.sum(output, 2 * half + 1)}, {words}, {words}"
    for half, words in enumerate(halves):
        yield f"vpmulhrsw {half * line.bytes}(%r13), {words}, {words}"
    yield f"vpackuswb {halves[1]}, {halves[0]}, {halves[0]}"
    yield f"vpminub {line.reg(HIGHEST)}, {halves[0]}, {halves[0]}"
    yield line.move(halves[0], f"(%rdx{',%r14' if output else ''})")


def as_sums(line: Line, output: int) -> Iterator[str]:
    """The s32 sums in the order of channels: each 128-bit part holds four neighbours, once even and odd ones meet."""
    if line.how.is_narrow:
        for j in range(0, 4, 2):
            even, odd, free = line.sum(output, j), line.sum(output, j + 1), line.reg(0)
            yield f"vpunpckldq {odd}, {even}, {free}"
            yield f"vpunpckhdq {odd}, {even}, {odd}"
            yield f"vmovdqa{'64' if line.bytes == 64 else ''} {free}, {even}"
    for j in range(4):
        whole = line.sum(output, j)
        quarter = f"%xmm{whole[4:]}"
        for part in range(line.bytes // 16):
            to = f"{output * line.bytes * 4 + (16 * part + 4 * j) * 4}(%r15)"
            if part == 0:
                yield f"vmovdqu {quarter}, {to}"
            elif line.bytes == 64:
                yield f"vextracti32x4 ${part}, {whole}, {to}"
            else:
                yield f"vextracti128 $1, {whole}, {to}"


def together(line: Line, runs: bool) -> Iterator[str]:
    """Neighbours, from their windows to where they go; then on to the next."""
    outputs = range(line.outputs)
    yield from (sum_runs if runs else sum_window)(line)
    if not runs:  # what was spilled is never in words
        yield f"cmpq ${IN_WORDS}, %r15"
        yield "jne 10f"
        yield from (each for output in outputs for each in in_words(line, output))
        yield "jmp 5f"
        yield "10:"
        if line.how.is_narrow:
            yield from widened_window(line)
    yield f"cmpq ${FLOATS}, %r15"
    yield "ja 4f"
    yield "jb 3f"
    yield from products_of_floats(line)
    yield from (each for output in outputs for each in requantized(line, output, True))
    yield "jmp 5f"
    yield "3:"
    yield from (each for output in outputs for each in requantized(line, output, False))
    yield "jmp 5f"
    yield "4:"
    yield from (each for output in outputs for each in as_sums(line, output))
    yield f"addq ${line.outputs * line.bytes * 4}, %r15"
    yield "5:"
    for moving, by in (*((each, "%rax") for each in LINES[: line.side]), ("%rdx", "%r14")):
        yield f"leaq ({moving},{by}{',2' if line.outputs == 2 else ''}), {moving}"


def whole_line(how: Arithmetic, side: int, runs: bool) -> Iterator[str]:
    """Two at a time, then the one that may be left."""
    yield "cmpq $2, %rcx"
    yield "jl 7f"
    yield ".p2align 4"
    yield "6:"
    yield from together(Line(how, side, 2), runs)
    yield "subq $2, %rcx"
    yield "cmpq $2, %rcx"
    yield "jge 6b"
    yield "7:"
    yield "testq %rcx, %rcx"
    yield "jz 9f"
    yield from together(Line(how, side, 1), runs)


SAVED = ("%rbx", "%rbp", "%r12", "%r13", "%r14", "%r15")


def function(how: Arithmetic, side: int) -> Iterator[str]:
    """A line of outputs."""
    name, line = f"oaq_depthwise_{how.name}_{side}x{side}", Line(how, side, 2)
    yield f".p2align 4\n.hidden {name}\n.globl {name}\n.type {name}, @function\n{name}:"
    yield from (f"pushq {each}" for each in SAVED)
    yield "movq %rsp, %rbp"
    if how.is_narrow:
        yield f"subq ${8 * line.bytes}, %rsp"
        yield "andq $-64, %rsp"
    for register, constant, place in (("w", ZERO_POINT, ZERO), ("b", LOWEST, LO), ("b", HIGHEST, HI)):
        yield f"vpbroadcast{register} {place}(%rdi), {line.reg(constant)}"
    if how.step is wide_pair_sums:
        yield line.clear(line.reg(NOTHING))
    if how.is_narrow:
        yield f"vpbroadcastd oaq_depthwise_even(%rip), {line.reg(EVEN)}"
    yield f"movq {X}(%rdi), %rdx"
    yield from (f"movq {8 * index}(%rdx), {each}" for index, each in enumerate(LINES[:side]))
    places = ((X_STEP, "rax"), (OUTPUTS, "rcx"), (WEIGHTS, "rsi"), (BIAS, "rbx"), (SCALE, "r13"), (Y, "rdx"))
    for place, register in (*places, (Y_STRIDE, "r14"), (SUMS, "r15")):
        yield f"movq {place}(%rdi), %{register}"
    yield "testq %r15, %r15"
    yield "jnz 1f"
    yield f"movl {WAY}(%rdi), %r15d"
    yield f"cmpl ${IN_WORDS}, %r15d"
    yield "jne 1f"
    yield f"movq {WORDS}(%rdi), %r13"
    yield "1:"
    yield f"movq {ENDS}(%rdi), %rdi"
    if how.is_narrow:
        yield f"cmpl ${1 << (line.steps - 1)}, %edi"
        yield "jne 2f"
    yield from whole_line(how, side, False)
    yield "9:"
    if how.is_narrow:
        yield "jmp 8f"
        yield "2:"
        yield from whole_line(how, side, True)
        yield "9:"
        yield "8:"
    yield "vzeroupper"
    yield "movq %rbp, %rsp"
    yield from (f"popq {each}" for each in reversed(SAVED))
    yield "ret"
    yield f".size {name}, .-{name}"


def main() -> None:
    """Write the file named on the command line."""
    lines = ["# Written by native/depthwise/generate.py; not to be edited.", ".text"]
    for how in ROWS:
        for side in (3, 5):
            lines += function(how, side)
    order = ", ".join(str(8 * half + 4 * (i % 2) + i // 2) for half in range(2) for i in range(8))
    lines += [".section .rodata", ".p2align 6", f"oaq_depthwise_order: .rept 4\n.byte {order}\n.endr"]
    lines.append("oaq_depthwise_even: .short 1, 0")
    lines.append('.section .note.GNU-stack,"",@progbits')
    Path(sys.argv[1]).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
