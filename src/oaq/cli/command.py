"""Parse, call one verb, turn every way of failing into one line and an exit code."""

from __future__ import annotations

import argparse
import difflib
import errno
import io
import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from oaq.cli import (
    balance,
    bench,
    calibrate,
    completion,
    doctor,
    export,
    info,
    plan,
    quantize,
    repair,
    report,
    robust,
    run,
    tune,
    verify,
    witness,
)
from oaq.errors import AccumulatorOverflow, Mismatch, OaqError
from oaq.escape import escape_message
from oaq.kernels.cost_files import costs_from
from oaq.kernels.table import check_isa_variable
from oaq.program.memory import memory_limit

SAFE, UNSAFE, BAD_INPUT, DEFECT, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 70, 130, 141

EXTRAS = {
    "torch": "torch",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "PIL": "images",
    "openvino": "openvino",
}
"""Optional packages, by the extra that installs them."""

PACKAGES = {"PIL": "pillow"}
"""Packages that are installed by another name than they are imported by."""
NOTES = {
    "torch": ". On Linux that is a build for CUDA, gigabytes; the smaller one for CPUs, which is all that oaq quantize "
    "needs, comes by the command that PyTorch's page Get Started shows for Compute Platform CPU"
}
"""What else is good to know before a package is installed."""

DESCRIPTION = """\
Overflow-aware quantization: 8-bit networks whose 16-bit sums are proved never to overflow.

  oaq quantize net.py:make --calibrate photos/ --out net.oaq    make an integer network
  oaq verify net.oaq                                            prove it again, run it against the reference
  oaq run net.oaq --input photo.jpg                             classify
  oaq report net.oaq --out report.html                          look at it
"""

EPILOG = """\
exit codes: 0 safe, 1 unsafe (a sum can overflow, or two executors disagree), 2 usage or bad input,
3 undecided (robust; verify, if an executor that is here failed to run).
OAQ_ISA=scalar|avx2|avxvnni|avx512bw|vbmi|vnni|amx forces one instruction set; OAQ_COSTS=calibrated|FILE plans by other
costs than those shipped. Every verb has --json for machines.
"""

VERBS = (
    quantize,
    tune,
    doctor,
    repair,
    balance,
    verify,
    run,
    bench,
    calibrate,
    report,
    witness,
    robust,
    plan,
    export,
    info,
    completion,
)
OUT_OF_MEMORY = (
    "out of memory: the network, a batch or a photo needs more than this machine gives; a smaller --batch or --limit "
    "helps only if it is the data"
)


class _Parser(argparse.ArgumentParser):
    """Says what a mistyped verb or option may have been meant for."""

    def error(self, message: str) -> NoReturn:
        """Print usage and the message, and stop with exit code 2."""
        self.exit(BAD_INPUT, f"{self.format_usage()}{self.prog}: error: {message}{suggestion(message, self)}\n")


