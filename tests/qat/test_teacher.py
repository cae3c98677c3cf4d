"""Distillation: the loss is the formula's, the teacher is frozen and no part of checkpoints, wrong ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from oaq.errors import ConfigError, TrainingError
from oaq.ptq.execute import run_graph
from oaq.qat import Loop, Teacher, Training, convert, fit, parameter_groups, prepare, resume
from oaq.qat.teacher import GraphModule, Lesson
from tests.qat.nets import batch, config, differences, net_graph
from tests.qat.test_loop import LABELS, epoch

CPU = torch.device("cpu")


def run_of(teacher: Teacher | None) -> Training:
    network = prepare(net_graph(nn.ReLU), batch(), config("none"))
    optimizer = torch.optim.SGD(parameter_groups(network, 1e-3), 1e-3, momentum=0.9)
    return Training(network, optimizer, lambda logits, y: F.cross_entropy(0.1 * logits, y), epoch, teacher=teacher)


class Constant(nn.Module):
    """Answers what it was made with; counts how often it was asked."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer, self.asked = answer, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.asked += 1
        return self.answer[: len(x)]


@pytest.mark.parametrize(("weight", "heat"), [(0.0, 4.0), (0.9, 4.0), (1.0, 1.0)])
def test_the_loss_is_that_of_the_formula(weight: float, heat: float) -> None:
    wanted, outputs = torch.randn(2, 4, 10, generator=torch.Generator().manual_seed(0))
    network = prepare(net_graph(nn.ReLU), batch(), config("none"))
    lesson = Lesson(Teacher(Constant(wanted), weight, heat), network, CPU)
    own = F.cross_entropy(outputs, LABELS)
    p, q = torch.softmax(wanted / heat, dim=1), torch.softmax(outputs / heat, dim=1)
    expected = (1 - weight) * own + weight * heat**2 * (p * (p / q).log()).sum(dim=1).mean()
    assert float(lesson.loss(batch(4), outputs, own)) == pytest.approx(float(expected), rel=1e-5)


def test_a_teacher_that_agrees_leaves_the_part_of_the_labels() -> None:
    outputs = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    network = prepare(net_graph(nn.ReLU), batch(), config("none"))
    lesson = Lesson(Teacher(Constant(outputs)), network, CPU)
    assert float(lesson.loss(batch(4), outputs, torch.tensor(3.0))) == pytest.approx(0.3, abs=1e-5)


