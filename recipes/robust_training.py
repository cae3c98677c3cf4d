r"""Two small networks on Fashion-MNIST, W8A8 and proved 14 bits: which of them is easier to verify?

    python -m recipes.robust_training [--radius 1 2 4] [--queries 50] [--data DIR] [--out runs/robust_training]

Trains one float network of two linear layers, then its integers twice: 8-bit weights and activations under 32-bit sums,
and with every sum proved to fit 14 bits. The same test images are then asked about by ``oaq robust``; certificates are
checked. DIR holds the four IDX files; without it they are fetched. Killed at any moment, the same command goes on where
it was, queries included. What comes out: ``w8a8/net.oaq``, ``proved14/net.oaq``, ``answers.jsonl``, a table.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import torch
from torch import nn

import oaq
from oaq.errors import FormatError
from oaq.program.atomic import write_atomically
from oaq.program.plain import fingerprint
from oaq.qat import Config, Target, convert
from oaq.robust import Options, robustness
from oaq.runtime.values import to_integers
from oaq.terminal import say
from oaq.terminal.table import Table
from oaq.verify.robustness import verify_certificate
from recipes.data.labelled import Labelled, fashion_mnist, fashion_mnist_of
from recipes.training import Stage, right_as_integers, together, train_float, train_integers

FLOAT: Final = Stage(6, 128, 0.05, 5e-4, warmup=100)
INTEGERS: Final = Stage(2, 128, 3e-4, 1e-4)
NETWORKS: Final = {
    "w8a8": Config(method="none", target=Target("pure", 32, None)),
    "proved14": Config(method="proved", target=Target("pure", 14, None), first_last_exempt=False),
}
"""Settings by folder: sums that nothing constrains, and sums of at most 14 bits over all of K."""


@dataclass(frozen=True)
class Question:
    """One test image of one network at one radius."""

    network: str
    program: str
    image: int
    radius: int
    seconds: float


def float_network(width: int = 32) -> nn.Sequential:
    """784 pixels, ``width`` hidden values, ten classes."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.ReLU(), nn.Linear(width, 10))


def trained(options: argparse.Namespace, train: Labelled) -> dict[str, oaq.IntProgram]:
    """Both programs, written as ``net.oaq`` into their folders.

    Raises:
        OaqError: see ``train_float``, ``train_integers`` and ``convert``.
    """
    floating, integers = (
        Stage(epochs, options.batch, stage.lr, stage.weight_decay, warmup=stage.warmup, seed=options.seed)
        for epochs, stage in ((options.float_epochs, FLOAT), (options.epochs, INTEGERS))
    )
    programs = {}
    with together() as device:
        torch.manual_seed(options.seed)
        net = train_float(float_network(), train, floating, _folder(options.out) / "float.ckpt", device)
        for name, config in NETWORKS.items():
            folder = _folder(options.out / name)
            programs[name] = convert(train_integers(net, train, config, integers, folder, device=device))
            oaq.save(programs[name], folder / "net.oaq")
    return programs


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormatError(f"{path}: cannot be made: {error.strerror}. Choose another --out") from error
    return path


def answers_of(
    options: argparse.Namespace, programs: dict[str, oaq.IntProgram], test: Labelled
) -> list[dict[str, Any]]:
    """One line per network, image and radius; lines that an earlier run wrote are kept."""
    path = options.out / "answers.jsonl"
    lines = _lines(path)
    answered = {tuple(line["question"]) for line in lines}
    images = torch.cat([x for x, _ in test.first(options.queries).batches(250)]).numpy()
    questions = [
        Question(name, fingerprint(program), image, radius, options.seconds)
        for image in range(len(images))
        for radius in options.radius
        for name, program in programs.items()
    ]
    for question in say.track(questions, "robust"):
        key = (question.network, question.program, question.image, question.radius, question.seconds)
        if key not in answered:
            x = to_integers(programs[question.network], images[question.image : question.image + 1])[0][0]
            lines.append({"question": list(key), **_answer(programs[question.network], x, question)})
            write_atomically(path, [(json.dumps(line) + "\n").encode() for line in lines])
    current = {(question.network, question.program, question.seconds) for question in questions}
    return [line for line in lines if (line["question"][0], line["question"][1], line["question"][4]) in current]


def _answer(program: oaq.IntProgram, x: Any, question: Question) -> dict[str, Any]:  # noqa: ANN401 (an array of torch's)
    answer = robustness(program, x, question.radius, Options(seconds=question.seconds))
    if answer.certificate is not None:
        verdict = verify_certificate(program, answer.certificate.header, answer.certificate.arrays)
        if not verdict.safe:
            raise AssertionError(f"{question}: a certificate does not hold: {verdict.findings[0]}; please report this")
    return dict(answer.to_json())


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise FormatError(f"{path}: is not what this recipe wrote: {error}. Move it away to ask anew") from error


def comparison(lines: Sequence[dict[str, Any]], radii: Sequence[int]) -> Table:
    """Counts and median seconds by network and radius."""
    rows = []
    for radius in radii:
        for name in NETWORKS:
            answers = [line for line in lines if (line["question"][0], line["question"][3]) == (name, radius)]
            states = [line["state"] for line in answers]
            counts = tuple(str(states.count(state)) for state in ("robust", "refuted", "undecided"))
            seconds = median(line["seconds"] for line in answers)
            splits = sum(line["nodes"] for line in answers)
            rows.append((str(radius), name, *counts, str(splits), f"{seconds:.3f}"))
    head = ("radius", "network", "robust", "refuted", "undecided", "splits", "median seconds")
    return Table("Which network is easier to verify", head, tuple(rows), frozenset({0, 2, 3, 4, 5, 6}))


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, ask, show; 1 if something was wrong with what was asked for."""
    parser = argparse.ArgumentParser(
        "python -m recipes.robust_training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with the four IDX files of Fashion-MNIST")
    parser.add_argument("--out", type=Path, default=Path("runs/robust_training"), help="folder for all that is written")
    parser.add_argument("--images", type=int, help="train on the first so many only")
    parser.add_argument("--radius", type=int, nargs="+", default=[1, 2, 4], help="steps of the input's integers")
    parser.add_argument("--queries", type=int, default=50, help="test images asked about")
    parser.add_argument("--seconds", type=float, default=10.0, help="of search, per query")
    parser.add_argument("--float-epochs", type=int, default=FLOAT.epochs)
    parser.add_argument("--epochs", type=int, default=INTEGERS.epochs, help="of the integers")
    parser.add_argument("--batch", type=int, default=FLOAT.batch)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        read = fashion_mnist if options.data is None else lambda part: fashion_mnist_of(options.data, part)
        train, test = read("train").first(options.images), read("test")
        programs = trained(options, train)
        lines = answers_of(options, programs, test)
        say.tables([comparison(lines, options.radius)])
        for name, program in programs.items():
            say.words(f"{name}: {right_as_integers(program, test)} of {len(test)} right")
    except oaq.OaqError as error:
        say.warn(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
