"""``OverflowController``: ranges that shrink while overflows are counted and grow back when none is (2005.13297).

The rule, every ``interval`` iterations after warm-up, with N overflows among the B images of the batch, lr the current
and lr_max the first learning rate:

    N > 0: alpha += min(lr * ln(1 + N / B), lr_max)          N = 0: alpha -= lr          alpha in [1, 127 / 7]

Mends to what is known of the paper's code (docs/math/training.md): ln(1 + N / B), because ln(N / B) is negative for few
overflows; the clamp at 1; a freeze near the end, and a last pass in which alpha only rises until no overflow is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import log1p, log2
from typing import Any, Final

import torch

from oaq.errors import ConfigError, TrainingError
from oaq.ptq.execute import layers
from oaq.qat.cost import layer_costs, relative_cost
from oaq.qat.count import Overflows
from oaq.qat.distributed import greatest, total
from oaq.qat.layer import QatLayer
from oaq.qat.network import MOST_ALPHA, QatNetwork

FLOOR: Final = 31 / 127
"""Part of the clip below which a layer of "oaq-clip" gives up narrowing and sums in 32 bits."""
PASSES: Final = 200
"""Rounds of the last pass, at most."""
STEP: Final = 1.01
"""Least growth of alpha per pass."""
MOVING: Final = ("oaq", "oaq-clip")
Batches = Iterable[torch.Tensor | Sequence[torch.Tensor]]


@dataclass(frozen=True)
class LayerState:
    """One layer at one count.

    Attributes:
        iteration: of training.
        layer: its name.
        alpha: after the rule.
        weight_bits: effective, log2 of how many integers a weight may be.
        operand_bits: likewise, of the tensor it reads.
        overflows: counted in the batch, over all processes.
        sums: final sums or lanes looked at.
        cost: planned, in parts of 16-bit sums without a spill; NaN unless that is what is steered.
        fallback: it gave up and sums in 32 bits.
    """

    iteration: int
    layer: str
    alpha: float
    weight_bits: float
    operand_bits: float
    overflows: int
    sums: int
    cost: float = float("nan")
    fallback: bool = False


class OverflowController:
    """Moves the alphas of a network in training; call ``step()`` after the optimizer's.

    Methods other than "oaq" and "oaq-clip" are only counted and logged, unless ``speed`` is given.

    Args:
        network: from ``prepare`` (not its DDP wrapper).
        optimizer: whose learning rate the rule follows; None needs ``rate``.
        interval: iterations between two counts.
        warmup: iterations before the first.
        freeze_at: iteration from which alphas stay (counts go on); None is never.
        rate: the rule's learning rate at the start; None takes the optimizer's. It falls as the optimizer's does.
        speed: instead of overflows, steer the planned cost: 0.9 asks for 90 % of the speed of 16-bit sums without a
            spill, predicted for AVX2.
        log: called with the states of all layers after every count, in the first process only or in all: it is the
            caller's.
    """

    def __init__(
        self,
        network: QatNetwork,
        optimizer: torch.optim.Optimizer | None = None,
        *,
        interval: int = 50,
        warmup: int = 0,
        freeze_at: int | None = None,
        rate: float | None = None,
        speed: float | None = None,
        log: Callable[[Sequence[LayerState]], None] | None = None,
    ) -> None:
        if type(interval) is not int or interval < 1:
            raise ConfigError(f"interval is a number of iterations, at least 1; not {interval!r}")
        if rate is None and optimizer is None:
            raise ConfigError("the rule moves by a learning rate: give the optimizer, or rate")
        if rate is not None and not rate > 0:
            raise ConfigError(f"rate is positive, not {rate!r}")
        if speed is not None and not 0.0 < speed <= 1.0:
            raise ConfigError(f"speed is a part of the full 16-bit speed, in (0, 1]; not {speed!r}")
        self.network, self.optimizer, self.log = network, optimizer, log
        self.interval, self.warmup, self.freeze_at = interval, warmup, freeze_at
        self.speed = speed
        self._first = self._learning_rate()
        self._rate = rate if rate is not None else self._first
        self.iteration = 0
        self._arm()

    @property
    def moves(self) -> bool:
        """Whether there are alphas that it moves, or it only counts."""
        return bool(self._moving())

    def step(self) -> list[LayerState] | None:
        """After one iteration: count and move if it is time; the new states, or None."""
        self.iteration += 1
        states = self._take() if self._due(self.iteration) else None
        if states is not None and self.log is not None:
            self.log(states)
        self._arm()
        return states

    def finish(self, batches: Batches, *, margin: float = 1.0) -> list[LayerState]:
        """Raise alphas, and never lower one, until no overflow is counted on ``batches`` (or the speed is reached).

        Layers that do not move (exempt, fallen back, left out by "oaq-clip") are counted and left as they are.

        Args:
            batches: inputs, or tuples of them; read several times, so no generator.
            margin: at least 1: how much larger the sums might be on other data.

        Raises:
            TrainingError: at the narrowest ranges some layer still overflows; it is named with what it reaches.
        """
        self._disarm()
        batch_list = list(batches)
        if not batch_list:
            raise TrainingError("the last pass counts overflows on data, and there are no batches")
        if self.speed is not None:
            return self._finish_speed()
        for _ in range(PASSES):
            counts = self.count(batch_list)
            moving = {layer.name for layer in self._moving()}
            wrong = {name: counts[name] for name in moving if self._overflows(name, counts[name], margin)}
            if not wrong:
                return self._states(counts)
            stuck = [
                f"{name} (reaches {count.most})"
                for name, count in wrong.items()
                if not self._raise(name, count, margin)
            ]
            if stuck:
                raise TrainingError(
                    f"at the narrowest ranges these layers still overflow: {', '.join(stuck)}. Exempt them (layers: "
                    "exempt), count under a register with shorter runs, or train longer"
                )
            self.network.apply_alphas()
        raise TrainingError(f"the last pass did not end within {PASSES} rounds; the ranges go on moving")

    @torch.no_grad()
    def count(self, batches: Batches) -> dict[str, Overflows]:
        """Overflows by layer on ``batches``, in ``eval()``, over all processes; nothing is moved."""
        was_training = self.network.training
        self.network.eval()
        counts = {name: Overflows(training=False) for name in self.network.layer}
        for name, layer in self.network.layer.items():
            layer.counted = counts[name]
        try:
            for batch in batches:
                self.network(*(batch if isinstance(batch, list | tuple) else (batch,)))
        finally:
            self.network.train(was_training)
            self._disarm()
        return {name: self._everywhere(count) for name, count in counts.items()}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps; alphas are buffers of the network."""
        return {"iteration": self.iteration, "first": self._first, "rate": self._rate}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.iteration, self._first, self._rate = int(state["iteration"]), float(state["first"]), float(state["rate"])
        self._arm()

    def _learning_rate(self) -> float:
        return 1.0 if self.optimizer is None else float(self.optimizer.param_groups[0]["lr"])

    def _due(self, iteration: int) -> bool:
        return iteration > self.warmup and iteration % self.interval == 0

    def _arm(self) -> None:
        """Have the coming batch counted if its iteration is due."""
        self._disarm()
        if self._due(self.iteration + 1):
            for layer in self.network.layer.values():
                layer.counted = Overflows()

    def _disarm(self) -> None:
        for layer in self.network.layer.values():
            layer.counted = None

    def _moving(self) -> list[QatLayer]:
        """The layers whose alpha the method moves."""
        method = self.network.config.method
        if self.speed is None and method not in MOVING:
            return []
        able = [layer for layer in self.network.layer.values() if layer.target is not None]
        if method == "oaq-clip":
            first = {node.name for node, _ in layers(self.network.graph) if node.inputs[0] in self.network.graph.inputs}
            able = [layer for layer in able if not layer.depthwise and layer.name not in first]
        return [layer for layer in able if not bool(layer.fallback)]

    @staticmethod
    def _everywhere(local: Overflows) -> Overflows:
        numbers = total(torch.tensor([local.wrong, local.sums, local.samples])).tolist()
        return Overflows(*numbers, most=int(greatest(torch.tensor([local.most]))[0]), training=local.training)

    def _take(self) -> list[LayerState]:
        counts = {name: self._everywhere(layer.counted or Overflows()) for name, layer in self.network.layer.items()}
        costs = layer_costs(self.network) if self.speed is not None else {}
        if self.freeze_at is None or self.iteration < self.freeze_at:
            rate = self._rate * self._learning_rate() / self._first if self._first else 0.0
            if self.speed is not None:
                self._move_by_cost(costs, rate)
            else:
                for layer in self._moving():
                    self._move(layer, counts[layer.name], rate)
            self.network.apply_alphas()
        return self._states(counts, {name: cost.cost / cost.without_spills for name, cost in costs.items()})

    def _move(self, layer: QatLayer, count: Overflows, rate: float) -> None:
        if self.network.config.method == "oaq-clip":
            if count.wrong:
                self._narrow(layer)
            return
        growth = min(rate * log1p(count.wrong / max(count.samples, 1)), self._rate) if count.wrong else -rate
        layer.alpha.fill_(min(max(float(layer.alpha) + growth, 1.0), MOST_ALPHA))

    def _narrow(self, layer: QatLayer) -> bool:
        """One clip less; below the floor the layer falls back to 32 bits. False: it did not."""
        clip = int(layer.clip) - 1
        if clip < FLOOR * layer.most_clip:
            layer.fallback.fill_(True)
            layer.alpha.fill_(1.0)
        else:
            layer.alpha.fill_(layer.most_clip / clip)
        return True

    def _move_by_cost(self, costs: dict[str, Any], rate: float) -> None:
        """Layers dearer than the target narrow, by the rule, as long as the whole is; cheaper ones widen."""
        assert self.speed is not None
        allowed = 1.0 / self.speed
        spent = relative_cost(self.network, costs)
        for layer in self._moving():
            relative = costs[layer.name].cost / costs[layer.name].without_spills
            if spent > allowed and relative > allowed:
                growth = min(rate * log1p(10.0 * (relative / allowed - 1.0)), self._rate)
            else:
                growth = -rate if spent <= allowed and relative <= allowed else 0.0
            layer.alpha.fill_(min(max(float(layer.alpha) + growth, 1.0), MOST_ALPHA))

    def _finish_speed(self) -> list[LayerState]:
        assert self.speed is not None
        costs = layer_costs(self.network)
        for _ in range(20 * PASSES):
            spent = relative_cost(self.network, costs)
            able = [layer for layer in self._moving() if float(layer.alpha) < MOST_ALPHA]
            if spent <= 1.0 / self.speed:
                relative = {name: cost.cost / cost.without_spills for name, cost in costs.items()}
                return self._states({name: Overflows() for name in costs}, relative)
            if not able:
                break
            dearest = max(able, key=lambda layer: costs[layer.name].cost - costs[layer.name].without_spills)
            dearest.alpha.fill_(min(float(dearest.alpha) * STEP, MOST_ALPHA))
            self.network.apply_alphas()
            costs |= layer_costs(self.network, self._co_readers(dearest))  # no other layer's integers have changed
        raise TrainingError(f"a speed of {self.speed} is not reached at the narrowest ranges; ask for less")

    def _co_readers(self, layer: QatLayer) -> set[str]:
        """Names of the layers that read what this one reads, itself among them."""
        return {reader.name for _, readers in self.network.readers() if layer in readers for reader in readers}

    def _overflows(self, name: str, count: Overflows, margin: float) -> bool:
        return count.wrong > 0 or (margin > 1.0 and count.most * margin > self._register(self.network.layer[name]))

    @staticmethod
    def _register(layer: QatLayer) -> int:
        bits = 16 if layer.count_final or layer.target is None else layer.target.bits
        return (1 << (bits - 1)) - 1

    def _raise(self, name: str, count: Overflows, margin: float) -> bool:
        """Narrow one layer; False if it is as narrow as it can be."""
        layer = self.network.layer[name]
        if self.network.config.method == "oaq-clip":
            return self._narrow(layer)
        if float(layer.alpha) >= MOST_ALPHA:
            return False
        excess = (count.most * margin / self._register(layer)) ** 0.5  # both factors of each product shrink by alpha
        layer.alpha.fill_(min(float(layer.alpha) * max(excess, STEP), MOST_ALPHA))
        return True

    def _states(self, counts: dict[str, Overflows], costs: dict[str, float] | None = None) -> list[LayerState]:
        quantizers, roots = self.network.quantizer, self.network.roots
        states = []
        for node, _ in layers(self.network.graph):
            layer, count = self.network.layer[node.name], counts[node.name]
            steps = int(quantizers[roots[node.inputs[0]]].steps)
            states.append(
                LayerState(
                    self.iteration, node.name, float(layer.alpha), log2(2 * int(layer.clip) + 1), log2(steps + 1),
                    count.wrong, count.sums, (costs or {}).get(node.name, float("nan")), bool(layer.fallback),
                )
            )  # fmt: skip
        return states
