"""Equalisation across functions of one value: each channel has a table that takes the factors of both sides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import oaq
from oaq.capture.from_torch import normalize
from oaq.capture.graph import FloatChannelFunction, FloatFunction, FloatNode
from oaq.errors import CalibrationError
from oaq.ptq.equalize import equalize
from oaq.ptq.execute import run_graph
from oaq.ptq.observe import observe
from oaq.ptq.options import Options
from oaq.ptq.quantize import quantize_with_report
from oaq.reference import run
from oaq.report.agreement import sqnr_db

ACTIVATIONS = {
    "silu": nn.SiLU(),
    "softshrink": nn.Softshrink(0.2),
    "prelu": nn.PReLU(6),
    "hardsigmoid": nn.Hardsigmoid(),
    "gelu": nn.GELU(),
}


def uneven(activation: nn.Module) -> nn.Module:
    """Two convolutions around a function, between channels of very different size."""
    torch.manual_seed(5)
    net = nn.Sequential(nn.Conv2d(2, 6, 3), activation, nn.Conv2d(6, 3, 3))
    with torch.no_grad():
        net[0].weight.mul_(torch.logspace(-1.5, 1, 6).view(6, 1, 1, 1))  # type: ignore[operator, union-attr]
        if isinstance(activation, nn.PReLU):
            activation.weight.copy_(torch.linspace(0.1, 0.6, 6))
    return net.eval()


def images(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 2, 9, 9, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_network_computes_the_same_and_its_channels_are_of_like_size(name: str) -> None:
    net, x = uneven(ACTIVATIONS[name]), images()
    graph = normalize(net, x)
    stats = observe(graph, [{graph.inputs[0]: x}])
    balanced = equalize(graph, stats, across_functions=True)
    y, again = (run_graph(g, x)[g.outputs[0]] for g in (graph, balanced.graph))
    assert torch.allclose(again, y, atol=1e-4 * float(y.abs().max()))
    before, after = (np.ptp(np.log2(np.maximum(-s["0"].lo, s["0"].hi))) for s in (stats, balanced.stats))
    assert before > 5 and after < 1
    assert isinstance(balanced.graph.nodes[1].op, FloatChannelFunction)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_integers_come_nearer_and_equal_the_reference(name: str) -> None:
    net, x = uneven(ACTIVATIONS[name]), images(16)
    exact, noise = net(x).detach().numpy(), []
    for across in (False, True):
        program, _ = quantize_with_report(net, [x.numpy()], Options(budget=None, across_functions=across))
        session = oaq.Session(oaq.plan(program))
        noise.append(sqnr_db(exact, np.asarray(session.run(x.numpy()))))
        integers = [np.asarray(np.random.default_rng(0).integers(0, 256, (2, 9, 9, 2)), np.uint8)]
        assert np.array_equal(session.run_integers(integers)[0], run(program, integers).outputs[0])
    assert noise[1] > noise[0] + (-2 if name == "hardsigmoid" else 2)  # whose results are of like size already


def test_without_the_option_functions_keep_one_table() -> None:
    net, x = uneven(nn.SiLU()), images()
    graph = normalize(net, x)
    balanced = equalize(graph, observe(graph, [{graph.inputs[0]: x}]))
    assert isinstance(balanced.graph.nodes[1].op, FloatFunction) and not balanced.factors


def test_what_a_function_does_not_tell_apart_counts_for_nothing() -> None:
    net, x = uneven(nn.Identity()), images()
    graph = normalize(net, x)
    edges = np.linspace(0.1, 0.6, 6)
    zeros = (0.0,) * 6
    shrink = FloatChannelFunction("polyline", (zeros, zeros, tuple(-edges), tuple(edges), tuple(-edges), tuple(edges)))
    shapes = {**graph.shapes, "shrunk": graph.shapes["0"]}
    nodes = (graph.nodes[0], FloatNode("shrink", shrink, ("0",), "shrunk"), replace(graph.nodes[1], inputs=("shrunk",)))
    graph = replace(graph, nodes=nodes, shapes=shapes)
    stats = observe(graph, [{graph.inputs[0]: x}])
    balanced = equalize(graph, stats, across_functions=True)
    size = np.maximum(-stats["0"].lo, stats["0"].hi)
    assert np.allclose(
        np.maximum(-balanced.stats["0"].lo, balanced.stats["0"].hi), balanced.factors["0"] * np.minimum(size, edges)
    )
    y, again = (run_graph(g, x)[g.outputs[0]] for g in (graph, balanced.graph))
    assert torch.allclose(again, y, atol=1e-4 * float(y.abs().max()))


def test_only_functions_may_be_asked_for() -> None:
    """Rows alone are scaled where columns are to stay: weights that are integers already keep them."""
    net, x = uneven(nn.SiLU()), images()
    program, report = quantize_with_report(net, [x.numpy()], Options(equalize=False, across_functions=True))
    assert set(report.factors) == {"0"}
    with pytest.raises(CalibrationError):
        Options(budget=0.5, across_functions=True)
    assert program.nodes
