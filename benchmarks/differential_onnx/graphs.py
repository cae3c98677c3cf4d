"""A graph as a function of (seed, index): which operators one after the other, and the numbers each of them draws."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Final

import numpy as np
import onnx

from benchmarks.differential_onnx.functions import FUNCTIONS
from benchmarks.differential_onnx.joins import JOINS
from benchmarks.differential_onnx.layers import LAYERS
from benchmarks.differential_onnx.moves import MOVES, on_integers
from benchmarks.differential_onnx.net import KINDS, WIDE, Form, Impossible, Net, Shape, Tensor

OPSETS: Final = range(10, 28)
FLOAT_OPSETS: Final = range(7, 28)
OPERATORS: Final = {**LAYERS, **JOINS, **FUNCTIONS, **MOVES, "on integers": on_integers}
"""Makers by name."""
SHARES: Final = ((LAYERS, 0.36), (JOINS, 0.26), (FUNCTIONS, 0.18), (MOVES, 0.16), (("on integers",), 0.04))
LAYER_OPERATORS: Final = {*LAYERS, "ConvInteger"}
LARGEST: Final = 6000
"""Elements of a tensor."""
BARE: Final = {**dict.fromkeys(LAYERS, 0.3), **dict.fromkeys(FUNCTIONS, 0.15), **dict.fromkeys(MOVES, 0.6)}
"""How often an operator's result is not quantized before the next one."""


@dataclass(frozen=True)
class Recipe:
    """All that a graph is made from.

    Attributes:
        shape: of the input.
        opset: of ONNX's own operators.
        form: whether it is quantized.
        batch: the size that the file declares, a text where it leaves it open.
        steps: operators, each with the seed of what it draws.
        outputs: how many results the graph has, at most; the last one as integers where that is below 0.
        inputs: "float", or the type of integers, of each.
    """

    shape: Shape
    opset: int
    form: Form
    batch: int | str
    steps: tuple[tuple[str, int], ...]
    outputs: int = 1
    inputs: tuple[str, ...] = ("float",)

    def without(self, index: int) -> Recipe:
        """With one step fewer."""
        return replace(self, steps=self.steps[:index] + self.steps[index + 1 :])


def draw(seed: int, index: int) -> Recipe:
    """Recipe number ``index`` of a seed."""
    rng = np.random.default_rng([seed, index])
    rank = rng.choice([2, 3, 4, 5], p=[0.2, 0.13, 0.57, 0.1])
    batch = int(rng.integers(1, 4))
    channels = int(rng.choice([1, 2, 3, 4, 6, 8, 12]))
    shape = (batch, channels, *(int(rng.integers(1, 9 if rank < 5 else 6)) for _ in range(rank - 2)))
    is_open = rng.random() < 0.3
    form: Form = "float" if rng.random() < 0.3 else "quantized"
    kinds = ["float"] * 8 + ["uint8", "int8"] * (form == "quantized")
    groups = [group for group, _ in SHARES]
    names = []
    for step in range(int(rng.integers(1, 7))):
        group = (
            LAYERS if step == 0 and rng.random() < 0.6 else groups[rng.choice(len(groups), p=[p for _, p in SHARES])]
        )
        names.append(list(group)[int(rng.integers(len(group)))])
    if not any(name in LAYERS for name in names):
        names.insert(0, list(LAYERS)[int(rng.integers(len(LAYERS)))])
    return Recipe(
        (1, *shape[1:]) if is_open else shape,
        int(rng.choice(list(OPSETS if form == "quantized" else FLOAT_OPSETS))),
        form,
        "N" if is_open else batch,
        tuple((name, int(rng.integers(1 << 31))) for name in names),
        int(rng.choice([1, 2, -1], p=[0.7, 0.2, 0.1])) if form == "quantized" else int(rng.choice([1, 2])),
        tuple(kinds[int(rng.integers(len(kinds)))] for _ in range(1 if rng.random() < 0.9 else 2)),
    )


def build(recipe: Recipe) -> onnx.ModelProto:
    """The graph. A step whose operator does not take what is there is left out."""
    net, x = _grown(recipe)
    if not any(node.op_type in LAYER_OPERATORS for node in net.nodes):
        net, x = _grown(replace(recipe, steps=(("MatMul", 1), *recipe.steps)))
    net.rng = np.random.default_rng(1)
    if x.stored is None:
        x = net.quantized(x, "uint8")
    others = [tensor for tensor in net.earlier[len(recipe.inputs) :] if tensor.name != x.name]
    outputs = [x, *others[: max(recipe.outputs - 1, 0)]]
    if recipe.outputs < 0 and x.stored is not None and x.stored.kind in WIDE:
        return net.model([x.stored.name], KINDS[x.stored.kind][0])
    return net.model([net.node("Identity", tensor.name) if net.chance(0.3) else tensor.name for tensor in outputs])


def _grown(recipe: Recipe) -> tuple[Net, Tensor]:
    net = Net(np.random.default_rng(recipe.opset), recipe.opset, recipe.form)
    inputs = [net.input(recipe.shape, recipe.batch, kind) for kind in recipe.inputs]
    inputs = [net.quantized(x) if x.stored is None else x for x in inputs]
    net.earlier += inputs
    x = inputs[0]
    for name, seed in recipe.steps:
        net.rng = np.random.default_rng(seed)
        x = step(net, name, x)
    return net, x


def step(net: Net, name: str, x: Tensor) -> Tensor:
    """One operator, and a quantizer after it or none; ``x`` itself where the operator does not take it."""
    nodes, constants = len(net.nodes), len(net.constants)
    try:
        if len(x.shape) < 2:
            raise Impossible
        y = OPERATORS[name](net, x)
        if y.name != x.name and y.stored is x.stored:
            y = replace(y, stored=None)  # the integers are those before the operator
        if prod(y.shape) > LARGEST or min(y.shape) < 1:
            raise Impossible
    except Impossible:
        del net.nodes[nodes:], net.constants[constants:]
        return x
    y = replace(y, lo=max(y.lo, -1e4), hi=min(y.hi, 1e4))
    if y.stored is None and net.form == "quantized" and net.opset >= 13 and len(y.shape) > 1 and net.chance(0.02):
        y = net.per_channel(y)
    elif y.stored is None and not net.chance(BARE.get(name, 0.1)):
        y = net.quantized(y)
    if y.stored is not None or net.form == "float":
        net.earlier.append(y)
    return y
