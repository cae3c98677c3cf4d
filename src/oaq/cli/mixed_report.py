"""``oaq report`` on a file with float parts: the layers of all its integer regions, and where these end."""

from __future__ import annotations

import argparse
import dataclasses

from oaq.cli.mixed_bench import measure, mixed_sessions
from oaq.cli.mixed_file import MixedFile
from oaq.cli.network import Network
from oaq.dynamic import plan_layer
from oaq.kernels.plan import Plan, plan
from oaq.mixed.execute import MixedSession, Options
from oaq.mixed.explain import explain
from oaq.mixed.inference import InferenceSession
from oaq.report import Evidence, ReportData, build_report
from oaq.report.data import Latency
from oaq.report.evidence import lanes_of, observe
from oaq.report.peers import Peer
from oaq.terminal import say


def mixed_report(file: MixedFile, peers: list[Peer], arguments: argparse.Namespace) -> ReportData:
    """One report of all regions; its notes say what each region is and why some stay in float."""
    isa = arguments.isa[0] if arguments.isa else None
    plans = {name: plan(program, isa) for name, program in file.parts.items()}
    evidence = _observed(file, plans, arguments) if arguments.images is not None else {}
    reports = [build_report(planned, evidence.get(name)) for name, planned in plans.items()]
    reports += [build_report(plan_layer(layer, isa).sums) for layers in file.dynamic.values() for layer in layers]
    latency, session = _measured(file, peers, arguments)
    first = reports[0]
    notes = [note for part in evidence.values() for note in part.notes][:1]
    return dataclasses.replace(
        first,
        name=file.path.stem,
        layers=tuple(layer for report in reports for layer in report.layers),
        average_run=first.average_run if len(reports) == 1 else None,
        relative_cost=first.relative_cost if len(reports) == 1 else None,
        latency=latency,
        notes=(*notes, *explain(file.program, session).replace("\n  ", "; ").split("\n")),
    )


def _measured(
    file: MixedFile, peers: list[Peer], arguments: argparse.Namespace
) -> tuple[Latency | None, MixedSession | None]:
    if not arguments.latency:
        return None, None
    sessions = mixed_sessions(file, arguments)
    return measure(file, sessions, peers, arguments), next(iter(sessions.values()))


def _observed(file: MixedFile, plans: dict[str, Plan], arguments: argparse.Namespace) -> dict[str, Evidence]:
    """What every layer's sums did on ``--images``, region by region."""
    network = Network(file.path, InferenceSession(file.path), None)
    feeds = [feed for _, feed in network.feeds(arguments.images, arguments)[: arguments.limit]]
    session = MixedSession(file.program, Options(arguments.threads))
    outputs = [port.name for port in file.program.outputs]
    states = [session.trace(part, outputs) for feed in say.track(feeds, "observe") for part in network.parts(feed)]
    evidence = {}
    for name, program in file.parts.items():
        batches = [tuple(state.integers[tensor] for tensor in program.inputs) for state in states]
        observed = observe(program, batches, lanes_of(plans[name]))
        count = sum(len(batch[0]) for batch in batches)
        note = f"Sums per layer were observed on {count} samples of {arguments.images}."
        evidence[name] = Evidence(observed=tuple(observed.items()), notes=(note,))
    return evidence
