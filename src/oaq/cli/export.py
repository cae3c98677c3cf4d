"""``oaq export``: the same integers as a file for another runtime, as a program in C, or for pages."""

from __future__ import annotations

import argparse
from pathlib import Path

from oaq.cli.model_file import HELP as MODEL_HELP
from oaq.cli.model_file import open_whole
from oaq.errors import ConfigError
from oaq.escape import escape_name
from oaq.export import c, onnx
from oaq.terminal import say
from oaq.web import write

HELP = "write the network as ONNX (QDQ) for other runtimes, as C, or for pages"
DESCRIPTION = """\
--out writes the program as an ONNX file in QDQ form, with its certificate
inside. Runtimes that fuse QDQ (ONNX Runtime with all optimisations) then
compute the same integers; oaq verify measures where they do not.

--c writes a header, a C11 source, its constants and a self-test: scalar code
that computes the same integers on any machine, without a library and without
an allocation, in an arena of stated size.

--web writes what the npm package oaq-web loads: NAME.json and a plan for each
module of WebAssembly, proved. oaq quantize --target wasm-relaxed makes networks
that are quickest there.

FILE may be an int8 file of another tool: a TFLite file leaves as ONNX, unless
it rounds in fixed point, which ONNX cannot say."""
EXAMPLES = """\
examples:
  oaq export net.oaq --out net.onnx
  oaq export --c firmware/net net.oaq
  oaq export --web site/net net.oaq"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE --out OUT | --c DIR | --web DIR."""
    parser.add_argument("file", type=Path, metavar="FILE", help=MODEL_HELP)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", type=Path, metavar="OUT.onnx", help="where to write ONNX")
    target.add_argument("--c", type=Path, metavar="DIR", help="where to write C; made if it is missing")
    target.add_argument("--web", type=Path, metavar="DIR", help="where to write for pages; made if it is missing")
    parser.add_argument(
        "--name", metavar="NAME", help="prefix in C or of files for pages (default: the program's name)"
    )


def call(arguments: argparse.Namespace) -> int:
    """Write the file or files."""
    if arguments.c is not None:
        return _write_c(arguments)
    if arguments.web is not None:
        return _write_web(arguments)
    if arguments.name is not None:
        raise ConfigError("--name is a prefix in C or of files for pages: give --c DIR or --web DIR with it")
    opened = open_whole(arguments.file)
    onnx(opened.program, arguments.out, opened.parts)
    size = arguments.out.stat().st_size
    if arguments.json:
        say.document({"program": opened.program.name, "onnx": str(arguments.out), "bytes": size})
    else:
        say.words(f"{escape_name(opened.program.name)}: {arguments.out}, {size / 1e6:.1f} MB, ONNX QDQ")
    return 0


def _write_c(arguments: argparse.Namespace) -> int:
    opened = open_whole(arguments.file)
    result = c(opened.program, arguments.c, arguments.name, opened.parts)
    numbers = {"arena": result.arena, "constants": result.constants, "signature": result.signature}
    if arguments.json:
        files = [str(path) for path in result.files]
        say.document({"program": opened.program.name, "files": files, **numbers})
        return 0
    words = [f"{escape_name(opened.program.name)}: {', '.join(map(str, result.files))}"]
    words.append(f"  memory: {result.arena} bytes beside inputs and outputs; constants: {result.constants} bytes")
    words.append(f"  signature: {result.signature}")
    say.words("\n".join(words))
    return 0


def _write_web(arguments: argparse.Namespace) -> int:
    opened = open_whole(arguments.file)
    result = write(opened.program, arguments.web, arguments.name, opened.parts)
    files = [str(path) for path in (result.index, *result.plans.values())]
    if arguments.json:
        digests = {"signature": result.signature, "certificate": result.certificate}
        say.document({"program": opened.program.name, "files": files, **digests})
        return 0
    words = [f"{escape_name(opened.program.name)}: {', '.join(files)}"]
    words.append(f"  signature:   {result.signature}")
    words.append(f"  certificate: {result.certificate}")
    say.words("\n".join(words))
    return 0
