"""Write the lines of outputs of the x86 depthwise rows: one template for every arithmetic and square window.

    cd native && python -m depthwise.x86.generate depthwise_x86.S depthwise_checks.inc

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
from collections.abc import Iterator
from pathlib import Path

from depthwise.x86.leave import as_sums, in_words, products_of_floats, requantized, widened
from depthwise.x86.line import (
    BIAS,
    CALL,
    ENDS,
    EVEN,
    FLOATS,
    HI,
    HIGHEST,
    IN_MOVED_WORDS,
    IN_WORDS,
    LINES,
    LO,
    LOWEST,
    NUMBERS,
    OUTPUTS,
    SCALE,
    SUMS,
    WAY,
    WEIGHTS,
    WORDS,
    X_STEP,
    Y_STRIDE,
    ZERO,
    ZERO_POINT,
    ZEROS,
    Arithmetic,
    Line,
    X,
    Y,
)
from depthwise.x86.step import ROWS, wide_pair_sums
from rows import offset_checks, rows, value_checks


def spilled_sum(line: Line, output: int, j: int) -> str:
    """Where s32 sums lie between two spills."""
    return f"{(output * 4 + j) * line.bytes}(%rsp)"


def sum_window(line: Line) -> Iterator[str]:
    """All steps in one run: to s16 sums where they are narrow, else to s32 sums with their bias."""
    if not line.arithmetic.is_narrow:
        for output in range(line.outputs):
            yield from (line.move(f"{j * line.bytes}(%rbx)", line.sum(output, j)) for j in range(4))
    for step in range(line.steps):
        yield from line.arithmetic.step(line, step, step == 0)


def widened_window(line: Line) -> Iterator[str]:
    """The narrow sums of one run as s32, bias added."""
    for output in range(line.outputs):
        yield from widened(line, output)
    for output in range(line.outputs):
        yield from (f"vpaddd {j * line.bytes}(%rbx), {line.sum(output, j)}, {line.sum(output, j)}" for j in range(4))


def sum_runs(line: Line) -> Iterator[str]:
    """Sum the window in several runs: a spill wherever the bit of a step is set."""
    places = [(output, j) for output in range(line.outputs) for j in range(4)]
    for output, j in places:
        yield line.move(f"{j * line.bytes}(%rbx)", line.reg(4))
        yield line.move(line.reg(4), spilled_sum(line, output, j))
    yield from (line.clear(line.reg(index)) for index in range(2 * line.outputs))
    for step in range(line.steps):
        yield from line.arithmetic.step(line, step, False)
        yield f"btl ${step}, %edi"
        yield f"jnc 3{step:02}f"
        for output in range(line.outputs):
            yield from widened(line, output)
        for output, j in places:
            yield f"vpaddd {spilled_sum(line, output, j)}, {line.sum(output, j)}, {line.sum(output, j)}"
            yield line.move(line.sum(output, j), spilled_sum(line, output, j))
        yield from (line.clear(line.reg(index)) for index in range(2 * line.outputs))
        yield f"3{step:02}:"
    yield from (line.move(spilled_sum(line, output, j), line.sum(output, j)) for output, j in places)


def together(line: Line, runs: bool) -> Iterator[str]:
    """Neighbours, from their windows to where they go; then on to the next."""
    outputs = range(line.outputs)
    yield from (sum_runs if runs else sum_window)(line)
    if not runs:  # what was spilled is never in words
        for way, label in ((IN_WORDS, 10), (IN_MOVED_WORDS, 11)):
            yield f"cmpq ${way}, %r15"
            yield f"jne {label}f"
            for output in outputs:
                yield from in_words(line, output, moved=way == IN_MOVED_WORDS)
            yield "jmp 5f"
            yield f"{label}:"
        if line.arithmetic.is_narrow:
            yield from widened_window(line)
    yield f"cmpq ${FLOATS}, %r15"
    yield "ja 4f"
    yield "jb 3f"
    yield from products_of_floats(line)
    yield from (instruction for output in outputs for instruction in requantized(line, output, True))
    yield "jmp 5f"
    yield "3:"
    yield from (instruction for output in outputs for instruction in requantized(line, output, False))
    yield "jmp 5f"
    yield "4:"
    yield from (instruction for output in outputs for instruction in as_sums(line, output))
    yield f"addq ${line.outputs * line.bytes * 4}, %r15"
    yield "5:"
    for moving, stride in (*((pointer, "%rax") for pointer in LINES[: line.side]), ("%rdx", "%r14")):
        yield f"leaq ({moving},{stride}{',2' if line.outputs == 2 else ''}), {moving}"


def whole_line(arithmetic: Arithmetic, side: int, runs: bool) -> Iterator[str]:
    """Two at a time, then the one that may be left."""
    yield "cmpq $2, %rcx"
    yield "jl 7f"
    yield ".p2align 4"
    yield "6:"
    yield from together(Line(arithmetic, side, 2), runs)
    yield "subq $2, %rcx"
    yield "cmpq $2, %rcx"
    yield "jge 6b"
    yield "7:"
    yield "testq %rcx, %rcx"
    yield "jz 9f"
    yield from together(Line(arithmetic, side, 1), runs)


SAVED = ("%rbx", "%rbp", "%r12", "%r13", "%r14", "%r15")


def function(arithmetic: Arithmetic, side: int) -> Iterator[str]:
    """A line of outputs."""
    name, line = f"oaq_depthwise_{arithmetic.functions}_{side}x{side}", Line(arithmetic, side, 2)
    yield f".p2align 4\n.hidden {name}\n.globl {name}\n.type {name}, @function\n{name}:"
    yield from (f"pushq {register}" for register in SAVED)
    yield "movq %rsp, %rbp"
    if arithmetic.is_narrow:
        yield f"subq ${8 * line.bytes}, %rsp"
        yield "andq $-64, %rsp"
    for register, constant, place in (("w", ZERO_POINT, ZERO), ("b", LOWEST, LO), ("b", HIGHEST, HI)):
        yield f"vpbroadcast{register} {place}(%rdi), {line.reg(constant)}"
    if arithmetic.step is wide_pair_sums:
        yield line.clear(line.reg(ZEROS))
    if arithmetic.is_narrow:
        yield f"vpbroadcastd oaq_depthwise_even(%rip), {line.reg(EVEN)}"
    yield f"movq {X}(%rdi), %rdx"
    yield from (f"movq {8 * index}(%rdx), {pointer}" for index, pointer in enumerate(LINES[:side]))
    places = ((X_STEP, "rax"), (OUTPUTS, "rcx"), (WEIGHTS, "rsi"), (BIAS, "rbx"), (SCALE, "r13"), (Y, "rdx"))
    for place, register in (*places, (Y_STRIDE, "r14"), (SUMS, "r15")):
        yield f"movq {place}(%rdi), %{register}"
    yield "testq %r15, %r15"
    yield "jnz 1f"
    yield f"movl {WAY}(%rdi), %r15d"
    yield f"cmpl ${IN_WORDS}, %r15d"
    yield "jb 1f"
    yield f"movq {WORDS}(%rdi), %r13"
    yield "1:"
    yield f"movq {ENDS}(%rdi), %rdi"
    if arithmetic.is_narrow:
        yield f"cmpl ${1 << (line.steps - 1)}, %edi"
        yield "jne 2f"
    yield from whole_line(arithmetic, side, False)
    yield "9:"
    if arithmetic.is_narrow:
        yield "jmp 8f"
        yield "2:"
        yield from whole_line(arithmetic, side, True)
        yield "9:"
        yield "8:"
    yield "vzeroupper"
    yield "movq %rbp, %rsp"
    yield from (f"popq {register}" for register in reversed(SAVED))
    yield "ret"
    yield f".size {name}, .-{name}"


def checks() -> str:
    """C++ that does not compile where depthwise.h or ways.h is not what these loops take it to be."""
    return offset_checks("DepthwiseCall", CALL) + value_checks(NUMBERS)


def main() -> None:
    """Write the two files named on the command line."""
    missing = {arithmetic.functions for arithmetic in ROWS} ^ {
        stem for stem, row in rows("DEPTHWISE").items() if row["squares"] == "SQUARES"
    }
    if missing:
        raise SystemExit(f"rows.inc and step.py disagree on which depthwise rows have generated squares: {missing}")
    lines = ["# Written by native/depthwise/generate.py; not to be edited.", ".text"]
    for arithmetic in ROWS:
        for side in (3, 5):
            lines += function(arithmetic, side)
    order = ", ".join(str(8 * half + 4 * (i % 2) + i // 2) for half in range(2) for i in range(8))
    lines += [".section .rodata", ".p2align 6", f"oaq_depthwise_order: .rept 4\n.byte {order}\n.endr"]
    lines.append("oaq_depthwise_even: .short 1, 0")
    lines.append('.section .note.GNU-stack,"",@progbits')
    Path(sys.argv[1]).write_text("\n".join(lines) + "\n")
    Path(sys.argv[2]).write_text(checks())


if __name__ == "__main__":
    main()
