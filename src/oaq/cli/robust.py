"""``oaq robust``: whether a network's answer can change inside a set of inputs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oaq.cli import images
from oaq.cli.model_file import HELP as MODEL_HELP
from oaq.cli.model_file import open_whole
from oaq.cli.opened import Opened
from oaq.errors import ConfigError, FormatError
from oaq.program.atomic import write_atomically
from oaq.program.int_program import IntProgram
from oaq.report.equivalence import Comparison, comparison_headline, comparison_table
from oaq.report.html.robust import equivalence_section, render, robust_section
from oaq.report.robust import Asked, answer_table, headline
from oaq.robust import (
    Certificate,
    Options,
    Region,
    ball,
    brightness,
    contrast,
    equivalence,
    largest_radius,
    load_certificate,
    patch,
    robustness,
)
from oaq.robust.certificate import EQUIVALENCE_SUFFIX, SUFFIX
from oaq.robust.prove import SECONDS, SOLVER, THOROUGH_SECONDS
from oaq.runtime.values import to_integers
from oaq.terminal import say
from oaq.terminal.native_output import native_output_on_stderr
from oaq.terminal.table import Table
from oaq.verify.robustness import verify_certificate

HELP = "prove that no input of a set changes a network's answer, or show one that does"
DESCRIPTION = """\
For each input and a set around it: robust (proved for every input of the set,
with a certificate), refuted (an input of the set that gets another label, run
by the reference), or undecided (with the bound that was reached). Radii are in
integer steps of the network's input. --equivalent asks about two programs
instead: whether their outputs differ by more than --steps integers anywhere in
the set (equivalent, refuted or undecided). --check reads certificates again
without any search."""
EXAMPLES = """\
examples:
  oaq robust net.oaq --input digits/ --radius 2
  oaq robust net.oaq --input digit.npy --patch 10:14,10:14 --out certificates/
  oaq robust net.oaq --input digits/ --largest --lines answers.jsonl
  oaq robust net.oaq --check certificates/digit-0.robust.oaq
  oaq robust net.oaq --equivalent tuned.oaq --input digits/ --radius 1 --steps 2
  oaq robust net.oaq --equivalent tuned.oaq --check digit-0.equivalent.oaq

exit code 0: all proved; 1: a counterexample, or a certificate that does not hold; 2: bad input; 3: undecided."""
ROBUST, REFUTED, UNDECIDED = 0, 1, 3
MOST_RADIUS = 255


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE --input --radius ... or FILE --check; either with --equivalent."""
    parser.add_argument("file", type=Path, metavar="FILE", help=MODEL_HELP)
    parser.add_argument("--input", type=Path, metavar="PATH", help="a photo, .npy, .npz, or a folder of them")
    parser.add_argument("--limit", type=int, metavar="N", help="at most N files of --input")
    sets = parser.add_argument_group("the set around each input (one of them)")
    sets.add_argument("--radius", type=int, metavar="N", help="every element may move by N steps")
    sets.add_argument(
        "--patch", type=_patch, metavar="R0:R1,C0:C1", help="any values inside a rectangle (--radius limits)"
    )
    sets.add_argument("--brightness", type=int, metavar="N", help="all elements together by -N to N steps")
    sets.add_argument(
        "--contrast", type=_percents, metavar="P,P,...", help="distance from zero times these percentages"
    )
    sets.add_argument("--largest", action="store_true", help="bisect: the largest radius that is proved")
    pair = parser.add_argument_group("two programs")
    pair.add_argument("--equivalent", type=Path, metavar="FILE2", help="ask whether FILE2 has the outputs of FILE")
    pair.add_argument("--steps", type=int, metavar="N", help="by how many integers outputs may differ (default 0)")
    parser.add_argument("--on", choices=("outputs", "sums"), default="outputs", help="compare u8 outputs or last sums")
    parser.add_argument("--seconds", type=float, metavar="S", help=f"per set (default {SECONDS:g})")
    parser.add_argument("--thorough", action="store_true", help=f"{THOROUGH_SECONDS:g} seconds per set")
    parser.add_argument("--solver", choices=(SOLVER,), help="let HiGHS look for an input too; it never proves")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help=f"write certificates, INPUT-SAMPLE{SUFFIX} or {EQUIVALENCE_SUFFIX}"
    )
    parser.add_argument("--lines", type=Path, metavar="FILE.jsonl", help="write one JSON line per set")
    parser.add_argument("--html", type=Path, metavar="OUT.html", help="also write a self-contained page")
    parser.add_argument("--check", type=Path, nargs="+", metavar="CERT", help="check certificates instead")
    images.add_arguments(parser)


