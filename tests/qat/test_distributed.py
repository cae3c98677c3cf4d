"""Two processes train what one does on the same batches, and never disagree about an alpha."""

from __future__ import annotations

import socket
import traceback
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from oaq.qat import Dither, Loop, OverflowController, Training, fit, parameter_groups, prepare
from oaq.qat.distributed import greatest, processes, total, total_through
from tests.qat.nets import batch, config, net_graph

LABELS = torch.tensor([1, 7, 3, 0, 2, 2, 9, 5])
METHODS = ("oaq", "none")
"""Between them: counts, moving alphas, observed ranges; learned scales, batch norms over all processes."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def train(method: str, share: slice) -> tuple[dict[str, torch.Tensor], list[int]]:
    """Six steps on this process's share of eight images; the state and the overflows counted."""
    statistics = {"batch_norm": "reestimate"} if method == "none" else {}
    network = prepare(net_graph(nn.ReLU), batch(), config(method, **statistics))
    optimizer = torch.optim.SGD(parameter_groups(network, 1e-4), 1e-4, momentum=0.9)
    seen: list[int] = []
    controller = OverflowController(
        network, optimizer, interval=2, rate=0.3, log=lambda states: seen.extend(one.overflows for one in states)
    )
    wrapped = DistributedDataParallel(network) if processes() > 1 else network
    run = Training(
        wrapped,
        optimizer,
        lambda logits, y: F.cross_entropy(0.1 * logits, y),
        lambda number, first: [(batch(8, seed=number)[share], LABELS[share])],
        controller,
    )
    fit(run, Loop(6))
    controller.finish([batch(8, seed=7)[share]])
    return {name: value.clone() for name, value in network.state_dict().items()}, seen


def dithered_gradients(share: slice, worker: tuple[int, int] | None = None) -> list[torch.Tensor]:
    """Of the weights of a dithered network, on this process's share of eight images or as ``worker``."""
    network = prepare(net_graph(nn.ReLU), batch(), config("none", dither=Dither(scale=1.0)))
    network.train()
    assert network.ditherer is not None
    network.ditherer.worker = worker
    wrapped = DistributedDataParallel(network) if processes() > 1 else network
    F.cross_entropy(0.1 * wrapped(batch(8, seed=1)[share]), LABELS[share]).backward()
    return [layer.weight.grad for layer in network.layer.values()]  # type: ignore[misc]


def worker(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    try:
        found = {method: train(method, slice(rank, None, 2)) for method in METHODS}
        sums = total(torch.tensor([rank + 1.0])), greatest(torch.tensor([float(rank), -float(rank)]))
        x = torch.tensor([float(rank + 1)], requires_grad=True)
        (total_through(x) * (rank + 1.0)).sum().backward()
        gradients = dithered_gradients(slice(rank, None, 2))
        torch.save((found, sums, x.grad, gradients), Path(folder) / f"{rank}.pt")
    except Exception:
        (Path(folder) / f"{rank}.txt").write_text(traceback.format_exc())
        raise
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[tuple]:
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(worker, (free_port(), str(folder)), nprocs=2)  # type: ignore[attr-defined]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("method", METHODS)
def test_every_process_holds_the_same_network_to_the_bit(ranks: list[tuple], method: str) -> None:
    (one, first), (other, second) = ranks[0][0][method], ranks[1][0][method]
    assert first == second
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_train_what_one_does(ranks: list[tuple], method: str) -> None:
    found, counted = ranks[0][0][method]
    wanted, alone = train(method, slice(None))
    assert counted == alone
    assert sum(counted) > 0
    for name, value in wanted.items():
        assert torch.allclose(found[name].double(), value.double(), rtol=1e-3, atol=1e-4), name
        if name.endswith(("alpha", "clip", "steps")):
            assert torch.equal(found[name], value), name


def test_alphas_moved_at_all(ranks: list[tuple]) -> None:
    state = ranks[0][0]["oaq"][0]
    assert max(float(value) for name, value in state.items() if name.endswith("alpha")) > 1.0


def test_sums_and_maxima_are_over_all_processes(ranks: list[tuple]) -> None:
    for _, (added, most), gradient, _ in ranks:
        assert added.tolist() == [3.0]
        assert most.tolist() == [1.0, 0.0]
        assert gradient.tolist() == [3.0]


def test_processes_draw_their_own_dither_and_average_it(ranks: list[tuple]) -> None:
    together = [state[3] for state in ranks]
    assert all(torch.equal(one, other) for one, other in zip(*together, strict=True))
    shares = [dithered_gradients(slice(rank, None, 2), (rank, 2)) for rank in range(2)]
    same = [dithered_gradients(slice(rank, None, 2), (0, 2)) for rank in range(2)]
    for average, one, other in zip(together[0], *shares, strict=True):
        assert torch.allclose(average, (one + other) / 2, rtol=1e-4, atol=1e-7)
    assert not any(
        torch.equal(own, alike) for own, alike in zip(shares[1][:-1], same[1][:-1], strict=True)
    )  # not the head


def test_alone_they_are_the_numbers_themselves() -> None:
    x = torch.tensor([1.5, -2.0])
    assert processes() == 1
    assert all(function(x) is x for function in (total, greatest, total_through))
