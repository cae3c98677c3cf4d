"""Which native module is under test: the installed one, or another build of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.native_module import load_native
from tests.native.throwaway import copy_configured

FOLDER = "OAQ_NATIVE_MODULE"
"""Environment variable: the folder of a build to test instead."""
WANTED = "OAQ_NATIVE_WANTED"
"""Environment variable: what that build must say of itself ("address" for sanitizers, "Clang")."""

if os.environ.get(FOLDER):
    load_native(Path(os.environ[FOLDER]), os.environ[WANTED])


@pytest.fixture(scope="session")
def spare_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the native sources, configured; tests of the group "new row" add to it, and build it once."""
    if os.environ.get(FOLDER):
        pytest.skip("another build is under test; this one is built from the sources")
    path = tmp_path_factory.mktemp("tree")
    copy_configured(path)
    return path
