"""``oaq plan``: how a network would run on some machine, and the plan as bytes for it."""

from __future__ import annotations

import argparse
from pathlib import Path

from oaq.cli.model_file import HELP as MODEL_HELP
from oaq.cli.model_file import open_whole
from oaq.errors import ProgramError
from oaq.escape import escape_name
from oaq.kernels.plan import plan
from oaq.kernels.targets import TARGETS
from oaq.program.atomic import write_atomically
from oaq.runtime.plan_file import proved_bytes
from oaq.terminal import say

HELP = "choose proved kernels for this machine or another, and write them for oaq.h"
DESCRIPTION = """\
For every layer the cheapest kernel row whose sums are proved, its spills, and
why each cheaper row was refused. --target plans for another machine: a laptop
prepares the file of a Raspberry Pi. --out writes the plan as bytes, which a
program in C runs by oaq.h without Python (docs/plan-format.md); the proof is
checked once more before they are written. MODEL may be an int8 file of another
tool, too."""
EXAMPLES = """\
examples:
  oaq plan net.oaq --target neon --out net.plan
  oaq plan net.oaq --isa avx2

exit code 0: every sum is proved; 1: the checker disagrees; 2: the file or the target cannot be used."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL --target --isa --out."""
    parser.add_argument("file", type=Path, metavar="MODEL", help=MODEL_HELP)
    parser.add_argument(
        "--target",
        choices=tuple(TARGETS),
        help="rows of another machine: neon is every AArch64, dotprod and i8mm are what newer ones add; wasm and "
        "wasm-relaxed are the two modules that pages run (default: what this machine runs)",
    )
    parser.add_argument("--isa", help="best instruction set to use (default: OAQ_ISA, then best); not with --target")
    parser.add_argument("--out", type=Path, metavar="FILE.plan", help="where to write the plan as bytes")


def call(arguments: argparse.Namespace) -> int:
    """Plan, print, write."""
    if arguments.target is not None and arguments.isa is not None:
        raise ProgramError("--isa is of this machine and --target of another; give one of them")
    program = open_whole(arguments.file).program
    planned = plan(program, arguments.isa, table=arguments.target)
    content = proved_bytes(planned)
    if arguments.out is not None:
        write_atomically(arguments.out, [content])
    if arguments.json:
        written = None if arguments.out is None else {"path": str(arguments.out), "bytes": len(content)}
        say.document({"plan": planned.to_json(), "written": written})
        return 0
    say.words(planned.explain())
    if arguments.out is not None:
        say.words(f"{escape_name(program.name)}: {arguments.out}, {len(content) / 1e6:.1f} MB, for {planned.isa}")
    return 0
