"""Choosing integers on the machine that will run them. ``oaq.tune`` is the function; here is what belongs to it."""

from __future__ import annotations

from oaq.tune.goal import Goal, Tuned
from oaq.tune.record import Record, load_record
from oaq.tune.tune import tune

__all__ = ["Goal", "Record", "Tuned", "load_record", "tune"]
