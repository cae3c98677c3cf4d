"""Documents are true where a machine can check it: commands parse, paths exist, lists and defaults equal the code's."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from oaq.cli.command import VERBS, parser
from oaq.ptq.options import DEFAULT_BUDGET

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FOLLOWED = {path for path in DOCUMENTS if path.name.startswith("add-")}
"""Pages whose files are yet to be written; a test of their own follows each."""
LIVING = [path for path in DOCUMENTS if path.name != "CHANGELOG.md" and "decisions" not in path.parts]
"""Documents about the code as it is; the changelog and decision records also speak of what was."""

FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
MARKED = re.compile(r"<!-- (?P<name>[a-z0-9-]+): begin -->\n.*?<!-- (?P=name): end -->", re.DOTALL)
"""Blocks that are written from result files."""
QUOTED = re.compile(r"`([^`\n]+)`")
TOP = ("src/", "native/", "benchmarks/", "recipes/", "tests/", "docs/", "requirements/")
LONGEST_LINE = 120


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _blank(block: re.Match[str]) -> str:
    return "\n" * block[0].count("\n")


def prose(text: str) -> str:
    """``text`` without its fenced blocks."""
    return FENCED.sub("", text)


def shell_lines(text: str) -> list[str]:
    """Commands of the ``sh`` blocks, comments stripped, continued lines joined."""
    blocks = [block for language, block in FENCED.findall(text) if language == "sh"]
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [re.sub(r"\s+#.*", "", line).strip() for line in joined.splitlines()]


def oaq_arguments(line: str) -> list[str] | None:
    """Arguments of a line that calls ``oaq``, without redirections; variables of a loop become a number."""
    words = shlex.split(re.sub(r"\s>.*", "", line).replace("$budget", "1.2"))
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words.pop(0)
    return words[1:] if words[:1] == ["oaq"] else None


def tree_of_architecture() -> set[str]:
    """First words of the lines of ARCHITECTURE.md's tree that stand directly below ``src/oaq/``."""
    tree = read(ROOT / "ARCHITECTURE.md").partition("## The tree")[2].partition("## The layers")[0]
    below = tree.partition("src/oaq/\n")[2]
    names = set()
    for line in below.splitlines():
        if line[:1] != " ":
            break
        if re.match(r"  \w", line):
            names.add(line.split()[0].rstrip("/").removesuffix(".py"))
    return names


def test_the_tree_lists_every_package_of_oaq_and_no_other() -> None:
    folder = ROOT / "src" / "oaq"
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert tree_of_architecture() == packages | modules


def test_the_layers_are_those_that_import_linter_checks() -> None:
    text = read(ROOT / "ARCHITECTURE.md").partition("## The layers")[2]
    listed = FENCED.findall(text)[0][1].split("\n")[:-1]
    settings = tomllib.loads(read(ROOT / "pyproject.toml"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    assert listed == next(contract["layers"] for contract in contracts if contract["id"] == "layers")


@pytest.mark.parametrize("path", LIVING, ids=relative)
def test_every_command_of_oaq_parses(path: Path) -> None:
    for line in shell_lines(read(path)):
        arguments = oaq_arguments(line)
        if arguments is None:
            continue
        complaint = io.StringIO()
        try:
            with contextlib.redirect_stderr(complaint):
                parser().parse_args(arguments)
        except SystemExit:
            pytest.fail(f"{line}: {complaint.getvalue()}")


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_every_verb_exists(path: Path) -> None:
    verbs = {verb.__name__.rpartition(".")[2] for verb in VERBS}
    verbs |= {"VERB"} if path.name == "CHANGELOG.md" else set()
    named = {match[1] for code in QUOTED.findall(prose(read(path))) if (match := re.match(r"oaq ([A-Za-z]\w*)", code))}
    assert named <= verbs


@pytest.mark.parametrize("path", LIVING, ids=relative)
def test_every_module_that_is_run_or_imported_exists(path: Path) -> None:
    text = read(path)
    modules = set(re.findall(r"python -m ((?:oaq|benchmarks|recipes|tests)[\w.]*)", text))
    code = "\n".join(block for language, block in FENCED.findall(text) if language == "python")
    modules |= set(re.findall(r"^\s*(?:from|import) ((?:oaq|benchmarks|recipes)[\w.]*)", code, re.MULTILINE))
    missing = {name for name in modules if find_spec(name) is None}
    assert not missing or path in FOLLOWED, missing


@pytest.mark.parametrize("path", LIVING, ids=relative)
def test_python_examples_compile(path: Path) -> None:
    for language, block in FENCED.findall(read(path)):
        if language == "python" and ">>> " not in block:  # test_examples.py runs those
            compile(block, relative(path), "exec")


def imported_names(block: str) -> list[tuple[str, str]]:
    """(module, name) of what a block of code imports from the tree."""
    imports = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.ImportFrom) and node.module]
    own = [node for node in imports if node.module and node.module.split(".")[0] in ("oaq", "benchmarks", "recipes")]
    return [(str(node.module), alias.name) for node in own for alias in node.names]