def test_segmenters_are_taught_pixel_by_pixel() -> None:
    wanted, outputs = torch.randn(2, 2, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    network = prepare(net_graph(nn.ReLU), batch(), config("none"))
    loss = Lesson(Teacher(Constant(wanted), 1.0, 1.0), network, CPU).loss(batch(2), outputs, torch.tensor(0.0))
    flat = [values.movedim(1, -1).reshape(-1, 5) for values in (wanted, outputs)]
    alone = F.kl_div(flat[1].log_softmax(1), flat[0].log_softmax(1), log_target=True, reduction="batchmean")
    assert float(loss) == pytest.approx(float(alone), rel=1e-5)


def test_the_float_network_it_began_as_teaches_logits_and_layers() -> None:
    graph = net_graph(nn.ReLU)
    x = batch(4, seed=2)
    module = GraphModule(graph)
    wanted = run_graph(graph, x)
    assert torch.equal(module(x, (graph.nodes[0].output,)), wanted[graph.outputs[0]])
    assert torch.equal(module.features[graph.nodes[0].output], wanted[graph.nodes[0].output])
    network = prepare(graph, batch(), config("none"))
    first = next(iter(network.layer))
    lesson = Lesson(Teacher(features=(first,), weight=0.0, feature_weight=2.0), network, CPU)
    network.train()
    outputs = network(x)
    name = next(iter(network.watched))
    unlike = (network.features[name] - wanted[name]).square().mean() / wanted[name].square().mean()
    loss = lesson.loss(x, outputs, torch.tensor(1.0))
    assert float(loss.detach()) == pytest.approx(1.0 + 2.0 * float(unlike.detach()), rel=1e-5)
    loss.backward()
    assert network.layer[first].weight.grad is not None
    later = list(network.layer)[-1]
    gradient = network.layer[later].weight.grad
    assert gradient is None or not gradient.any()  # features teach what lies before them


def test_training_with_it_is_exact_brings_the_pupil_nearer_and_leaves_the_teacher_alone() -> None:
    run = run_of(Teacher(weight=1.0, features=(".*",)))
    graph, network = run.plain.graph, run.plain  # type: ignore[union-attr]
    x = batch(4, seed=0)
    before = {node.name: node.op.weight.copy() for node in graph.nodes if hasattr(node.op, "weight")}

    def distance() -> float:
        network.eval()
        with torch.no_grad():
            return float((network(x) - run_graph(graph, x)[graph.outputs[0]]).square().mean())

    start = distance()
    fit(run, Loop(8))
    assert distance() < start
    assert network.watched == frozenset()
    assert network.features == {}
    assert all((node.op.weight == before[node.name]).all() for node in graph.nodes if node.name in before)
    program = convert(network)  # type: ignore[arg-type]
    assert not differences(network, program, x)  # type: ignore[arg-type]


def test_a_resumed_run_has_the_weights_of_one_that_was_not_stopped_and_the_same_teacher(tmp_path: Path) -> None:
    teacher, path = Teacher(features=(".*conv.*", ".*")), tmp_path / "run.ckpt"
    whole = run_of(Teacher(features=(".*",)))
    fit(whole, Loop(2))
    killed = run_of(Teacher(features=(".*",)))
    fit(killed, Loop(2, checkpoint=path, checkpoint_every=2, stop_after=4))
    again = run_of(Teacher(features=(".*",)))
    assert resume(again, Loop(2, checkpoint=path))
    fit(again, Loop(2))
    ends = [run.network.state_dict() for run in (whole, again)]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
    for other in (None, Teacher(weight=0.5), teacher):
        with pytest.raises(TrainingError, match="it was taught by the float network, weight"):
            resume(run_of(other), Loop(2, checkpoint=path))


def test_batches_are_asked_about_once_each() -> None:
    asked = Constant(torch.zeros(4, 10))
    fit(run_of(Teacher(asked)), Loop(1, accumulate=2))
    assert asked.asked == 3


def test_what_cannot_teach_is_one_line() -> None:
    for wrong, words in (
        ({"weight": 1.5}, "weight is 0 to 1, not 1.5"),
        ({"temperature": 0.0}, "temperature is positive"),
        ({"feature_weight": -1.0}, "feature_weight is at least 0"),
        ({"features": ("(",)}, "is not a regular expression"),
        ({"module": nn.ReLU(), "features": (".*",)}, "layers of another network have other outputs"),
    ):
        with pytest.raises(ConfigError, match=words):
            Teacher(**wrong)  # type: ignore[arg-type]
    network = prepare(net_graph(nn.ReLU), batch(), config("none"))
    with pytest.raises(ConfigError, match="'nothing' matches no layer; there are"):
        Lesson(Teacher(features=("nothing",)), network, CPU)
    with pytest.raises(ConfigError, match="a float network in training has none"):
        Lesson(Teacher(), nn.ReLU(), CPU)
    narrow = Lesson(Teacher(Constant(torch.zeros(4, 7))), network, CPU)
    with pytest.raises(ConfigError, match=r"its answers are \(4, 7\), the network's \(4, 10\)"):
        narrow.loss(batch(4), torch.zeros(4, 10), torch.tensor(0.0))
    with pytest.raises(ConfigError, match="networks of one output are taught"):
        narrow.loss(batch(4), (torch.zeros(4, 10),), torch.tensor(0.0))
