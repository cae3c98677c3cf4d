"""``ReportData``: everything a report shows, as plain frozen values.

Four kinds of statement never share a field: what is *proved* (holds for every input), *observed* (counted or
computed on given data), *measured* (timed on a machine) and *predicted* (the planner's cost model). A part that
was not supplied is ``None`` or empty and its section is left out; nothing is ever filled in.

``codec.to_json`` and ``codec.from_json`` carry these values to a file and back without loss.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import log2
from typing import Literal

from oaq.numerics.accumulator import Accumulator
from oaq.numerics.ranges import IntRange
from oaq.program.codebook_facts import CodebookFacts
from oaq.report.density_facts import Density, NeuralEfficiency
from oaq.report.kinds import NodeKind
from oaq.report.node_profile import NodeProfile
from oaq.report.scores import Agreement

SCHEMA = 2
"""Version of the JSON form."""

Tier = Literal["proved", "observed"]


@dataclass(frozen=True)
class Refusal:
    """A kernel row that was not taken for a layer, and why.

    Attributes:
        row: name of the kernel row.
        reason: one sentence with the numbers.
        cost: what the planner predicts the row would have cost, in its units; None if it could not be used at all.
    """

    row: str
    reason: str
    cost: float | None = None


@dataclass(frozen=True)
class ScheduleFacts:
    """How the sums of one layer are cut into runs, counted over all tiles of outputs.

    Attributes:
        steps: inner steps over all tiles, each counted once; those of zeros that are left out are not counted.
        segments: runs; each ends with one spill.
        shortest, longest: steps of the shortest and the longest run.
        splits: steps issued twice because one of their pairs alone could leave its register.
        tiles: tiles of outputs.
    """

    steps: int
    segments: int
    shortest: int
    longest: int
    splits: int
    tiles: int

    @property
    def average_run(self) -> float:
        """Steps per spill."""
        return self.steps / self.segments


@dataclass(frozen=True)
class Bounds:
    """What is proved about one layer's sums, for every input.

    Attributes:
        lane: hull of every narrow register at the end of every run, as scheduled; None if the row has no narrow one.
        total: hull of the exact s32 sums, bias included.
        unspilled: hull of the same registers if nothing were spilled; None if not computed.
    """

    lane: IntRange | None
    total: IntRange
    unspilled: IntRange | None = None


@dataclass(frozen=True)
class Observed:
    """What was seen in one layer on the images given. Evidence, not proof.

    Attributes:
        images: how many.
        lane: hull of the narrow registers seen at the ends of runs; None if not counted.
        total: hull of the s32 sums seen.
        at_low, at_high: fraction of outputs that sat at the ends of the effective range, 0..1.
    """

    images: int
    total: IntRange
    lane: IntRange | None = None
    at_low: float = 0.0
    at_high: float = 0.0


@dataclass(frozen=True)
class LayerFacts:
    """One summing layer (convolution or linear) as planned.

    Attributes:
        name: node name.
        kind: for people, "conv 3x3 /2", "depthwise 5x5", "linear".
        input_shape, output_shape: of one sample, NHWC.
        terms: products summed per output (K).
        macs: multiply-accumulates per sample.
        weight: hull of the weights.
        activation: effective range of the input tensor.
        accumulator: register model of the row taken.
        row, isa: kernel row taken.
        schedule: runs and spills; None if the row is exact and never spills.
        bounds: proved.
        cost: predicted by the planner, in its units; None if it gave none.
        refused: rows not taken, with reasons.
        observed: on data, if any was given.
        sqnr_db: signal to quantization noise against the float network at this layer's output, if one was given.
        modulo: b where its sums count modulo 2**b, by design; None where they are exact.
        density: its zeros; None in reports of before they were counted.
    """

    name: str
    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    terms: int
    macs: int
    weight: IntRange
    activation: IntRange
    accumulator: Accumulator
    row: str
    isa: str
    bounds: Bounds
    schedule: ScheduleFacts | None = None
    cost: float | None = None
    refused: tuple[Refusal, ...] = ()
    observed: Observed | None = None
    sqnr_db: float | None = None
    modulo: int | None = field(default=None, metadata={"later": True})
    density: Density | None = field(default=None, metadata={"later": True})


@dataclass(frozen=True)
class Execution:
    """One executor against the integer reference, integer by integer.

    Attributes:
        name: "session avx2 threads=2", "onnxruntime".
        ran: False: nothing is known about it; ``note`` says why.
        integers: compared.
        mismatches: how many differed.
        note: where it first differs, what is known besides, or why it did not run; may be empty.
    """

    name: str
    ran: bool
    integers: int
    mismatches: int
    note: str = ""


@dataclass(frozen=True)
class Verification:
    """What ``oaq verify`` found.

    Attributes:
        proved, layers: layers whose every sum is proved, and how many there are.
        certificate: what the independent checker said, or why there was nothing to check.
        signature: hash of the reference's outputs on fixed inputs.
        samples: (origin, how many) of the inputs: given, corners, fixed random, witnesses.
        executions: every executor that could compute the program, those that did not run included.
        unsafe: reasons why the program must not be run.
    """

    proved: int
    layers: int
    certificate: str
    signature: str
    samples: tuple[tuple[str, int], ...]
    executions: tuple[Execution, ...]
    unsafe: tuple[str, ...] = ()

    @property
    def mismatches(self) -> int:
        """Integers that differ, over all executors."""
        return sum(execution.mismatches for execution in self.executions)

    @property
    def integers(self) -> int:
        """Integers compared, over all executors."""
        return sum(execution.integers for execution in self.executions)


@dataclass(frozen=True)
class Evidence:
    """What was seen of a network when it was quantized, or later on other data; kept beside the program in its file.

    Attributes:
        agreement: with the float network.
        observed: (node name, what was seen).
        sqnr_db: (node name, decibels against float at its output).
        budget: given to the quantizer.
        seconds: (what, how long).
        notes: one sentence each: where the images came from, what was left out.
        codebooks: layers whose weights are piecewise.
        neural: entropy of what layers say; None where it was not observed.
    """

    agreement: Agreement | None = None
    observed: tuple[tuple[str, Observed], ...] = ()
    sqnr_db: tuple[tuple[str, float], ...] = ()
    budget: float | None = None
    seconds: tuple[tuple[str, float], ...] = ()
    notes: tuple[str, ...] = ()
    codebooks: tuple[CodebookFacts, ...] = ()
    neural: NeuralEfficiency | None = field(default=None, metadata={"later": True})


@dataclass(frozen=True)
class Timing:
    """One timed executor.

    Attributes:
        name: unique in its run.
        ours: True for oaq, False for a peer.
        precision: "int8", "fp32".
        isa: instruction set it used, as far as known.
        median_ms, low_ms, high_ms: median and quartiles of the time of one call.
        repeats: calls timed.
        note: how its outputs were checked, what it could not do.
    """

    name: str
    ours: bool
    precision: str
    isa: str
    median_ms: float
    low_ms: float
    high_ms: float
    repeats: int
    note: str = ""

    @property
    def spread(self) -> float:
        """Interquartile range over the median: how far repeats disagree."""
        return (self.high_ms - self.low_ms) / self.median_ms


@dataclass(frozen=True)
class Latency:
    """Executors timed side by side in one run.

    Attributes:
        timings: in the order measured.
        batch: samples per call.
        threads: per executor.
        baseline: name of the timing that ratios refer to; None for no ratios.
        pinned: CPUs the process was bound to, empty if it was not.
    """

    timings: tuple[Timing, ...]
    batch: int
    threads: int
    baseline: str | None = None
    pinned: tuple[int, ...] = ()

    def by_name(self, name: str) -> Timing:
        """The timing called ``name``.

        Raises:
            KeyError: nothing is called so.
        """
        for timing in self.timings:
            if timing.name == name:
                return timing
        raise KeyError(name)


@dataclass(frozen=True)
class Environment:
    """Where the numbers come from.

    Attributes:
        cpu: model name.
        cores: logical CPUs this process may use.
        isas: instruction sets this CPU runs, ascending.
        forced_isa: value of OAQ_ISA, empty if unset.
        system: operating system.
        compiler: of the native module, empty if there is none.
        commit: of the source tree, or of the repository that pip installed from; empty otherwise; ends in "+" if files
            differ from it.
        versions: (package, version).
        date: ISO 8601, UTC.
    """

    cpu: str
    cores: int
    isas: tuple[str, ...]
    forced_isa: str
    system: str
    compiler: str
    commit: str
    versions: tuple[tuple[str, str], ...]
    date: str


@dataclass(frozen=True)
class ReportData:
    """A report.

    Attributes:
        name: of the program.
        tier: the guarantee the plan carries.
        assumptions: what the guarantee rests on, one plain sentence each.
        isa: instruction set planned for.
        environment: stamp.
        layers: summing layers in execution order.
        average_run: steps per spill over every layer summed as a matrix product, weighted by output positions; None if
            nothing is summed in narrow registers.
        budget: predicted cost allowed when the network was quantized; None if not recorded.
        relative_cost: predicted cost over that of the same network summed in 16 bits without any spill.
        verification, agreement, latency, profile: parts that may be absent.
        seconds: (what, how long) for analyze, plan, quantize, ... Measured.
        notes: anything a reader must know, one sentence each.
        codebooks: layers whose weights are piecewise, in order.
        neural: entropy of what layers say; None where it was not observed.
        kinds: kinds of nodes, and which compute with integers alone.
    """

    name: str
    tier: Tier
    assumptions: tuple[str, ...]
    isa: str
    environment: Environment
    layers: tuple[LayerFacts, ...]
    average_run: float | None = None
    budget: float | None = None
    relative_cost: float | None = None
    verification: Verification | None = None
    agreement: Agreement | None = None
    latency: Latency | None = None
    profile: tuple[NodeProfile, ...] = ()
    seconds: tuple[tuple[str, float], ...] = ()
    notes: tuple[str, ...] = ()
    codebooks: tuple[CodebookFacts, ...] = ()
    neural: NeuralEfficiency | None = field(default=None, metadata={"later": True})
    kinds: tuple[NodeKind, ...] = field(default=(), metadata={"later": True})
    schema: int = field(default=SCHEMA)

    @property
    def proved_layers(self) -> int:
        """Layers whose proved bounds lie inside the registers that sum them."""
        return sum(is_proved(layer) for layer in self.layers)

    @property
    def modular_layers(self) -> int:
        """Layers whose sums count modulo 2**b: exact in that, and free to leave their registers."""
        return sum(layer.modulo is not None for layer in self.layers)


def is_proved(layer: LayerFacts) -> bool:
    """True iff no sum of the layer leaves its registers; never said of one that wraps by design."""
    if layer.modulo is not None:
        return False
    narrow = layer.bounds.lane is None or layer.accumulator.range.contains(layer.bounds.lane)
    return narrow and layer.bounds.total.signed_bits <= 32


def effective_bits(used: IntRange) -> float:
    """log2 of how many integers a range holds: 8.0 for [0, 255], 6.0 for [0, 63].

    >>> effective_bits(IntRange(0, 255))
    8.0
    """
    return log2(used.steps + 1)


def mean(values: Iterable[float]) -> float | None:
    """The arithmetic mean; None of nothing."""
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else None
