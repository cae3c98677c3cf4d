"""What this CPU takes for each unit of work: synthetic layers, timed by the session's own clock, and a fit."""

from __future__ import annotations

from oaq.calibration.measure import Calibration, calibrate, extend

__all__ = ["Calibration", "calibrate", "extend"]
