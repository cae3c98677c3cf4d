"""Executors of regions, and ``MixedSession``: a mixed program made ready to run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from oaq import reference
from oaq.errors import ProgramError
from oaq.kernels.cpus import default_threads
from oaq.kernels.plan import plan
from oaq.mixed.dynamic import DynamicExecutor
from oaq.mixed.floats.region import open_own
from oaq.mixed.fused.run import call_of, widest
from oaq.mixed.program import FloatBody, FusedBody, IntegerBody, MixedProgram, Region, Values
from oaq.mixed.reuse import Buffers
from oaq.mixed.runtime import open_runtime, runtime_version
from oaq.mixed.schedule import DYNAMIC, FLOAT, INTEGER
from oaq.program.plain import fingerprint
from oaq.runtime import Session
from oaq.runtime.values import by_native, edge_integers, edge_values, reals_by_native


@dataclass
class State:
    """What has been computed in one run.

    Attributes:
        tensors: of the file, by name.
        integers: of the program of integers that the regions are parts of, by its names.
    """

    tensors: dict[str, Values]
    integers: dict[str, Values]


class Executor(Protocol):
    """What runs one region."""

    @property
    def label(self) -> str:
        """Who computes: ``oaq avx2``, ``ONNX Runtime 1.32.0``, ``oaq's float operators``."""
        ...

    def run(self, state: State) -> None:
        """Compute what the region writes from what ``state`` holds, and put it there."""
        ...


@dataclass(frozen=True)
class Options:
    """How regions are run.

    Attributes:
        threads: of each region.
        isa: of plans; None is the best here.
        memory_limit: of each session of integers; see ``Session``.
        reference: integers are computed by the law itself, slowly, for comparison.
        buffers: in which results of dynamic layers, and of float loops between them, lie.
    """

    threads: int = field(default_factory=default_threads)
    isa: str | None = None
    memory_limit: int | None = None
    reference: bool = False
    buffers: Buffers = field(default_factory=Buffers, compare=False)


class IntegerExecutor:
    """A region of integers, by a session of its own, whose proof has been derived again.

    Attributes:
        session: that runs it.
        conversion: nanoseconds that the last run spent between the caller's values and integers.
    """

    def __init__(self, body: IntegerBody, session: Session) -> None:
        self.session = session
        self._body = body
        self.conversion = 0

    @property
    def label(self) -> str:
        """The instruction set of its plan."""
        return f"oaq {self.session.plan.isa}"

    def run(self, state: State) -> None:
        """See ``Executor``."""
        begin = time.perf_counter_ns()
        x = region_inputs(self._body, state)
        middle = time.perf_counter_ns()
        outputs = self.session.run_integers(x)
        end = time.perf_counter_ns()
        keep_outputs(self._body, state, outputs)
        self.conversion = middle - begin + time.perf_counter_ns() - end


class LawExecutor:
    """A region of integers by the reference."""

    label = "the reference"

    def __init__(self, body: IntegerBody) -> None:
        self._body = body

    def run(self, state: State) -> None:
        """See ``Executor``."""
        outputs = reference.run(self._body.program, region_inputs(self._body, state)).outputs
        keep_outputs(self._body, state, outputs)


def region_inputs(body: IntegerBody, state: State) -> list[Values]:
    """The integers that a region reads, made of the file's values where no earlier region has them."""
    for edge in body.entries:
        if edge.tensor not in state.integers:
            state.integers[edge.tensor] = edge_integers(body.program, edge, state.tensors[edge.name], by_native)
    return [state.integers[name] for name in body.program.inputs]


def keep_outputs(body: IntegerBody, state: State, outputs: Sequence[Values]) -> None:
    """What a region computed, as integers for regions and as values for the file."""
    by_name = dict(zip(body.program.outputs, outputs, strict=True))
    state.integers.update({name: by_name[name] for name in body.carried})
    for edge in body.exits:
        state.tensors[edge.name] = edge_values(body.program, edge, by_name[edge.tensor], reals_by_native)


Sessions = dict[tuple[str, Options], Session]
"""Sessions of integers by fingerprint: sizes of a file that differ in the batch alone share them."""


