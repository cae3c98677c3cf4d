"""What every timed verb shares: which instruction sets are timed, and executors that take turns."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from oaq.errors import FormatError
from oaq.kernels.table import cpu_isas
from oaq.report.comparison import Contender, compare
from oaq.report.data import Latency
from oaq.report.environment import environment
from oaq.terminal import say


def isas_to_time(requested: Sequence[str] | None) -> Sequence[str | None]:
    """Those asked for; the one that ``OAQ_ISA`` forces, as None; or all of this CPU, scalar code only if it is alone.

    Scalar rows are for checking, not for speed.
    """
    if requested:
        return requested
    return [None] if environment().forced_isa else [isa for isa in cpu_isas() if isa != "scalar"] or ["scalar"]


def require_counts(arguments: argparse.Namespace) -> None:
    """Refuse to time nothing.

    Raises:
        FormatError: a number of threads, samples or rounds is less than 1.
    """
    if min(arguments.threads, arguments.batch, arguments.rounds) < 1:
        raise FormatError("--threads, --batch and --rounds are at least 1")


def side_by_side(contenders: Sequence[Contender], arguments: argparse.Namespace, cpus: tuple[int, ...]) -> Latency:
    """Time executors in turns, under a bar; ratios refer to the first that is not ours.

    Raises:
        Mismatch: one of them computes something else.
    """
    return compare(
        contenders,
        threads=arguments.threads,
        batch=arguments.batch,
        rounds=arguments.rounds,
        baseline=next((contender.name for contender in contenders if not contender.ours), None),
        pinned=cpus,
        progress=lambda rounds: say.track(rounds, "bench"),
    )
