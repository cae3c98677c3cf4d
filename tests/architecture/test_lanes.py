"""Which products share a lane is said in ``numerics.cells``, and once more, by another route, in the checker."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "oaq"
HOME = SOURCE / "numerics" / "cells.py"


def lane_arithmetic(path: Path) -> list[int]:
    """Lines of ``... % lanes`` and ``... % register.lanes``."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Mod)
        and (getattr(node.right, "attr", None) == "lanes" or getattr(node.right, "id", None) == "lanes")
    ]


def test_lane_arithmetic_stands_in_one_module_beside_the_checker() -> None:
    assert lane_arithmetic(HOME)
    files = [path for path in SOURCE.rglob("*.py") if path != HOME and "checker" not in path.parts]
    lines = {str(path.relative_to(SOURCE)): lane_arithmetic(path) for path in files}
    assert {name: places for name, places in lines.items() if places} == {}
