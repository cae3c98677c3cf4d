"""Distillation: a float network says, beside the labels, what a network in training should answer.

    loss = (1 - a) own + a T^2 KL(softmax(t / T) || softmax(s / T)) + f mean over layers of |s_l - t_l|^2 / |t_l|^2

for outputs s of the network and t of the teacher, (batch, classes, ...), and for layers that both have, their outputs
s_l and t_l in real values (1503.02531, 1412.6550). The teacher is frozen; nothing of it is in a checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from oaq.capture.graph import FloatGraph
from oaq.errors import ConfigError
from oaq.ptq.execute import layers, run_graph, tensors_of
from oaq.qat.network import QatNetwork


@dataclass(frozen=True, eq=False)
class Teacher:
    """What teaches, and how much it counts.

    Attributes:
        module: a trained float module that takes the same batches; None: the float network that the one in training
            began as.
        weight: a, 0..1: of what the teacher answers; the rest is of the labels.
        temperature: T, positive: a higher one shows more of what the teacher thinks of wrong classes.
        features: regular expressions for whole names of layers whose outputs are to be like the teacher's; it must be
            the float network that training began as.
        feature_weight: f, at least 0.
    """

    module: nn.Module | None = None
    weight: float = 0.9
    temperature: float = 4.0
    features: tuple[str, ...] = ()
    feature_weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.weight <= 1.0:
            raise ConfigError(f"teacher: weight is 0 to 1, not {self.weight!r}")
        if not 0.0 < self.temperature < float("inf"):
            raise ConfigError(f"teacher: temperature is positive and finite, not {self.temperature!r}")
        if not 0.0 <= self.feature_weight < float("inf"):
            raise ConfigError(f"teacher: feature_weight is at least 0 and finite, not {self.feature_weight!r}")
        if self.features and self.module is not None:
            raise ConfigError(
                "teacher: layers of another network have other outputs: leave features out, or module, so that the "
                "float network that training began as teaches"
            )
        for pattern in self.features:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigError(f"teacher: features: {pattern!r} is not a regular expression: {error}") from error

    def __str__(self) -> str:
        """What a checkpoint holds of it: another teacher is another run."""
        name = "the float network" if self.module is None else type(self.module).__name__
        words = f"{name}, weight {self.weight:g}, temperature {self.temperature:g}"
        return f"{words}, features {self.features} by {self.feature_weight:g}" if self.features else words


class Lesson(nn.Module):
    """A teacher and its pupil: the loss of a batch.

    Args:
        teacher: who teaches; a module of its own is put into eval mode.
        pupil: in training.
        device: of the batches.

    Raises:
        ConfigError: the pupil has no float network to be taught by, or a pattern of ``features`` matches no layer.
    """

    def __init__(self, teacher: Teacher, pupil: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.teacher, self._pupil = teacher, (pupil,)
        if teacher.module is None and not isinstance(pupil, QatNetwork):
            raise ConfigError("teacher: a float network in training has none that it began as: give a module")
        self.watched: tuple[str, ...] = ()
        if isinstance(pupil, QatNetwork):
            self.watched = _outputs_of(teacher.features, pupil.graph)
            pupil.watched = frozenset(self.watched)
        network = teacher.module if teacher.module is not None else GraphModule(pupil.graph)  # type: ignore[arg-type]
        self._network = network.to(device).eval()

    def loss(self, x: torch.Tensor, outputs: object, by_labels: torch.Tensor) -> torch.Tensor:
        """The loss of a batch whose loss by labels is ``by_labels``.

        Raises:
            ConfigError: pupil and teacher do not give one tensor each, of one shape.
        """
        answers = self._answers(x)
        if not isinstance(outputs, torch.Tensor) or not isinstance(answers, torch.Tensor):
            raise ConfigError("teacher: networks of one output are taught; this one, or its teacher, has several")
        if outputs.shape != answers.shape:
            raise ConfigError(f"teacher: its answers are {tuple(answers.shape)}, the network's {tuple(outputs.shape)}")
        heat = self.teacher.temperature
        soft, aim = (F.log_softmax(values.float() / heat, dim=1) for values in (outputs, answers))
        divergence = F.kl_div(soft, aim, reduction="none", log_target=True).sum(dim=1).mean()
        loss = (1 - self.teacher.weight) * by_labels + self.teacher.weight * heat**2 * divergence
        return loss + self.teacher.feature_weight * self._unlike(outputs) if self.watched else loss

    def end(self) -> None:
        """The pupil no longer keeps what it would be compared by."""
        if isinstance(self._pupil[0], QatNetwork):
            self._pupil[0].watched, self._pupil[0].features = frozenset(), {}

    def _answers(self, x: torch.Tensor) -> object:
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            if isinstance(self._network, GraphModule):
                return self._network(x, self.watched)
            return self._network(x)

    def _unlike(self, outputs: torch.Tensor) -> torch.Tensor:
        pupil, network = self._pupil[0], self._network
        assert isinstance(pupil, QatNetwork)
        assert isinstance(network, GraphModule)
        total = outputs.new_zeros(())
        for name in self.watched:
            aim = network.features[name]
            total = total + (pupil.features[name] - aim).square().mean() / aim.square().mean().clamp_min(1e-12)
        pupil.features, network.features = {}, {}  # what they hold cannot be copied
        return total / len(self.watched)


class GraphModule(nn.Module):
    """A ``FloatGraph`` as a module: one input, one output, its weights as buffers so that it can move to a device.

    Attributes:
        features: tensors of the last batch that the caller asked for.
    """

    def __init__(self, graph: FloatGraph) -> None:
        super().__init__()
        if len(graph.inputs) != 1 or len(graph.outputs) != 1:
            raise ConfigError(f"teacher: {graph.name} has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs")
        self.graph = graph
        self.features: Mapping[str, torch.Tensor] = {}
        self._names = [node.name for node, _ in layers(graph)]
        for at, (_, op) in enumerate(layers(graph)):
            weight, bias = tensors_of(op)
            self.register_buffer(f"weight{at}", weight)
            self.register_buffer(f"bias{at}", bias)

    def forward(self, x: torch.Tensor, keep: tuple[str, ...] = ()) -> torch.Tensor:
        """What the float network answers, as its callers lay axes out; ``keep``: tensors to be ``seen``."""
        graph, output = self.graph, self.graph.outputs[0]
        parameters = {
            name: (self.get_buffer(f"weight{at}"), self.get_buffer(f"bias{at}")) for at, name in enumerate(self._names)
        }
        inputs = x.movedim(-1, 1) if graph.is_channels_last(graph.inputs[0]) else x
        tensors = run_graph(graph, inputs, parameters=parameters, keep=(output, *keep))
        self.features = {name: tensors[name] for name in keep}
        return tensors[output].movedim(1, -1) if graph.is_channels_last(output) else tensors[output]


def _outputs_of(patterns: tuple[str, ...], graph: FloatGraph) -> tuple[str, ...]:
    """Outputs of the layers that patterns name."""
    outputs = {node.name: node.output for node, _ in layers(graph)}
    for pattern in patterns:
        if not any(re.fullmatch(pattern, name) for name in outputs):
            raise ConfigError(f"teacher: features: {pattern!r} matches no layer; there are {', '.join(outputs)}")
    return tuple(output for name, output in outputs.items() if any(re.fullmatch(p, name) for p in patterns))
