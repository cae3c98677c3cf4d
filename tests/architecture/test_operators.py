"""The table of operators is the only list: what keeps a list of its own names every one of them."""

from __future__ import annotations

import re
from pathlib import Path

from oaq.checker import onnx_rules, ranges
from oaq.operators import OPERATORS, Products
from tests.strategies import OPERATORS as DRAWN

ROOT = Path(__file__).parents[2]
ROOMS = {name: re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower() for name in OPERATORS}
SUMMING = {name for name, rules in OPERATORS.items() if issubclass(rules.value, Products)}


def test_every_operator_has_a_room_and_every_rule_that_its_kind_needs() -> None:
    for name, rules in OPERATORS.items():
        room = ROOT / "src/oaq/operators" / f"{ROOMS[name]}.py"
        assert f"class {name}(" in room.read_text(), room
        assert rules.cases("float32_half_even") and rules.cases("fixed_point"), name
        assert (rules.image is None) == (rules.work is None) == (name in SUMMING), name


def test_the_independent_checkers_answer_for_every_operator() -> None:
    assert set(ranges._RULES) == set(OPERATORS) - SUMMING  # sums have a module of their own
    assert set(onnx_rules._RULES) == set(OPERATORS)


def test_random_programs_draw_every_operator() -> None:
    assert set(DRAWN) - {"Depthwise"} == set(OPERATORS)


def test_files_that_name_an_operator_are_counted() -> None:
    files = [
        (path, path.read_text())
        for folder in ("src", "native", "tests")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".py", ".cc", ".h", ".inc")
    ]
    for name in OPERATORS:
        rooms = [path for path, text in files if re.search(rf"\b(Float)?{name}\b", text)]
        print(f"{name}: {len(rooms)} files")  # noqa: T201 (read with pytest -s)
