"""Which CPU this is: what cost tables and stamps are labelled with."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Final

CACHES: Final = Path("/sys/devices/system/cpu/cpu0/cache")
USUAL_CACHE: Final = 1 << 20
"""Bytes of a second cache, where the system does not say."""


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The CPU's own name for itself, with family and model where the kernel tells (cloud names are vague)."""
    fields: dict[str, str] = {}
    try:
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, colon, value = line.partition(":")
            if not colon and fields:
                break
            fields.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    name = fields.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in fields and "model" in fields:
        name += f" (family {fields['cpu family']}, model {fields['model']})"
    return name


def second_cache(caches: Path = CACHES) -> int:
    """Bytes of the second cache of one core; ``USUAL_CACHE`` where the system does not say."""
    for index in sorted(caches.glob("index*")):
        try:
            level, size = ((index / name).read_text(encoding="utf-8").strip() for name in ("level", "size"))
        except OSError:
            continue
        if level == "2" and size[-1:] in ("K", "M") and size[:-1].isdigit():
            return int(size[:-1]) << (10 if size.endswith("K") else 20)
    return USUAL_CACHE
