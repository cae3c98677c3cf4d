"""Imports point down: what import-linter checks, and that it would notice."""

from __future__ import annotations

import ast
import configparser
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LINTER = shutil.which("lint-imports", path=str(Path(sys.executable).parent))


def contracts() -> list[dict[str, Any]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return settings["tool"]["importlinter"]["contracts"]


def lint(config: Path, source: Path) -> subprocess.CompletedProcess[str]:
    if LINTER is None:
        pytest.fail("lint-imports is not installed beside this Python: pip install 'oaq[dev]'")
    command = [LINTER, "--no-cache", "--config", str(config)]
    environment = {"PYTHONPATH": str(source), "PATH": "/usr/bin:/bin", "NO_COLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=source)


def test_the_tree_keeps_every_contract() -> None:
    done = lint(ROOT / "pyproject.toml", ROOT / "src")
    assert done.returncode == 0, done.stdout[-3000:]


def contract(name: str) -> dict[str, Any]:
    return next(entry for entry in contracts() if entry["id"] == name)


def packages() -> set[str]:
    """Names directly below ``oaq``: packages and single files."""
    return {
        path.stem if path.is_file() else path.name
        for path in (ROOT / "src" / "oaq").iterdir()
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").exists()
    }


def named(modules: list[str]) -> set[str]:
    return {module.split(".")[1] for module in modules if module.startswith("oaq.")}


def test_every_package_of_oaq_has_a_place_in_the_layers() -> None:
    placed = {name.strip(" ()") for layer in contract("layers")["layers"] for name in layer.split("|")}
    assert packages() - placed == {"checker"}, "a new package needs a layer in pyproject.toml and in ARCHITECTURE.md"


def test_every_package_is_kept_apart_from_the_checker_or_is_one_that_consults_it() -> None:
    apart = named(contract("checker-users")["source_modules"] + contract("checker-direct-users")["source_modules"])
    assert packages() - apart == {"checker", "runtime", "verify", "cli"}


def test_the_checker_may_import_errors_and_no_other_package() -> None:
    assert packages() - named(contract("checker")["forbidden_modules"]) == {"checker", "errors", "escape"}


def test_every_package_that_is_not_said_to_load_torch_is_said_not_to() -> None:
    assert packages() - named(contract("torch")["source_modules"]) == {"qat", "ptq", "cli", "modules", "regions"}


def top_imports(path: Path) -> set[str]:
    """First words of every import of a file, those inside functions included."""
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize(
    ("folder", "others"),
    [("src", {"recipes", "benchmarks", "tests"}), ("recipes", {"benchmarks", "tests"}), ("benchmarks", {"tests"})],
)
def test_folders_import_one_way_tests_benchmarks_recipes_src(folder: str, others: set[str]) -> None:
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert any("oaq" in top_imports(path) for path in paths)
    assert [
        f"{path.relative_to(ROOT)}: {top_imports(path) & others}" for path in paths if top_imports(path) & others
    ] == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("numerics", "from net.program import anything"),
        ("checker", "def late():\n    from net.numerics import anything"),
        ("verify", "import torch"),
    ],
)
def test_a_forbidden_import_would_be_noticed(tmp_path: Path, module: str, line: str) -> None:
    package = tmp_path / "net"
    for name in ("numerics", "program", "checker", "verify"):
        (package / name).mkdir(parents=True)
        (package / name / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    config = configparser.ConfigParser()
    config["importlinter"] = {"root_package": "net", "include_external_packages": "True"}
    config["importlinter:contract:1"] = {
        "name": "layers",
        "type": "layers",
        "containers": "net",
        "layers": "\nverify\nprogram\nnumerics",
    }
    config["importlinter:contract:2"] = {
        "name": "checker",
        "type": "forbidden",
        "source_modules": "net.checker",
        "forbidden_modules": "net.numerics",
    }
    config["importlinter:contract:3"] = {
        "name": "torch",
        "type": "forbidden",
        "source_modules": "net.verify",
        "forbidden_modules": "torch",
    }
    with (tmp_path / "contracts.ini").open("w") as file:
        config.write(file)
    assert lint(tmp_path / "contracts.ini", tmp_path).returncode == 0
    (package / module / "__init__.py").write_text(line + "\n")
    assert lint(tmp_path / "contracts.ini", tmp_path).returncode == 1
