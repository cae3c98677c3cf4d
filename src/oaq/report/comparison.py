"""Executors side by side: first their outputs are compared with a reference, then they are timed in turns.

Nothing is timed before its outputs have been compared: a fast wrong answer is not a result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from oaq import reference
from oaq.errors import Mismatch
from oaq.kernels.plan import Plan
from oaq.report.agreement import sqnr_db
from oaq.report.data import Latency, Timing
from oaq.report.latency import Turn, interleave, timing, turn
from oaq.report.peers import Peer, PeerInput
from oaq.runtime import Session
from oaq.runtime.values import to_floats, to_integers

Values: TypeAlias = NDArray[Any] | tuple[NDArray[Any], ...]
"""The output of a network, or all of them in order where there are several."""
Progress = Callable[[Iterable[int]], Iterable[int]]
LEAST_PROBABILITY = 1e-38
"""What a probability that rounded to 0 is taken for."""
SAME_FUNCTION_DB = 3.0
"""A peer below this computes another function, not the same one less precisely."""


@dataclass(frozen=True, eq=False)
class Contender:
    """One executor under comparison.

    Attributes:
        name: unique in the comparison.
        ours: True for oaq.
        precision: "int8" or "fp32".
        isa: instruction set, as far as known.
        take: its turn (see ``oaq.report.latency``).
        outputs: its output for the benchmark's input, or a tuple of all, for the check.
        reference: what they are compared with: one array, or as many.
        least_sqnr_db: the outputs' SQNR against ``reference`` must reach this; None means every value must be equal.
        against: what ``reference`` is, for the note.
        also: added to the note.
        strict: what computes something else is an error; otherwise it is timed and its note says so.
    """

    name: str
    ours: bool
    precision: str
    isa: str
    take: Turn
    outputs: Callable[[], Values]
    reference: Values
    least_sqnr_db: float | None
    against: str
    also: str = ""
    strict: bool = True


def check(contender: Contender) -> str:
    """Compare a contender's outputs with its reference; returns the note that goes with its timing.

    Raises:
        Mismatch: they differ (by more than ``least_sqnr_db`` allows), and the contender is ``strict``; nothing may be
            timed then.
    """
    outputs, expected = in_order(contender.outputs()), in_order(contender.reference)
    difference = _shape_difference(outputs, expected, contender.against)
    if difference and contender.strict:
        raise Mismatch(f"{contender.name}: {difference}")
    if difference:
        return f"not compared: {difference}"
    if contender.least_sqnr_db is None:
        differing = sum(int(np.sum(y != law)) for y, law in zip(outputs, expected, strict=True))
        if differing:
            size = sum(y.size for y in outputs)
            raise Mismatch(f"{contender.name}: {differing} of {size} outputs differ from {contender.against}")
        return f"equal to {contender.against}"
    pairs = list(zip(outputs, expected, strict=True))
    reals = [(y, law) for y, law in pairs if law.dtype.kind == "f"]  # among several, indices and flags have no noise
    sqnr, against = min(
        (_decibels(y, law, contender.against) for y, law in (reals if len(pairs) > 1 and reals else pairs)),
        key=lambda pair: pair[0],
    )
    if len(outputs) > 1:
        against += f", least of {len(outputs)} outputs"
    if sqnr < contender.least_sqnr_db and not contender.strict:
        return f"DIFFERS: {sqnr:.1f} dB against {against}, on random input"
    if sqnr < contender.least_sqnr_db:
        raise Mismatch(
            f"{contender.name}: SQNR {sqnr:.1f} dB against {contender.against}, needs {contender.least_sqnr_db:g}"
        )
    if math.isinf(sqnr):
        return f"equal to {against}"
    return f"{sqnr:.1f} dB against {against}"


def in_order(values: Values) -> tuple[NDArray[Any], ...]:
    """All outputs as a tuple."""
    return values if isinstance(values, tuple) else (values,)


def _shape_difference(outputs: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]], against: str) -> str:
    """In which number or shape of outputs two results differ; "" if in none."""
    if len(outputs) != len(expected):
        return f"{len(outputs)} outputs, {against} has {len(expected)}"
    for y, law in zip(outputs, expected, strict=True):
        if y.shape != law.shape:
            return f"outputs of shape {y.shape}, {against} has {law.shape}"
    return ""


def _decibels(outputs: NDArray[Any], expected: NDArray[Any], against: str) -> tuple[float, str]:
    """SQNR of an output, and what it is against."""
    if are_probabilities(outputs) and not are_probabilities(expected):
        outputs, expected = before_softmax(outputs), expected - expected.mean(axis=-1, keepdims=True)
        against += " before the peer's softmax"
    return sqnr_db(expected.astype(np.float64), outputs.astype(np.float64)), against


def are_probabilities(outputs: NDArray[np.generic]) -> bool:
    """Rows of several numbers that a softmax may have made: none negative, each row of sum 1."""
    if outputs.dtype.kind != "f" or outputs.ndim < 2 or outputs.shape[-1] < 2:
        return False
    rows = outputs.astype(np.float64)
    return bool(np.all(rows >= 0) and np.allclose(rows.sum(axis=-1), 1.0, atol=1e-3))


def before_softmax(probabilities: NDArray[np.generic]) -> NDArray[np.float64]:
    """The numbers whose softmax these are, up to one constant per row: their mean is 0."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), LEAST_PROBABILITY))
    return logits - logits.mean(axis=-1, keepdims=True)


