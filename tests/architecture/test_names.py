"""Names are nouns of the field, docstrings stand alone: counted, and not allowed to grow."""

from __future__ import annotations

import pytest

from tests.architecture import names
from tests.architecture.names import Tally

ALLOWED_SHARE = 0.01
"""Part of a package's bindings that may be dialect; unclear docstrings may not be."""

MOST_SECOND_MEANINGS = 3
"""Definitions of `names.TWO_MEANINGS` in src beyond the first of each."""

NATIVE_SUFFIXES = {".cc", ".c", ".h", ".inc", ".py"}
COMMENTS = ("// ", "/* ", '"""')
"""What a native file opens with: a comment that says what it computes, in which registers, and what overflow does."""

PACKAGES = names.packages()
TALLIES = {package: names.tally(paths) for package, paths in PACKAGES.items()}


def say_where(package: str, tally: Tally) -> str:
    return f"{package}: {tally}; see python -m tests.architecture.names src/{package}"


@pytest.mark.parametrize("package", PACKAGES)
def test_names_say_what_their_values_are(package: str) -> None:
    tally = TALLIES[package]
    assert tally.share < ALLOWED_SHARE, say_where(package, tally)


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_stand_alone(package: str) -> None:
    tally = TALLIES[package]
    assert not tally.docstrings, say_where(package, tally)


def test_every_native_file_opens_with_what_it_computes() -> None:
    sources = [path for path in (names.ROOT / "native").rglob("*") if path.suffix in NATIVE_SUFFIXES]
    silent = [path for path in sources if not path.read_text(encoding="utf-8").startswith(COMMENTS)]
    assert sources and not silent, silent


def test_class_names_have_one_meaning() -> None:
    source = [path for package, paths in PACKAGES.items() if package.startswith("oaq") for path in paths]
    counts = names.repeated_definitions(source)
    assert sum(counts.values()) - len(counts) <= MOST_SECOND_MEANINGS, counts


@pytest.mark.parametrize(
    ("source", "dialect"),
    [
        ("found = 1", ["found"]),
        ("_found = 1", ["_found"]),
        ("def f(one, *others, **rest): pass", ["one", "others", "rest"]),
        ("[each for each in x]", ["each"]),
        ("for a, (given, b) in x: pass", ["given"]),
        ("class A:\n    wanted: int\n    def kept(self):\n        self.seen = 1", ["kept", "seen", "wanted"]),
        ("match x:\n    case A(n=what) | [*rest] | {'k': how}: pass", ["how", "rest", "what"]),
        ("try: pass\nexcept E as what: pass", ["what"]),
        ("with f() as made: pass", ["made"]),
        ("if (found := f()): pass", ["found"]),
        ("g(lambda one: one)", ["one"]),
        ("left = 1", ["left"]),
        ("left, right = 1, 2", []),
        ("packed = folded = proved = founded = layer = 1", []),
        ("found.x = 1\nx[found] = 2\nprint(given)", []),
    ],
)
def test_every_kind_of_binding_is_counted(source: str, dialect: list[str]) -> None:
    assert sorted(name.name for name in names.bindings(source) if name.is_dialect) == dialect


def test_a_name_is_counted_once_per_scope() -> None:
    source = "one = 1\none = 2\ndef f():\n    one = 3\n    return [one for one in x]"
    assert sum(name.is_dialect for name in names.bindings(source)) == 3


@pytest.mark.parametrize(
    ("text", "unclear"),
    [
        ("Of what it holds.", True),
        ("By number.", True),
        ("The same of rows.", True),
        ("That cover K.", True),
        ("Whether somebody proved it.", True),
        ("Smallest value the register holds.", False),
        ("Bypass of the cache.", False),
        ("The samest thing.", False),
    ],
)
def test_docstrings_that_need_the_name_above_them_are_counted(text: str, unclear: bool) -> None:
    assert bool(names.unclear_docstrings(f'def f():\n    """{text}"""')) is unclear
    assert bool(names.unclear_docstrings(f'class A:\n    x: int\n    """{text}"""')) is unclear


def test_classes_and_aliases_are_definitions() -> None:
    assert names.definitions("class Run: pass\nShape = tuple[int, ...]\nLayout: object = int") == [
        "Run",
        "Shape",
        "Layout",
    ]
