"""A network with other integers: fewer steps for some tensors, other weights for some layers.

Everything is derived from the integers of a program, no float network is needed. Real values are measured in the
steps of the program that is given: where a tensor's scale grows by a factor, the multipliers of its writers shrink by
it, those of its readers grow, biases and tables are made anew. What is not changed keeps its integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.choose.words import NEAREST, search_words
from oaq.errors import ProgramError, UnsupportedOp
from oaq.kernels.results import result_bounds
from oaq.numerics.affine import Affine
from oaq.numerics.formats import S32
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.numerics.words import SHIFT, least_saturating
from oaq.operators import TensorSpec
from oaq.operators.products import multipliers_of
from oaq.program.int_program import IntProgram, Node

Reals = NDArray[np.float64]
NEAR: Final = 0.004
"""How far a multiplier may be moved, in parts of itself: -48 dB of the layer's output."""
FAR: Final = 1.03
"""Most by which weights are coarsened so that a multiplier becomes a word."""


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """New weights of a layer.

    Attributes:
        weight: (N, K) integers in packed K order.
        step: (N,) what one step of a new weight is in steps of the old one.
        shift: (N,) added to each bias, in old steps of the sum: what rounding did to its mean, taken back.
    """

    weight: NDArray[np.int8]
    step: Reals
    shift: Reals | None = None


def affine_groups(program: IntProgram) -> dict[str, str]:
    """First written of the tensors that share a tensor's affine map because only moves lie between them, by tensor."""
    root = {name: name for name in program.inputs}
    for node in program.nodes:
        root[node.output] = root[node.inputs[0]] if ops.rules_of(node.op).same_affine else node.output
    return root


def thinned_groups(program: IntProgram) -> frozenset[str]:
    """First tensors of groups whose integers a ``Coarsen`` thins: its levels are whole numbers of their steps."""
    roots = affine_groups(program)
    return frozenset(roots[node.output] for node in program.nodes if isinstance(node.op, ops.Coarsen))


def group_range(program: IntProgram, members: list[str]) -> IntRange:
    """Least and greatest integer of any tensor of a group."""
    ranges = [program.tensors[name].range for name in members]
    return IntRange(min(r.lo for r in ranges), max(r.hi for r in ranges))


def narrowed(spec: TensorSpec, span: IntRange, steps: int) -> tuple[Affine, IntRange]:
    """The affine map that spreads ``span`` over [0, steps], and the range of ``spec`` in it.

    Args:
        spec: a tensor of the group.
        span: of the group.
        steps: fewer than ``span`` has.
    """
    scale, zero = spec.affine.scale, spec.affine.zero_point
    low, high = scale * (span.lo - zero), scale * (span.hi - zero)
    step = (high - low) / steps
    zero_point = min(max(round(-low / step), 0), steps)
    if 0 < zero_point < steps:  # rounding moved one end inwards
        step = max(-low / zero_point, high / (steps - zero_point))
    affine = Affine(step, zero_point)
    ends = [
        min(max(round((end - zero) * scale / affine.scale) + zero_point, 0), steps)
        for end in (spec.range.lo, spec.range.hi)
    ]
    return affine, IntRange(min(ends[0], zero_point), max(ends[1], zero_point))


def rebuilt(
    program: IntProgram, steps: Mapping[str, int], weights: Mapping[str, LayerWeights], metadata: Mapping[str, str]
) -> IntProgram:
    """``program`` with other integers.

    Args:
        program: whose integers are the real values.
        steps: by first tensor of a group (``affine_groups``), none of ``thinned_groups``; others keep their map.
        weights: by node; layers that are not named keep theirs.
        metadata: added to the program's own.

    Raises:
        ProgramError: a multiplier leaves what its semantics can hold, a bias cannot be held, or a group is of
            ``thinned_groups``.
        UnsupportedOp: an operator of several inputs has no rule here.
    """
    return _Rebuild(program, steps, weights).program(metadata)


