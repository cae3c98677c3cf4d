"""Where an installed oaq keeps what a program in C needs: ``oaq.h`` and ``liboaq.so`` (docs/plan-format.md)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from oaq.errors import FormatError

LIBRARIES: Final[Mapping[str, str]] = {"darwin": "liboaq.dylib", "win32": "oaq.dll"}
"""Name of the library where it is not liboaq.so."""


def include_dir() -> Path:
    """Folder of ``oaq.h``, for the compiler's ``-I``.

    Raises:
        FormatError: oaq is not installed, or was built without its C front.
    """
    return _folder_of("include", "oaq.h")


def library_dir() -> Path:
    """Folder of ``liboaq.so``, for the linker's ``-L`` and ``-Wl,-rpath,``.

    Raises:
        FormatError: oaq is not installed, or was built without its C front.
    """
    return _folder_of("lib", LIBRARIES.get(sys.platform, "liboaq.so"))


def _folder_of(folder: str, name: str) -> Path:
    # Asked of the installation: an editable one keeps built files elsewhere than sources.
    try:
        path = Path(str(distribution("oaq").locate_file(f"oaq/{folder}")))
    except PackageNotFoundError as error:
        raise FormatError(
            f"{name} comes with an installed oaq, and none is. In a clone of oaq: pip install ."
        ) from error
    if not (path / name).is_file():
        raise FormatError(
            f"{path / name} is not there: this oaq was built without OAQ_C. In a clone of oaq: pip install ."
        )
    return path
