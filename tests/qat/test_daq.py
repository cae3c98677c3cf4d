"""DAQ in training: the forward pass is the program, static and dynamic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import oaq
from oaq import qat
from oaq.errors import ConfigError
from oaq.ptq import Daq
from tests.ptq.test_daq import Blocks, batches


@pytest.mark.parametrize("mode", ["static", "dynamic"])
@pytest.mark.parametrize("bits", [2, 3])
def test_training_lowers_the_loss_and_converts_to_its_own_integers(mode: str, bits: int) -> None:
    net = Blocks().eval()
    x = torch.from_numpy(np.concatenate(batches()))
    with torch.no_grad():
        exact = net(x)
    config = qat.Config(method="none", daq=Daq(bits, mode, weight_bits=bits))  # type: ignore[arg-type]
    network = qat.prepare(net, x, config)
    network.train()
    optimizer, losses = torch.optim.Adam(network.parameters(), 1e-4), []
    for _ in range(30):
        loss = torch.nn.functional.mse_loss(network(x), exact)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert min(losses[-5:]) < losses[0]
    network.eval()
    program = qat.convert(network)
    with torch.no_grad():
        np.testing.assert_array_equal(network(x).numpy(), oaq.Session(oaq.plan(program)).run(x.numpy()))
    oaq.verify(program).raise_if_unsafe()
    levels = [spec for name, spec in program.tensors.items() if name.endswith(".levels")]
    assert len(levels) == (2 if mode == "static" else 4)
    if mode == "static":
        assert all(spec.affine.scale == 1.0 for spec in levels)
    clip = 2 ** (bits - 1) - 1
    narrow = [node for node in program.summing_nodes() if node.name.startswith(("first", "second"))]
    assert all(np.abs(node.products.weight).max() <= clip for node in narrow)


def test_what_does_not_go_together_is_refused() -> None:
    for fields in ({"method": "proved"}, {"method": "oaq"}, {"method": "none", "ranges": "observed"}):
        with pytest.raises(ConfigError, match="daq trains with method none, learned ranges and symmetric weights"):
            qat.Config(daq=Daq(), **fields)
    with pytest.raises(ConfigError, match="midrise"):
        qat.Config(method="none", daq=Daq(weights="midrise", weight_bits=4))


def test_a_config_with_levels_is_read_back_as_it_was_written() -> None:
    config = qat.Config(method="none", daq=Daq(3, "dynamic", "gauss", weight_bits=4, mixed=True, layers="first.*"))
    assert qat.from_yaml(qat.to_yaml(config), qat.Config) == config
