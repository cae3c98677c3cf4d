"""Where each layer begins: scales and weights of least error under its method, and how many steps its operands take."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Final, NamedTuple

import numpy as np
import torch

from oaq.ptq.clip import choose_clip
from oaq.ptq.observe import Histogram
from oaq.qat.constrain import centred, norm_limit, project
from oaq.qat.grid import SMALLEST
from oaq.qat.laws import moves
from oaq.qat.layer import QatLayer
from oaq.qat.network import MOST_ALPHA, QatNetwork, narrowed

FINER: Final = tuple(2.0 ** (-step / 8) for step in range(9))
COARSER: Final = tuple(2.0 ** (step / 4) for step in range(1, 25))
"""Scales tried, in parts of the one that lets the largest weight use the whole clip."""
ROOMS: Final = (1.0, 0.8, 0.65, 0.55, 0.45)
"""Parts of a norm tried."""
HALF_OCTAVES: Final = tuple(2.0 ** (step / 2) for step in range(9))
"""Divisors of the steps of operands."""
FEWEST_STEPS: Final = 3
LOOKED_AT: Final = 64
"""Outputs of a layer, at most, that decide how many steps its operands take."""


class Start(NamedTuple):
    """Where a layer may begin.

    Attributes:
        rows: (N, K) weights in packed K order.
        scale: (N,).
        error: what the integers differ by from the float weights: the squares summed, in parts of the weights' own.
    """

    rows: torch.Tensor
    scale: torch.Tensor
    error: float


@torch.no_grad()
def best_start(layer: QatLayer, x_hi: int, outputs: int | None = None) -> Start:
    """The scale of least error for each output, everything the method does to weights included; see ``_begun``.

    Args:
        layer: whose parameters are those of the float layer.
        x_hi: operands lie in [0, x_hi].
        outputs: about so many of them, evenly spread; None: all.
    """
    stride = 1 if outputs is None else -(-len(layer.weight) // outputs)
    rows, clip = layer.float_rows()[::stride], int(layer.clip)
    full_scale = (rows.abs().amax(dim=1) / clip).clamp_min(SMALLEST)
    target = centred(layer.method, rows) if layer.log_norm is not None else rows
    best = torch.full_like(full_scale, float("inf"))
    scale, start = full_scale.clone(), target.clone()
    for part, room in product((1.0, *FINER[1:], *COARSER), ROOMS if layer.log_norm is not None else (1.0,)):
        candidate = full_scale * part
        moved, norm = target, None
        if layer.log_norm is not None and layer.target is not None:
            moved = _begun(layer, target / candidate[:, None], x_hi, room) * candidate[:, None]
            norm = moved.abs().sum(dim=1).clamp_min(SMALLEST)
        steps = layer.integers(moved, candidate, norm, x_hi)
        error = (steps * candidate[:, None] - target).square().sum(dim=1)
        better = error < best
        best, scale = torch.where(better, error, best), torch.where(better, candidate, scale)
        start[better] = moved[better]
    return Start(start, scale, float(best.sum() / target.square().sum().clamp_min(SMALLEST)))


@torch.no_grad()
def begin(layer: QatLayer, x_hi: int) -> None:
    """Give the layer the start of least error."""
    start = best_start(layer, x_hi)
    if layer.log_scale is not None:
        layer.log_scale.copy_(torch.log2(start.scale))
    if layer.log_norm is not None:
        layer.log_norm.copy_(torch.log2(start.rows.abs().sum(dim=1).clamp_min(SMALLEST)))
        layer.weight.copy_(layer.unpacked(start.rows))


def _begun(layer: QatLayer, steps: torch.Tensor, x_hi: int, room: float) -> torch.Tensor:
    """(N, K) weights in steps from which training under a norm begins: near ``steps``, not at an edge of truncation.

    They are projected onto the l1 ball their integers may fill (2401.10432): shrinking all of them alike, as the
    quantizer does with what lies outside, would send nearly all to zero. Then each is moved to the middle of what
    truncation sends to the integer nearest to it: as they come from projection they lose half a unit on average, and
    from the very edge the first step of training would take a whole one. The middle is half a unit further out, which
    takes part of the norm: ``room`` is the part that projection leaves. What then exceeds the norm is shrunk.
    """
    assert layer.target is not None
    limit = norm_limit(layer.method, layer.target.bits, x_hi) * room
    if layer.method == "a2q+":
        projected = project(steps, int(limit / 2), int(limit / 2))
    else:
        projected = torch.sign(steps) * project(steps.abs(), int(limit), 0)
    nearest = torch.round(projected)
    return centred(layer.method, torch.where(nearest == 0, projected, nearest + 0.5 * torch.sign(nearest)))


def narrow_operands(network: QatNetwork, histograms: Mapping[str, Histogram]) -> None:
    """Let operands take fewer steps where that leaves less error under the accumulators of the layers that read them.

    Half as many steps are twice the budget of every cell. The noise in a sum, in parts of its power, is about that of
    the weights plus that of the operands: their sum over all readers is minimised; readers that are no layers count
    the operands' alone. Steps halve every two tries, for as long as it falls.

    Args:
        network: whose layers have begun nowhere yet.
        histograms: of each tensor that has integers of its own.
    """
    for root, layers in network.readers():
        able = [layer for layer in layers if layer.target is not None]
        quantizer, histogram = network.quantizer[root], histograms[root]
        nodes = [node for node in network.graph.nodes if not moves(node)]
        readers = sum(network.roots[name] == root for node in nodes for name in node.inputs)
        power = float(np.dot(histogram.weight, histogram.centres() ** 2))
        least, params = float("inf"), None
        for alpha in HALF_OCTAVES if able and power > 0.0 else ():
            steps = narrowed(int(quantizer.most_steps), alpha)
            if steps < FEWEST_STEPS or alpha > MOST_ALPHA:
                break
            clip = choose_clip(histogram, steps, network.config.calibration)
            noise = readers * clip.error / power + sum(best_start(layer, steps, LOOKED_AT).error for layer in able)
            if noise >= least:
                break
            least, params = noise, clip.params
        if params is not None:
            quantizer.begin(params)
