"""Outputs of verbs that work for minutes: whether they can be written is asked before, not after."""

from __future__ import annotations

import os
from pathlib import Path

from oaq.errors import FormatError


def check_output(path: Path, flag: str = "--out") -> None:
    """Refuse a path in a folder that is missing or cannot be written; devices and pipes pass.

    Args:
        path: where a verb will write.
        flag: that named it.

    Raises:
        FormatError: nothing can be written there.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        return
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise FormatError(f"{flag} {path}: {path.parent} is not a writable folder")
