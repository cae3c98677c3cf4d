"""Inputs made up for calibration: nearer to what batch norms remember, and refused where nothing is remembered."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from oaq.capture.from_float_onnx import normalize as normalize_onnx
from oaq.capture.from_torch import normalize
from oaq.capture.graph import FloatGraph
from oaq.data.preprocess import Preprocess
from oaq.errors import CalibrationError
from oaq.ptq.equalize import equalize
from oaq.ptq.observe import observe
from oaq.ptq.quantize import quantize
from oaq.ptq.samples import chunks
from oaq.ptq.synthetic import Synthetic, distance_from_norms, make_up

QUICK = Synthetic(count=4, batch=4, steps=6)


def module() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
        nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12, affine=False), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5),
    )  # fmt: skip


def trained(scale: float = 1.0) -> tuple[nn.Sequential, torch.Tensor]:
    """A network whose batch norms remember a batch, and that batch."""
    net = module()
    x = 0.4 * scale * torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(1)) + 0.3
    with torch.no_grad():
        net[1].weight.uniform_(0.5, 1.5)
        net[1].weight[2] = -0.7
        net[1].bias.normal_(0, 0.2)
    for norm in (net[1], net[4]):
        norm.momentum = None
    net.train()(x)
    return net.eval(), x


def graph() -> FloatGraph:
    return normalize(trained()[0], torch.zeros(1, 3, 16, 16))


def test_what_a_batch_norm_remembers_is_what_its_layer_gives_on_the_data() -> None:
    net, x = trained()
    captured = normalize(net, x[:1])
    assert list(captured.norms) == ["0", "3"]
    for name, layers in (("0", net[:2]), ("3", net[:5])):
        with torch.no_grad():
            y = layers(x)
        mean, deviation = captured.norms[name]
        assert np.allclose(mean, y.mean(dim=(0, 2, 3)).numpy(), atol=2e-3)
        assert np.allclose(deviation, y.std(dim=(0, 2, 3)).numpy(), rtol=2e-3)
    with torch.no_grad():
        assert float(distance_from_norms(captured, x)) < 1e-4
        assert float(distance_from_norms(captured, 2 * x)) > 0.01


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_onnx_file_that_keeps_its_batch_norms_says_the_same(tmp_path: Path) -> None:
    net, x = trained()
    torch.onnx.export(
        net, (x[:1],), str(tmp_path / "net.onnx"), dynamo=False, do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE,
    )  # fmt: skip
    captured, from_torch = normalize_onnx(str(tmp_path / "net.onnx")), normalize(net, x[:1])
    norms = list(captured.norms.values())
    assert len(norms) == 2
    for (mean, deviation), (other_mean, other_deviation) in zip(norms, from_torch.norms.values(), strict=True):
        assert np.allclose(mean, other_mean, atol=1e-6)
        assert np.allclose(deviation, other_deviation, atol=1e-6)


def test_a_layer_that_is_scaled_once_more_remembers_nothing() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.conv(x)) * 3.0

    assert normalize(Scaled().eval(), torch.zeros(1, 3, 8, 8)).norms == {}


def test_equalised_graphs_forget_statistics_that_are_not_theirs() -> None:
    captured = graph()
    x = torch.randn(8, 3, 16, 16)
    assert equalize(captured, observe(captured, chunks(captured, [x]))).graph.norms == {}


def test_inputs_come_nearer_to_the_statistics_and_stay_pixels() -> None:
    captured, preprocess, told = graph(), Preprocess((16, 16), None, (0.5,) * 3, (0.25,) * 3), []
    made = make_up(captured, QUICK, preprocess, lambda *progress: told.append(progress))
    assert made.after < 0.9 * made.before
    (x,) = made.batches
    assert x.shape == (4, 3, 16, 16)
    assert x.dtype == np.float32
    assert x.min() >= -2.0 - 1e-6
    assert x.max() <= 2.0 + 1e-6
    with torch.no_grad():
        assert float(distance_from_norms(captured, torch.from_numpy(x))) == pytest.approx(made.after, rel=1e-4)
    assert [step for step, _, _ in told] == [1, 2, 3, 4, 5, 6]


def test_a_classifier_is_surer_of_them_where_it_is_asked_to_be() -> None:
    net, x = trained()
    captured = normalize(net, x[:1])
    widths = []
    for sureness in (0.0, 1.0):
        (inputs,) = make_up(captured, dataclasses.replace(QUICK, steps=20, sureness=sureness)).batches
        with torch.no_grad():
            logits = net(torch.from_numpy(inputs))
        widths.append(float((logits.amax(1) - logits.mean(1)).mean()))
    assert widths[1] > 1.2 * widths[0]
    with pytest.raises(CalibrationError, match="sureness is finite, at least 0; not -1"):
        Synthetic(sureness=-1)


def test_answers_that_are_no_vector_have_no_classes() -> None:
    torch.manual_seed(0)
    maps = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    captured = normalize(maps.eval(), torch.zeros(1, 3, 8, 8))
    settings = dataclasses.replace(QUICK, count=5, batch=2)
    made = [make_up(captured, dataclasses.replace(settings, sureness=sureness)) for sureness in (0.0, 1.0)]
    assert made[0].after == made[1].after
    assert [len(batch) for batch in made[0].batches] == [2, 2, 1]
    assert all(np.array_equal(x, y) for x, y in zip(made[0].batches, made[1].batches, strict=True))


def test_the_same_seed_makes_the_same_inputs() -> None:
    again = [make_up(graph(), Synthetic(count=4, batch=2, steps=2, seed=seed)).batches for seed in (0, 0, 1)]
    assert [len(batches) for batches in again] == [2, 2, 2]
    assert all(np.array_equal(x, y) for x, y in zip(again[0], again[1], strict=True))
    assert not np.array_equal(again[0][0], again[2][0])


def test_networks_of_vectors_begin_at_noise() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))
    net.train()(3 * torch.randn(256, 20))
    made = make_up(normalize(net.eval(), torch.zeros(1, 20)), QUICK)
    assert made.after < made.before
    assert made.batches[0].shape == (4, 20)


def test_a_program_made_of_them_is_near_the_one_made_of_data() -> None:
    net, x = trained()
    captured = normalize(net, x[:1])
    programs = [quantize(captured, batches) for batches in (make_up(captured, QUICK).batches, [x])]
    scales = [[tensor.affine.scale for tensor in program.tensors.values()] for program in programs]
    assert np.all(np.abs(np.log2(np.array(scales[0]) / np.array(scales[1]))) < 2)


def test_where_nothing_is_remembered_it_is_said() -> None:
    plain = normalize(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval(), torch.zeros(1, 3, 8, 8))
    with pytest.raises(CalibrationError, match="remembers no statistics of its data: no batch norm stands behind"):
        make_up(plain)
    assert np.isnan(make_up(plain, Synthetic("pictures", count=2)).after)
    vector = normalize(nn.Sequential(nn.Linear(4, 3)).eval(), torch.zeros(1, 4))
    with pytest.raises(CalibrationError, match=r"reads \(4,\), no pictures"):
        make_up(vector, Synthetic("pictures"))
    for wrong, words in (({"kind": "data"}, "one of statistics, pictures"), ({"count": 0}, "count is a whole number")):
        with pytest.raises(CalibrationError, match=words):
            Synthetic(**wrong)  # type: ignore[arg-type]
