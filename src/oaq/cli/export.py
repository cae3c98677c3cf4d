"""``oaq export``: the same integers as a file for another runtime."""

from __future__ import annotations

import argparse
from pathlib import Path

from oaq.cli.opened import open_file
from oaq.escape import escape_name
from oaq.export import onnx
from oaq.terminal import say

HELP = "write the network as ONNX (QDQ) for other runtimes"
DESCRIPTION = """\
Write the program as an ONNX file in QDQ form, with its certificate inside.
Runtimes that fuse QDQ (ONNX Runtime with all optimisations) then compute the
same integers; oaq verify measures where they do not."""
EXAMPLES = "example:\n  oaq export net.oaq --out net.onnx"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE --out OUT."""
    parser.add_argument("file", type=Path, metavar="FILE", help="an .oaq file")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT.onnx", help="where to write")


def call(arguments: argparse.Namespace) -> int:
    """Write the file."""
    opened = open_file(arguments.file)
    onnx(opened.program, arguments.out, opened.parts)
    size = arguments.out.stat().st_size
    if arguments.json:
        say.document({"program": opened.program.name, "onnx": str(arguments.out), "bytes": size})
    else:
        say.words(f"{escape_name(opened.program.name)}: {arguments.out}, {size / 1e6:.1f} MB, ONNX QDQ")
    return 0
