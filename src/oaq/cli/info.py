"""``oaq info``: what this installation and this CPU can do."""

from __future__ import annotations

import argparse

from oaq.errors import NoKernel
from oaq.kernels.cpus import allowed_cpus
from oaq.kernels.table import KernelRow, native_rows
from oaq.report import words
from oaq.report.codec import encode
from oaq.report.environment import environment
from oaq.terminal import say
from oaq.terminal.table import Table

HELP = "say what this machine and this build can run"
DESCRIPTION = "Instruction sets of this CPU, kernel rows of this build, compiler, versions."
EXAMPLES = "example:\n  oaq info --json"
HEAD = ("kernel row", "ISA", "tile", "step", "register", "runs here")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def call(arguments: argparse.Namespace) -> int:
    """Print the stamp and the kernel table."""
    stamp, cpus = environment(), allowed_cpus()
    rows = kernel_rows()
    if arguments.json:
        say.document({"environment": encode(stamp), "threads": cpus.threads, "rows": [encode(row) for row in rows]})
        return 0
    facts = [
        ("oaq", version()),
        ("CPU", stamp.cpu),
        ("cores", str(stamp.cores)),
        ("threads", f"{cpus.threads} by default: {cpus.words}"),
        ("runs", ", ".join(stamp.isas) or "nothing: the native module is not built"),
        ("OAQ_ISA", stamp.forced_isa or "not set"),
        ("system", stamp.system),
        ("compiler", stamp.compiler or "-"),
        ("commit", stamp.commit or "not recorded: installed from files; the version says which"),
        ("versions", ", ".join(f"{name} {number}" for name, number in stamp.versions)),
    ]
    tables = [Table("This installation", ("", ""), tuple(facts))]
    if rows:
        tables.append(Table("Kernel rows", HEAD, tuple(map(_line, rows)), frozenset({2, 3})))
    say.tables(tables)
    return 0


def kernel_rows() -> tuple[KernelRow, ...]:
    """The native table; empty without the native module."""
    try:
        return native_rows()
    except NoKernel:
        return ()


def _line(row: KernelRow) -> tuple[str, ...]:
    register = row.accumulator
    return (
        row.name,
        row.isa,
        str(row.tile_n),
        "-" if register is None else str(register.step),
        "sums in s32 or not at all" if register is None else words.register(register),
        "yes" if row.available else "no",
    )


def version() -> str:
    """What ``oaq --version`` says."""
    import oaq

    return oaq.__version__
