"""Defects that a review once seeded by hand, four of which lived: each is tried again by ``--seeded``.

Each stands for a kind: a limit off by one, an edge forgotten, an order swapped. The text before is exact and occurs
once in its file; a test says so, so that the list follows the code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.mutants.edit import Edit, edit

BOUNDS, RUNS, SPILL = (f"src/oaq/overflow/{name}.py" for name in ("bounds", "runs", "spill"))
OPERANDS, ANALYZE = "src/oaq/overflow/operands.py", "src/oaq/overflow/analyze.py"
SEEDED: Final[tuple[tuple[str, str, str, str], ...]] = (
    (
        "run limit +1",
        RUNS,
        "min(register.hi, widest), min(-register.lo",
        "min(register.hi + 1, widest), min(-register.lo",
    ),
    ("after a split, the run restarts from issue 0", RUNS, "for at in (0, -1))", "for at in (0, 0))"),
    (
        "upper bound too small by one",
        BOUNDS,
        "return ChannelRanges(ends[0], ends[1])",
        "return ChannelRanges(ends[0], np.maximum(ends[1] - 1, ends[0]))",
    ),
    (
        "padding forgotten in operand ranges",
        OPERANDS,
        "taps = np.where(pads.reshape(1, -1, 1), merge(channels, zero), channels)",
        "taps = np.where(pads.reshape(1, -1, 1), channels, channels)",
    ),
    (
        "pair saturation not required",
        BOUNDS,
        'if accumulator.group_overflow == "saturates":\n        return True',
        "pass",
    ),
    (
        "lane by product, not by group",
        "src/oaq/numerics/cells.py",
        "(k // accumulator.group) % accumulator.lanes",
        "k % accumulator.lanes",
    ),
    (
        "bias forgotten in the total",
        ANALYZE,
        "total = ChannelRanges(folded + raw.lo, folded + raw.hi)",
        "total = ChannelRanges(raw.lo + 0 * folded, raw.hi + 0 * folded)",
    ),
    (
        "the plan's clamp is u8, not the effective range",
        "src/oaq/runtime/step_fields.py",
        "return planned.clamp.lo, planned.clamp.hi",
        "return 0, 255",
    ),
    (
        "a lookup taken as monotone",
        "src/oaq/operators/lookup.py",
        "images = [op.table[channel.lo : channel.hi + 1] for channel in inputs[0]]",
        "images = [op.table[[channel.lo, channel.hi]] for channel in inputs[0]]",
    ),
    (
        "Mul by two corners",
        "src/oaq/operators/mul.py",
        "[p * q for p in (a.lo, a.hi) for q in (b.lo, b.hi)]",
        "[a.lo * b.lo, a.hi * b.hi]",
    ),
    (
        "Add forgets a zero point",
        "src/oaq/operators/add.py",
        "zip(inputs, specs, strict=True))\n    return ChannelRanges",
        "zip(inputs, (specs[0], specs[0]), strict=True))\n    return ChannelRanges",
    ),
    (
        "Concat in another order",
        "src/oaq/operators/concat.py",
        "np.concatenate([part.lo for part in parts])",
        "np.concatenate([part.lo for part in parts[::-1]])",
    ),
    (
        "Pad does not widen",
        "src/oaq/operators/pad.py",
        "inputs[0].hull(specs[0].affine.zero_point) if any(op.padding) else inputs[0]",
        "inputs[0]",
    ),
    (
        "AvgPool: full windows only",
        "src/oaq/operators/avg_pool.py",
        "for inside in positions_inside(op.window, specs[0].shape[:-1]):",
        "for inside in positions_inside(op.window, specs[0].shape[:-1])[-1:]:",
    ),
    (
        "wide weights: a step dropped",
        "src/oaq/overflow/wide.py",
        "last = np.maximum.reduceat(np.where(holds, row, -1), begin)",
        "last = np.maximum.reduceat(np.where(holds, row, -1), begin) - 1",
    ),
    (
        "arena: a tensor dies early",
        "src/oaq/runtime/memory.py",
        "blocks[owner[name]].last = time\n        if",
        "blocks[owner[name]].last = time - 1\n        if",
    ),
    ("the issues of a split swapped", RUNS, "place == issue, issue == 0)", "place != issue, issue == 0)"),
    (
        "partial sums with bias not required in s32",
        ANALYZE,
        'node, "a partial sum with bias", folded + np.minimum(partial.lo, 0), folded + np.maximum(partial.hi, 0)',
        'node, "a partial sum with bias", folded, folded',
    ),
    ("N1: padded lines hold 0", "native/conv/padded_lines.cc", "std::memset(at, zero_point_,", "std::memset(at, 0,"),
    (
        "N2: half-way results of words",
        "native/requantize/in_words.h",
        "if (twice < 2 * hi && twice % 4 != 3) return 0;",
        "if (twice < 2 * hi && twice % 4 == 9) return 0;",
    ),
    (
        "half-way results of words below 0",
        "native/requantize/in_words.h",
        "if (twice < -2 * lo && twice % 4 != 1) return 0;",
        "if (twice < -2 * lo && twice % 4 == 9) return 0;",
    ),
    (
        "N3: range of words",
        "native/requantize/in_words.h",
        "(most <= kMostWord ||",
        "(most <= 2 * kMostWord ||",
    ),
    (
        "range of words below 0",
        "native/requantize/in_words.h",
        "(least >= -kMostWord - 1 ||",
        "(least >= -2 * kMostWord - 1 ||",
    ),
    (
        "N4: no limit of the vector Add",
        "native/steps/elementwise.cc",
        "constexpr float kLargestScale = 1 << 21;",
        "constexpr float kLargestScale = 3.0e38f;",
    ),
    (
        "N5: fixed point rounds ties down",
        "native/requantize/loops.cc",
        "const std::int64_t half = std::int64_t{1} << (numbers.shift[at] - 1);",
        "const std::int64_t half = (std::int64_t{1} << (numbers.shift[at] - 1)) - 1;",
    ),
    (
        "N6: ties half up",
        "native/requantize/loops.cc",
        "static_cast<std::int32_t>(clamped + kHalfEven - kHalfEven) + zero",
        "static_cast<std::int32_t>(clamped + 4096.5f) - 4096 + zero",
    ),
    (
        "N7: an empty max pool window gives 1",
        "native/steps/pool.cc",
        "std::memset(scratch, 0, padded_bytes_);",
        "std::memset(scratch, 1, padded_bytes_);",
    ),
    (
        "N8: a window one tap short",
        "native/conv/patches.cc",
        "std::clamp(reached, begin, kernel)",
        "std::clamp(reached, begin, std::max(begin, kernel - 1))",
    ),
)
"""(title, path, text before, text after)."""


def seeded_edits(root: Path) -> list[Edit]:
    """Each defect as an edit; its title is the kind.

    Raises:
        ValueError: a text does not occur exactly once, so that the list needs mending.
    """
    edits = []
    for title, path, before, after in SEEDED:
        content = (root / path).read_bytes()
        if content.count(before.encode()) != 1:
            raise ValueError(f"{title}: {path} holds {before!r} {content.count(before.encode())} times")
        begin = content.index(before.encode())
        edits.append(edit(path, title, content, (begin, begin + len(before.encode())), after))
    return edits