def open_integers(region: Region, options: Options, sessions: Sessions) -> Executor:
    """A session, or one that is open already.

    Raises:
        AccumulatorOverflow: its sums are not proved.
    """
    assert isinstance(region.body, IntegerBody)
    program = region.body.program
    if options.reference:
        return LawExecutor(region.body)
    key = fingerprint(program), options
    if key not in sessions:
        sessions[key] = Session(plan(program, options.isa), options.threads, memory_limit=options.memory_limit)
    return IntegerExecutor(region.body, sessions[key])


class FloatExecutor:
    """A float region, by a function from what it reads to what it writes."""

    def __init__(
        self, region: Region, label: str, function: Callable[[Mapping[str, Values]], Sequence[Values]]
    ) -> None:
        self.label = label
        self._reads, self._writes, self._function = region.reads, region.writes, function

    def run(self, state: State) -> None:
        """See ``Executor``."""
        tensors = state.tensors
        tensors.update(zip(self._writes, self._function({name: tensors[name] for name in self._reads}), strict=True))


class FusedExecutor:
    """A float region by native loops of our own."""

    def __init__(self, body: FusedBody, options: Options) -> None:
        isa = widest(options.isa)
        self.label = f"oaq's float loops, {isa}"
        self._calls = tuple(call_of(step, isa, options.threads, options.buffers.empty) for step in body.steps)

    def run(self, state: State) -> None:
        """See ``Executor``."""
        for call in self._calls:
            call(state.tensors)


def open_floats(region: Region, options: Options, sessions: Sessions) -> Executor:
    """Our own loops where there are some; ONNX Runtime if it is installed; otherwise operators of our own.

    Raises:
        UnsupportedOp: ONNX Runtime is not installed and an operator is not ours, or it does not load the region.
    """
    if isinstance(region.body, FusedBody):
        return FusedExecutor(region.body, options)
    assert isinstance(region.body, FloatBody)
    version = runtime_version()
    if version is None:
        return FloatExecutor(region, "oaq's float operators", open_own(region, region.body, options.memory_limit))
    return FloatExecutor(region, f"ONNX Runtime {version}", open_runtime(region, region.body, options.threads))


class DynamicRegionExecutor:
    """A region of dynamic layers."""

    def __init__(self, region: Region, options: Options) -> None:
        self._executor = DynamicExecutor(
            region, options.threads, options.isa, options.memory_limit, options.buffers.empty
        )
        self.label = self._executor.label

    def run(self, state: State) -> None:
        """See ``Executor``."""
        self._executor.run(state.tensors)


def open_dynamic(region: Region, options: Options, sessions: Sessions) -> Executor:
    """Sessions of dynamic layers, their proofs derived again.

    Raises:
        AccumulatorOverflow: a layer has so many terms that 32 bits do not hold its totals.
    """
    return DynamicRegionExecutor(region, options)


OPENERS: Final[Mapping[str, Callable[[Region, Options, Sessions], Executor]]] = {
    INTEGER: open_integers,
    FLOAT: open_floats,
    DYNAMIC: open_dynamic,
}
"""What opens a region of each kind; a further kind of region is one entry here and one in ``program.Kind``."""


Members = tuple[tuple[Region, Executor], ...]
"""Regions with what runs them, in execution order."""
LastReads = tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
"""For each region the tensors of the file, and those of integers, that nothing behind it reads."""


@dataclass(frozen=True)
class RegionTime:
    """How long one region took in the last run.

    Attributes:
        region: its name.
        label: who computed it.
        nanoseconds: all samples together.
        conversion: of them, between the file's values and integers.
    """

    region: str
    label: str
    nanoseconds: int
    conversion: int


