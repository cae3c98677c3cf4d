"""``prepare``: from a trained float network to one in training, as near to it as its integers allow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from oaq.capture.graph import FloatGraph, FloatProducts
from oaq.errors import ConfigError, UnsupportedOp
from oaq.ptq.bias import correct_biases, mean_inputs
from oaq.ptq.clip import affine_range, choose_clip
from oaq.ptq.equalize import equalize
from oaq.ptq.execute import layers, run_graph
from oaq.ptq.levelled import Levelled, levelled
from oaq.ptq.observe import ChannelStats, Histogram, HistogramBuilder, observe
from oaq.ptq.samples import Chunk, Reservoir, chunks
from oaq.qat.begin import begin, narrow_operands
from oaq.qat.config import NORMS, PROMISING, Config
from oaq.qat.constrain import norm_limit
from oaq.qat.convert import layer_params
from oaq.qat.grid import FixedQuantizer, TensorQuantizer
from oaq.qat.layer import EPS, MOMENTUM
from oaq.qat.network import QatNetwork, roots_of, tensor_bits

LOG_RATE: Final = 10.0
"""Learning rate of logarithms of scales and norms, relative to that of weights."""


def prepare(
    model: nn.Module | FloatGraph,
    example: torch.Tensor | tuple[torch.Tensor, ...],
    config: Config | None = None,
    *,
    calibration: Iterable[Any] | None = None,
    name: str | None = None,
    device: torch.device | str = "cpu",
) -> QatNetwork:
    """A module that trains a network's integers.

    Args:
        model: a trained module that ``capture.from_torch`` takes, or its graph; not changed.
        example: one batch of typical inputs.
        config: how to train; None is ``Config()``.
        calibration: batches to choose the first ranges on, as for ``oaq.quantize``; None takes ``example``.
        name: of the program; None takes the module's class.
        device: where the first scales are searched for; the network comes back on the CPU.

    Returns:
        a module that gives nearly what ``model`` gives; ``oaq.qat.convert`` makes its program at any time.

    Raises:
        ConfigError: a layer cannot keep its target at its bits, whatever its weights; all such layers are named, with
            what each would take. Or a rule matches no layer.
        UnsupportedOp, ProgramError, CalibrationError: as ``oaq.quantize``.
    """
    config = config or Config()
    if not isinstance(config, Config):
        raise ConfigError(f"a config is an oaq.qat.Config (from_yaml reads one), not {type(config).__name__}")
    parts = example if isinstance(example, tuple) else (example,)
    if isinstance(model, FloatGraph):
        graph = model
    else:
        from oaq.capture.from_torch import normalize

        graph = normalize(model, tuple(part[:1] for part in parts), name)
    _check_windows(graph)
    _check_rules(graph, config)
    batches: Iterable[Any] = [list(parts)] if calibration is None else calibration
    reservoir = Reservoir()
    stats = observe(graph, chunks(graph, batches), reservoir.add)
    samples = list(reservoir.chunks())
    if config.equalize:
        balanced = equalize(graph, stats)
        graph, stats = balanced.graph, balanced.stats
    levels = None if config.daq is None else levelled(graph, samples, config.daq)
    if levels is not None:
        graph, stats = levels.graph, observe(levels.graph, samples)
    histograms = {} if config.tracks else _histograms(graph, stats, samples)
    quantizers = _quantizers(graph, config, stats, histograms)
    if levels is not None:
        quantizers |= _level_quantizers(levels)
    network = QatNetwork(graph, config, quantizers, frozenset() if levels is None else levels.layers)
    _check_budgets(network)
    network.to(device)
    if config.narrows:
        narrow_operands(network, histograms)
    network.apply_alphas()
    grids = network.grids()
    for node, _ in layers(graph):
        begin(network.layer[node.name], grids[node.inputs[0]].range.hi)
    network.cpu()
    _correct(network, samples)
    if any(layer.normalizes for layer in network.layer.values()):
        _begin_statistics(network, samples)
    return network


@torch.no_grad()
def reestimate(network: QatNetwork, batches: Iterable[torch.Tensor | tuple[torch.Tensor, ...]]) -> None:
    """Measure the statistics of every batch norm anew, on the integers as they are now: the mean over ``batches``.

    Nothing happens to networks whose config folds them.
    """
    was_training = network.training
    normalizing = [layer for layer in network.layer.values() if layer.normalizes]
    network.train()
    try:
        for count, batch in enumerate(batches if normalizing else ()):
            for layer in normalizing:
                layer.momentum = 1.0 / (count + 1)
            network(*(batch if isinstance(batch, tuple | list) else (batch,)))
    finally:
        network.train(was_training)
        for layer in normalizing:
            layer.momentum = MOMENTUM


def parameter_groups(network: QatNetwork, lr: float, weight_decay: float = 0.0) -> list[dict[str, Any]]:
    """Groups for any optimizer: weights decay; biases and gains do not, nor do scales and norms, which go faster.

    Those are logarithms: a step of Adam changes each of them by the same part of itself, however small it is.
    """
    weights = [layer.weight for layer in network.layer.values()]
    logarithms = [
        parameter for name, parameter in network.named_parameters() if name.endswith(("log_scale", "log_norm"))
    ]
    grouped = {id(parameter) for parameter in (*weights, *logarithms)}
    remaining = [parameter for parameter in network.parameters() if id(parameter) not in grouped]
    groups = ((weights, lr, weight_decay), (logarithms, lr * LOG_RATE, 0.0), (remaining, lr, 0.0))
    return [{"params": members, "lr": rate, "weight_decay": decay} for members, rate, decay in groups if members]


def _check_windows(graph: FloatGraph) -> None:
    for node, op in layers(graph):
        if op.weight.ndim > 4:
            raise UnsupportedOp(
                f"{node.name}: its weights {op.weight.shape} slide over a volume; lines and images are trained. "
                "Quantize it after training: oaq.quantize"
            )


def _check_rules(graph: FloatGraph, config: Config) -> None:
    names = [node.name for node, _ in layers(graph)]
    for rule in config.layers:
        if not any(re.fullmatch(rule.pattern, name) for name in names):
            raise ConfigError(f"layers: {rule.pattern!r} matches no layer; there are {', '.join(names[:20])}")


def _check_budgets(network: QatNetwork) -> None:
    """Refuse what no weights but zeros could meet."""
    if network.config.method not in PROMISING:
        return
    grids, refused = network.grids(), []
    for node, _ in layers(network.graph):
        layer, x_hi = network.layer[node.name], grids[node.inputs[0]].range.hi
        if layer.target is None:
            continue
        norms = network.config.method in NORMS
        most = norm_limit(network.config.method, layer.target.bits, x_hi) if norms else min(layer.target.budgets(x_hi))
        if most < 1:
            bits = x_hi.bit_length() + 2
            narrower = layer.target.bits - 2
            refused.append(
                f"{node.name}: {layer.target} hold no product of operands up to {x_hi}: it takes {bits} bits, or "
                f"activation_bits {narrower} or fewer"
            )
    if refused:
        raise ConfigError("some layers cannot keep their accumulator whatever their weights:\n" + "\n".join(refused))


def _quantizers(
    graph: FloatGraph, config: Config, stats: Mapping[str, ChannelStats], histograms: Mapping[str, Histogram]
) -> dict[str, TensorQuantizer]:
    roots, learned, quantizers = roots_of(graph), not config.tracks, {}
    for root, width in tensor_bits(graph, config).items():
        group = [name for name, root_of_name in roots.items() if root_of_name == root]
        ends = min(0.0, *(stats[name].lo.min() for name in group)), max(0.0, *(stats[name].hi.max() for name in group))
        steps = (1 << width) - 1
        params = choose_clip(histograms[root], steps, config.calibration).params if learned else None
        params = params if params is not None else affine_range(float(ends[0]), float(ends[1]), steps)
        quantizers[root] = TensorQuantizer(params, (float(ends[0]), float(ends[1])), learned=learned)
    return quantizers


def _level_quantizers(levels: Levelled) -> dict[str, TensorQuantizer]:
    """Scales of what a layer requantizes to are learned; those of tables are what the tables say."""
    result: dict[str, TensorQuantizer] = {}
    for name, params in levels.fixed.items():
        writer = levels.graph.producer(name)
        is_folded = writer is not None and isinstance(writer.op, FloatProducts)
        ends = 0.0, float(params.range.hi)
        result[name] = TensorQuantizer(params, ends, learned=True) if is_folded else FixedQuantizer(params)
    return result


def _histograms(graph: FloatGraph, stats: Mapping[str, ChannelStats], samples: list[Chunk]) -> dict[str, Histogram]:
    """Histograms of every tensor that has integers of its own."""
    roots = dict.fromkeys(roots_of(graph).values())
    builders = {root: HistogramBuilder(stats[root].lo.min(), stats[root].hi.max()) for root in roots}

    def note(name: str, value: torch.Tensor) -> torch.Tensor:
        if name in builders:
            builders[name].add(value)
        return value

    with torch.inference_mode():
        for chunk in samples:
            run_graph(graph, chunk, after=note, keep=())
    return {root: builder.build() for root, builder in builders.items()}


@torch.no_grad()
def _correct(network: QatNetwork, samples: list[Chunk]) -> None:
    """Take back, in the biases, what rounding does to the mean of each channel."""
    grids = network.grids()
    tensors = {name: grid.params() for name, grid in grids.items()}
    params = {node.name: layer_params(network, node, grids) for node, _ in layers(network.graph)}
    mended = correct_biases(network.graph, mean_inputs(network.graph, samples), tensors, params)
    for node, _ in layers(network.graph):
        layer, step = network.layer[node.name], float(grids[node.inputs[0]].scale)
        moved = (mended[node.name].bias - params[node.name].bias).astype(np.float64)
        layer.bias.add_(torch.from_numpy((moved * params[node.name].weight_scale * step).astype(np.float32)))


@torch.no_grad()
def _begin_statistics(network: QatNetwork, samples: list[Chunk]) -> None:
    """Batch norms that begin as the identity: their statistics are those of the sums, their gain undoes them."""
    sums = {name: [torch.zeros_like(layer.mean), torch.zeros_like(layer.mean)] for name, layer in network.layer.items()}
    biases = {name: layer.bias.clone() for name, layer in network.layer.items()}
    _measure(network, samples, sums)
    for name, layer in network.layer.items():
        if layer.gain is not None:
            mean, square = sums[name]
            variance = (square - mean**2).clamp_min(0.0)
            layer.mean.copy_(mean)
            layer.variance.copy_(variance)
            layer.gain.copy_(torch.sqrt(variance + EPS))
            layer.bias.copy_(biases[name] + mean)


def _measure(network: QatNetwork, samples: list[Chunk], sums: dict[str, list[torch.Tensor]]) -> None:
    """Mean and mean square of every layer's real sums, on the network without normalization."""
    network.eval()
    hooks, count = [], len(samples)
    for name, layer in network.layer.items():

        def note(module: nn.Module, inputs: Any, steps: torch.Tensor, name: str = name) -> None:  # noqa: ANN401
            channel = (-1, *(1,) * (steps.ndim - 2))
            real = steps * inputs[2].scale - network.layer[name].bias.reshape(channel)
            axes = [axis for axis in range(real.ndim) if axis != 1]
            sums[name][0] += real.mean(dim=axes) / count
            sums[name][1] += real.square().mean(dim=axes) / count

        hooks.append(layer.register_forward_hook(note))
    for chunk in samples:
        network.run(chunk)
    for hook in hooks:
        hook.remove()
    network.train()
