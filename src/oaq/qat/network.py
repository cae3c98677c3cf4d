"""``QatNetwork``: a ``FloatGraph`` in training. Its forward pass *is* the integer program, with gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import nn

from oaq.capture import graph as fg
from oaq.capture.graph import FloatGraph, FloatNode
from oaq.capture.lower import same_affine_groups
from oaq.capture.order import linear_order
from oaq.capture.shared import SharedWeights
from oaq.errors import ProgramError
from oaq.ptq.execute import layers, named_inputs
from oaq.qat.config import Config, LayerSettings, settings
from oaq.qat.ditherer import Ditherer
from oaq.qat.grid import Grid, TensorQuantizer
from oaq.qat.laws import bounded, in_steps, moved, moves, real_inputs
from oaq.qat.layer import Numbers, QatLayer, Sharing
from oaq.qat.sharing import sharing_of

Tensors = dict[str, torch.Tensor]
MOST_ALPHA = 127 / 7
"""Beyond it a range of 127 has no 3 bits left."""


class QatNetwork(nn.Module):
    """A network in training; trains with any loop, under any optimizer.

    In ``eval()`` every tensor holds exactly the integers of ``convert``'s program. In ``train()`` the only differences
    are ranges that follow the data (method "oaq") and batch norms that use the statistics of the batch
    (``batch_norm: reestimate``).

    Attributes:
        graph: the float network it began as.
        config: how it trains.
        layer: ``QatLayer`` by node name.
        together: names of the layers that read the same weights, by the name of each.
        ditherer: what dithers gradients; None: nothing does.
    """

    pressure: torch.Tensor

    def __init__(
        self,
        graph: FloatGraph,
        config: Config,
        quantizers: Mapping[str, TensorQuantizer],
        levelled: frozenset[str] = frozenset(),
    ) -> None:
        """``levelled``: names of the layers that read few levels a channel."""
        super().__init__()
        self.graph, self.config = graph, config
        self.roots = roots_of(graph)
        settings = layer_settings(graph, config)
        if config.daq is not None:
            width = config.daq.weight_bits
            settings |= {name: replace(settings[name], weight_bits=width) for name in levelled}
        shared = sharing_of(graph, config, settings)
        self.layer: dict[str, QatLayer] = {}
        for node, op in layers(graph):
            order = None if isinstance(op, fg.FloatConv2d) else linear_order(graph, node)
            parameter = shared.get(node.name)
            sharing = None if parameter is None else self._sharing(node.name, parameter)
            self.layer[node.name] = QatLayer(node.name, op, settings[node.name], config, order, sharing=sharing)
        self.together = {name: tuple(parameter.gains) for name, parameter in shared.items()}
        self._reads = {node.name: node.inputs[0] for node, _ in layers(graph)}
        self._layers = nn.ModuleList(self.layer.values())
        self.watched: frozenset[str] = frozenset()  # tensors whose real values ``forward`` leaves in ``features``
        self.features: Tensors = {}
        self.ditherer: Ditherer | None = None
        if config.dither is not None:
            self.ditherer = Ditherer(config.dither, {layer.name: layer.terms for layer in self.layer.values()})
            for layer in self.layer.values():
                layer.dithered = self.ditherer.through
        self.quantizer: dict[str, TensorQuantizer] = dict(quantizers)
        self._quantizers = nn.ModuleList(self.quantizer.values())
        if config.method == "wrap":
            self.register_buffer("pressure", torch.tensor(0.0))  # weight of what leaves the registers, in the loss

    def _sharing(self, name: str, parameter: SharedWeights) -> Sharing:
        """What the layer ``name`` has together with those before it."""
        first, norm = self.layer.get(parameter.first), self.layer.get(parameter.same_norm(name))
        return Sharing(parameter.weight, parameter.gains[name], bool(parameter.norms[name]), first, norm)

    def others(self, name: str, grids: Mapping[str, Grid]) -> list[tuple[QatLayer, Grid]]:
        """The other layers of a layer's weights, with the grids of what they read."""
        return [
            (self.layer[other], grids[self._reads[other]]) for other in self.together.get(name, ()) if other != name
        ]

    def numbers(self, name: str, grids: Mapping[str, Grid]) -> Numbers:
        """The integers of a layer as they are now."""
        return self.layer[name].numbers(grids[self._reads[name]], self.others(name, grids))

    def widest(self, name: str, grids: Mapping[str, Grid]) -> int:
        """The largest operand of any layer that has a layer's weights."""
        return max(grids[self._reads[reader]].range.hi for reader in self.together.get(name, (name,)))

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Real values in, as the module counts their axes; real values of the outputs' integers out."""
        names = self.graph.inputs
        if len(inputs) != len(names) or not all(isinstance(value, torch.Tensor) for value in inputs):
            kinds = ", ".join(type(value).__name__ for value in inputs)
            raise ProgramError(f"{self.graph.name} takes {len(names)} tensors ({', '.join(names)}), not ({kinds})")
        graph = self.graph
        by_name = {
            name: value.movedim(-1, 1) if graph.is_channels_last(name) else value
            for name, value in zip(names, inputs, strict=True)
        }
        integers, grids = self.run(by_name)
        self.features = {name: integers[name] * grids[name].scale for name in self.watched}
        reals = {name: integers[name] * grids[name].scale for name in graph.outputs}
        outputs = tuple(real.movedim(1, -1) if graph.is_channels_last(name) else real for name, real in reals.items())
        return outputs[0] if len(outputs) == 1 else outputs

    def run(self, inputs: Mapping[str, torch.Tensor], keep: bool = False) -> tuple[Tensors, dict[str, Grid]]:
        """Centred integers and grids of the outputs, or of every tensor if ``keep``; autocast does not reach them."""
        samples = named_inputs(self.graph, inputs)
        if self.ditherer is not None and self.training and torch.is_grad_enabled():
            self.ditherer.begin()
        device = next(iter(samples.values())).device.type
        with torch.autocast(device, enabled=False):
            grids = self.grids()
            last = {name: node.name for node in self.graph.nodes for name in node.inputs}
            tensors: Tensors = {}
            for name, value in samples.items():
                if self.training and self.tracks:
                    self.quantizer[self.roots[name]].observe(value)
                    grids[name] = self.quantizer[self.roots[name]].grid()
                tensors[name] = grids[name].rounded(real_inputs(value, grids[name]))
            for node in self.graph.nodes:
                tensors[node.output] = self._node(node, tensors, grids)
                if not keep:
                    for name in set(node.inputs) - set(self.graph.outputs) - self.watched:
                        if last[name] == node.name:
                            del tensors[name]
        return tensors, grids

    @property
    def tracks(self) -> bool:
        """True iff ranges follow the data."""
        return self.config.tracks

    def grids(self) -> dict[str, Grid]:
        """Grids of all tensors, as they are now."""
        root_grids = {root: quantizer.grid() for root, quantizer in self.quantizer.items()}
        writers = {node.output: node for node in self.graph.nodes}
        grids: dict[str, Grid] = {}
        for name in self.graph.shapes:
            node = writers.get(name)
            root_grid = root_grids[self.roots[name]]
            grids[name] = root_grid if node is None else root_grid.clamped(node.clamp, node.name)
        return grids

    def penalty(self) -> torch.Tensor:
        """What is to be added to the loss: the regulariser of a2q, a2q+ and, after a forward pass, wrap; ``Prune.l1``.

        0 where there is none of them.
        """
        return self._regulariser() + self._magnitudes()

    def _magnitudes(self) -> torch.Tensor:
        """``Prune.l1`` times the sum of magnitudes of the weights of all layers, of nothing else."""
        total = torch.zeros((), device=next(self.parameters()).device)
        if self.config.prune is None or not self.config.prune.l1:
            return total
        return total + self.config.prune.l1 * sum(layer.float_rows().abs().sum() for layer in self.layer.values())

    def _regulariser(self) -> torch.Tensor:
        """The regulariser of the method; 0 for one that has none."""
        total = torch.zeros((), device=next(self.parameters()).device)
        if self.config.method == "wrap":
            excesses = [layer.excess for layer in self.layer.values() if layer.excess is not None]
            return total + self.pressure * sum(excesses) if excesses and float(self.pressure) else total
        if any(layer.log_norm is not None for layer in self._layers):  # type: ignore[union-attr]
            grids = self.grids()
            for node, _ in layers(self.graph):
                total = total + self.layer[node.name].penalty(grids[node.inputs[0]])
        return total * self.config.penalty

    def readers(self) -> Iterator[tuple[str, list[QatLayer]]]:
        """Each tensor that has integers of its own (by the name of the first of its group), with the layers on it."""
        for root in self.quantizer:
            yield root, [self.layer[node.name] for node, _ in layers(self.graph) if self.roots[node.inputs[0]] == root]

    def apply_alphas(self) -> None:
        """Clips and effective ranges follow the layers' alphas; a tensor takes the greatest of its readers'."""
        for group in set(self.together.values()):
            members = [self.layer[name] for name in group]
            alpha = max(float(layer.alpha) for layer in members)
            fallback = any(bool(layer.fallback) for layer in members)
            for layer in members:
                layer.alpha.fill_(alpha)
                layer.fallback.fill_(fallback)
        for root, readers in self.readers():
            for layer in readers:
                layer.set_clip(narrowed(layer.most_clip, float(layer.alpha)))
            alpha = max((float(layer.alpha) for layer in readers), default=1.0)
            quantizer = self.quantizer[root]
            quantizer.set_steps(narrowed(int(quantizer.most_steps), alpha))

    def _node(self, node: FloatNode, tensors: Tensors, grids: dict[str, Grid]) -> torch.Tensor:
        inputs = [tensors[name] for name in node.inputs]
        if moves(node):
            return moved(node, inputs[0], grids[node.inputs[0]])
        before, y = [grids[name] for name in node.inputs], grids[node.output]
        if isinstance(node.op, fg.FloatProducts):
            steps = self.layer[node.name](inputs[0], before[0], y, self.others(node.name, grids))
        else:
            steps = in_steps(node, inputs, before, y, self.config.requantize)
        if self.training and self.tracks:
            steps = self._followed(node, steps, grids)
            y = grids[node.output]
        return y.rounded(steps)

    def _followed(self, node: FloatNode, steps: torch.Tensor, grids: dict[str, Grid]) -> torch.Tensor:
        """Let the range follow the data; the result in steps of the range as it is then."""
        old, root = grids[node.output], self.roots[node.output]
        self.quantizer[root].observe(bounded(node, steps.detach() * old.scale))
        new = self.quantizer[root].grid()
        for name, tensor_root in self.roots.items():
            if tensor_root == root:
                writer = self.graph.producer(name)
                grids[name] = new if writer is None else new.clamped(writer.clamp, writer.name)
        return steps * (old.scale / new.scale)


