"""Which native module is under test: the installed one, or one built for sanitizers."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

NAME = "oaq.kernels._native"
FOLDER = "OAQ_NATIVE_MODULE"
"""Environment variable: the folder of a sanitized build to test instead."""


def _load(folder: Path) -> None:
    files = sorted(folder.glob("_native*.so"))
    if len(files) != 1:
        raise RuntimeError(f"{FOLDER}={folder} holds {len(files)} native modules; one is needed")
    if NAME in sys.modules:
        raise RuntimeError(f"{NAME} is loaded already; {FOLDER} comes too late")
    spec = importlib.util.spec_from_file_location(NAME, files[0])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    if not module.build_info()["sanitizer"]:
        raise RuntimeError(f"{files[0]} was not built with sanitizers; there is nothing to find")


if os.environ.get(FOLDER):
    _load(Path(os.environ[FOLDER]))
