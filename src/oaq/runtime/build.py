"""From a plan to a native session: its bytes, and errors in Python's words. No arithmetic, no policy."""

from __future__ import annotations

from typing import Any

from oaq.errors import MemoryLimit, NoKernel
from oaq.kernels.plan import Plan
from oaq.kernels.table import native_module
from oaq.program.memory import VARIABLE, memory_limit, require_memory, show_bytes
from oaq.runtime.memory import Arena
from oaq.runtime.plan_bytes import plan_bytes
from oaq.runtime.plan_file import require_rows

Native = Any
"""``oaq.kernels._native.Session``; it checks every number it is given."""


def build(plan: Plan, arena: Arena, threads: int, limit: int | None = None) -> Native:
    """A native session that runs ``plan`` in ``arena``, in at most ``limit`` bytes (None: see ``memory_limit``).

    Raises:
        NoKernel: the native module is not built, has no such row, or refuses a node: this CPU lacks a row's
            instructions, or a number is outside what the row takes.
        MemoryLimit: more memory is needed than allowed, or than there is.
    """
    require_rows(plan)
    allowed = memory_limit(limit)
    require_memory(arena.size, allowed, f"{plan.program.name}: one sample's tensors")
    try:
        return load(plan_bytes(plan, arena), threads, allowed, plan.program.name)
    except RuntimeError as error:  # of the system, which starts no more threads
        raise MemoryLimit(f"{plan.program.name}: {error}. Give fewer threads") from error
    except MemoryError as error:
        raise MemoryLimit(
            f"{plan.program.name}: there is not enough memory for a session of {threads} threads; its tensors take "
            f"{arena.size} bytes ({show_bytes(arena.size)}). Free some, lift the process's own limit (ulimit -v), or "
            "run it with fewer threads"
        ) from error


def load(content: bytes, threads: int, limit: int, name: str) -> Native:
    """A native session that runs a plan's bytes, which were proved before they were written.

    Args:
        content: from ``plan_bytes``.
        threads: 1 to 256.
        limit: most bytes of tensors, weights and scratch.
        name: of the program, for messages.

    Raises:
        NoKernel: the native module is not built, or refuses the bytes.
        MemoryLimit: more than ``limit`` is needed.
        RuntimeError: the system starts no more threads.
        MemoryError: there is less memory than needed.
    """
    module = native_module()
    try:
        return module.Session(content, threads, limit)
    except module.PlanError as error:
        raise NoKernel(str(error)) from error
    except module.MemoryExceeded as error:
        raise MemoryLimit(
            f"{name}: {error}. Raise the limit (Session(plan, memory_limit=...), or {VARIABLE}=16G in the environment) "
            "if this network is meant to be so large; sizes like these often come from a damaged file"
        ) from error
