"""MODEL on the command line to a torch module: a Python file, a module, or an exported .pt2 file."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import typing
from pathlib import Path

from oaq.errors import FormatError

if typing.TYPE_CHECKING:
    from types import ModuleType

    import torch

HELP = """\
FILE.py:NAME or package.module:NAME, where NAME is a torch.nn.Module
or a callable without arguments that returns one (its code is executed); or
FILE.pt2 written by torch.export.save"""


def load(spec: str) -> torch.nn.Module:
    """The module that ``spec`` names, in eval mode.

    Raises:
        FormatError: there is no such file, module or name, or it is no ``torch.nn.Module``.
        ModuleNotFoundError: torch is not installed.
    """
    import torch

    if spec.endswith(".pt2"):
        return _load_exported(Path(spec))
    place, colon, name = spec.rpartition(":")
    if not colon or not name:
        raise FormatError(f"{spec!r} names no model: write {HELP}")
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    try:
        found = getattr(module, name)
    except AttributeError as error:
        raise FormatError(f"{place}: defines no {name!r}") from error
    made = found() if callable(found) and not isinstance(found, torch.nn.Module) else found
    if not isinstance(made, torch.nn.Module):
        raise FormatError(f"{spec}: is a {type(made).__name__}, not a torch.nn.Module or a callable that returns one")
    return made.eval()


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    found = importlib.util.spec_from_file_location(path.stem, path)
    if found is None or found.loader is None:
        raise FormatError(f"{path}: is not a Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        found.loader.exec_module(module)
    except SyntaxError as error:
        raise FormatError(f"{path}: line {error.lineno}: {error.msg}") from error
    finally:
        sys.path.pop(0)
    return module


def _load_module(name: str) -> ModuleType:
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise FormatError(f"{name!r}: no such module (for a file, write its name with .py)") from error
        raise


def _load_exported(path: Path) -> torch.nn.Module:
    import torch

    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    try:
        return torch.export.load(path).module()
    except Exception as error:  # torch raises zipfile's, json's and its own errors here
        raise FormatError(f"{path}: is not a file written by torch.export.save: {error}") from error
