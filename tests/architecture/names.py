"""Names that say nothing about their value, counted: ``python -m tests.architecture.names [FOLDER ...]``.

A binding is a name that source gives to a value: an assigned variable, a parameter, a loop or comprehension target, a
field of a class, an attribute of ``self``, a captured pattern, a function or a class. It is counted once per scope.
``test_names.py`` holds every package to a ceiling; this file says what is counted, and prints the table.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PRONOUNS = _words(
    "one ones each every both other others another rest whole same own mine ours theirs everything nothing something "
    "some such that this these those it them"
)
"""They stand for a noun; the noun is the better name (``layer``, ``row``, ``remaining``)."""

QUESTIONS = _words("what how why who whom whose which")
"""Good names answer them. ``where`` stays: a place in words is what error texts of this code take by that name."""

ADVERBS = _words("again between beside here there now once twice about apart by of over along beyond near far")
"""Relations and times; the value is an interval, an attempt, a neighbour."""

PARTICIPLES = _words(
    "found wanted given made kept left seen held asked known taken laid told got said done gone chosen shown listed "
    "named put tried stated lost drawn reached grown waiting sent met let meant thought brought"
)
"""They say what happened to a value, not what it is: ``found`` may be a match, a layer, a list of errors."""

VERBS = _words("stays lands sees says begins takes comes goes did was may ran")
"""Verbs in the third person or past, as names of values."""

DIALECT = PRONOUNS | QUESTIONS | ADVERBS | PARTICIPLES | VERBS
"""Participles that are nouns of the field stay out of it: packed, folded, proved, padded, clamped, rounded, signed,
fused, tiled, spilled, observed, measured, predicted, expected, planned, stored, raised, widened, wrapped, batched."""

OPENINGS = re.compile(r"(Of|By|The same|That)\b")
PEOPLE = re.compile(r"\b(whoever|somebody|nobody|someone)\b", re.IGNORECASE)

TWO_MEANINGS = _words(
    "Layout Layer Verdict Builder Schedule Site Ends Cells Node NodeTime Calibration Run Case Shape Arrays Batch"
)
"""Classes and aliases that had more than one definition; the table in ``test_names.py`` holds how many remain."""


@dataclass(frozen=True)
class Binding:
    """A name, the line that first gives it a value, and the names bound beside it in the same scope."""

    name: str
    line: int
    neighbours: frozenset[str]

    @property
    def is_dialect(self) -> bool:
        """Whether the name, without underscores at its ends, is one of `DIALECT`; left beside right is a side."""
        word = self.name.strip("_")
        return word in DIALECT and not (word == "left" and "right" in self.neighbours)


_SCOPES = (
    ast.FunctionDef
    | ast.AsyncFunctionDef
    | ast.ClassDef
    | ast.Lambda
    | ast.ListComp
    | ast.SetComp
    | ast.DictComp
    | ast.GeneratorExp
)


def bindings(source: str) -> Iterator[Binding]:
    """Every binding of ``source``, scope by scope."""
    scopes: list[ast.AST] = [ast.parse(source)]
    while scopes:
        names: dict[str, int] = {}
        for name, line in _bound_in(scopes.pop(), scopes):
            names.setdefault(name, line)
        neighbours = frozenset(name.strip("_") for name in names)
        for name, line in names.items():
            yield Binding(name, line, neighbours)


def _bound_in(scope: ast.AST, nested: list[ast.AST]) -> Iterator[tuple[str, int]]:
    """Names of one scope; scopes inside it are appended to ``nested``."""
    pending = list(ast.iter_child_nodes(scope))
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        yield from _bound_by(node)
        if isinstance(node, _SCOPES):
            nested.append(node)
        else:
            pending += ast.iter_child_nodes(node)


def _bound_by(node: ast.AST) -> Iterator[tuple[str, int]]:
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
            yield name, node.lineno
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name, node.lineno
        case _:
            pass


def docstrings(source: str) -> Iterator[tuple[str, int]]:
    """The docstring of every module, class and function, and its line; strings below fields count as theirs."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value, node.lineno


def unclear_docstrings(source: str) -> list[int]:
    """Lines of docstrings that need the name above them, or speak of people where a caller or a reader is meant."""
    return [line for text, line in docstrings(source) if OPENINGS.match(text) or PEOPLE.search(text)]


def definitions(source: str) -> list[str]:
    """Names of classes and of aliases in capitals that a module or class of ``source`` defines."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            names.append(node.targets[0].id)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            names.append(node.target.id)
    return names


def packages() -> dict[str, list[Path]]:
    """Python files by what is counted together: a package of oaq, its loose modules, benchmarks, recipes, native."""
    groups: dict[str, list[Path]] = {}
    for path in sorted((ROOT / "src" / "oaq").rglob("*.py")):
        parts = path.relative_to(ROOT / "src").parts
        groups.setdefault("/".join(parts[:2]) if len(parts) > 2 else "oaq", []).append(path)
    for folder in ("benchmarks", "recipes", "native"):
        groups[folder] = sorted((ROOT / folder).rglob("*.py"))
    return groups


@dataclass(frozen=True)
class Tally:
    """What one package holds: bindings, those of them that are dialect, unclear docstrings."""

    bindings: int
    dialect: int
    docstrings: int

    @property
    def share(self) -> float:
        """Dialect as a share of all bindings, 0 to 1."""
        return self.dialect / max(self.bindings, 1)


def tally(paths: Iterable[Path]) -> Tally:
    """The tally of ``paths`` together."""
    total, dialect, unclear = 0, 0, 0
    for path in paths:
        source = path.read_text(encoding="utf-8")
        names = list(bindings(source))
        total += len(names)
        dialect += sum(name.is_dialect for name in names)
        unclear += len(unclear_docstrings(source))
    return Tally(total, dialect, unclear)


def repeated_definitions(paths: Iterable[Path]) -> Counter[str]:
    """How often each of `TWO_MEANINGS` is defined in ``paths``."""
    names = Counter[str]()
    for path in paths:
        names.update(set(definitions(path.read_text(encoding="utf-8"))) & TWO_MEANINGS)
    return names


def _table() -> str:
    lines = [f"{'package':<18} bindings  dialect  share  docstrings"]
    groups = packages()
    for package, paths in [*groups.items(), ("all", list(chain.from_iterable(groups.values())))]:
        sums = tally(paths)
        lines.append(f"{package:<18} {sums.bindings:8} {sums.dialect:8} {sums.share:6.1%} {sums.docstrings:11}")
    source = [path for package, paths in groups.items() if package.startswith("oaq") for path in paths]
    lines += ["", "class names with more than one definition in src:"]
    lines += [f"  {name:<12} {count}" for name, count in repeated_definitions(source).most_common() if count > 1]
    return "\n".join(lines)


def _occurrences(folder: Path) -> str:
    lines = []
    for path in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]:
        source = path.read_text(encoding="utf-8")
        unclear = [f"{path}:{line}: docstring" for line in unclear_docstrings(source)]
        lines += unclear + [f"{path}:{name.line}: {name.name}" for name in bindings(source) if name.is_dialect]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Print the table, or every occurrence in the folders named."""
    print("\n".join(_occurrences(Path(name)) for name in arguments) if arguments else _table())  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
