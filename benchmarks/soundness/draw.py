"""Draw programs: program ``index`` of a seed is always the same."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.soundness.draft import Draft, Plain
from benchmarks.soundness.layers import KINDS
from benchmarks.soundness.numbers import Draws, interval, zero_point

NAMES: Final = tuple(KINDS)
CHANCES: Final = tuple(chance for _, chance in KINDS.values())
FIRST: Final = ("Conv2d", "Conv2d", "Depthwise", "Depthwise", "Depthwise", "Linear")
"""Half the programs have one of these at least, so that every kernel row has something to sum."""
CHANNELS: Final = (1, 2, 3, 4, 4, 5, 7, 8, 8, 9, 12, 16, 17)


@dataclass(frozen=True, eq=False)
class Drawn:
    """A program in plain form, and the draws that go on for its inputs."""

    header: Plain
    arrays: dict[str, NDArray[Any]]
    draws: Draws


def draw(seed: int, index: int) -> Drawn:
    """One program."""
    choose = Random(f"{seed}/{index}")
    draws = Draws(choose, np.random.default_rng(choose.getrandbits(64)), choose.random() < 0.4)
    draft = Draft(draws.fixed)
    ends = interval(choose)
    current = draft.input(_shape(choose), ends, zero_point(choose, ends))
    kinds = choose.choices(NAMES, CHANCES, k=choose.choice((1, 1, 1, 2, 2, 3, 3, 4, 5)))
    if choose.random() < 0.6:
        kinds[choose.randrange(len(kinds))] = choose.choice(FIRST)
    for kind in kinds:
        for _ in range(4):
            written = KINDS[kind][0](draws, draft, current)
            if written is not None:
                current = written
                break
    if not draft.nodes:
        KINDS["Reshape"][0](draws, draft, current)
    return Drawn(draft.header(_outputs(choose, draft)), draft.arrays, draws)


def _shape(choose: Random) -> tuple[int, ...]:
    kind = choose.random()
    if kind < 0.12:
        return (choose.choice((1, 3, 4, 5, 16, 33, 64, 130, 257, 400)),)
    if kind < 0.2:
        return (1, choose.choice((1, 2)), choose.choice((32, 48, 64, 100, 128)))
    if kind < 0.28:
        return choose.randint(1, 12), choose.choice(CHANNELS)
    if kind < 0.45:
        return choose.randint(1, 4), choose.randint(1, 4), choose.randint(1, 5), choose.choice(CHANNELS)
    return choose.randint(1, 6), choose.randint(1, 6), choose.choice(CHANNELS)


def _outputs(choose: Random, draft: Draft) -> list[str]:
    """What is read by no node, and some of what is."""
    read = {name for node in draft.nodes for name in node["inputs"]}
    written = [node["output"] for node in draft.nodes]
    keeps_inner = choose.random() < 0.3
    return [name for name in written if name not in read or keeps_inner or choose.random() < 0.15]
