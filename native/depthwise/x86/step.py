"""How each x86 depthwise row sums: the instructions of one step on neighbouring outputs."""

from __future__ import annotations

from collections.abc import Iterator

from depthwise.x86.line import NOTHING, Arithmetic, Line


def pair_sums(line: Line, step: int, first: bool) -> Iterator[str]:
    """Interleave two taps; vpmaddubsw + vpaddw. The first step leaves products and adds nothing."""
    weights = [line.reg(4), line.reg(5)]
    for half in range(2):
        yield line.move(f"{step * line.arithmetic.step_bytes + half * line.bytes}(%rsi)", weights[half])
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
            yield f"vpmaddwd {step * line.arithmetic.step_bytes + j * line.bytes}(%rsi), {into}, {into}"
            yield f"vpaddd {into}, {line.sum(output, j)}, {line.sum(output, j)}"


def quad_sums(line: Line, step: int, first: bool) -> Iterator[str]:
    """Interleave four taps; vpdpbusd."""
    del first
    weights = [line.reg(24 + j) for j in range(4)]
    for j in range(4):
        yield line.move(f"{step * line.arithmetic.step_bytes + j * line.bytes}(%rsi)", weights[j])
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
