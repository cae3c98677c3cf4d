"""The same fixed conditions as for training: one thread, fixed costs."""

from __future__ import annotations

from tests.qat.conftest import made_up_costs, one_thread

__all__ = ["made_up_costs", "one_thread"]
