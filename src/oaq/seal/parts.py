"""A file that can be proved again from itself: the program, its certificate, its signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from oaq.errors import NoKernel
from oaq.kernels.plan import Plan, plan
from oaq.kernels.table import KernelRow, native_rows
from oaq.overflow.analyze import analyze
from oaq.overflow.certificate import PART as CERTIFICATE
from oaq.overflow.certificate import Certificate, certify, to_parts
from oaq.overflow.proof import Proof
from oaq.overflow.spill import Schedule
from oaq.program.files import Part
from oaq.program.files import save as save_file
from oaq.program.int_program import IntProgram
from oaq.seal.signature import PART as SIGNATURE
from oaq.seal.signature import signature_part


def save(program: IntProgram, path: str | Path, parts: Mapping[str, Part] | None = None) -> None:
    """Write ``program`` with its certificate (the proof, and the schedules of every plan made here) and its signature.

    ``program.save`` writes the program alone.

    Args:
        program: what to prove and write.
        path: of the ``.oaq`` file.
        parts: further parts to store.

    Raises:
        AccumulatorOverflow: the program's sums cannot be proved.
        FormatError: ``path`` cannot be written.
    """
    save_file(program, path, {**sealed_parts(program), **(parts or {})})


def sealed_parts(program: IntProgram, table: Sequence[KernelRow] | None = None) -> dict[str, Part]:
    """Certificate and signature, for ``program.files.save`` or ``oaq.export.onnx``.

    Args:
        program: to be proved.
        table: rows to plan for, on any machine; None is all that are compiled in, none if nothing is.

    Raises:
        AccumulatorOverflow: the program's sums cannot be proved.
    """
    return {CERTIFICATE: Part(*to_parts(certificate(program, table))), SIGNATURE: signature_part(program)}


def certificate(program: IntProgram, table: Sequence[KernelRow] | None = None) -> Certificate:
    """The proof of ``program`` with the schedules of its plan for each instruction set in ``table``."""
    proof = analyze(program)
    rows = _rows() if table is None else tuple(table)
    plans = []
    for isa in dict.fromkeys(row.isa for row in rows):
        try:
            plans.append(plan(program, isa, proof=proof, table=rows))
        except NoKernel:  # that instruction set alone has no row for some node
            continue
    return certify(program, proof, _schedules(proof, plans))


def _schedules(proof: Proof, plans: Sequence[Plan]) -> dict[str, list[Schedule]]:
    """Schedules of every node, one per register and tile width."""
    by_node: dict[str, dict[tuple[str, int], Schedule]] = {name: {} for name in proof.nodes}
    for node_plans in plans:
        for node in node_plans.nodes:
            if node.schedule is not None:
                by_node[node.node.name][node.schedule.accumulator.name, node.schedule.tile_n] = node.schedule
    return {name: list(schedules.values()) for name, schedules in by_node.items()}


def _rows() -> tuple[KernelRow, ...]:
    try:
        return native_rows()
    except NoKernel:
        return ()
