"""Overflows in training are counted exactly: as many as plain integers give, in every register."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from oaq import operators as ops
from oaq.choose.target import Target
from oaq.numerics.formats import S16
from oaq.qat import Config, OverflowController, convert, prepare
from oaq.reference import run
from oaq.reference.packing import lanes, packed_operands, packed_weights
from oaq.runtime.values import to_integers
from tests.qat.nets import batch, everything_graph


def loud(target: Target, count: str) -> tuple[OverflowController, torch.Tensor]:
    """A network whose weights are so large that every kind of register is left somewhere."""
    network = prepare(everything_graph(), batch(), Config("oaq-clip", target=target, count=count))  # type: ignore[arg-type]
    with torch.no_grad():
        for layer in network.layer.values():
            layer.weight.abs_().add_(layer.weight.abs().mean())
    return OverflowController(network, rate=1.0), batch(4, seed=3)


def expected(controller: OverflowController, x: torch.Tensor) -> dict[str, tuple[int, int]]:
    """Overflows and largest magnitude of every layer by the reference's lanes, one Python-sized step at a time."""
    network = controller.network
    program = convert(network)
    tensors = run(program, to_integers(program, x.numpy())).tensors
    found = {}
    for node in program.summing_nodes():
        op, given, zero = node.op, tensors[node.inputs[0]].astype(np.uint8), program.specs(node)[0].affine.zero_point
        assert isinstance(op, ops.Products)
        layer = network.layer[node.name]
        target = Target("pure", 16) if layer.count_final or layer.target is None else layer.target
        accumulator = target.accumulator(depthwise=layer.depthwise)
        steps = packed_weights(op, accumulator.step).shape[1] // accumulator.step
        run_of = target.run or steps
        wrong = most = 0
        for start in range(0, steps, run_of):
            held = lanes(op, given, zero, accumulator, (start, min(run_of, steps - start)))
            wrong += int(((held < accumulator.range.lo) | (held > accumulator.range.hi)).sum())
            most = max(most, int(np.abs(held).max()))
        if accumulator.group_overflow == "saturates":
            wrong += pairs(op, given, zero, accumulator.step)
        found[node.name] = (wrong, most)
    return found


def pairs(op: ops.Products, x: np.ndarray, zero_point: int, step: int) -> int:
    operands = packed_operands(op, x, zero_point, step).astype(np.int64)
    weight = packed_weights(op, step).astype(np.int64).reshape(operands.shape[0], -1, operands.shape[2])
    products = np.einsum("gmk,gnk->gmnk", operands, weight)
    sums = products[..., ::2] + products[..., 1::2]
    return int(((sums < S16.lo) | (sums > S16.hi)).sum())


@pytest.mark.parametrize(
    ("target", "count"),
    [
        (Target("avx2", 16), "final"),
        (Target("pure", 16), "register"),
        (Target("pure", 19), "register"),
        (Target("pure", 16, 24), "register"),
        (Target("avx2", 16), "register"),
        (Target("avx2", 16, 2), "register"),
        (Target("neon", 16, 1), "register"),
    ],
    ids=str,
)
def test_counts_are_those_of_plain_integers(target: Target, count: str) -> None:
    controller, x = loud(target, count)
    found = {name: (one.wrong, one.most) for name, one in controller.count([x]).items()}
    wanted = expected(controller, x)
    assert found == wanted
    assert sum(wrong for wrong, _ in wanted.values()) > 0


def test_batches_add_up_and_the_network_is_left_as_it_was() -> None:
    controller, x = loud(Target("avx2", 16, 4), "register")
    controller.network.train()
    whole, parts = controller.count([x]), controller.count([x[:1], x[1:]])
    for name, one in whole.items():
        assert (parts[name].wrong, parts[name].sums, parts[name].samples) == (one.wrong, one.sums, 4)
    assert controller.network.training
    assert all(layer.counted is None for layer in controller.network.layer.values())


def test_one_sum_beyond_the_register_is_one_overflow() -> None:
    net = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 2))
    x = torch.ones(1, 4)
    network = prepare(net, x, Config("oaq-clip", target=Target("pure", 16), count="register"))
    with torch.no_grad():
        layer = network.layer["0"]
        assert layer.log_scale is not None
        layer.weight.copy_(torch.tensor([[33.0, 32.0, 32.0, 32.0], [32.0, 32.0, 32.0, 32.0]]))
        layer.log_scale.fill_(0.0)
    found = OverflowController(network, rate=1.0).count([x])["0"]
    assert (found.wrong, found.sums, found.most) == (1, 2, 255 * 129)
    assert 255 * 128 <= S16.hi < found.most
