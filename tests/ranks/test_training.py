"""Networks of lines and tokens trained for a step: what training computes is what the converted program computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import oaq
from oaq import qat
from tests.ranks.chain import check_chain, extremes_first
from tests.ranks.networks import Keywords, Tokens, trained

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "keywords": (Keywords, (5, 33)),
    "tokens": (Tokens, (9, 12)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_trained_network_is_its_program_in_the_order_of_the_module(name: str, tmp_path: Path) -> None:
    make, shape = NETWORKS[name]
    batches = extremes_first(shape, 8)
    x = torch.from_numpy(batches[-1])
    network = qat.prepare(trained(make()), x, calibration=[x])
    results = network.train()(x)
    sum(y.square().mean() for y in (results if isinstance(results, tuple) else (results,))).backward()  # type: ignore[union-attr]
    torch.optim.SGD(network.parameters(), 1e-3).step()
    program = qat.convert(network.eval())
    with torch.no_grad():
        results = network(x)
    values = oaq.Session(oaq.plan(program)).run(batches[-1])
    pairs = zip(
        results if isinstance(results, tuple) else (results,),
        values if isinstance(values, tuple) else (values,),
        strict=True,
    )
    for expected, value in pairs:
        np.testing.assert_array_equal(value, expected.numpy())
    check_chain(program, batches, tmp_path)
