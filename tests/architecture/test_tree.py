"""The tree: no drawer modules, no file and no function that outgrew its one job."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = ("src", "recipes", "benchmarks", "tests")
CPP = {".cc", ".h", ".inc"}
DRAWERS = {"utils", "util", "common", "core", "helpers", "helper", "misc", "tools", "stuff"}
FILE_LINES = 400
FUNCTION_LINES = 50
POSITIONAL = 5


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders or PYTHON for path in (ROOT / folder).rglob("*.py"))


def cpp_files() -> list[Path]:
    return sorted(path for path in (ROOT / "native").rglob("*") if path.suffix in CPP)


def functions(source: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the end without the docstring."""
    total = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        total -= (first.end_lineno or first.lineno) - first.lineno + 1
    return total


def too_long(source: str, limit: int = FUNCTION_LINES) -> list[str]:
    return [f"{one.name}: {code_lines(one)} lines" for one in functions(source) if code_lines(one) > limit]


def too_many_arguments(source: str) -> list[str]:
    found = []
    for one in functions(source):
        names = [argument.arg for argument in (*one.args.posonlyargs, *one.args.args)]
        count = len(names) - (names[:1] in (["self"], ["cls"]))
        if count > POSITIONAL:
            found.append(f"{one.name}: {count} positional parameters")
    return found


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_something_to_look_at() -> None:
    assert len(python_files("src")) > 50
    assert len(python_files("tests")) > 20


@pytest.mark.parametrize("folder", [*PYTHON, "native"])
def test_no_module_is_a_drawer_for_everything(folder: str) -> None:
    named = [
        relative(path) for path in (ROOT / folder).rglob("*") if path.stem in DRAWERS and ".venv" not in path.parts
    ]
    assert not named, "say what is inside instead"


@pytest.mark.parametrize("path", [*python_files(), *cpp_files()], ids=relative)
def test_a_file_has_one_job(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= FILE_LINES, f"{relative(path)} has {lines} lines; split it by what its parts do"


@pytest.mark.parametrize("path", python_files("src", "recipes", "benchmarks"), ids=relative)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    assert not too_long(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", python_files("src", "recipes"), ids=relative)
def test_a_function_takes_few_positional_parameters(path: Path) -> None:
    assert not too_many_arguments(path.read_text(encoding="utf-8"))


def test_these_limits_can_be_broken() -> None:
    body = "\n".join(["    x = 0"] * FUNCTION_LINES)
    assert too_long(f"def f():\n{body}\n") == [f"f: {FUNCTION_LINES + 1} lines"]
    documented = f'def f():\n    """One.\n\n    Two.\n    """\n{body[: body.rindex(chr(10))]}\n'
    assert not too_long(documented)
    assert too_many_arguments("def f(a, b, c, d, e, f): ...") == ["f: 6 positional parameters"]
    assert not too_many_arguments("def f(self, a, b, c, d, e, *, f): ...")
