"""Which files rest proofs and integers on themselves, which tests guard them, and which edits are tried."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.mutants.edit import Edit
from benchmarks.mutants.native_edits import native_edits
from benchmarks.mutants.python_edits import python_edits

NATIVE: Final = (
    *(f"tests/native/test_{name}.py" for name in ("steps", "rows", "session", "words", "lines", "weights")),
    "tests/runtime/test_values.py",
)
"""Tests of native code, without those that build it once more."""
GUARDS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (
        "src/oaq/numerics",
        ("tests/numerics", "tests/overflow", "tests/reference", "tests/program", "tests/native/test_words.py"),
    ),
    ("src/oaq/operators", ("tests/operators", "tests/overflow", "tests/reference", "tests/program", "tests/checker")),
    ("src/oaq/overflow", ("tests/overflow", "tests/checker", "tests/kernels", "tests/verify/test_corner_inputs.py")),
    ("src/oaq/checker/robust", ("tests/checker", "tests/robust")),
    ("src/oaq/checker", ("tests/checker", "tests/runtime", "tests/verify/test_sealed_files.py")),
    ("src/oaq/kernels/plan.py", ("tests/kernels", "tests/report", "tests/verify/test_verify.py")),
    ("src/oaq/runtime", ("tests/runtime", "tests/native/test_session.py", "tests/checker")),
    ("native/requantize", NATIVE),
    ("native/steps", NATIVE),
    ("native/gemm", NATIVE),
    ("native/depthwise", NATIVE),
    ("native/conv", NATIVE),
)
"""Folder or file, and the tests that should notice a defect in it, the most likely first."""
FAMILIES: Final = {
    "gemm": ("gemm", "conv"),
    "conv": ("conv", "lines"),
    "depthwise": ("depthwise",),
    "steps": ("steps", "values"),
    "requantize": ("words", "requantize", "multiplier"),
}
"""Words in names of tests, by folder of native code."""
LEFT_OUT: Final = ("onnx_", "protobuf", "__init__", "generate.py")
"""Files of these packages that decide no proof of a program and no integer."""


def guards_of(path: str) -> tuple[str, ...]:
    """Tests that should notice a defect in ``path``."""
    return next(tests for prefix, tests in GUARDS if path.startswith(prefix))


def likely(path: str) -> Callable[[str], bool]:
    """Whether a test, by its name, is about ``path``: it holds the file's name, or its family's."""
    name = Path(path)
    words = {name.stem, *FAMILIES.get(name.parts[1], ())} if path.startswith("native") else {name.stem}
    return lambda test: any(word in test for word in words)


def edits(root: Path) -> list[Edit]:
    """Every edit there is."""
    mutants: list[Edit] = []
    for prefix, _ in GUARDS:
        place = root / prefix
        for path in sorted(place.rglob("*") if place.is_dir() else [place]):
            name = path.relative_to(root).as_posix()
            if not path.is_file() or any(part in path.name for part in LEFT_OUT):
                continue
            if path.suffix == ".py" and name.startswith("src"):
                mutants += python_edits(name, path.read_bytes())
            elif path.suffix in (".cc", ".h"):
                mutants += native_edits(name, path.read_bytes())
    return list({mutant.name: mutant for mutant in mutants if mutant.before != mutant.after}.values())


def in_turn(mutants: list[Edit], seed: int) -> list[Edit]:
    """All edits, so ordered that any first part is spread evenly over files and kinds."""
    order = random.Random(seed)
    groups: dict[tuple[str, str], list[Edit]] = defaultdict(list)
    for entry in mutants:
        groups[entry.path, entry.kind].append(entry)
    keys = sorted(groups)
    order.shuffle(keys)
    for key in keys:
        order.shuffle(groups[key])
    longest = max(map(len, groups.values()), default=0)
    return [groups[key][turn] for turn in range(longest) for key in keys if turn < len(groups[key])]
