"""The memory that running a program may take: a limit that is compared with what is needed before anything is taken.

A damaged or hostile file of a few kilobytes can describe paddings and dilations that need gigabytes. What needs more
than the limit is refused by name, so that no process is killed for it.
"""

from __future__ import annotations

import os
from typing import Final

from oaq.errors import ConfigError, MemoryLimit

VARIABLE: Final = "OAQ_MEMORY_LIMIT"
"""Environment variable: the limit in bytes, or a number followed by K, M, G or T (powers of 1024)."""
MOST_BY_DEFAULT: Final = 4 << 30
UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def memory_limit(limit: int | None = None) -> int:
    """The most bytes that running may take.

    Args:
        limit: the caller's own, in bytes; None asks the environment variable ``OAQ_MEMORY_LIMIT``, then takes 4 GiB or
            half of this machine's memory, whichever is less.

    Raises:
        ConfigError: the limit is not a number of bytes >= 1.

    >>> memory_limit(1 << 20)
    1048576
    """
    if limit is not None:
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ConfigError(f"memory_limit is a number of bytes, at least 1, not {limit!r}")
        return limit
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return min(MOST_BY_DEFAULT, _physical() // 2)
    unit = text[-1].upper() if text[-1].isalpha() else ""
    digits = text[: len(text) - len(unit)]
    if unit not in UNITS or not digits.isascii() or not digits.isdecimal() or int(digits) < 1:
        raise ConfigError(f"{VARIABLE} is a number of bytes such as 8589934592 or 8G, not {text[:40]!r}")
    return int(digits) * UNITS[unit]


def require_memory(needed: int, limit: int, purpose: str) -> None:
    """Refuse what needs more than the limit.

    Args:
        needed: bytes.
        limit: bytes, from ``memory_limit``.
        purpose: what they are for; begins the message.

    Raises:
        MemoryLimit: ``needed`` is more than ``limit``.
    """
    if needed > limit:
        raise MemoryLimit(
            f"{purpose} needs {needed} bytes ({show_bytes(needed)}), more than the limit of {limit} "
            f"({show_bytes(limit)}). Raise the limit (Session(plan, memory_limit=...), or {VARIABLE}=16G in the "
            "environment) if this network is meant to be so large; sizes like these often come from a damaged file"
        )


def show_bytes(size: int) -> str:
    """A number of bytes for people.

    >>> show_bytes(1536 << 20)
    '1.5 GiB'
    """
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.3g} {unit}"


def _physical() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 2 * MOST_BY_DEFAULT