@dataclass(frozen=True, eq=False)
class Answers:
    """Everything that is said about the sets of a command.

    Attributes:
        lines: JSON-able, by set.
        states: by set.
        table, headline: for a terminal.
        card: for a page.
    """

    lines: Sequence[Mapping[str, object]]
    states: Sequence[str]
    table: Table
    headline: str
    card: str


def call(arguments: argparse.Namespace) -> int:
    """Ask, print, write; or check."""
    opened = open_whole(arguments.file)
    other = None if arguments.equivalent is None else open_whole(arguments.equivalent).program
    if arguments.check:
        return _check(opened.program, other, arguments)
    _require_question(arguments)
    answers = _robustness(opened, arguments) if other is None else _equivalence(opened, other, arguments)
    if arguments.lines is not None:
        write_atomically(arguments.lines, [(json.dumps(line) + "\n").encode() for line in answers.lines])
    if arguments.html is not None:
        title = " and ".join(program.name for program in (opened.program, other) if program is not None)
        write_atomically(arguments.html, [render(title, answers.card).encode()])
    if arguments.json:
        pair = {} if other is None else {"equivalent": str(arguments.equivalent)}
        say.document({"file": str(arguments.file), **pair, "sets": answers.lines})
    else:
        say.tables([answers.table])
        say.words(answers.headline)
    return REFUTED if "refuted" in answers.states else UNDECIDED if "undecided" in answers.states else ROBUST


def _robustness(opened: Opened, arguments: argparse.Namespace) -> Answers:
    questions = list(say.track(_questions(opened, arguments), "robust"))
    states = [question.answer.state for question in questions]
    card = robust_section(questions)
    return Answers(
        [_line(question) for question in questions], states, answer_table(questions), headline(questions), card
    )


def _equivalence(opened: Opened, other: IntProgram, arguments: argparse.Namespace) -> Answers:
    comparisons = list(say.track(_comparisons(opened, other, arguments), "robust"))
    lines = [{"input": line.name, "set": line.region, **line.answer.to_json()} for line in comparisons]
    return Answers(
        lines,
        [line.answer.state for line in comparisons],
        comparison_table(comparisons),
        comparison_headline(comparisons),
        equivalence_section(comparisons),
    )


def _require_question(arguments: argparse.Namespace) -> None:
    if arguments.input is None:
        raise ConfigError("nothing to ask about: give --input PATH and a set, such as --radius 2; or --check CERT")
    names = ("patch", "brightness", "contrast")
    sets_chosen = [name for name in names if getattr(arguments, name) is not None] + ["largest"] * arguments.largest
    if len(sets_chosen) > 1 or (not sets_chosen and arguments.radius is None):
        raise ConfigError(
            f"one set at a time: --radius, --patch, --brightness, --contrast or --largest, not {sets_chosen}"
        )
    if arguments.seconds is not None and not arguments.seconds > 0:
        raise ConfigError(f"--seconds {arguments.seconds}: a search takes more than 0 seconds")
    _require_pair(arguments)


def _require_pair(arguments: argparse.Namespace) -> None:
    """Refuse flags that two programs give no meaning to, and those of two programs without the second.

    Raises:
        ConfigError: some were given; it names them.
    """
    if arguments.equivalent is None:
        if arguments.steps is not None:
            raise ConfigError(f"--steps {arguments.steps} is of two programs: give the second, --equivalent FILE2")
        return
    meaningless = [f"--{name}" for name in ("brightness", "contrast", "solver") if getattr(arguments, name) is not None]
    meaningless += ["--largest"] * arguments.largest + ["--on sums"] * (arguments.on == "sums")
    if meaningless:
        raise ConfigError(
            f"--equivalent compares outputs on a box, --radius or --patch: leave {' and '.join(meaningless)} out"
        )


def _questions(opened: Opened, arguments: argparse.Namespace) -> Iterator[Asked]:
    options = _options(arguments)
    for name, stem, x in _samples(opened, arguments):
        with native_output_on_stderr():  # of the solver
            question = _ask(opened.program, x, (name, arguments, options))
        _store(question.answer.certificate, arguments, f"{stem}{SUFFIX}")
        yield question


