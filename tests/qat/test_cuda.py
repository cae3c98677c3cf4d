"""Training on a GPU: the integers there are the program's, tolerance 0; where there is none, all of it is NOT RUN."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import oaq
from oaq.capture.graph import FloatConv2d
from oaq.choose.target import Target
from oaq.numerics.cells import cells_from
from oaq.ptq.device_cells import on_device
from oaq.qat import Config, Loop, OverflowController, Training, convert, fit, parameter_groups, prepare, resume, targets
from oaq.qat.constrain import projected_rows
from oaq.qat.exact import convolved
from oaq.qat.gradients import EXACT_FLOAT32
from recipes.data.labelled import Labelled
from tests.qat.nets import ALL_METHODS, batch, config, differences, everything, everything_graph, net_graph, trained
from tests.qat.test_count import expected, loud
from tests.qat.test_exact import GEOMETRIES, conv, integers, plain

CUDA = torch.device("cuda")
LABELS = torch.tensor([1, 7, 3, 0], device=CUDA if torch.cuda.is_available() else None)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT RUN: there is no GPU that torch can use")


@pytest.fixture(autouse=True)
def reproducible() -> Iterator[None]:
    """Gradients in one order: what is compared between two trainings is then equal to the last bit."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        yield


def signs(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)).float() * 2 - 1


