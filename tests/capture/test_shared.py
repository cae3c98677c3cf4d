"""A module that is called several times keeps what its calls have together: the parameter, and which batch norm."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import nn

from oaq.capture.from_torch import normalize
from oaq.capture.graph import FloatConv2d
from oaq.capture.shared import shared_weights
from tests.qat.heads import X, pyramid


def test_every_level_is_the_parameter_times_numbers_of_its_own() -> None:
    net = pyramid()
    graph = normalize(net, X[:1])
    tower, predict = shared_weights(graph)
    assert tower.gains.keys() == {"tower", "tower:2"} and predict.gains.keys() == {"predict", "predict:2"}
    assert np.array_equal(tower.weight, net.tower.weight.detach().numpy()) and not tower.turned
    for index, node in enumerate(node for node in graph.nodes if node.name in tower.gains):
        assert isinstance(node.op, FloatConv2d)
        gain = tower.gains[node.name].reshape(-1, 1, 1, 1)
        assert np.allclose(node.op.weight, tower.weight * gain, rtol=1e-5)
        norm = net.norms[index]
        exact = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach().numpy()  # type: ignore[operator]
        assert np.allclose(gain.reshape(-1), exact, rtol=1e-6)
    assert np.array_equal(predict.gains["predict:2"], np.full(4, 1.7, np.float32))


def test_batch_norms_are_told_apart_by_what_they_are_not_by_where_they_stand() -> None:
    (own, bare), (one, _) = (shared_weights(normalize(pyramid(levels=levels), X[:1])) for levels in (True, False))
    assert len(set(own.norms.values())) == 2 and len(set(one.norms.values())) == 1
    assert set(bare.norms.values()) == {""}
    assert own.same_norm("tower:2") == "tower:2" and one.same_norm("tower:2") == "tower"
    assert bare.same_norm("predict:2") == "predict:2"


def test_channels_that_levels_turn_over_differently_are_named() -> None:
    tower, _ = shared_weights(normalize(pyramid(turned=True), X[:1]))
    assert tower.turned == (2, 3)


def test_channels_that_every_level_turns_over_are_turned_in_the_parameter() -> None:
    net = pyramid()
    with torch.no_grad():
        for norm in net.norms:
            norm.weight.neg_()  # type: ignore[operator]
    graph = normalize(net, X[:1])
    tower, _ = shared_weights(graph)
    assert not tower.turned and np.array_equal(tower.weight, -net.tower.weight.detach().numpy())
    assert all((gain > 0).all() for gain in tower.gains.values())


def test_weights_that_are_no_longer_the_parameter_are_their_own() -> None:
    graph = normalize(pyramid(), X[:1])
    nodes = tuple(
        dataclasses.replace(node, op=dataclasses.replace(node.op, weight=node.op.weight * 1.1))  # type: ignore[type-var, union-attr]
        if node.name == "tower:2"
        else node
        for node in graph.nodes
    )
    assert [weights.first for weights in shared_weights(dataclasses.replace(graph, nodes=nodes))] == ["predict"]


def test_what_is_called_once_shares_nothing() -> None:
    graph = normalize(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)).eval(), X[:1])
    assert shared_weights(graph) == ()
    assert all(node.op.shared is None for node in graph.nodes)  # type: ignore[union-attr]