def _comparisons(opened: Opened, other: IntProgram, arguments: argparse.Namespace) -> Iterator[Comparison]:
    options = _options(arguments)
    for name, stem, x in _samples(opened, arguments):
        region, words = _region(opened.program, x, arguments)
        answer = equivalence(opened.program, other, region, arguments.steps or 0, options)
        _store(answer.certificate, arguments, f"{stem}{EQUIVALENCE_SUFFIX}")
        yield Comparison(name, words, answer)


def _samples(opened: Opened, arguments: argparse.Namespace) -> Iterator[tuple[str, str, NDArray[np.uint8]]]:
    """Name for people, opening of the certificate's name, and integers of every sample of --input.

    Raises:
        ConfigError: certificates of two files would have one name.
    """
    batches = opened.batches(arguments.input, arguments, arguments.limit)
    if arguments.out is not None:
        first: dict[str, Path] = {}
        for path, _ in batches:
            if first.setdefault(path.stem, path) != path:
                raise ConfigError(
                    f"{first[path.stem]} and {path}: their certificates would have one name in {arguments.out}; rename "
                    "one of the files, or ask about them one by one"
                )
        _make_folder(arguments.out)
    for path, batch in batches:
        for at, x in enumerate(to_integers(opened.program, batch)[0]):
            yield path.name if len(batch) == 1 else f"{path.name}:{at}", f"{path.stem}-{at}", x


def _store(certificate: Certificate | None, arguments: argparse.Namespace, name: str) -> None:
    if arguments.out is not None and certificate is not None:
        certificate.save(arguments.out / name)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise FormatError(f"--out {path}: cannot be a folder: {reason}. Choose another name") from error


def _options(arguments: argparse.Namespace) -> Options:
    seconds = arguments.seconds or (THOROUGH_SECONDS if arguments.thorough else SECONDS)
    return Options(seconds=seconds, sums=arguments.on == "sums", solver=arguments.solver)


def _ask(program: IntProgram, x: NDArray[np.uint8], context: tuple[str, argparse.Namespace, Options]) -> Asked:
    name, arguments, options = context
    if arguments.largest:
        largest = largest_radius(program, x, arguments.radius or MOST_RADIUS, options)
        answer = largest.proof if largest.obstacle is None else largest.obstacle
        return Asked(name, f"radius {largest.proved} proved, {largest.unproved or 'none'} not", answer, largest.proved)
    region, words = _region(program, x, arguments)
    return Asked(name, words, robustness(program, x, region, options))


def _region(program: IntProgram, x: NDArray[np.uint8], arguments: argparse.Namespace) -> tuple[Region, str]:
    if arguments.patch is not None:
        rows, columns = arguments.patch
        radius = MOST_RADIUS if arguments.radius is None else arguments.radius
        return patch(program, x, rows, columns, radius), f"patch rows {rows}, columns {columns}, radius {radius}"
    if arguments.brightness is not None:
        return brightness(program, x, arguments.brightness), f"brightness {arguments.brightness}"
    if arguments.contrast is not None:
        return contrast(program, x, arguments.contrast), f"contrast {arguments.contrast} %"
    return ball(program, x, arguments.radius), f"radius {arguments.radius}"


def _line(question: Asked) -> dict[str, object]:
    radius = {} if question.radius is None else {"largest_proved": question.radius}
    return {"input": question.name, "set": question.region, **radius, **question.answer.to_json()}


def _check(program: IntProgram, other: IntProgram | None, arguments: argparse.Namespace) -> int:
    results = []
    for path in arguments.check:
        certificate = load_certificate(path)
        verdict = verify_certificate(program, certificate.header, certificate.arrays, other)
        tier = str(certificate.header.get("tier"))
        results.append(
            {"certificate": str(path), "holds": verdict.safe, "tier": tier, "set": certificate.header["set"]}
        )
        results[-1]["findings"] = [str(finding) for finding in verdict.findings]
        if not arguments.json:
            say.words(f"{path}: {f'holds: {tier}' if verdict.safe else 'does NOT hold: ' + results[-1]['findings'][0]}")
    if arguments.json:
        say.document({"certificates": results})
    fine = all(result["holds"] and result["tier"] == "proved" for result in results)
    return ROBUST if fine else REFUTED


def _patch(text: str) -> tuple[tuple[int, int], tuple[int, int]]:
    rows, _, columns = text.partition(",")
    first, last = (tuple(int(end) for end in axis.split(":")) for axis in (rows, columns))
    if len(first) != 2 or len(last) != 2:
        raise ValueError(text)
    return (first[0], first[1]), (last[0], last[1])


def _percents(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]
