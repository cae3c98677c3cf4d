"""Twelve points of a network that is pruned in rounds, its dense control, and networks that are narrower instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from statistics import mean

import numpy as np

from oaq.qat.prune import PUBLISHED
from oaq.terminal import say
from recipes.ledger import Ledger, Row
from recipes.pruning.networks import Point, log_width, make
from recipes.pruning.tables import Split

FIRST_EPOCHS, ROUND_EPOCHS = 12, 4
"""Passes before the first round, and in each."""
RANGES = ((8, 128), (4, 64), (4, 64))
"""Widths that the random search draws from, layer by layer."""
DRAWS = 20


def curve(split: Split, bits: int, seed: int, *, rewinds: bool = False) -> dict[str, Point]:
    """Points by share of zeros; "control" is the network that was trained as long and never pruned.

    Args:
        split: the set.
        bits: of weights and activations.
        seed: of first weights and orders.
        rewinds: every round begins with the first weights.
    """
    network, points = make(split, bits, seed), dict[str, Point]()
    network.train(split.train, FIRST_EPOCHS, seed)
    points[share_label(0.0)] = network.point(split)
    for number, share in enumerate(say.track(PUBLISHED, f"{split.name}, {bits} bits, seed {seed}"), 1):
        network.prune(share, rewinds=rewinds)
        network.train(split.train, FIRST_EPOCHS if rewinds else ROUND_EPOCHS, seed + 1000 * number)
        points[share_label(share)] = network.point(split)
    if not rewinds:
        control = make(split, bits, seed)
        control.train(split.train, FIRST_EPOCHS + len(PUBLISHED) * ROUND_EPOCHS, seed)
        points["control"] = control.point(split)
    return points


def share_label(share: float) -> str:
    """A share of zeros as rows of the table name it."""
    return f"{share * 100:g} %"


def labels(*, rewinds: bool) -> list[str]:
    """Names of the rows of one curve, in order."""
    names = [share_label(share) for share in (0.0, *PUBLISHED)]
    return names if rewinds else [*names, "control"]


def add_curves(split: Split, bits: int, seeds: Sequence[int], ledger: Ledger, *, rewinds: bool = False) -> None:
    """The rows of one curve, means over seeds."""

    @cache
    def points(seed: int) -> dict[str, Point]:
        return curve(split, bits, seed, rewinds=rewinds)

    way = "from the first weights" if rewinds else "goes on"
    for label in labels(rewinds=rewinds):
        ledger.row((split.name, str(bits), way, label), partial(_row_of, points, seeds, label))


def _row_of(points: Callable[[int], dict[str, Point]], seeds: Sequence[int], label: str) -> Row:
    return row([points(seed)[label] for seed in seeds])


def add_widths(split: Split, bits: int, seed: int, ledger: Ledger) -> None:
    """Rows of networks of random widths, trained as long as a curve takes, none of their weights pruned."""
    draws = np.random.default_rng(seed).random((DRAWS, len(RANGES)))
    for draw in draws:
        widths = [log_width(low, high, float(part)) for (low, high), part in zip(RANGES, draw, strict=True)]
        name = "-".join(map(str, widths))
        ledger.row((split.name, str(bits), "random widths", name), _trained(split, bits, seed, widths))


def _trained(split: Split, bits: int, seed: int, widths: Sequence[int]) -> Callable[[], Row]:
    def measure() -> Row:
        network = make(split, bits, seed, widths)
        network.train(split.train, FIRST_EPOCHS + len(PUBLISHED) * ROUND_EPOCHS, seed)
        return row([network.point(split)])

    return measure


def row(points: Sequence[Point]) -> Row:
    """Means of points as cells; of accuracy also half of what they span."""
    accuracies = [point.accuracy * 100 for point in points]
    spread = f" +- {(max(accuracies) - min(accuracies)) / 2:.1f}" if len(points) > 1 else ""
    return (
        ("accuracy, %", f"{mean(accuracies):.1f}{spread}"),
        ("zeros, %", f"{mean(point.zeros for point in points) * 100:.1f}"),
        ("bit operations, k", f"{mean(point.bit_operations for point in points) / 1e3:.0f}"),
        ("products", f"{mean(point.products for point in points):.0f}"),
        ("run, quads", _mean([point.run for point in points], 1)),
        ("dead units", _mean([point.dead for point in points], 1)),
        ("neural efficiency", _mean([point.efficiency for point in points], 3)),
    )


def _mean(values: Sequence[float | int | None], digits: int) -> str:
    present = [value for value in values if value is not None]
    return f"{mean(present):.{digits}f}" if present else "-"