class _Rebuild:
    """One program with its changes; a method per kind of operator."""

    def __init__(self, program: IntProgram, steps: Mapping[str, int], weights: Mapping[str, LayerWeights]) -> None:
        self._program, self._weights = program, weights
        roots = affine_groups(program)
        members: dict[str, list[str]] = {}
        for name, root in roots.items():
            members.setdefault(root, []).append(name)
        if thinned := thinned_groups(program) & steps.keys():
            raise ProgramError(f"{min(thinned)}: Coarsen counts levels in its steps, so it keeps them")
        self._specs: dict[str, TensorSpec] = dict(program.tensors)
        for root, count in steps.items():
            span = group_range(program, members[root])
            if count >= span.steps:
                continue
            for name in members[root]:
                affine, bounds = narrowed(program.tensors[name], span, count)
                self._specs[name] = replace(program.tensors[name], affine=affine, range=bounds)

    def program(self, metadata: Mapping[str, str]) -> IntProgram:
        nodes = tuple(replace(node, op=self._op(node)) for node in self._program.nodes)
        notes = {**self._program.metadata, **metadata}
        return replace(self._program, tensors=self._specs, nodes=nodes, metadata=notes)

    def _growth(self, name: str) -> float:
        """New scale of a tensor in parts of the old one."""
        return self._specs[name].affine.scale / self._program.tensors[name].affine.scale

    def _op(self, node: Node) -> Any:  # noqa: ANN401 (any operator; the same as the node's)
        op = node.op
        names = (*node.inputs, node.output)
        if node.name not in self._weights and all(self._specs[name] is self._program.tensors[name] for name in names):
            return op
        if isinstance(op, ops.Products):
            return self._layer(node, op)
        if isinstance(op, ops.Lookup):
            return ops.Lookup(self._table(node, op.table))
        if isinstance(op, ops.ChannelLookup):
            return ops.ChannelLookup(np.stack([self._table(node, table) for table in op.tables]))
        requantize = getattr(op, "requantize", None)
        if requantize is None:
            return op
        out = self._growth(node.output)
        if isinstance(op, ops.Mul):
            factors = np.array([self._growth(node.inputs[0]) * self._growth(node.inputs[1]) / out])
        elif isinstance(op, ops.Add | ops.Concat):
            factors = np.array([self._growth(name) / out for name in node.inputs])
        elif len(node.inputs) != 1:
            raise UnsupportedOp(f"{node.name}: tuning has no rule for {type(op).__name__} of several inputs")
        else:
            factors = np.full(len(requantize), self._growth(node.inputs[0]) / out)
        changed = self._scaled(node, requantize, factors)
        values: Any = {"requantize": ops.rules_of(op).fit(changed)}
        if isinstance(op, ops.AvgPool):
            values["origin"] = None  # what was stored for 0 is another integer now
        source: Any = op
        return replace(source, **values)

    def _scaled(self, node: Node, requantize: Requantize, factors: Reals) -> Requantize:
        real = real_multipliers(requantize) * factors
        try:
            return Requantize.from_scales(real.astype(np.float32), requantize.semantics)
        except ValueError as error:
            raise ProgramError(f"{node.name}: {error}") from error

    def _layer(self, node: Node, op: ops.Products) -> ops.Products:
        weights = self._weights.get(node.name)
        step = np.ones(len(op.weight)) if weights is None else weights.step
        weight = op.weight if weights is None else weights.weight.reshape(op.weight.shape)
        read, written = self._growth(node.inputs[0]), self._growth(node.output)
        shift = 0.0 if weights is None or weights.shift is None else weights.shift
        bias = np.rint((op.bias.astype(np.float64) + shift) / (read * step))
        if np.abs(bias).max(initial=0.0) > S32.hi:
            raise ProgramError(f"{node.name}: a bias of {np.abs(bias).max():.0f} steps leaves 32 bits")
        requantize = self._scaled(node, multipliers_of(op, node.name), read * step / written)
        requantize = self._near_words(node, requantize)
        return replace(op, weight=weight, bias=bias.astype(np.int32), requantize=requantize)

    def _near_words(self, node: Node, requantize: Requantize) -> Requantize:
        """Multipliers that 16 bits can requantize (``numerics.words``) where one is near enough."""
        x, y = self._specs[node.inputs[0]], self._specs[node.output]
        return nearest_words(requantize, x, y) if takes_words(requantize, y) else requantize

    def _table(self, node: Node, table: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The table of the same function between tensors of other steps."""
        old_x, old_y = self._program.tensors[node.inputs[0]], self._program.tensors[node.output]
        new_x, new_y = self._specs[node.inputs[0]], self._specs[node.output]
        real = (np.arange(256) - new_x.affine.zero_point) * self._growth(node.inputs[0])
        at = np.clip(np.rint(real) + old_x.affine.zero_point, old_x.range.lo, old_x.range.hi).astype(np.int64)
        values = table[at].astype(np.float64) - old_y.affine.zero_point
        steps = np.rint(values / self._growth(node.output)) + new_y.affine.zero_point
        return np.clip(steps, new_y.range.lo, new_y.range.hi).astype(np.uint8)


def real_multipliers(requantize: Requantize) -> Reals:
    """(N,) the real numbers that multipliers stand for."""
    values = requantize.multiplier.astype(np.float64)
    if requantize.shift is None:
        return values
    bits = requantize.shift.astype(np.float64) + (0 if requantize.then is None else requantize.then)
    return values * 2.0**-bits


def takes_words(requantize: Requantize, y: TensorSpec) -> bool:
    """Whether a layer that writes ``y`` may be requantized in 16 bits, were its multipliers words."""
    return requantize.shift is None and y.range.steps > 0 and float(requantize.multiplier.max()) < 1.0


def nearest_words(requantize: Requantize, x: TensorSpec, y: TensorSpec) -> Requantize:
    """Multipliers moved to a word within ``NEAR`` of them; the same where none is, or where sums saturate too early.

    Args:
        requantize: of a layer that ``takes_words``.
        x: tensor that it reads.
        y: tensor that it writes.
    """
    multiplier = np.asarray(requantize.multiplier, np.float32)
    reach = (multiplier * (1 - NEAR), multiplier * (1 + NEAR))
    scales = (x.affine.scale, y.affine.scale)
    match = search_words(_open(multiplier, y), _bounds(y), scales, NEAREST, reach=reach)
    return Requantize(np.where(match.exists, match.multiplier, multiplier))


def word_growth(requantize: Requantize, x: TensorSpec, y: TensorSpec) -> Reals:
    """(N,) by what multipliers have to grow to be words, at most ``FAR``; 1 where none is near above.

    Args:
        requantize: of a layer that ``takes_words``.
        x: tensor that it reads.
        y: tensor that it writes.
    """
    multiplier = real_multipliers(requantize)
    scales = (x.affine.scale, y.affine.scale)
    above = search_words(_open(multiplier, y), _bounds(y), scales, reach=(0.0, multiplier * FAR))
    return np.where(above.exists, np.maximum(above.multiplier / multiplier, 1.0), 1.0)


def _open(multiplier: NDArray[np.floating[Any]], y: TensorSpec) -> Reals:
    """(N,) multipliers that may become words; infinity where a saturated sum would not reach the ends of the output."""
    early = multiplier.astype(np.float64) * (1 << SHIFT) < least_saturating(_bounds(y))
    return np.where(early, np.inf, multiplier.astype(np.float64))


def _bounds(y: TensorSpec) -> IntRange:
    return result_bounds(y.affine.zero_point, y.range)
