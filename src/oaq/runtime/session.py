"""``Session``: a plan made ready to run."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ProgramError
from oaq.kernels.cpus import thread_count
from oaq.kernels.plan import Plan
from oaq.program.inputs import ProgramInputs, checked, in_order
from oaq.runtime.build import build
from oaq.runtime.certify import require_safe
from oaq.runtime.memory import plan_memory
from oaq.runtime.plan_bytes import plan_bytes
from oaq.runtime.values import by_native, reals_by_native, to_floats, to_integers
from oaq.terminal.shown import in_a_line

Images = NDArray[np.uint8]
Values = NDArray[Any]


@dataclass(frozen=True)
class NodeTime:
    """How long one node took in the last run, all samples together."""

    node: str
    row: str
    nanoseconds: int


@dataclass(frozen=True)
class SessionMemory:
    """Bytes that a session takes; those of tensors are taken when they are first written.

    Attributes:
        tensors: of one sample.
        samples: computed at once: as many as threads, or 1 where the memory limit allows no more.
        weights: of all nodes.
        scratch: of one thread.
        threads: of the session.
    """

    tensors: int
    samples: int
    weights: int
    scratch: int
    threads: int

    @property
    def total(self) -> int:
        """Bytes of everything."""
        return self.tensors * self.samples + self.weights + self.scratch * self.threads


@dataclass(frozen=True)
class NodeChoices:
    """What native code chose for a node where several ways lead to the same integers; only time depends on it.

    Attributes:
        node: its name.
        operands: of a Conv2d or Linear: "direct" from the input, "in lines" of it, or "gathered"; of a row that looks
            sums up, whether it has "kept tables" or "made tables"; else empty.
        general: tiles of outputs requantized by the general code.
        as_floats: tiles whose sums are the bits of floats.
        in_words: tiles requantized in 16 bits (``oaq.numerics.words``).
    """

    node: str
    operands: str
    general: int
    as_floats: int
    in_words: int


class Session:
    """Runs one plan, any number of times, on batches of any size.

    The plan's proof is derived again by ``oaq.checker`` before anything runs. Memory is planned and allocated here
    (``memory``); running allocates nothing but the outputs.

    Attributes:
        plan: what runs.
        threads: that share the work of each node, or take whole samples where a batch holds enough of them.
        arena: where each tensor lies.
        verdict: of the checker; None for an ``observed`` plan.
    """

    def __init__(
        self, plan: Plan, threads: int | None = None, *, accept_observed: bool = False, memory_limit: int | None = None
    ) -> None:
        """Check the proof, plan the memory, pack the weights.

        Args:
            plan: from ``oaq.plan``.
            threads: 1 to 256; None is as many as this process may use CPUs (``oaq.kernels.cpus``).
            accept_observed: run a plan whose sums were only seen to fit on data.
            memory_limit: most bytes for tensors, weights and scratch; None asks ``OAQ_MEMORY_LIMIT``, then takes 4 GiB
                or half of this machine's memory, whichever is less.

        Raises:
            AccumulatorOverflow: the plan is not proved, or its proof does not hold.
            ProgramError: ``plan`` is something else, or ``threads`` is out of range.
            NoKernel: the native module is not built, or this CPU cannot run a row of the plan.
            MemoryLimit: more memory is needed than ``memory_limit`` allows, or than there is.
        """
        if not isinstance(plan, Plan):
            raise ProgramError(
                f"Session takes a Plan, not {type(plan).__name__}; make one by oaq.plan(program), which proves it"
            )
        self.plan = plan
        self._options = {"threads": threads, "accept_observed": accept_observed, "memory_limit": memory_limit}
        self.threads = thread_count(threads)
        self.arena = plan_memory(plan.program)
        self.verdict = require_safe(plan, self.arena, accept_observed=accept_observed)
        self._native = build(plan, self.arena, self.threads, memory_limit)
        self._one_at_a_time = threading.Lock()  # its arenas serve one run at a time
        self._edges = 0, 0
        _SESSIONS.add(self)

    def __repr__(self) -> str:
        plan = self.plan
        return in_a_line("Session", plan.program.name, [("for", plan.isa), ("threads", self.threads)])

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle and copy as the plan: the new session has its own memory, and the proof is checked again."""
        return _open, (self.plan, self._options)

    def run(self, x: ProgramInputs) -> Values | tuple[Values, ...]:
        """Real values in, real values out; integers where the file that the program was read from has integers.

        Args:
            x: (batch, ...) in the shape, order and type of the file (``oaq.program.edges``), float32 in the layout of
                ``metadata["input_layout"]`` if the program comes from no file. Where reals are taken, uint8 NHWC are
                the input's integers themselves. One array, or one per input in order or by name.

        Returns:
            one array, or a tuple of one per output, in the shape, order and type of the file: float32 in the same
            layout if there is none.

        Raises:
            ProgramError: shape, type or integers do not fit, or a value is NaN.
        """
        program, begin = self.plan.program, time.perf_counter_ns()
        integers = to_integers(program, x, by_native)
        middle = time.perf_counter_ns()
        results = self._run(integers)
        end = time.perf_counter_ns()
        outputs = to_floats(program, results, reals_by_native)
        self._edges = middle - begin, time.perf_counter_ns() - end
        return outputs[0] if len(outputs) == 1 else outputs

    def run_integers(self, x: ProgramInputs) -> tuple[Images, ...]:
        """Integers in, integers out: uint8 NHWC, one array per output in the program's order.

        Raises:
            ProgramError: shape, type or integers do not fit.
        """
        program = self.plan.program
        return self._run(checked(program, in_order(program, x)))

    def to_bytes(self) -> bytes:
        """The plan in the format of ``docs/plan-format.md``, which liboaq.so (``oaq.h``) loads without Python.

        Its proof was checked when this session was opened; what loads the bytes does not prove it again.
        """
        return plan_bytes(self.plan, self.arena)

    @property
    def memory(self) -> SessionMemory:
        """What this session takes, in bytes."""
        tensors, samples, weights, scratch = self._native.memory()
        return SessionMemory(tensors, samples, weights, scratch, self.threads)

    def profile(self) -> tuple[NodeTime, ...]:
        """How long each node took in the last run; nodes that only rename memory took nothing.

        Where several nodes, or several samples, were computed at once, the time that passed is shared out by what
        threads spent on each node.
        """
        times = iter(self._native.profile())
        return tuple(
            NodeTime(
                planned.node.name, planned.row.name, 0 if planned.node.name in self.arena.in_place else int(next(times))
            )
            for planned in self.plan.nodes
        )

    def edge_times(self) -> tuple[int, int]:
        """Nanoseconds that the last ``run`` spent on making integers of its inputs, and values of its outputs."""
        return self._edges

    def choices(self) -> tuple[NodeChoices, ...]:
        """How each node finds its operands and how its results leave; nodes that only rename memory are left out."""
        computed = [planned.node.name for planned in self.plan.nodes if planned.node.name not in self.arena.in_place]
        return tuple(
            NodeChoices(name, operands, *tiles)
            for name, (operands, tiles) in zip(computed, self._native.choices(), strict=True)
        )

    def _run(self, inputs: Sequence[Images]) -> tuple[Images, ...]:
        program = self.plan.program
        batch = inputs[0].shape[0]
        outputs = [np.empty((batch, *program.tensors[name].shape), np.uint8) for name in program.outputs]
        if batch:
            with self._one_at_a_time:
                self._native.run(list(inputs), outputs)
        return tuple(outputs)


def _open(plan: Plan, options: dict[str, Any]) -> Session:
    return Session(plan, **options)


def _free_locks() -> None:
    """Let a forked child run the sessions of its parent, though another thread may have been running one.

    That thread does not exist in the child, so it would never unlock them.
    """
    for session in _SESSIONS:
        session._one_at_a_time = threading.Lock()


_SESSIONS: weakref.WeakSet[Session] = weakref.WeakSet()
"""Every session of this process."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_locks)
