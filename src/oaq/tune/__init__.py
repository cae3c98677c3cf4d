"""Choosing integers on the machine that will run them."""

from __future__ import annotations

from oaq.tune.record import Record, load_record
from oaq.tune.tune import Goal, Tuned, tune

__all__ = ["Goal", "Record", "Tuned", "load_record", "tune"]
