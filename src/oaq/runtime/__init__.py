"""Running a plan: one arena, one native session, nothing clever."""

from __future__ import annotations

from oaq.runtime.memory import Arena, plan_memory
from oaq.runtime.plan_bytes import plan_bytes
from oaq.runtime.session import NodeTime, Session, SessionMemory

__all__ = ["Arena", "NodeTime", "Session", "SessionMemory", "plan_bytes", "plan_memory"]
