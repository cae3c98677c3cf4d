"""The loop: killed anywhere it goes on as if nothing had been, and it stops with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from oaq.errors import ConfigError, FormatError, TrainingError
from oaq.qat import (
    Loop,
    OverflowController,
    Position,
    QatNetwork,
    Training,
    cosine,
    fit,
    load_checkpoint,
    parameter_groups,
    prepare,
    resume,
    save_checkpoint,
)
from tests.qat.nets import batch, config, net_graph

LABELS = torch.tensor([1, 7, 3, 0])
STEPS = 9


def epoch(number: int, first: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Three batches that depend on the epoch only."""
    for index in range(first, 3):
        yield batch(4, seed=10 * number + index), LABELS


def noisy(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """A loss that draws from the global generator, as dropout does."""
    return F.cross_entropy(0.1 * logits + 0.01 * torch.randn(logits.shape), y)


def made(method: str = "oaq", seed: int = 0, **changes: object) -> Training:
    statistics = {"batch_norm": "reestimate"} if method == "none" else {}
    network = prepare(net_graph(nn.ReLU), batch(), config(method, **statistics, **changes))
    optimizer = torch.optim.SGD(parameter_groups(network, 1e-3, 1e-4), 1e-3, momentum=0.9)
    controller = OverflowController(network, optimizer, interval=2, rate=0.2)
    torch.manual_seed(seed)  # here: capturing the network for the first time draws numbers too
    return Training(network, optimizer, noisy, epoch, controller, factor=cosine(STEPS))


def state(run: Training) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in run.network.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@settings(max_examples=5)
@given(stop=st.integers(1, STEPS - 1), every=st.integers(1, 4), method=st.sampled_from(("oaq", "proved", "none")))
def test_killed_at_any_step_and_resumed_it_ends_with_the_same_weights(
    tmp_path_factory: pytest.TempPathFactory, stop: int, every: int, method: str
) -> None:
    path = tmp_path_factory.mktemp("run") / "run.ckpt"
    whole = made(method)
    fit(whole, Loop(3))
    killed = made(method)
    fit(killed, Loop(3, checkpoint=path, checkpoint_every=every, stop_after=stop))
    assert killed.position.iteration == stop
    again = made(method)
    torch.manual_seed(999)  # another process begins with other random numbers
    loop = Loop(3, checkpoint=path, checkpoint_every=every)
    if resume(again, loop):
        assert again.position.iteration == stop // every * every
    else:
        assert stop < every
        again = made(method)
    fit(again, loop)
    assert again.position == whole.position == Position(3, 0, STEPS)
    assert same(state(again), state(whole))
    assert again.controller is not None
    assert whole.controller is not None
    assert again.controller.state_dict() == whole.controller.state_dict()


def test_accumulated_batches_are_one_step_on_their_mean() -> None:
    run, loop = made("proved"), Loop(1, accumulate=2)
    fit(run, loop)
    assert run.position == Position(1, 0, 2)  # two batches, then the one left over
    one = made("proved")
    batches = list(epoch(0))
    two = made("proved")
    for run, accumulate, batches_of in (
        (one, 1, [(torch.cat([batches[0][0], batches[1][0]]), torch.cat([LABELS, LABELS]))]),
        (two, 2, batches[:2]),
    ):
        run.epoch = lambda number, first, found=batches_of: found
        run.loss = F.cross_entropy
        fit(run, Loop(1, accumulate=accumulate))
    for name, value in state(one).items():
        assert torch.allclose(value.double(), state(two)[name].double(), atol=1e-6), name


def test_under_autocast_the_same_integers_are_trained() -> None:
    plain, cast = made("proved"), made("proved")
    losses: list[list[float]] = [[], []]
    for run, bf16, seen in ((plain, False, losses[0]), (cast, True, losses[1])):
        torch.manual_seed(1)
        run.on_step = lambda iteration, loss, rate, seen=seen: seen.append(loss)
        fit(run, Loop(1, bf16=bf16))
    assert same(state(plain), state(cast))
    assert losses[0] == losses[1]


def test_a_loss_that_is_not_finite_stops_with_the_state_before_it(tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    run = made("proved")
    run.loss = lambda logits, y: F.cross_entropy(logits, y) * (float("nan") if run.position.iteration == 4 else 1.0)
    with pytest.raises(
        TrainingError, match=r"loss is nan at iteration 4 \(epoch 1\); training stops\. .*\.lost\. Lower"
    ):
        fit(run, Loop(2, checkpoint=path))
    kept = made("proved")
    position, _ = load_checkpoint(
        path.with_name("run.ckpt.lost"), kept.network, kept.optimizer, controller=kept.controller
    )
    assert position == Position(1, 1, 4)
    assert all(bool(torch.isfinite(value).all()) for value in state(kept).values())
    assert not path.exists()


def test_a_loss_that_is_not_finite_without_a_checkpoint_says_so() -> None:
    run = made("proved")
    run.loss = lambda logits, y: F.cross_entropy(logits, y) / 0.0
    with pytest.raises(TrainingError, match=r"loss is inf at iteration 0 .*No checkpoint was asked for"):
        fit(run, Loop(1))


def test_an_empty_loader_is_an_error() -> None:
    run = made("proved")
    run.epoch = lambda number, first: []
    with pytest.raises(TrainingError, match="epoch 0 holds no batch: the loader is empty"):
        fit(run, Loop(1))


@pytest.mark.parametrize("what", ["epochs", "accumulate", "checkpoint_every"])
def test_a_loop_of_nothing_is_refused(what: str) -> None:
    with pytest.raises(ConfigError, match=f"{what} is a whole number, at least 1; not 0"):
        Loop(**{"epochs": 1, **{what: 0}})  # type: ignore[arg-type]


def saved(tmp_path: Path) -> tuple[Path, Training]:
    run, path = made("proved"), tmp_path / "a.ckpt"
    save_checkpoint(path, run.network, run.optimizer, Position(1, 2, 5), controller=run.controller, extra={"best": 0.5})
    return path, run


def test_a_checkpoint_brings_back_everything(tmp_path: Path) -> None:
    path, run = saved(tmp_path)
    other = made("proved", seed=1)
    with torch.no_grad():
        for value in other.network.parameters():
            value.add_(1.0)
    found = load_checkpoint(path, other.network, other.optimizer, controller=other.controller)
    assert found == (Position(1, 2, 5), {"best": 0.5})
    assert same(state(run), state(other))


def test_a_checkpoint_of_another_network_or_config_is_refused(tmp_path: Path) -> None:
    path, _ = saved(tmp_path)
    other = made("proved", weight_bits=4)
    with pytest.raises(TrainingError, match="of another run: its config or name differs"):
        load_checkpoint(path, other.network, other.optimizer, controller=other.controller)
    plain = nn.Linear(3, 3)
    with pytest.raises(TrainingError, match="of another run: its tensors differ: _layers"):
        load_checkpoint(path, plain, torch.optim.SGD(plain.parameters(), 0.1))
    assert isinstance(other.network, QatNetwork)


def test_a_checkpoint_of_another_set_up_is_refused(tmp_path: Path) -> None:
    path, run = saved(tmp_path)
    with pytest.raises(TrainingError, match="holds a controller's state, this run is set up otherwise"):
        load_checkpoint(path, run.network, run.optimizer)
    single = torch.optim.SGD(run.network.parameters(), 0.1)
    with pytest.raises(TrainingError, match="of another optimizer"):
        load_checkpoint(path, run.network, single, controller=run.controller)


@pytest.mark.parametrize("size", [0, 1, 100, 5000])
def test_a_checkpoint_that_was_cut_off_is_refused(tmp_path: Path, size: int) -> None:
    path, run = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:size])
    before = state(run)
    with pytest.raises(FormatError, match="is not a checkpoint, or is damaged"):
        load_checkpoint(path, run.network, run.optimizer, controller=run.controller)
    assert same(before, state(run))


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    run = made("proved")
    with pytest.raises(FormatError, match="cannot be read: No such file"):
        load_checkpoint(tmp_path / "none", run.network)
    with pytest.raises(FormatError, match="cannot be read: embedded null byte"):
        load_checkpoint(tmp_path / "no\0ne", run.network)
    torch.save({"schema": 1}, tmp_path / "other")
    with pytest.raises(FormatError, match="is not a checkpoint of schema 1"):
        load_checkpoint(tmp_path / "other", run.network)


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    run = made("proved")
    with pytest.raises(FormatError, match="cannot be written"):
        save_checkpoint(tmp_path / "missing" / "a.ckpt", run.network, run.optimizer, Position())


def test_the_learning_rate_rises_and_falls() -> None:
    factor = cosine(10, warmup=2)
    assert [factor(0), factor(1), factor(2)] == [0.5, 1.0, 1.0]
    assert factor(6) == pytest.approx(0.5)
    assert factor(10) == pytest.approx(0.0, abs=1e-12)
