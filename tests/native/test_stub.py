"""The types of the native module are those of the module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import oaq.kernels
from tests.native.conftest import FOLDER

STUB = Path(oaq.kernels.__file__).with_name("_native.pyi")


def test_the_stub_is_what_the_module_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regenerate with ``make stub``, which runs the same commands."""
    for name in (FOLDER, "LD_PRELOAD"):
        monkeypatch.delenv(name, raising=False)
    made = tmp_path / "_native.pyi"
    stubgen = [sys.executable, "-m", "nanobind.stubgen", "-q", "-m", "oaq.kernels._native", "-o", str(made)]
    subprocess.run(stubgen, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "ruff", "format", "-q", str(made)], check=True)
    assert STUB.read_text() == made.read_text()
