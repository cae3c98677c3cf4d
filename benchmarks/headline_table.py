"""The first figures of every page under docs/accuracy, in one table of docs/accuracy.md, from the result files.

``python -m benchmarks.accuracy_table`` writes it; what no file holds is "not run".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Final

from benchmarks.harness import load

NAME: Final = "headlines"
"""Name of the markers between which the table stands."""
NOT_RUN: Final = "not run"


@dataclass(frozen=True)
class Cell:
    """One figure of a result file.

    Attributes:
        where: cells of its row, by their names.
        column: that it stands in; ``top1`` is taken in percent of ``of``. Of rows of several seeds it is the mean.
    """

    where: Mapping[str, str]
    column: str

    def text(self, folder: Path, file: str) -> str:
        """The figure in this file, or "not run"."""
        path = folder / f"{file}.json"
        rows = [dict(row) for row in load(path).rows] if path.exists() else []
        rows = [row for row in rows if self.where.items() <= row.items() and self.column in row]
        if not rows:
            return NOT_RUN
        if self.column == "top1":
            return f"{mean(100 * int(row['top1']) / int(row['of']) for row in rows):.2f}"
        return mean_text([row[self.column] for row in rows]).replace("+-", "±")


def mean_text(figures: Sequence[str]) -> str:
    """The mean of figures of several seeds, with as many decimals as the first; a single one as it is."""
    if len(figures) == 1:
        return figures[0]
    return f"{mean(float(figure) for figure in figures):.{len(figures[0].partition('.')[2])}f}"


@dataclass(frozen=True)
class Headline:
    """A line of the table.

    Attributes:
        what: is compared, with its unit.
        page: under docs/accuracy, without its suffix.
        file: result file without its suffix.
        figures: by their labels, in order; several where one says little alone.
    """

    what: str
    page: str
    file: str
    figures: Mapping[str, tuple[Cell, ...]]


def _trained(name: str, file: str, *methods: str) -> Headline:
    def cell(accumulator: str, method: str) -> tuple[Cell, ...]:
        return (Cell({"precision": "W4A4", "accumulator": accumulator, "method": method}, "top1"),)

    figures = {"sums of 32 bits": cell("32", "none")}
    figures |= {f"proved in {bits}": cell(bits, "proved") for bits in ("16", "14", "12")}
    figures |= {f"{method.upper()} in 12": cell("12", method) for method in methods}
    return Headline(f"{name}, W4A4: top-1 in %", "training", file, figures)


def _rows(key: str, names: Mapping[str, str], *columns: str) -> dict[str, tuple[Cell, ...]]:
    return {label: tuple(Cell({key: name}, column) for column in columns) for label, name in names.items()}


HEADLINES: Final = (
    _trained("ResNet-20, CIFAR-10", "accuracy_cifar10", "a2q+"),
    _trained("ResNet-8, Fashion-MNIST", "accuracy_fashion_mnist", "a2q+"),
    _trained("ResNet-18, CIFAR-10", "accuracy_cifar10_resnet18"),
    Headline(
        "sums modulo 2^6, Fashion-MNIST: top-1 in %",
        "wrap",
        "wrapnet_fashion",
        _rows(
            "row",
            {
                "wide sums": "wide sums, as many epochs",
                "wrapped untouched": "6 bits, plain wrap, untouched",
                "trained for it": "6 bits, slope 2, pressed 1, folded 0.3",
            },
            "top-1",
        ),
    ),
    Headline(
        "MobileNetV2 in a smaller file: logit SQNR; part of the file of W8A8",
        "piecewise",
        "piecewise_mobilenet-v2",
        {
            name: tuple(
                Cell({"table": "integers", "weights": name}, column)
                for column in ("logit SQNR, views", "part of W8A8's")
            )
            for name in ("W8A8", "W5A8", "piecewise 4")
        },
    ),
    Headline(
        "pruned while trained, penbased, 4 bits: accuracy in %; thousands of bit operations",
        "pruning",
        "pruning_curves",
        {
            label: tuple(
                Cell({"set": "penbased", "bits": "4", "way": "goes on", "zeros asked for": name}, column)
                for column in ("accuracy, %", "bit operations, k")
            )
            for label, name in (("dense", "control"), ("50 % zeros", "50 %"), ("70 % zeros", "70 %"))
        },
    ),
    Headline(
        "dithered gradients, LeNet-300-100: top-1 in %; zeros",
        "dither",
        "dither_lenet-300-100",
        {
            label: tuple(Cell({"scale": scale, "workers": "1"}, column) for column in ("top-1", "zeros"))
            for label, scale in (("none", "0"), ("s = 2", "2"))
        },
    ),
    Headline(
        "features of 4 bits, ISTA-Net+ on MR slices: PSNR in dB",
        "few-levels",
        "daq_mri",
        _rows(
            "levels",
            {
                "float": "float",
                "one grid for a tensor": "min-max, tensor, W8A4",
                "a grid for each channel": "min-max, channel, W8A4",
                "levels of channels": "DAQ static, mse, W8A4",
            },
            "PSNR, dB",
        ),
    ),
    Headline(
        "W8A8, ISTA-Net+ on MR slices: PSNR in dB",
        "restoration",
        "qpan_slices",
        _rows(
            "levels",
            {"zero-filled": "zero-filled", "float": "float", "integers": "W8 / A8 per channel, r in two planes"},
            "PSNR, dB",
        ),
    ),
    Headline(
        "AQD's parts, garments on photos: AP50",
        "detector",
        "aqd",
        _rows(
            "row",
            {"float": "float-levels", "4 bits": "levels-4", "4 bits, proved": "levels-4-proved", "2 bits": "levels-2"},
            "AP50",
        ),
    ),
    Headline(
        "W4A4 with a teacher, ResNet-8, CIFAR-10: top-1 in %",
        "teacher",
        "distillation_cifar10",
        _rows("row", {"float": "float", "labels": "labels", "teacher": "teacher"}, "top-1"),
    ),
)


def block(folder: Path) -> str:
    """What belongs between the markers."""
    lines = ["| what | figures | page |", "| --- | --- | --- |"]
    for headline in HEADLINES:
        figures = [
            f"{label} **{'; '.join(cell.text(folder, headline.file) for cell in cells)}**"
            for label, cells in headline.figures.items()
        ]
        page = f"[{headline.page}](accuracy/{headline.page}.md)"
        lines.append(f"| {headline.what} | {', '.join(figures)} | {page} |")
    return "\n".join(lines) + "\n"
