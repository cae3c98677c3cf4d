"""Choosing integers on the machine that will run them. ``oaq.tune`` is the function; here is what belongs to it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from oaq.tune.tune import tune

if TYPE_CHECKING:
    from oaq.tune.goal import Goal, Tuned
    from oaq.tune.record import Record, load_record

_HOMES = {"Goal": "goal", "Record": "record", "Tuned": "goal", "load_record": "record"}
__all__ = ["Goal", "Record", "Tuned", "load_record", "tune"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 (PEP 562)
    """What ``import oaq`` must not load."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
