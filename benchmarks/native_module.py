"""Load another build of the native module in place of the installed one: of another compiler, or for sanitizers."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

NAME = "oaq.kernels._native"


def load_native(folder: Path, wanted: str) -> dict[str, str]:
    """Load the only native module of ``folder``; returns what it says of its build.

    Args:
        folder: of a CMake build.
        wanted: must occur in what the module says of its build ("Clang", "address"), so that nothing else is taken
            for it.

    Raises:
        RuntimeError: there is not exactly one module, one is loaded already, or it is another build.
    """
    files = sorted(folder.glob("_native*.so"))
    if len(files) != 1:
        raise RuntimeError(f"{folder} holds {len(files)} native modules; one is needed")
    if NAME in sys.modules:
        raise RuntimeError(f"{NAME} is loaded already; {folder} comes too late")
    spec = importlib.util.spec_from_file_location(NAME, files[0])
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{files[0]} is not a module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    built: dict[str, str] = module.build_info()
    if not any(wanted in value for value in built.values()):
        raise RuntimeError(f"{files[0]} is not the build asked for: {wanted!r} is nowhere in {built}")
    return built