class MixedSession:
    """Runs a mixed program: its regions in turn.

    Attributes:
        program: what runs.
        executors: one per region.
    """

    def __init__(self, program: MixedProgram, options: Options, sessions: Sessions | None = None) -> None:
        """Open every region.

        Raises:
            AccumulatorOverflow: a region of integers is not proved.
            UnsupportedOp: a float region cannot be run here.
        """
        shared: Sessions = {} if sessions is None else sessions
        self.program = program
        self.executors = tuple(OPENERS[region.kind](region, options, shared) for region in program.regions)
        self._times: tuple[Members, list[int], list[int]] = ((), [0], [])
        self._last_needed: tuple[tuple[str, ...], Members, LastReads] = ((), (), ())

    def run(self, feed: Mapping[str, Values], names: Sequence[str] | None = None) -> list[Values]:
        """Outputs of the file by ``names``, all in order if that is None.

        Args:
            feed: arrays by the names of the file's inputs, of their types; those that nothing reads may be left out.
            names: of outputs.

        Raises:
            ProgramError: an array has another shape or type, holds NaN where integers are made of it, or a float region
                refuses it.
        """
        requested = [port.name for port in self.program.outputs] if names is None else list(names)
        state = self._computed(feed, requested, release=True)
        missing = [name for name in requested if name not in state.tensors]
        if missing:
            raise ProgramError(f"{self.program.name}: has no output called {missing[0]!r}")
        return [np.asarray(state.tensors[name]) for name in requested]

    def trace(self, feed: Mapping[str, Values], requested: Sequence[str]) -> State:
        """All that a run of ``feed`` computes on the way to the outputs ``requested``."""
        return self._computed(feed, requested, release=False)

    def _computed(self, feed: Mapping[str, Values], requested: Sequence[str], *, release: bool) -> State:
        """Run the regions; ``release`` gives arrays back after their last reader: later ones lie where they did."""
        state = State({**self.program.constants, **feed}, {})
        members, last_reads = self._needed(tuple(requested))
        clock = time.perf_counter_ns
        instants = [clock()]
        for (_, executor), (tensors, integers) in zip(members, last_reads, strict=True):
            executor.run(state)
            if release:
                for name in tensors:
                    del state.tensors[name]
                for name in integers:
                    del state.integers[name]
            instants.append(clock())
        # Several threads may run at once, so the times of one run are put down at its end, as one value.
        conversions = [executor.conversion if isinstance(executor, IntegerExecutor) else 0 for _, executor in members]
        self._times = members, instants, conversions
        return state

    def profile(self) -> tuple[RegionTime, ...]:
        """How long each region took in the last run; regions that were not needed are left out."""
        members, instants, conversions = self._times
        return tuple(
            RegionTime(region.name, executor.label, end - begin, conversion)
            for (region, executor), begin, end, conversion in zip(
                members, instants, instants[1:], conversions, strict=False
            )
        )

    def _needed(self, outputs: tuple[str, ...]) -> tuple[Members, LastReads]:
        """The regions that ``outputs`` depend on, found once for runs that ask for the same."""
        if self._last_needed[0] == outputs:
            return self._last_needed[1:]
        names, result = set[str](outputs), list[tuple[Region, Executor]]()
        carried = set[str]()
        for region, executor in reversed([*zip(self.program.regions, self.executors, strict=True)]):
            gives = region.body.carried if isinstance(region.body, IntegerBody) else ()
            if names.intersection(region.writes) or carried.intersection(gives):
                result.append((region, executor))
                names.update(region.reads)
                carried.update(region.carried_in)
        members = tuple(reversed(result))
        last_reads = _last_reads([region for region, _ in members], outputs)
        self._last_needed = outputs, members, last_reads
        return members, last_reads


def _last_reads(regions: Sequence[Region], outputs: Sequence[str]) -> LastReads:
    """For each region the tensors, and the integers, that it or nothing reads last; outputs of the file stay."""
    retained, carried = set(outputs), set[str]()
    result = []
    for region in reversed(regions):
        touched = dict.fromkeys((*region.reads, *region.writes))
        integers = dict.fromkeys((*region.carried_in, *(_integers_of(region))))
        tensors = tuple(name for name in touched if name not in retained)
        result.append((tensors, tuple(name for name in integers if name not in carried)))
        retained.update(touched)
        carried.update(integers)
    return tuple(reversed(result))


def _integers_of(region: Region) -> tuple[str, ...]:
    """Names under which a region leaves integers in a ``State``: what it made of the file's values, and hands on."""
    if not isinstance(region.body, IntegerBody):
        return ()
    return (*(edge.tensor for edge in region.body.entries), *region.body.carried)
