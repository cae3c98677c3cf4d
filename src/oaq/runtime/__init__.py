"""Running a plan: one arena, one native session, nothing clever."""

from __future__ import annotations

from oaq.runtime.memory import Arena, plan_memory

__all__ = ["Arena", "plan_memory"]
