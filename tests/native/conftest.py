"""Which native module is under test: the installed one, or another build of it."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.native_module import load_native

FOLDER = "OAQ_NATIVE_MODULE"
"""Environment variable: the folder of a build to test instead."""
WANTED = "OAQ_NATIVE_WANTED"
"""Environment variable: what that build must say of itself ("address" for sanitizers, "Clang")."""

if os.environ.get(FOLDER):
    load_native(Path(os.environ[FOLDER]), os.environ[WANTED])
