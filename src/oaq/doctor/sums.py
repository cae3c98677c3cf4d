"""The products of one layer laid out as a register model sums them, and how far each of its registers can go.

Exact integers: int64 behind ``overflow.bounds.exact_dtype``'s check. A register is a *cell* here: a set of places whose
products meet in it, one instruction's group or one lane between two spills.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import lcm
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.doctor.registers import Order, RegisterModel
from oaq.numerics.accumulator import EXACT_S32, Accumulator
from oaq.numerics.cells import Cells, cells_from, cells_of, lane_of, meeting, renumbered
from oaq.numerics.formats import S8
from oaq.numerics.ranges import ChannelRanges
from oaq.operators import TensorSpec
from oaq.operators.tensor import as_image
from oaq.operators.windows import window_reach
from oaq.overflow.bounds import exact_dtype, group_is_bounded
from oaq.overflow.operands import operands_as_loaded

Ints = NDArray[np.int64]
Kind = Literal["group", "lane"]
BLOCK: Final = 4
"""Channels to which "taps" fills a tap, products to which "rows" fills a row of the window."""
AT_ONCE: Final = 1 << 22
"""Products held at once: bounds memory, changes no result."""


@dataclass(frozen=True, eq=False)
class OrderedLayer:
    """One layer in a kernel's order.

    Attributes:
        accumulator: the register.
        order: of its products.
        place: (K',) which k of (row, column, channel) stands at each place; -1 is padding, whose weight is 0.
        weight: (N, K').
        lo, hi: (K',) operand ranges as that kernel loads them, the same for every output.
        start: (N,) what an exact register may begin with: the bias, folded with the zero point. Narrow ones begin at 0.
        shift: subtracted from the u8 integers to get the operands.
    """

    accumulator: Accumulator
    order: Order
    place: NDArray[np.intp]
    weight: Ints
    lo: Ints
    hi: Ints
    start: Ints
    shift: int


@dataclass(frozen=True, eq=False)
class CellBounds:
    """Registers of one kind, for every output.

    Attributes:
        kind: "group": one instruction's own sum; "lane": what is spilled.
        cells: which places of the layer each of the Q registers sums.
        lo, hi: (N, Q) least and most it can be asked to hold.
        outside: (N, Q) that leaves the register for some input.
    """

    kind: Kind
    cells: Cells
    lo: Ints
    hi: Ints
    outside: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Reach:
    """How far the registers of each output go.

    Attributes:
        lo, hi: (N,) least and most of any register of that output.
        safe: (N,) all of them hold what they are asked to.
        registers: groups where one instruction's own sum has to fit, then lanes unless they hold one group.
        runs: (N,) fewest runs into which all of K must be cut so that lanes fit; 1 is none cut; -1: no cut helps.
    """

    lo: Ints
    hi: Ints
    safe: NDArray[np.bool_]
    registers: tuple[CellBounds, ...]
    runs: Ints


def orders_of(op: ops.Products, model: RegisterModel) -> tuple[Order, ...]:
    """The orders in which kernels of ``model`` may sum this layer, those in which the same products meet left out."""
    orders = list(model.orders)
    if op.group_channels == 1 and not op.is_depthwise():
        orders += model.single_channel
    register = model.summing(op.is_depthwise())
    distinct: dict[bytes, Order] = {}
    for order in orders:
        distinct.setdefault(_meeting(_padded(_places(op, order), register), register), order)
    return tuple(distinct.values())


def widened(op: ops.Products, model: RegisterModel, unsigned: bool = False) -> str:
    """Why the instruction cannot multiply these weights, so that kernels widen them and sum in s32; "" if it can."""
    low, high = int(op.weight.min()), int(op.weight.max())
    if low not in model.weights or high not in model.weights:
        return f"weights reach [{low}, {high}]: the instruction multiplies s8, so kernels widen them first"
    if unsigned and model.weights == S8:
        return "weights are stored as u8: the instruction multiplies s8, so kernels widen them first"
    return ""


def laid_out(
    op: ops.Products,
    spec: TensorSpec,
    model: RegisterModel,
    *,
    unsigned: bool = False,
    within: ChannelRanges | None = None,
) -> tuple[OrderedLayer, ...]:
    """A layer in every order in which kernels of ``model`` may sum it; one if they widen first.

    Args:
        op: the layer.
        spec: the tensor it reads.
        model: the registers.
        unsigned: its file stores the weights as u8.
        within: what each channel of that tensor holds, if more is known than its effective range.
    """
    if widened(op, model, unsigned):
        exact = replace(model, accumulator=EXACT_S32, depthwise=EXACT_S32)
        return (lay(op, spec, exact, model.orders[0], within),)
    if model.summing(op.is_depthwise()).is_exact:
        return (lay(op, spec, model, model.orders[0], within),)
    return tuple(lay(op, spec, model, order, within) for order in orders_of(op, model))


def registers_of(
    op: ops.Products,
    spec: TensorSpec,
    model: RegisterModel,
    *,
    unsigned: bool = False,
    within: ChannelRanges | None = None,
) -> tuple[OrderedLayer, ...]:
    """``laid_out``, and behind narrow registers the 32 bits into which every kernel spills them, bias included.

    The last one is exact. Whatever the order of the narrow ones, it holds the sum of all products: one for all orders.
    """
    layers = laid_out(op, spec, model, unsigned=unsigned, within=within)
    if layers[0].accumulator.is_exact:
        return layers
    exact = replace(model, accumulator=EXACT_S32, depthwise=EXACT_S32)
    return (*layers, lay(op, spec, exact, "flat", within))


def lay(
    op: ops.Products, spec: TensorSpec, model: RegisterModel, order: Order, within: ChannelRanges | None = None
) -> OrderedLayer:
    """Weights and operand ranges of a layer that reads ``spec``, in ``order``.

    Operands may be any integer that the tensor's writer can leave there (its effective range: another runtime rounds in
    its own way, so nothing narrower is sure); at padded positions also what loads as 0. With ``within`` they are what
    each channel holds, and the zero point where the window reads padding.
    """
    register = model.summing(op.is_depthwise())
    weight = op.rows.astype(np.int64)
    lo, hi = _loaded(op, spec, within)
    if op.window is not None:
        pads, _ = window_reach(op.window, spec.shape[:-1])
        padded = np.repeat(pads.reshape(-1), op.group_channels)
        lo[padded], hi[padded] = np.minimum(lo[padded], model.shift), np.maximum(hi[padded], model.shift)
    place = _padded(_places(op, order), register)
    real = place >= 0
    return OrderedLayer(
        register,
        order,
        place,
        np.where(real, weight[:, place], 0),
        np.where(real, lo[place] - model.shift, 0),
        np.where(real, hi[place] - model.shift, 0),
        op.bias.astype(np.int64) - (spec.affine.zero_point - model.shift) * weight.sum(axis=1),
        model.shift,
    )


def _loaded(op: ops.Products, spec: TensorSpec, within: ChannelRanges | None) -> tuple[Ints, Ints]:
    """(K,) ends of every operand as u8, over all groups of channels."""
    terms = op.rows.shape[1]
    if within is None:
        return np.full(terms, spec.range.lo, np.int64), np.full(terms, spec.range.hi, np.int64)
    operands = operands_as_loaded(op, within, spec)
    return operands.lo.min(axis=0), operands.hi.max(axis=0)


def reach(layer: OrderedLayer) -> Reach:
    """Bound every register of every output for every input."""
    outputs, terms = layer.weight.shape
    exact_dtype(layer.weight, layer.lo, layer.hi, max(terms, 1))  # refuses what int64 could not hold
    rows = max(1, AT_ONCE // terms)
    parts = [_reach(layer, slice(first, first + rows)) for first in range(0, outputs, rows)]
    registers = tuple(
        CellBounds(
            bounds[0].kind,
            bounds[0].cells,
            np.concatenate([part.lo for part in bounds]),
            np.concatenate([part.hi for part in bounds]),
            np.concatenate([part.outside for part in bounds]),
        )
        for bounds in zip(*(part.registers for part in parts), strict=True)
    )
    lo, hi, safe, runs = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("lo", "hi", "safe", "runs")
    )
    return Reach(lo, hi, safe, registers, runs)


def group_cells(register: Accumulator, terms: int) -> Cells:
    """What each instruction sums by itself: groups of neighbours; ``terms`` is a multiple of the group."""
    return cells_from(np.arange(terms, dtype=np.intp).reshape(-1, register.group), terms)


def lane_members(register: Accumulator, terms: int) -> NDArray[np.intp]:
    """(Q, width) groups that every lane sums between two spills, run after run, as indices of groups; -1 is none.

    >>> from oaq.numerics.accumulator import AVX2_ACC16, NEON_MLAL_PAIR
    >>> lane_members(AVX2_ACC16, 8).tolist()
    [[0, 2], [1, 3]]
    >>> lane_members(NEON_MLAL_PAIR, 16).tolist()[0]
    [0, 8]
    """
    return cells_of(register, terms).members[:, :: register.group] // register.group


def _reach(layer: OrderedLayer, rows: slice) -> Reach:
    register, weight = layer.accumulator, layer.weight[rows]
    at_lo, at_hi = weight * layer.lo, weight * layer.hi
    group_lo, group_hi = (
        end.reshape(len(weight), -1, register.group).sum(axis=2)
        for end in (np.minimum(at_lo, at_hi), np.maximum(at_lo, at_hi))
    )
    registers = []
    if group_is_bounded(register):
        cells = group_cells(register, weight.shape[1])
        registers.append(CellBounds("group", cells, group_lo, group_hi, ~_fits(group_lo, group_hi, register)))
    if register.overflow != "wraps":  # any order, so any subset
        group_lo, group_hi = np.minimum(group_lo, 0), np.maximum(group_hi, 0)
    lanes = lane_members(register, weight.shape[1])
    if not registers or lanes.shape[1] > 1 or register.overflow != "wraps":
        registers.append(_lane_bounds(register, lanes, (group_lo, group_hi), layer.start[rows]))
    lo = np.minimum.reduce([bounds.lo.min(axis=1) for bounds in registers])
    hi = np.maximum.reduce([bounds.hi.max(axis=1) for bounds in registers])
    safe = ~np.logical_or.reduce([bounds.outside.any(axis=1) for bounds in registers])
    runs = np.where(safe, 1, -1)
    if register.max_run is None and not register.is_exact:
        alone = np.ones(len(weight), np.bool_)
        for bounds in registers:
            alone &= ~bounds.outside.any(axis=1) | (bounds.kind == "lane")
        runs = np.where(alone, _runs(group_lo, group_hi, register), -1)
    return Reach(lo, hi, safe, tuple(registers), runs)


def _lane_bounds(register: Accumulator, lanes: NDArray[np.intp], groups: tuple[Ints, Ints], start: Ints) -> CellBounds:
    low, high = (np.where(lanes >= 0, end[:, lanes], 0).sum(axis=2) for end in groups)
    if register.is_exact:  # from zero, or from the bias
        low, high = np.minimum(low, low + start[:, None]), np.maximum(high, high + start[:, None])
    cells = cells_of(register, groups[0].shape[1] * register.group)
    return CellBounds("lane", cells, low, high, ~_fits(low, high, register))


def _places(op: ops.Products, order: Order) -> NDArray[np.intp]:
    """(K',) the k of (row, column, channel) at each place, -1 for gaps; further axes of a window count as rows."""
    kernel = op.window.kernel if op.window is not None else ()
    window = as_image((*kernel, op.group_channels))
    k = np.arange(int(np.prod(window)), dtype=np.intp).reshape(window)
    match order:
        case "flat":
            return k.reshape(-1)
        case "columns":
            return k.transpose(1, 0, 2).reshape(-1)
        case "rows":
            lines = k.reshape(window[0], -1)
        case "taps":
            lines = k.reshape(-1, window[2])
    filled = np.pad(lines, ((0, 0), (0, -lines.shape[1] % BLOCK)), constant_values=-1)
    return filled.reshape(-1)


def _padded(place: NDArray[np.intp], register: Accumulator) -> NDArray[np.intp]:
    return np.pad(place, (0, -len(place) % lcm(register.step, register.group * register.lanes)), constant_values=-1)


def _meeting(place: NDArray[np.intp], register: Accumulator) -> bytes:
    """Which products meet in a group and in a lane, whatever the order of groups and lanes."""
    terms = int(place.max()) + 1
    kinds = group_cells(register, len(place)), cells_of(register, len(place))
    return b"".join(meeting(renumbered(cells, place, terms)) for cells in kinds)


def _fits(lo: Ints, hi: Ints, register: Accumulator) -> NDArray[np.bool_]:
    return (lo >= register.range.lo) & (hi <= register.range.hi)


def _runs(group_lo: Ints, group_hi: Ints, register: Accumulator) -> Ints:
    """Greedy longest runs, every output for itself; -1 where one step alone does not fit."""
    outputs = len(group_lo)
    per_step = register.step // register.group
    run = np.zeros((2, outputs, register.lanes), np.int64)
    count = np.ones(outputs, np.int64)
    alone = np.ones(outputs, np.bool_)
    for first in range(0, group_lo.shape[1], per_step):
        added = np.zeros_like(run)
        for group in range(first, first + per_step):
            lane = lane_of(register, group * register.group)
            added[0, :, lane] += group_lo[:, group]
            added[1, :, lane] += group_hi[:, group]
        alone &= _fits(added[0], added[1], register).all(axis=1)
        total = run + added
        fits: NDArray[np.bool_] = np.all(_fits(total[0], total[1], register), axis=1)
        count += ~fits
        run = np.where(fits[None, :, None], total, added)
    return np.where(alone, count, -1)
