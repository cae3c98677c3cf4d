"""How each x86 depthwise row sums: the instructions of one step on neighbouring outputs.

Registers per output pixel:

=====  ==========================================================================================
acc16  2 registers of s16: sums of two taps, vpmaddubsw **saturates**, proved to fit; vpaddw **wraps**, runs proved
exact  4 registers of s32: two taps widened to s16, vpmaddwd, vpaddd **exact**
vnni   4 registers of s32: four taps, vpdpbusd **exact**
=====  ==========================================================================================

32-bit sums are **exact** because totals are proved in s32.
"""

from __future__ import annotations

from collections.abc import Iterator

from depthwise.x86.line import ZEROS, Arithmetic, Line


def pair_sums(line: Line, step: int, first: bool) -> Iterator[str]:
    """Interleave two taps; vpmaddubsw + vpaddw. The first step leaves products and adds nothing."""
    weights = [line.reg(4), line.reg(5)]
    for half in range(2):
        yield line.move(f"{step * line.arithmetic.step_bytes + half * line.bytes}(%rsi)", weights[half])
    for output in range(line.outputs):
        even, odd, low = line.reg(6), line.reg(7), line.reg(8)
        yield line.move(line.pixel(output, 2 * step), even)
        yield line.move(line.pixel(output, 2 * step + 1), odd)
        yield f"vpunpcklbw {odd}, {even}, {low}"
        yield f"vpunpckhbw {odd}, {even}, {even}"
        for half, operands in enumerate((low, even)):
            into = line.narrow(output, half) if first else operands
            yield f"vpmaddubsw {weights[half]}, {operands}, {into}"
            if not first:
                yield f"vpaddw {into}, {line.narrow(output, half)}, {line.narrow(output, half)}"


def wide_pair_sums(line: Line, step: int, first: bool) -> Iterator[str]:
    """Interleave two taps and widen them; vpmaddwd + vpaddd."""
    del first
    zeros = line.reg(ZEROS)
    for output in range(line.outputs):
        even, odd, low, high = (line.reg(index) for index in (8, 9, 10, 11))
        yield line.move(line.pixel(output, 2 * step), even)
        yield line.move(line.pixel(output, 2 * step + 1), odd)
        yield f"vpunpcklbw {odd}, {even}, {low}"
        yield f"vpunpckhbw {odd}, {even}, {high}"
        for j, (half, half_name) in enumerate(((low, "l"), (low, "h"), (high, "l"), (high, "h"))):
            into = even if j % 2 == 0 else odd
            yield f"vpunpck{half_name}bw {zeros}, {half}, {into}"
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
        for half, half_name in enumerate("lh"):
            lower, upper, quad = line.reg(20 + half * 2), line.reg(21 + half * 2), line.reg(28)
            yield f"vpunpck{half_name}bw {x[1]}, {x[0]}, {lower}"
            yield f"vpunpck{half_name}bw {x[3]}, {x[2]}, {upper}"
            for part, lane in enumerate("lh"):
                j = half * 2 + part
                yield f"vpunpck{lane}wd {upper}, {lower}, {quad}"
                yield f"vpdpbusd {weights[j]}, {quad}, {line.sum(output, j)}"


def lean_quad_sums(line: Line, step: int, first: bool) -> Iterator[str]:
    """Four taps in vpdpbusd of AVX-VNNI: half of the operands stay in memory, for there are 16 registers."""
    del first
    low, high, other_low, other_high, quads = (line.reg(index) for index in range(8, 13))
    for output in range(line.outputs):
        pixels = [line.pixel(output, 4 * step + tap) for tap in range(4)]
        for pair, (lower, upper) in zip((pixels[:2], pixels[2:]), ((low, high), (other_low, other_high)), strict=True):
            yield line.move(pair[0], upper)
            yield f"vpunpcklbw {pair[1]}, {upper}, {lower}"
            yield f"vpunpckhbw {pair[1]}, {upper}, {upper}"
        for j, (pair, others, lane) in enumerate(
            ((low, other_low, "l"), (low, other_low, "h"), (high, other_high, "l"), (high, other_high, "h"))
        ):
            weights = f"{step * line.arithmetic.step_bytes + j * line.bytes}(%rsi)"
            yield f"vpunpck{lane}wd {others}, {pair}, {quads}"
            yield f"{{vex}} vpdpbusd {weights}, {quads}, {line.sum(output, j)}"


ROWS = (
    Arithmetic("avx2_acc16", "ymm", 2, 64, 4, pair_sums, is_narrow=True),
    Arithmetic("avx2_exact", "ymm", 2, 128, 0, wide_pair_sums),
    Arithmetic("avx512bw_acc16", "zmm", 2, 128, 4, pair_sums, is_narrow=True),
    Arithmetic("vnni", "zmm", 4, 256, 0, quad_sums),
    Arithmetic("avxvnni", "ymm", 4, 128, 0, lean_quad_sums),
)