def narrowed(most: int, alpha: float) -> int:
    """floor(most / alpha), at least 1; a quotient that is whole but for its last bits counts as whole."""
    return max(int(most / alpha + 1e-9), 1)


def roots_of(graph: FloatGraph) -> dict[str, str]:
    """For every tensor the one of its group that is written first: where its values are rounded."""
    roots = {}
    for group in same_affine_groups(graph):
        root = next(name for name in graph.shapes if name in group)
        roots.update(dict.fromkeys(group, root))
    return roots


def layer_settings(graph: FloatGraph, config: Config) -> dict[str, LayerSettings]:
    """What the config says of each layer."""
    roots = roots_of(graph)
    inputs = {roots[name] for name in graph.inputs}
    outputs = {roots[name] for name in graph.outputs}
    return {
        node.name: settings(
            config, node.name, at_an_end=roots[node.inputs[0]] in inputs or roots[node.output] in outputs
        )
        for node, _ in layers(graph)
    }


def tensor_bits(graph: FloatGraph, config: Config) -> dict[str, int]:
    """Bits of each tensor that is rounded: the most any layer that reads it asks for; 8 if none reads it."""
    roots, settings = roots_of(graph), layer_settings(graph, config)
    bits: dict[str, int] = {}
    for node, _ in layers(graph):
        root = roots[node.inputs[0]]
        bits[root] = max(bits.get(root, 0), settings[node.name].activation_bits)
    return {root: bits.get(root, 8) for root in dict.fromkeys(roots.values())}