def is_there(module: str, name: str) -> bool:
    return hasattr(import_module(module), name) or find_spec(f"{module}.{name}") is not None


@pytest.mark.parametrize("path", [path for path in LIVING if path not in FOLLOWED], ids=relative)
def test_every_name_that_is_imported_exists(path: Path) -> None:
    blocks = [block for language, block in FENCED.findall(read(path)) if language == "python" and ">>> " not in block]
    missing = [
        (module, name) for block in blocks for module, name in imported_names(block) if not is_there(module, name)
    ]
    assert not missing


@pytest.mark.parametrize("path", LIVING, ids=relative)
def test_every_make_target_exists(path: Path) -> None:
    makefiles = read(ROOT / "Makefile") + read(ROOT / "native" / "native.mk")
    targets = set(re.findall(r"^([a-z][a-z -]*):", makefiles, re.MULTILINE))
    targets = {name for line in targets for name in line.split()}
    text = read(path)
    named = set(re.findall(r"`make ([a-z-]+)", text))
    named |= {line.split()[1] for line in shell_lines(text) if line.startswith("make ")}
    assert named <= targets


@pytest.mark.parametrize("path", LIVING, ids=relative)
def test_every_file_that_is_named_exists(path: Path) -> None:
    missing = []
    if path in FOLLOWED:
        return
    for code in QUOTED.findall(prose(read(path))):
        if code.startswith(TOP) and re.fullmatch(r"[a-z\d_./-]+", code) and not (ROOT / code).exists():
            missing.append(code)
    assert not missing


@pytest.mark.parametrize("path", LIVING, ids=relative)
def test_the_default_budget_is_the_one_of_the_code(path: Path) -> None:
    text = re.sub(r"\s+", " ", read(path))
    for stated in re.findall(r"default(?: budget)?(?: is| of|:)? \(?(\d+\.\d+)", text):
        assert float(stated) == DEFAULT_BUDGET
    for stated in re.findall(r"budget=(\d\.\d+) is the default", text):
        assert float(stated) == DEFAULT_BUDGET


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_lines_are_as_long_as_those_of_the_code(path: Path) -> None:
    lines = MARKED.sub(_blank, FENCED.sub(_blank, read(path))).splitlines()
    long = [
        f"line {number}: {len(line)}"
        for number, line in enumerate(lines, start=1)
        if len(line) > LONGEST_LINE and not line.lstrip().startswith(("|", "![", "<!--"))
    ]
    assert not long, f"{relative(path)}: {long}; at most {LONGEST_LINE} outside of tables"


def test_the_operators_of_torch_that_are_listed_are_those_that_are_understood() -> None:
    from oaq.capture.from_torch.normalize import HANDLERS

    section = read(ROOT / "docs" / "how-to" / "quantize-your-model.md").partition("## What is understood")[2]
    rows = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")]
    listed = {code for row in rows for code in QUOTED.findall(row)}
    assert listed == set(HANDLERS)


def test_the_operators_of_onnx_that_are_listed_are_those_that_are_understood() -> None:
    from oaq.capture.from_float_onnx.normalize import HANDLERS

    text = read(ROOT / "docs" / "how-to" / "quantize-an-onnx-model.md")
    section = text.partition("## What is understood")[2].partition("\n* ")[0]
    assert not [name for name in HANDLERS if not re.search(rf"\b{name}\b", section)]


def test_these_tests_can_fail() -> None:
    assert shell_lines("```sh\noaq run x \\\n   --input y   # why\n```") == ["oaq run x     --input y"]
    assert oaq_arguments("OAQ_ISA=avx2 oaq run x > y") == ["run", "x"]
    assert oaq_arguments("pip install oaq") is None
    assert imported_names("import os\nfrom oaq.ptq import Daq, Nothing") == [("oaq.ptq", "Daq"), ("oaq.ptq", "Nothing")]
    assert is_there("oaq.ptq", "Daq") and is_there("oaq", "operators") and not is_there("oaq.ptq", "Nothing")
    with pytest.raises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
        parser().parse_args(["frobnicate", "net.oaq"])
