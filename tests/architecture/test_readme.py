"""README.md: every public name and no other, a short example, and figures that come from the result files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import oaq
from benchmarks import readme

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
LINK = re.compile(r"\[[^\]]+\]\(([^)#]+)(#[^)]*)?\)")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def section(title: str) -> str:
    return TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]


def example() -> str:
    return section("From Python").partition("```python\n")[2].partition("```")[0]


def documented_names() -> set[str]:
    rows = [line for line in section("The public surface").splitlines() if line.startswith("| `")]
    names = [name for row in rows for name in re.findall(r"`([A-Za-z_]+)`", row.split("|")[1])]
    errors = next(row for row in rows if row.startswith("| `OaqError`"))
    return set(names) | set(re.findall(r"`([A-Z][A-Za-z]+)`", errors))


def test_the_documented_names_are_the_public_ones() -> None:
    assert documented_names() == set(oaq.__all__)


def test_the_example_is_at_most_twenty_lines_of_python() -> None:
    code = example()
    compile(code, "README.md", "exec")
    assert 0 < len(code.splitlines()) <= 20


def test_the_example_runs_on_a_small_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    images = pytest.importorskip("PIL.Image")
    pytest.importorskip("onnxruntime")
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for index in range(3):
        pixels = rng.integers(0, 256, (40, 60, 3), np.uint8)
        images.fromarray(pixels).save(tmp_path / "photos" / f"{index}.png")
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, stride=16), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    monkeypatch.chdir(tmp_path)
    scope = {"net": net.eval()}
    exec(compile(example(), "README.md", "exec"), scope)  # the document's own code
    assert oaq.load("net.oaq").name
    assert (tmp_path / "net.onnx").exists()
    assert scope["y"].shape == (3, 4)


def test_every_verb_of_the_command_line_is_listed() -> None:
    from oaq.cli.command import VERBS

    listed = set(re.findall(r"`oaq (\w+)", section("From the shell")))
    assert listed == {verb.__name__.rpartition(".")[2] for verb in VERBS}


def test_the_figures_are_those_of_the_result_files() -> None:
    assert readme.replaced(TEXT, readme.block()) == TEXT, "run: python -m benchmarks.readme"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target, _ in LINK.findall(path.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), f"{target} does not exist"
