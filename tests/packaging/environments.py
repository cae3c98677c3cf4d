"""Environments of Python that hold what a test puts there and nothing else, made without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("CMakeLists.txt", "LICENSE", "README.md", "native", "pyproject.toml", "src")
"""What is needed to build, as an sdist has it."""


def new_environment(folder: Path, modules: Sequence[str] = (), site: Path | None = None) -> Path:
    """An environment without pip; returns its python.

    Args:
        folder: where it goes.
        modules: top-level names that are seen as they are installed here.
        site: a whole folder of packages that is seen too.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    packages = next((folder / "lib").iterdir()) / "site-packages"
    for name in modules:
        (spec,) = find_spec(name).submodule_search_locations  # type: ignore[union-attr]
        for path in Path(spec).parent.glob(f"{name}*"):
            (packages / path.name).symlink_to(path)
    if site is not None:
        (packages / "more.pth").write_text(f"{site}\n")  # .pth files inside it, such as oaq's own, do nothing there
    return python


def clean_environ(**more: str) -> Mapping[str, str]:
    """Variables of this process without those of Python, and with ``more``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OAQ", "PIP_"))}
    return {**kept, "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **more}


def sources(folder: Path) -> Path:
    """The files of ``SOURCES``, copied, so that nothing is built inside the repository."""
    folder.mkdir()
    for name in SOURCES:
        subprocess.run(["cp", "-r", ROOT / name, folder / name], check=True)
    return folder
