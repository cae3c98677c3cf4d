"""Executors side by side: first their outputs are compared with a reference, then they are timed in turns.

Nothing is timed before its outputs have been compared: a fast wrong answer is not a result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

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
        outputs: its outputs for the benchmark's input, for the check.
        reference: what they are compared with.
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
    outputs: Callable[[], NDArray[np.generic]]
    reference: NDArray[np.generic]
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
    outputs, expected = contender.outputs(), contender.reference
    if not contender.strict and outputs.shape != expected.shape:
        return f"not compared: outputs of shape {outputs.shape}, {contender.against} has {expected.shape}"
    if outputs.shape != expected.shape:
        raise Mismatch(f"{contender.name}: outputs of shape {outputs.shape}, {contender.against} has {expected.shape}")
    if contender.least_sqnr_db is None:
        differing = int(np.sum(outputs != expected))
        if differing:
            raise Mismatch(f"{contender.name}: {differing} of {outputs.size} outputs differ from {contender.against}")
        return f"equal to {contender.against}"
    against = contender.against
    if are_probabilities(outputs) and not are_probabilities(expected):
        outputs, expected = before_softmax(outputs), expected - expected.mean(axis=-1, keepdims=True)
        against += " before the peer's softmax"
    sqnr = sqnr_db(expected.astype(np.float64), outputs.astype(np.float64))
    if sqnr < contender.least_sqnr_db and not contender.strict:
        return f"DIFFERS: {sqnr:.1f} dB against {against}, on random input"
    if sqnr < contender.least_sqnr_db:
        raise Mismatch(
            f"{contender.name}: SQNR {sqnr:.1f} dB against {contender.against}, needs {contender.least_sqnr_db:g}"
        )
    if math.isinf(sqnr):
        return f"equal to {against}"
    return f"{sqnr:.1f} dB against {against}"


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


def our_contenders(
    plans: Mapping[str, Plan], x: NDArray[np.float32], threads: int, real: NDArray[np.float32] | None = None
) -> tuple[list[Contender], NDArray[np.float32]]:
    """A session per plan of one program, checked against the reference integer by integer.

    Args:
        plans: by the name shown.
        x: one batch in the caller's layout.
        threads: of each session.
        real: the float network's first output for ``x``, if known; how near the integers come is noted.

    Returns:
        The contenders, and the reference's first output as real values, to compare peers with.
    """
    program = next(iter(plans.values())).program
    integers = to_integers(program, x)
    law = reference.run(program, integers).outputs
    outputs = to_floats(program, law)[0]
    also = "" if real is None else f"{sqnr_db(real, outputs):.1f} dB against float"
    sessions = [_session(name, plan, x, threads, (integers, law[0])) for name, plan in plans.items()]
    return [replace(session, also=also) for session in sessions], outputs


def _session(
    name: str,
    plan: Plan,
    x: NDArray[np.float32],
    threads: int,
    check_values: tuple[Sequence[NDArray[np.uint8]], NDArray[np.uint8]],
) -> Contender:
    session = Session(plan, threads=threads)
    return session_contender(name, session, turn(lambda: session.run(x)), check_values)


def session_contender(
    name: str, session: Session, take: Turn, check_values: tuple[Sequence[NDArray[np.uint8]], NDArray[np.uint8]]
) -> Contender:
    """A session, checked integer by integer.

    Args:
        name: unique in the comparison.
        session: prepared.
        take: its turn.
        check_values: the program's input integers, and the reference's first output for them.
    """
    integers, law = check_values
    return Contender(
        name=name,
        ours=True,
        precision="int8",
        isa=session.plan.isa,
        take=take,
        outputs=lambda: session.run_integers(integers)[0],
        reference=law,
        least_sqnr_db=None,
        against="the integer reference",
    )


def peer_contender(
    peer: Peer,
    x: PeerInput,
    expected: NDArray[Any],
    against: str,
    least_sqnr_db: float = SAME_FUNCTION_DB,
    *,
    strict: bool = True,
) -> Contender:
    """A peer, checked by the precision of its outputs.

    Args:
        peer: prepared.
        x: one NCHW batch, or an array per input.
        expected: values of the output.
        against: what ``expected`` is.
        least_sqnr_db: below it the peer is refused, or marked.
        strict: whether it is refused.
    """

    def outputs() -> NDArray[np.generic]:
        y = peer.run(x)
        return y.reshape(expected.shape) if y.size == expected.size or strict else y

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
