"""``prepare``: from a trained float network to one in training, as near to it as its integers allow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import torch
from torch import nn

from oaq.capture.graph import FloatGraph, FloatProducts
from oaq.errors import ConfigError, UnsupportedOp
from oaq.ptq.clip import affine_range, choose_clip
from oaq.ptq.equalize import equalize
from oaq.ptq.execute import layers, run_graph
from oaq.ptq.levelled import Levelled, levelled
from oaq.ptq.observe import ChannelStats, Histogram, HistogramBuilder, observe
from oaq.ptq.samples import Chunk, Reservoir, chunks
from oaq.qat.begin import begin, narrow_operands
from oaq.qat.config import NORMS, PROMISING, Config
from oaq.qat.constrain import norm_limit
from oaq.qat.grid import FixedQuantizer, TensorQuantizer
from oaq.qat.network import QatNetwork, roots_of, tensor_bits
from oaq.qat.residual import with_wide_residuals
from oaq.qat.statistics import begin_statistics, correct_means

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
    if config.wide_residuals:
        graph, stats = (wide := with_wide_residuals(graph, config)), observe(wide, samples)
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
    _begin_weights(network)
    network.cpu()
    correct_means(network, samples)
    begin_statistics(network, samples)
    return network


def _begin_weights(network: QatNetwork) -> None:
    """Give every set of weights the start of least error, under the widest operands of any layer that reads it."""
    grids = network.grids()
    for node, _ in layers(network.graph):
        layer = network.layer[node.name]
        if layer.first is layer:
            begin(layer, network.widest(node.name, grids))


def parameter_groups(network: QatNetwork, lr: float, weight_decay: float = 0.0) -> list[dict[str, Any]]:
    """Groups for any optimizer: weights decay; biases and gains do not, nor do scales and norms, which go faster.

    Those are logarithms: a step of Adam changes each of them by the same part of itself, however small it is.
    """
    weights = [layer.weight for layer in network.layer.values() if layer.first is layer]
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