def extremes(x: tuple[int, ...], weight: tuple[int, ...], most: tuple[int, int]) -> Iterator[tuple[torch.Tensor, ...]]:
    """Operands and weights of the largest magnitudes, in orders that go as far as they can and come back."""
    yield torch.full(x, float(most[0])), torch.full(weight, float(most[1]))
    yield torch.full(x, -float(most[0])), torch.full(weight, float(most[1]))
    half = torch.full(weight, float(most[1]))
    half[:, weight[1] // 2 :] = -float(most[1])
    yield torch.full(x, float(most[0])), half
    yield most[0] * signs(x, 0), most[1] * signs(weight, 1)
    yield (most[0] - (signs(x, 2) > 0).float()) * signs(x, 3), (most[1] - (signs(weight, 4) > 0).float())
    yield integers(x, most[0], 5), integers(weight, most[1], 6)


@pytest.mark.parametrize(
    ("shape", "batch_size", "most"),
    [
        ((64, 57, 3, 3), 4, (255, 127)),
        ((64, 57, 3, 3), 128, (255, 127)),
        ((16, 1040, 3, 3), 1, (255, 7)),
        ((512, 1040, 3, 3), 2, (255, 7)),
        ((128, 518, 1, 1), 3, (255, 127)),
        ((8, 16384, 1, 1), 1, (255, 4)),
        ((5, 7, 3, 3), 3, (255, 127)),
    ],
    ids=str,
)
def test_sums_up_to_the_edge_of_float32_are_exact(
    shape: tuple[int, ...], batch_size: int, most: tuple[int, int]
) -> None:
    terms = shape[1] * shape[2] * shape[3]
    assert terms * most[0] * most[1] < EXACT_FLOAT32
    pad = shape[2] // 2
    op = FloatConv2d(np.zeros(shape, np.float32), np.zeros(shape[0], np.float32), padding=(pad, pad, pad, pad))
    for x, weight in extremes((batch_size, shape[1], 6, 6), shape, most):
        found = convolved(x.to(CUDA), weight.to(CUDA), op).cpu()
        assert torch.equal(found.double(), plain(x.double(), weight.double(), op))


@pytest.mark.parametrize("shape", [(32, 512, 3, 3), (10, 4096, 1, 1)], ids=str)
def test_sums_beyond_it_are_exact_in_float64(shape: tuple[int, ...]) -> None:
    op = FloatConv2d(np.zeros(shape, np.float32), np.zeros(shape[0], np.float32))
    for x, weight in extremes((2, shape[1], 4, 4), shape, (255, 127)):
        x, weight = x.double(), weight.double()
        assert torch.equal(convolved(x.to(CUDA), weight.to(CUDA), op).cpu(), plain(x, weight, op))


@pytest.mark.parametrize("name", GEOMETRIES)
def test_every_geometry_has_the_sums_and_gradients_of_the_cpu(name: str) -> None:
    op = conv(name)
    x, weight = integers((3, 6, 9, 8), 255, 0), integers(op.weight.shape, 127, 1)
    up = torch.randn(plain(x, weight, op).shape, generator=torch.Generator().manual_seed(2))
    results = []
    for device in (CUDA, torch.device("cpu")):
        a, b = x.to(device).requires_grad_(), weight.to(device).requires_grad_()
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            found = convolved(a, b, op)
            of_a, of_b = torch.autograd.grad((found * up.to(device)).sum(), (a, b))
        results.append((found.detach().cpu(), of_a.cpu(), of_b.cpu()))
    (mine, *gradients), (theirs, *wanted) = results
    assert torch.equal(mine, theirs)
    for one, other in zip(gradients, wanted, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize("statistics", ["fold", "reestimate"])
@pytest.mark.parametrize("method", ALL_METHODS)
def test_every_tensor_there_is_that_of_the_program_and_of_the_session(method: str, statistics: str) -> None:
    x = batch()
    network = prepare(everything_graph(), x, config(method, batch_norm=statistics), device=CUDA).to(CUDA)
    trained(network, x.to(CUDA), everything()(x).detach().to(CUDA))
    program, other = convert(network), batch(4, seed=1)
    assert differences(network, program, other.to(CUDA)) == []
    pytest.importorskip("oaq.kernels._native")
    found = oaq.Session(oaq.plan(program)).run(other.numpy())
    assert np.array_equal(np.asarray(found), network(other.to(CUDA)).detach().cpu().numpy())


@pytest.mark.parametrize("bits", [(2, 2), (4, 4), (3, 8), (8, 3)])
def test_at_any_number_of_bits(bits: tuple[int, int]) -> None:
    x = batch()
    narrow = config("none", weight_bits=bits[0], activation_bits=bits[1], first_last_bits=None)
    network = prepare(everything_graph(), x, narrow).to(CUDA)
    trained(network, x.to(CUDA), everything()(x).detach().to(CUDA))
    assert differences(network, convert(network), batch(4, seed=1).to(CUDA)) == []


def test_layers_whose_sums_float32_cannot_hold_are_exact_too() -> None:
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Conv2d(512, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 1))
    with torch.no_grad():
        wide[0].weight.abs_().add_(0.02)  # type: ignore[operator]
        wide[0].bias.fill_(50.0)  # type: ignore[operator]
    x = torch.rand(4, 512, 4, 4) + 1.0
    network = prepare(wide, x, config("none")).to(CUDA)
    numbers = network.layer["0"].numbers(network.grids()[network.graph.inputs[0]])
    assert float((numbers.rows.detach().abs().sum(dim=1) * 255).max()) > EXACT_FLOAT32
    assert differences(network, convert(network), (torch.rand(4, 512, 4, 4) + 1.0).to(CUDA)) == []


@pytest.mark.parametrize("over", [1, 2, 40])
def test_a_projection_gives_the_same_integers_every_time(over: int) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = 0.3 * torch.randn(40, 20000, generator=generator)
    rows[:over] *= 20
    rows = rows.to(CUDA)
    cells = on_device(cells_from(np.arange(20000)[None], 20000), CUDA)
    found = [projected_rows(rows, cells, (9000, 9000)) for _ in range(20)]
    assert all(torch.equal(one, found[0]) for one in found)
    assert float(torch.relu(found[0]).sum(dim=1).max()) <= 9000


def epoch(number: int, first: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for index in range(first, 3):
        yield batch(4, seed=10 * number + index).to(CUDA), LABELS


def noisy(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """A loss that draws from the GPU's generator, as dropout does."""
    return F.cross_entropy(0.1 * logits + 0.01 * torch.randn(logits.shape, device=CUDA), y)


def made(method: str = "oaq") -> Training:
    network = prepare(net_graph(nn.ReLU), batch(), config(method)).to(CUDA)
    optimizer = torch.optim.SGD(parameter_groups(network, 1e-3, 1e-4), 1e-3, momentum=0.9)
    controller = OverflowController(network, optimizer, interval=2, rate=0.2)
    torch.manual_seed(0)
    return Training(network, optimizer, noisy, epoch, controller)


def same(one: Training, other: Training) -> bool:
    mine, theirs = one.network.state_dict(), other.network.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("method", ["oaq", "proved", "a2q+"])
def test_killed_and_resumed_it_ends_with_the_same_weights(tmp_path: Path, method: str) -> None:
    whole, killed, again = made(method), made(method), made(method)
    torch.manual_seed(0)
    fit(whole, Loop(3))
    path = tmp_path / "run.ckpt"
    torch.manual_seed(0)
    fit(killed, Loop(3, checkpoint=path, checkpoint_every=2, stop_after=5))
    torch.manual_seed(999)
    loop = Loop(3, checkpoint=path)
    assert resume(again, loop)
    assert again.position.iteration == 4
    fit(again, loop)
    assert same(again, whole)
    assert not same(again, killed)


def test_under_autocast_the_same_integers_are_trained() -> None:
    plain_run, cast = made("proved"), made("proved")
    for run, bf16 in ((plain_run, False), (cast, True)):
        torch.manual_seed(1)
        fit(run, Loop(1, bf16=bf16))
    assert same(plain_run, cast)


@pytest.mark.parametrize(
    ("target", "count"),
    [
        (Target("avx2", 16), "final"),
        (Target("pure", 16), "register"),
        (Target("pure", 16, 24), "register"),
        (Target("avx2", 16, 2), "register"),
        (Target("neon", 16, 1), "register"),
    ],
    ids=str,
)
def test_overflows_are_counted_as_plain_integers_count_them(target: Target, count: str) -> None:
    controller, x = loud(target, count)
    controller.network.to(CUDA)
    found = {name: (one.wrong, one.most) for name, one in controller.count([x.to(CUDA)]).items()}
    wanted = expected(controller, x)
    assert found == wanted
    assert sum(wrong for wrong, _ in wanted.values()) > 0


def test_the_controller_narrows_until_nothing_overflows() -> None:
    controller, x = loud(Target("avx2", 16), "final")
    network = controller.network.to(CUDA)
    states = controller.finish([x.to(CUDA)])
    narrower = [one for one in states if one.alpha > 1.0]  # its first layers, and depthwise ones, are left as they are
    assert narrower
    assert all(one.overflows == 0 for one in narrower)
    assert differences(network, convert(network), x.to(CUDA)) == []


def test_the_penalty_is_the_cpu_s() -> None:
    network = prepare(net_graph(), batch(), Config("a2q", target=Target("pure", 14)))
    with torch.no_grad():
        for layer in network.layer.values():
            layer.log_norm.add_(3.0)  # type: ignore[union-attr]
    wanted = float(network.penalty().detach())
    assert wanted > 0.0
    assert float(network.to(CUDA).penalty().detach()) == pytest.approx(wanted, rel=1e-5)


def test_what_was_trained_there_is_proved_on_the_cpu() -> None:
    x = batch()
    network = prepare(everything_graph(), x, config("proved")).to(CUDA)
    trained(network, x.to(CUDA), everything()(x).detach().to(CUDA))
    wanted = targets(network)
    program = convert(network.cpu())
    assert all(one.proved for one in oaq.qat.verdicts(program, wanted))
    assert differences(network, program, batch(4, seed=1)) == []


def test_images_that_live_there_are_cut_mirrored_and_normalized_to_the_same_floats() -> None:
    pixels = torch.randint(0, 256, (64, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    data = Labelled(pixels, torch.arange(64) % 10, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    there = data.to(CUDA)
    for (x, y), (other_x, other_y) in zip(data.epoch(16, 3, 1), there.epoch(16, 3, 1), strict=True):
        assert torch.equal(x, other_x.cpu())
        assert torch.equal(y, other_y.cpu())
    for (x, _), (other_x, _) in zip(data.batches(10), there.batches(10), strict=True):
        assert torch.equal(x, other_x.cpu())
