"""``oaq bench`` on a file with float parts: the whole file timed, its integers checked against the reference."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from numpy.typing import NDArray

from oaq.cli.mixed_file import MixedFile
from oaq.cli.side_by_side import isas_to_time, require_counts, side_by_side
from oaq.cli.sizes import shapes_text
from oaq.errors import ProgramError
from oaq.escape import escape_name
from oaq.mixed.execute import IntegerExecutor, MixedSession, Options
from oaq.mixed.explain import explain, unproved
from oaq.report.codec import encode
from oaq.report.comparison import Contender, Values, peer_contender
from oaq.report.data import Latency
from oaq.report.environment import environment
from oaq.report.latency import pinned, turn
from oaq.report.peers import Peer
from oaq.report.text import latency_table
from oaq.terminal import say

SAME_DB: Final = 60.0
"""The integers of a session are those of the reference; what floats make of them may differ in their last bits."""


def call(file: MixedFile, peers: list[Peer], arguments: argparse.Namespace) -> int:
    """Measure and print."""
    sessions = mixed_sessions(file, arguments)
    latency = measure(file, sessions, peers, arguments)
    doubts = unproved(file.program, next(iter(sessions.values())))
    if arguments.json:
        document: dict[str, object] = {"environment": encode(environment()), "latency": encode(latency)}
        document["not_proved"] = doubts
        if arguments.explain:
            document["regions"] = {
                name: [asdict(time) for time in session.profile()] for name, session in sessions.items()
            }
        say.document(document)
        return 0
    say.words(f"{escape_name(file.path.stem)} on {environment().cpu}\n")
    say.tables([latency_table(latency)])
    if doubts:
        say.warn(f"{file.path}: {doubts}")
    for name, session in sessions.items() if arguments.explain else ():
        say.words(f"\n{name}\n{explain(file.program, session)}")
        for executor in session.executors:
            if isinstance(executor, IntegerExecutor):
                say.words(executor.session.plan.explain())
    return 0


def mixed_sessions(file: MixedFile, arguments: argparse.Namespace) -> dict[str, MixedSession]:
    """A session per instruction set asked for, or per one this CPU has."""
    sessions: dict[str, MixedSession] = {}
    for isa in isas_to_time(arguments.isa):
        session = MixedSession(file.program, Options(arguments.threads, isa))
        labels = dict.fromkeys(executor.label for executor in session.executors)
        sessions.setdefault(" + ".join(sorted(labels, key=lambda label: not label.startswith("oaq"))), session)
    return sessions


def runnable_sample(file: MixedFile, session: MixedSession) -> dict[str, NDArray[Any]]:
    """An array per input that the file computes something finite of.

    Raises:
        ProgramError: it refuses every such array; ``--shape`` may help.
    """
    feed = file.sample()
    try:
        session.run(feed)
    except ProgramError as error:
        feed = file.sample(integers=0)  # an index that is out of bounds, say
        try:
            session.run(feed)
        except ProgramError:
            sizes = shapes_text(file.shapes)
            raise ProgramError(f"{file.path}: at {sizes}: {error}; --shape takes other sizes") from error
    return feed


def measure(
    file: MixedFile, sessions: dict[str, MixedSession], peers: list[Peer], arguments: argparse.Namespace
) -> Latency:
    """Time every session and every peer side by side.

    Raises:
        FormatError: a number of threads, samples or rounds is less than 1.
        Mismatch: one of them computes something else.
    """
    require_counts(arguments)
    feed = runnable_sample(file, next(iter(sessions.values())))
    with pinned(arguments.threads) as cpus:
        law = _all(MixedSession(file.program, Options(arguments.threads, reference=True)), feed)
        contenders = [
            Contender(
                name=name,
                ours=True,
                precision="mixed",
                isa="see name",
                take=turn(lambda session=session: session.run(feed)),
                outputs=lambda session=session: _all(session, feed),
                reference=law,
                least_sqnr_db=SAME_DB,
                against="the reference of its integers",
            )
            for name, session in sessions.items()
        ]
        contenders += [peer_contender(peer, feed, law, "the reference of its integers", strict=False) for peer in peers]
        return side_by_side(contenders, arguments, cpus)


def _all(session: MixedSession, feed: Mapping[str, NDArray[Any]]) -> Values:
    """The output, or all of them."""
    outputs = session.run(feed)
    return tuple(outputs) if len(outputs) > 1 else outputs[0]
