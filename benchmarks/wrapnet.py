r"""Sums modulo 2^b by design: which registers, slopes and stages train, and which collapse.

    python -m benchmarks.wrapnet fashion [--seeds 3] [--runs runs/wrapnet] [--record]
    python -m benchmarks.wrapnet cifar10 [--images 25000] [--float-epochs 12] [--threads 1]

Every row begins at the wide network of its seed. Killed at any moment, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import torch

from benchmarks.harness import add_record, save
from oaq.errors import ConfigError, TrainingError
from oaq.qat import Config, QatNetwork, Wrapping, fold, measured_rates
from oaq.terminal import say
from recipes import cifar10, fashion_mnist
from recipes.command import Course
from recipes.data.labelled import Labelled
from recipes.exit_code import exit_code
from recipes.result_file import Result, stamp
from recipes.training import first_inputs, right, train_float
from recipes.wrapped import MEASURED, Stages, fold_in, prepared, press_down, train_wide

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Variant:
    """One way to train behind the wide stage.

    Attributes:
        bits: of the register.
        slope: of the cyclic activation.
        pressure: of the stage of penalty alone; None leaves the stage out.
        eased: pressure of the cyclic stage; None: no training at all, the wide network is run as it is.
        headline: for every seed, not for the first alone.
    """

    bits: int
    slope: float
    pressure: float | None = None
    eased: float | None = None
    headline: bool = False

    def __str__(self) -> str:
        if self == WIDE:
            return "wide sums, as many epochs"
        slope = "plain wrap" if math.isinf(self.slope) else f"slope {self.slope:g}"
        if self.eased is None:
            return f"{self.bits} bits, {slope}, untouched"
        pressed = "" if self.pressure is None else f"pressed {self.pressure:g}, "
        return f"{self.bits} bits, {slope}, {pressed}folded {self.eased:g}"

    @property
    def folder(self) -> str:
        """Name of a folder."""
        return str(self).replace(",", "").replace(" ", "-").replace(".", "_")


PLAIN = math.inf
WIDE = Variant(16, 2.0, 0.0, 0.0, headline=True)
"""16 bits hold every sum of these networks: the same epochs at the same rates, and nothing wraps."""
STAGED = (
    Variant(6, 2.0, 1.0, 0.3, headline=True),
    Variant(7, 2.0, 0.3, 0.03, headline=True),
)
FASHION = (
    *(Variant(bits, PLAIN, headline=bits == 6) for bits in (8, 7, 6, 5)),
    WIDE,
    *STAGED,
    Variant(6, PLAIN, None, 0.01),
    *(Variant(6, slope, None, 0.01) for slope in (1.0, 2.0, 4.0)),
    Variant(6, 2.0, None, 0.3),
    Variant(5, 2.0, None, 0.3),
    Variant(5, 2.0, 1.0, 0.3, headline=True),
    Variant(4, 2.0, 1.0, 0.3),
)
CIFAR10 = (
    *(Variant(bits, PLAIN, headline=bits > 6) for bits in (8, 7, 6)),
    WIDE,
    Variant(8, 2.0, 0.3, 0.03, headline=True),
    Variant(7, 2.0, 0.3, 0.03, headline=True),
    Variant(6, 2.0, 1.0, 0.3),
)


@dataclass(frozen=True)
class Row:
    """What came of a variant with one seed: images right, the worst layer's share of sums outside its register."""

    name: str
    seed: int
    right: int
    rate: float
    gate: str


def train(
    course: Course, stages: Stages, variants: Sequence[Variant], place: tuple[int, Path], on_row: Callable[[Row], None]
) -> None:
    """Float network, wide network, and every variant, in their order; ``on_row`` gets each row when it is there."""
    seed, folder = place
    torch.manual_seed(seed)
    assert course.floating is not None
    folder.mkdir(parents=True, exist_ok=True)
    net = train_float(course.net, course.train, course.floating, folder / "float.ckpt", CPU)
    test = course.test
    on_row(Row("float", seed, right(net, test), 0.0, "-"))
    wide = train_wide(net, course.train, config_of(Variant(8, 2.0)), stages, folder / "wide.ckpt", device=CPU)
    on_row(Row("wide sums", seed, right(wide, test), 0.0, "-"))
    for variant in variants:
        if seed and not variant.headline:
            continue
        network = prepared(net, course.train, config_of(variant), CPU)
        network.load_state_dict(wide.state_dict())
        on_row(_row(network, course, stages, variant, (seed, folder / variant.folder)))


def config_of(variant: Variant) -> Config:
    """Ternary weights, operands of 2 bits."""
    wrapping = Wrapping(variant.bits, variant.slope)
    return Config(method="wrap", weight_bits=2, activation_bits=2, wrapping=wrapping)


