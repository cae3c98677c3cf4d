"""Two programs on one box: whether their outputs ever differ by more than some steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from oaq.errors import ConfigError
from oaq.program.int_program import IntProgram
from oaq.reference.run import run
from oaq.robust import certificate as certificates
from oaq.robust import tree
from oaq.robust.attack import attack
from oaq.robust.cases import Pair, cases_of
from oaq.robust.certificate import Certificate, Parts
from oaq.robust.lower import lower
from oaq.robust.network import Network, elements
from oaq.robust.prove import AT_ONCE, ATTACK_STEPS, MANY, Options, members
from oaq.robust.ranges import Range, intervals
from oaq.robust.region import Region
from oaq.robust.tree import Setting, Tree

MOST_STEPS: Final = 255
"""Outputs of 8 bits never differ by more."""


@dataclass(frozen=True, eq=False)
class Equivalence:
    """The answer.

    Attributes:
        state: "equivalent" within ``steps`` on the whole box, by exact integer bounds or by running all of it;
            "refuted"; or "undecided".
        steps: allowed difference.
        witness: an input on which both references differ by more.
        difference: by how much, at the output where it is greatest.
        open: outputs that are undecided.
        seconds: of the search.
        certificate: ``oaq.checker.robust_equivalence`` derives it again; None while undecided.
    """

    state: Literal["equivalent", "refuted", "undecided"]
    steps: int
    witness: NDArray[np.uint8] | None = None
    difference: int | None = None
    open: tuple[int, ...] = ()
    seconds: float = 0.0
    certificate: Certificate | None = field(default=None, repr=False)

    def to_json(self) -> Mapping[str, Any]:
        """For one line of a folder's answers."""
        return {
            "state": self.state,
            "steps": self.steps,
            "difference": self.difference,
            "open": list(self.open),
            "seconds": round(self.seconds, 6),
        }


def equivalence(
    first: IntProgram, second: IntProgram, region: Region, steps: int = 0, options: Options | None = None
) -> Equivalence:
    """Whether outputs of two programs differ by at most ``steps`` integers, for every input of a box.

    Both read the same input (shape, zero point and range) and write outputs of one shape.

    Returns:
        equivalent (with a certificate), refuted (with an input that both references ran), or undecided.

    Raises:
        ConfigError: inputs or outputs differ in shape, the set is a list, or ``steps`` is not in [0, 255].
    """
    options, begin = options or Options(), monotonic()
    if not 0 <= steps <= MOST_STEPS:
        raise ConfigError(f"steps {steps}: outputs of 8 bits differ by 0 to {MOST_STEPS}")
    if region.inputs is not None:
        raise ConfigError(f"{region.words}: equivalence is decided on a box, such as a ball or a patch, not on a list")
    network = lower([first, second])
    sides = [elements(network, tensor) for tensor in network.outputs]
    if len(sides[0][1]) != len(sides[1][1]):
        raise ConfigError(
            f"{first.name} has {len(sides[0][1])} outputs, {second.name} has {len(sides[1][1])}; programs that are "
            "compared have as many"
        )
    pairs = _pairs(network, sides, steps)
    zero = network.zeros[0]
    box: Range = tuple(end.reshape(1, -1).astype(np.int64) - zero for end in (region.lo, region.hi))  # type: ignore[assignment]
    witness, undecided, trees = _decide(network, box, pairs, begin + options.seconds)
    programs = (first, second)
    if undecided and options.enumerate and region.count <= MANY:
        witness, undecided, trees = _enumerate(programs, region, steps), (), None
    if undecided:
        return Equivalence("undecided", steps, open=undecided, seconds=monotonic() - begin)
    if witness is None:
        proof = _proved(certificates.of_equivalence(programs, region, steps, "proved"), trees, sides[1][0])
        return Equivalence("equivalent", steps, seconds=monotonic() - begin, certificate=proof)
    x = (witness[0] + zero).astype(np.uint8).reshape(region.lo.shape)
    difference = int(_differences(programs, x[None])[0])
    if difference <= steps:
        raise AssertionError("the search's integers are not the reference's; please report this")
    proof = certificates.differing(certificates.of_equivalence(programs, region, steps, "refuted"), x, difference)
    return Equivalence("refuted", steps, x, difference, seconds=monotonic() - begin, certificate=proof)


def _proved(parts: Parts, trees: list[Tree] | None, second_layer: int) -> Certificate:
    """A certificate by trees, or by running every input where there are none.

    Args:
        parts: what every certificate of equivalence has.
        trees: all closed.
        second_layer: whose sums decide the second program's outputs.
    """
    if trees is None:
        return certificates.enumerated(parts)

    def name(pair: Pair) -> dict[str, int]:
        return {"up": int(pair.up[0] == second_layer), "output": pair.rival}

    return certificates.proved(parts, trees, (), tree.BITS, name)


def _differences(programs: tuple[IntProgram, IntProgram], x: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(n,): the greatest difference of outputs of each input, by the reference."""
    outputs = [run(program, x).outputs[0].reshape(len(x), -1).astype(np.int64) for program in programs]
    return np.abs(outputs[0] - outputs[1]).max(axis=1)


def _enumerate(programs: tuple[IntProgram, IntProgram], region: Region, steps: int) -> NDArray[np.int64] | None:
    """Run every input of a box; a centred one on which the programs differ by more than ``steps``."""
    zero = programs[0].tensors[programs[0].inputs[0]].affine.zero_point
    for x in members(region, AT_ONCE):
        wrong = np.flatnonzero(_differences(programs, x) > steps)
        if len(wrong):
            return x[wrong[0]].reshape(1, -1).astype(np.int64) - zero
    return None


def _pairs(network: Network, sides: list[tuple[int, NDArray[np.int64]]], steps: int) -> list[list[Pair]]:
    """For each direction, every output: value of one program at least ``steps`` + 1 above that of the other."""
    zeros = [network.zeros[tensor] for tensor in network.outputs]
    directions = []
    for up, down in ((0, 1), (1, 0)):
        theta = steps + 1 + zeros[down] - zeros[up]
        directions.append(
            [
                Pair((sides[up][0], int(high)), (sides[down][0], int(low)), theta, rival=at)
                for at, (high, low) in enumerate(zip(sides[up][1], sides[down][1], strict=True))
            ]
        )
    return directions


def _decide(
    network: Network, box: Range, directions: list[list[Pair]], deadline: float
) -> tuple[NDArray[np.int64] | None, tuple[int, ...], list[Tree]]:
    """A violating input, or the outputs that stay open, or none and the trees that prove it."""
    needed = network.needed(network.outputs)
    ranges = intervals(network, box, None, needed)
    all_pairs = [pair for pairs in directions for pair in pairs]
    undecided: set[int] = set()
    trees: list[Tree] = []
    for pairs in directions:
        setting = Setting(network, box, {}, all_pairs, needed)
        search = tree.root(setting, ranges, [case for pair in pairs for case in cases_of(network, ranges, pair)])
        if search.open:
            search.witness = attack(network, box, pairs, ATTACK_STEPS)
        if search.open and search.witness is None:
            tree.refine(search, ranges, deadline)
        if search.open and search.witness is None:
            tree.split(search, deadline, 1 << 30)
        if search.witness is not None:
            return search.witness, (), []
        undecided |= {search.trees[leaf.tree].case.pair.rival for leaf in search.open}
        trees += search.trees
    return None, tuple(sorted(undecided)), trees
