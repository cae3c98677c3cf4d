"""``oaq info``: what this installation and this CPU can do."""

from __future__ import annotations

import argparse
from importlib import metadata

from oaq.cli import say
from oaq.report.codec import encode
from oaq.report.environment import environment
from oaq.report.text import Table, render

HELP = "say what this machine and this build can run"
DESCRIPTION = "Instruction sets of this CPU, kernel rows of this build, compiler, versions."
EXAMPLES = "example:\n  oaq info --json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def call(arguments: argparse.Namespace) -> int:
    """Print the stamp and the kernel table."""
    stamp = environment()
    rows = kernel_rows()
    if arguments.json:
        say.document({"environment": encode(stamp), "rows": rows})
        return 0
    facts = [
        ("oaq", version()),
        ("CPU", stamp.cpu),
        ("cores", str(stamp.cores)),
        ("runs", ", ".join(stamp.isas) or "nothing: the native module is not built"),
        ("OAQ_ISA", stamp.forced_isa or "not set"),
        ("system", stamp.system),
        ("compiler", stamp.compiler or "-"),
        ("commit", stamp.commit or "-"),
        ("versions", ", ".join(f"{name} {number}" for name, number in stamp.versions)),
    ]
    tables = [Table("This installation", ("", ""), tuple(facts))]
    if rows:
        lines = tuple(
            (
                str(row["name"]),
                str(row["isa"]),
                str(row["bits"]),
                str(row["overflow"]),
                str(row["step"]),
                str(row["lanes"]),
                "-" if row["max_run"] is None else str(row["max_run"]),
                "yes" if row["available"] else "no",
            )
            for row in rows
        )
        head = ("kernel row", "ISA", "bits", "overflow", "step", "lanes", "max run", "runs here")
        tables.append(Table("Kernel rows", head, lines, frozenset({2, 4, 5, 6})))
    say.words(render(tables))
    return 0


def kernel_rows() -> list[dict[str, object]]:
    """The native table; empty without the native module."""
    try:
        from oaq.kernels import _native as native
    except ImportError:
        return []
    return [dict(row) for row in native.kernel_table()]


def version() -> str:
    """The installed version, or "source" from a tree that is not installed."""
    try:
        return metadata.version("oaq")
    except metadata.PackageNotFoundError:
        return "source"