def compare(
    contenders: Sequence[Contender],
    *,
    threads: int,
    batch: int = 1,
    rounds: int = 20,
    calls: int = 3,
    baseline: str | None = None,
    pinned: tuple[int, ...] = (),
    progress: Progress = iter,
) -> Latency:
    """Check every contender, then time them side by side.

    Raises:
        Mismatch: a contender computes something else.
        ValueError: two contenders share a name.
    """
    names = [contender.name for contender in contenders]
    if len(set(names)) != len(names):
        raise ValueError(f"contenders need names of their own: {names}")
    notes = {contender.name: "; ".join(filter(None, (check(contender), contender.also))) for contender in contenders}
    seconds = interleave(
        {contender.name: contender.take for contender in contenders}, rounds, calls, warm_up=2, progress=progress
    )
    timings = tuple(
        timing(
            contender.name,
            seconds[contender.name],
            Timing(
                contender.name, contender.ours, contender.precision, contender.isa, 0, 0, 0, 0, notes[contender.name]
            ),
        )
        for contender in contenders
    )
    return Latency(timings, batch, threads, baseline, pinned)


def distinct_plans(plans: Iterable[Plan]) -> dict[str, Plan]:
    """Plans of one program as ``oaq ISA``; one whose kernels are those of an earlier plan is left out."""
    by_rows: dict[tuple[str, ...], Plan] = {}
    for plan in plans:
        by_rows.setdefault(tuple(node.row.name for node in plan.nodes), plan)
    return {f"oaq {plan.isa}": plan for plan in by_rows.values()}


def our_contenders(
    plans: Mapping[str, Plan], x: NDArray[np.float32], threads: int, real: Values | None = None
) -> tuple[list[Contender], Values]:
    """A session per plan of one program, checked against the reference integer by integer.

    Args:
        plans: by the name shown.
        x: one batch in the caller's layout.
        threads: of each session.
        real: what the float network makes of ``x``, if known; how near the integers come is noted.

    Returns:
        The contenders, and the reference's outputs as real values, to compare peers with.
    """
    program = next(iter(plans.values())).program
    integers = to_integers(program, x)
    law = reference.run(program, integers).outputs
    outputs = list(to_floats(program, law))
    also = ""
    if real is not None:
        least = min(sqnr_db(exact, y) for exact, y in zip(in_order(real), outputs, strict=True))
        also = f"{least:.1f} dB against float"
    sessions = [_session(name, plan, x, threads, (integers, law)) for name, plan in plans.items()]
    return [replace(session, also=also) for session in sessions], tuple(outputs) if len(outputs) > 1 else outputs[0]


def _session(
    name: str,
    plan: Plan,
    x: NDArray[np.float32],
    threads: int,
    check_values: tuple[Sequence[NDArray[np.uint8]], tuple[NDArray[np.uint8], ...]],
) -> Contender:
    session = Session(plan, threads=threads)
    return session_contender(name, session, turn(lambda: session.run(x)), check_values)


def session_contender(
    name: str,
    session: Session,
    take: Turn,
    check_values: tuple[Sequence[NDArray[np.uint8]], tuple[NDArray[np.uint8], ...]],
) -> Contender:
    """A session, checked integer by integer.

    Args:
        name: unique in the comparison.
        session: prepared.
        take: its turn.
        check_values: the program's input integers, and the reference's outputs for them.
    """
    integers, law = check_values
    return Contender(
        name=name,
        ours=True,
        precision="int8",
        isa=session.plan.isa,
        take=take,
        outputs=lambda: session.run_integers(integers),
        reference=law,
        least_sqnr_db=None,
        against="the integer reference",
    )


def peer_contender(
    peer: Peer,
    x: PeerInput,
    expected: Values,
    against: str,
    least_sqnr_db: float = SAME_FUNCTION_DB,
    *,
    strict: bool = True,
) -> Contender:
    """A peer, checked by the precision of its outputs.

    Args:
        peer: prepared.
        x: one NCHW batch, or an array per input.
        expected: values of the output, or of all.
        against: what ``expected`` is.
        least_sqnr_db: below it the peer is refused, or marked.
        strict: whether it is refused.
    """

    def outputs() -> Values:
        results = peer.run_all(x) if isinstance(expected, tuple) and peer.run_all else (peer.run(x),)
        if len(results) != len(in_order(expected)):
            return tuple(results)
        return tuple(
            y.reshape(law.shape) if y.size == law.size or strict else y
            for y, law in zip(results, in_order(expected), strict=True)
        )

    return Contender(
        name=peer.name,
        ours=False,
        precision=peer.precision,
        isa=peer.isa,
        take=turn(lambda: peer.run(x)),
        outputs=outputs,
        reference=expected,
        least_sqnr_db=least_sqnr_db,
        against=against,
        strict=strict,
    )
