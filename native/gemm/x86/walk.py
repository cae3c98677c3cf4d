"""How a function walks over positions: from a group of rows to the next, and from a line of them to the next."""

from __future__ import annotations

from collections.abc import Iterator

from gemm.x86.tile import GROUPS, LINE_GROUPS, LINES, STRIDE, X_JUMP, Y_JUMP, Y_STRIDE, Tile, X, Y


def next_group(tile: Tile) -> Iterator[str]:
    """Move x and y to the next group of rows."""
    for place, stride in ((X, STRIDE), (Y, Y_STRIDE)):
        yield f"movq {stride}(%rdi), %rax"
        yield f"imulq ${tile.rows}, %rax"
        yield f"addq %rax, {place}(%rdi)"


def next_line() -> Iterator[str]:
    """Move from the last group of a line to the first of the next."""
    yield f"movq {LINE_GROUPS}(%rdi), %rax"
    yield f"movq %rax, {GROUPS}(%rdi)"
    for place, jump in ((X, X_JUMP), (Y, Y_JUMP)):
        yield f"movq {jump}(%rdi), %rax"
        yield f"addq %rax, {place}(%rdi)"


def walk_on(tile: Tile) -> Iterator[str]:
    """Go back to label 0 for every group of rows that is left, without fetching weights again; then return."""
    yield from (f"decq {GROUPS}(%rdi)", "jz 13f", *next_group(tile), "xorl %ebp, %ebp", "jmp 0b")
    yield from ("13:", f"decq {LINES}(%rdi)", "jz 9f", *next_line(), "xorl %ebp, %ebp", "jmp 0b")
    yield from ("9:", "vzeroupper", "popq %rbp", "popq %rbx", "ret")