def _row(network: QatNetwork, course: Course, stages: Stages, variant: Variant, place: tuple[int, Path]) -> Row:
    (seed, folder), source, gate = place, course.train, "-"
    folder.mkdir(parents=True, exist_ok=True)
    if variant.pressure is not None:
        ways = replace(stages, pressure=variant.pressure)
        try:
            pressure = press_down(network, source, ways, folder, CPU)
            gate = f"open at pressure {pressure:g}"
        except TrainingError as error:
            say.words(str(error))
            gate = "shut: refused"
    if variant.eased is None:
        fold(network)
        network.eval()
    else:
        fold_in(network, source, stages, folder / "folded.ckpt", CPU, pressure=variant.eased)
    rates = measured_rates(network, first_inputs(source, MEASURED))
    return Row(str(variant), seed, right(network, course.test), max(rates.values()), gate)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, train; every refusal is one line."""
    parser = argparse.ArgumentParser("python -m benchmarks.wrapnet", description=__doc__)
    parser.add_argument("data", choices=("fashion", "cifar10"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--bits", type=int, nargs="+", metavar="B", help="of registers; default: those of every row")
    parser.add_argument("--images", type=int, help="train on the first so many only")
    parser.add_argument("--float-epochs", type=int, help="default: the recipe's own")
    parser.add_argument("--folded-epochs", type=int, help="with the cyclic activation; default: the recipe's own")
    parser.add_argument("--runs", type=Path, default=Path("runs/wrapnet"))
    parser.add_argument("--threads", type=int, default=1)
    add_record(parser)
    flags = parser.parse_args(arguments)
    return exit_code("wrapnet", lambda: run(flags))


def run(flags: argparse.Namespace) -> int:
    """Train every row of every seed; the result file has those that are there."""
    for name in ("seeds", "images", "float_epochs", "folded_epochs", "threads"):
        value = getattr(flags, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name.replace('_', '-')} {value}: at least 1")
    torch.set_num_threads(flags.threads)
    recipe, variants = (fashion_mnist, FASHION) if flags.data == "fashion" else (cifar10, CIFAR10)
    variants = rows_of(variants, flags.bits)
    rows: list[Row] = []
    path = Path()
    for seed in range(flags.seeds):
        torch.manual_seed(seed)
        course = course_of(recipe.wrapped_course(seed=seed), flags)
        assert course.wrapped is not None

        def on_row(row: Row, course: Course = course) -> None:
            nonlocal path
            path = keep([*rows, row], course, flags)
            rows.append(row)

        train(course, course.wrapped, variants, (seed, flags.runs / flags.data / f"seed{seed}"), on_row)
    say.words(str(path))
    return 0


def keep(rows: Sequence[Row], course: Course, flags: argparse.Namespace) -> Path:
    """Tell the last row, and write the result file with all that are there."""
    count, row = len(course.test), rows[-1]
    say.words(f"seed {row.seed}, {row.name}: {row.right / count:.2%}, {row.rate:.2%} outside, gate {row.gate}")
    result = Result(
        "wrapnet",
        command_of(flags),
        stamp(),
        facts=facts_of(course),
        rows=tuple(figures(name, rows, count) for name in dict.fromkeys(row.name for row in rows)),
    )
    return save(result, f"wrapnet_{flags.data}", record=flags.record)


def rows_of(variants: Sequence[Variant], bits: Sequence[int] | None) -> tuple[Variant, ...]:
    """Those of registers of so many bits, in the order asked for; 16 is the control of wide sums. None: all of them.

    Raises:
        ConfigError: there is no row of such a register.
    """
    registers = sorted({variant.bits for variant in variants})
    for count in bits or ():
        if count not in registers:
            raise ConfigError(f"--bits {count}: rows are of registers of {', '.join(map(str, registers))} bits")
    if bits is None:
        return tuple(variants)
    return tuple(variant for count in bits for variant in variants if variant.bits == count)


def course_of(course: Course, flags: argparse.Namespace) -> Course:
    """The recipe's course, as short as was asked for."""
    floating, stages = course.floating, course.wrapped
    assert floating is not None and stages is not None
    train = course.train.first(flags.images) if isinstance(course.train, Labelled) else course.train
    floating = replace(floating, epochs=flags.float_epochs or floating.epochs)
    folded = replace(stages.folded, epochs=flags.folded_epochs or stages.folded.epochs)
    return replace(course, train=train, floating=floating, wrapped=replace(stages, folded=folded))


def facts_of(course: Course) -> tuple[tuple[str, str], ...]:
    """What the rows of a result file were trained on, and how long."""
    stages = course.wrapped
    assert course.floating is not None and stages is not None
    epochs = (("float", course.floating), ("wide", stages.wide), ("pressed", stages.pressed), ("folded", stages.folded))
    return (
        ("training images", str(len(course.train))),
        ("test images", str(len(course.test))),
        ("epochs", ", ".join(f"{stage.epochs} {name}" for name, stage in epochs)),
    )


def command_of(flags: argparse.Namespace) -> str:
    """The command that makes the result file again."""
    command = f"python -m benchmarks.wrapnet {flags.data} --seeds {flags.seeds}"
    command += f" --bits {' '.join(map(str, flags.bits))}" if flags.bits else ""
    command += f" --images {flags.images}" if flags.images else ""
    command += f" --float-epochs {flags.float_epochs}" if flags.float_epochs else ""
    command += f" --folded-epochs {flags.folded_epochs}" if flags.folded_epochs else ""
    return f"{command} --record"


def figures(name: str, rows: Sequence[Row], count: int) -> tuple[tuple[str, str], ...]:
    """A line of the result file: the mean over seeds, and each of them."""
    own = [row for row in rows if row.name == name]
    return (
        ("row", name),
        ("top-1", f"{100 * mean(row.right for row in own) / count:.2f}"),
        ("by seed", ", ".join(f"{100 * row.right / count:.2f}" for row in own)),
        ("worst layer outside", ", ".join(f"{row.rate:.4f}" for row in own)),
        ("gate", "; ".join(dict.fromkeys(row.gate for row in own))),
    )


if __name__ == "__main__":
    sys.exit(main())