def suggestion(message: str, root: argparse.ArgumentParser) -> str:
    """The end of a sentence that names what a mistyped word may have been meant for; empty if nothing is near."""
    verbs = [action for action in root._actions if isinstance(action, argparse._SubParsersAction)]
    parsers = [root, *(verb for action in verbs for verb in action.choices.values())]
    actions = [action for verb in parsers for action in verb._actions]
    names = {name for action in actions for name in (*action.option_strings, *map(str, action.choices or ()))}
    mistyped = message.partition("invalid choice:")[2] or message
    for word in re.findall(r"--[\w-]+|(?<=')[^' ]+(?=')", mistyped)[:1]:
        matches = difflib.get_close_matches(word, sorted(names), 1, 0.6)
        if matches and matches[0] != word:
            return f"; did you mean {matches[0]}?"
    return ""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    root = _Parser("oaq", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    root.add_argument("--version", action="store_true", help="print the version and stop")
    verbs = root.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for verb in VERBS:
        subparser = verbs.add_parser(
            verb.__name__.rpartition(".")[2],
            help=verb.HELP,
            description=verb.DESCRIPTION,
            epilog=verb.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.add_arguments(subparser)
        subparser.add_argument("--json", action="store_true", help="print one JSON document instead of words")
        subparser.add_argument("--debug", action="store_true", help="show the Python traceback of an error")
        subparser.set_defaults(call=verb.call)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code and never raises."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names in models hold letters that an encoding of a system may lack
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _main(_parsed(arguments))
        sys.stdout.flush()
        return code
    except SystemExit as stop:  # argparse: --help is 0, a usage error is 2
        return stop.code if isinstance(stop.code, int) else BAD_INPUT
    except BrokenPipeError:
        _silence_stdout()
        return BROKEN_PIPE
    except OSError as error:
        _silence_stdout()
        full = error.errno == errno.ENOSPC
        return _complain("the disk is full: output" if full else f"cannot write the output: {error}", BAD_INPUT)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; argparse takes positional words from one place only, and inputs may follow options as well."""
    root = parser()
    parsed, extras = root.parse_known_args(arguments)
    if extras and hasattr(parsed, "photos") and not any(word.startswith("-") for word in extras):
        parsed.photos += [Path(word) for word in extras]
    elif extras:
        root.error(f"unrecognized arguments: {' '.join(extras)}")
    return parsed


def _main(arguments: argparse.Namespace) -> int:
    if arguments.version:
        from oaq.cli.info import version

        sys.stdout.write(f"oaq {version()}\n")
        return SAFE
    if arguments.verb is None:
        parser().print_help()
        return BAD_INPUT
    try:
        _check_environment(arguments.verb)
        return arguments.call(arguments)
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, BrokenPipeError):
            raise
        if arguments.debug:
            traceback.print_exc()
        return _code(error)


def _check_environment(verb: str) -> None:
    """Refuse mistyped variables before anything is done by them, whatever the verb.

    Raises:
        NoKernel, ConfigError, FormatError: OAQ_ISA, OAQ_MEMORY_LIMIT or OAQ_COSTS is not what it can be.
    """
    check_isa_variable()
    memory_limit()
    if verb != "calibrate":  # which may be about to write the file that OAQ_COSTS names
        costs_from(None)


def _code(error: BaseException) -> int:
    """Say what went wrong in one line. What is not about the input is a defect: it is shown whole."""
    match error:
        case KeyboardInterrupt():
            return _complain("interrupted; nothing half-written is left behind", INTERRUPTED)
        case AccumulatorOverflow() | Mismatch():
            return _complain(str(error), UNSAFE)
        case OaqError():
            return _complain(str(error), BAD_INPUT)
        case ModuleNotFoundError() if (error.name or "").partition(".")[0] in EXTRAS:
            package = (error.name or "").partition(".")[0]
            extra = EXTRAS[package]
            return _complain(
                f"this needs {package}, which is not installed: pip install {PACKAGES.get(package, package)} (in a "
                f"clone of oaq: pip install '.[{extra}]'){NOTES.get(package, '')}",
                BAD_INPUT,
            )
        case MemoryError():
            return _complain(OUT_OF_MEMORY, BAD_INPUT)
        case RuntimeError() if "DefaultCPUAllocator" in str(error):  # what torch raises instead of a MemoryError
            return _complain(OUT_OF_MEMORY, BAD_INPUT)
        case OSError() if error.errno == errno.ENOSPC:
            return _complain(f"the disk is full: {error.filename or 'output'}", BAD_INPUT)
        case OSError() if error.filename is not None:
            return _complain(f"{error.filename}: {error.strerror}", BAD_INPUT)
        case _:
            traceback.print_exception(error)
            return _complain("this is a defect of oaq; please report it with the lines above", DEFECT)


def _complain(line: str, code: int) -> int:
    text = escape_message(line).replace("\n", "\n  ")  # only a line of ours begins at the margin
    sys.stderr.write(f"oaq: {text}\n")
    return code


def _silence_stdout() -> None:
    """Python flushes standard output once more at exit and would complain about it then."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, sys.stdout.fileno())
    os.close(sink)
