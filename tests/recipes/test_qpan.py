"""Restoration by unfolded iterations: sampling to the bit, files that others wrote, networks and activations."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from oaq.errors import FormatError, Mismatch
from oaq.kernels.table import cpu_isas
from oaq.ptq.options import Options
from oaq.verify import Executor, ort, run
from recipes.ledger import Ledger
from recipes.qpan import __main__ as command
from recipes.qpan import comparison, executors, fourier, networks, samples, settings, train, training_data
from recipes.qpan.blocks import BlockNetwork, answer_photos, by_float
from recipes.qpan.chain import (
    FINE,
    Form,
    by_reference,
    chain_of,
    differing,
    float_run,
    fourier_measurement,
    in_planes,
    natively,
    require_lawful,
)
from recipes.qpan.pictures import panels
from recipes.qpan.scoring import METRICS, clipped
from recipes.qpan.slices import CALIBRATED, SCORED
from recipes.qpan.weights import quantize_weights, rounded, settle_weights

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (4, 8), (7, 5), (12, 30), (64, 32)])
def test_the_transform_is_that_of_numpy(shape: tuple[int, int]) -> None:
    real, imaginary = RNG.normal(size=(2, 3, *shape))
    y = fourier.transform((real, imaginary))
    assert np.allclose(y[0] + 1j * y[1], np.fft.fft2(real + 1j * imaginary), atol=1e-11)


def test_sampling_and_back_is_a_projection() -> None:
    image, mask = RNG.random((16, 12)), (RNG.random((16, 12)) < 0.4).astype(np.float64)
    through = fourier.project(image, mask)
    assert np.allclose(through, np.fft.ifft2(mask * np.fft.fft2(image)).real, atol=1e-13)
    assert np.allclose(fourier.project(image, np.ones_like(mask)), image, atol=1e-13)
    normal = networks.fourier_normal(mask)
    assert np.allclose(normal(torch.from_numpy(image)[None, None].float())[0, 0], through, atol=1e-5)


def test_the_transform_has_the_same_bits_everywhere() -> None:
    image = (np.arange(48 * 30, dtype=np.float64).reshape(48, 30) ** 2) % 257 / 256
    y = fourier.zero_filled(fourier.sample_spectrum(image, (image > 0.3).astype(np.float64)))
    assert hashlib.sha256(y.astype("<f8").tobytes()).hexdigest() == DIGEST
    cosines, sines = fourier.unit_circle(8)
    assert cosines.tolist() == [1.0, 0.5**0.5, 0.0, -(0.5**0.5), -1.0, -(0.5**0.5), 0.0, 0.5**0.5]
    assert sines.tolist() == [0.0, 0.5**0.5, 1.0, 0.5**0.5, 0.0, -(0.5**0.5), -1.0, -(0.5**0.5)]


DIGEST = "0a5c6d2bbbe0ef872a9b2e6ecb492a269dd1f70fb3a6b77851c9b3ad6c214fd5"


def archive(path: Path, width: int = 32, phases: int = 2) -> Path:
    """Random weights under the names of ISTA-Net+."""
    sizes = {"lambda_step": (1,), "soft_thr": (1,), "conv_D": (width, 1, 3, 3), "conv_G": (1, width, 3, 3)}
    sizes |= {f"conv{at}_{way}": (width, width, 3, 3) for at in (1, 2) for way in ("forward", "backward")}
    arrays = {
        f"fcs.{at}.{name}": abs(RNG.normal(0, 0.05, size)) - 0.03 * (len(size) > 1)
        for at in range(phases)
        for name, size in sizes.items()
    }
    np.savez(path, **{name: values.astype(np.float32) for name, values in arrays.items()})
    return path


def test_published_weights_compute_what_their_authors_write(tmp_path: Path) -> None:
    path = archive(tmp_path / "w.npz", phases=1)
    weights = {name.removeprefix("fcs.0."): torch.from_numpy(v) for name, v in np.load(path).items()}
    x, b, mask = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8), (RNG.random((8, 8)) < 0.5).astype(np.float64)
    normal = networks.fourier_normal(mask)
    with torch.no_grad():
        y = networks.published(path)(x, b, normal)
        r = x - weights["lambda_step"] * normal(x) + weights["lambda_step"] * b
        c = r
        for name in ("conv_D", "conv1_forward", "conv2_forward"):
            c = torch.conv2d(torch.relu(c) if name == "conv2_forward" else c, weights[name], padding=1)
        c = torch.sign(c) * torch.relu(c.abs() - weights["soft_thr"])
        for name in ("conv1_backward", "conv2_backward", "conv_G"):
            c = torch.conv2d(torch.relu(c) if name == "conv2_backward" else c, weights[name], padding=1)
    assert torch.allclose(y, r + c, atol=1e-5)


@pytest.mark.parametrize("content", [b"", b"PK\3\4 nothing", b"\x93NUMPY"])
def test_weights_that_are_no_archive_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.npz").write_bytes(content)
    with pytest.raises(FormatError, match="archive of arrays"):
        networks.published(tmp_path / "w.npz")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="other shapes"):
        networks.published(archive(tmp_path / "w.npz", width=16))
    np.savez(tmp_path / "v.npz", a=np.zeros(3))
    with pytest.raises(FormatError, match="holds 1 arrays"):
        networks.published(tmp_path / "v.npz")
    arrays = dict(np.load(archive(tmp_path / "w.npz")))
    np.savez(tmp_path / "w.npz", **{name: np.full_like(values, np.inf) for name, values in arrays.items()})
    with pytest.raises(FormatError, match="not finite"):
        networks.published(tmp_path / "w.npz")


@pytest.mark.parametrize("shape", [(33, 33), (34, 70), (5, 99)])
def test_blocks_are_joined_as_they_were_cut(shape: tuple[int, int]) -> None:
    image = RNG.random(shape)
    blocks = samples.cut(image)
    assert blocks.shape[1] == 33 * 33 and np.array_equal(samples.join(blocks, shape), image)
    assert np.array_equal(blocks[0].reshape(33, 33)[: shape[0], : shape[1]], image[:33, :33])


def test_blocks_are_measured_by_their_matrix() -> None:
    matrix_, image = RNG.normal(size=(7, 1089)), RNG.random((40, 33))
    sampling = samples.BlockSampling(matrix_, RNG.normal(size=(1089, 7)))
    blocks = samples.measured_blocks("photo", image, sampling)
    assert blocks.measured.shape == (2, 7) and blocks.start.shape == (2, 1089)
    x = torch.from_numpy(samples.cut(image)).float().view(-1, 1, 33, 33)
    back = networks.block_normal(matrix_, 33)(x).flatten(1)
    assert np.allclose(back, blocks.measured @ matrix_, atol=1e-2)


def test_scores_are_of_whole_images_clipped_and_not_rounded() -> None:
    truth = RNG.random((20, 20))
    answer = clipped(truth + 0.001)
    assert METRICS[0].compute([answer], [truth]) == pytest.approx(-20 * np.log10(0.001), abs=0.5)
    assert METRICS[1].compute([truth], [truth]) == pytest.approx(1.0)
    assert clipped(np.array([-3.0, 0.5, 2.0])).tolist() == [0.0, 0.5, 1.0]


def small_net(phases: int = 2, width: int = 4) -> networks.Unfolded:
    torch.manual_seed(4)
    net = networks.Unfolded([networks.LinearPhase(width, ("soft", "firm", "scad")) for _ in range(phases)])
    return net.eval()


def small_slices(count: int = 2, side: int = 16) -> tuple[list[samples.Slice], np.ndarray]:
    mask = training_data.line_mask(side, 0.3)
    images = [np.clip(RNG.random((side, side)).cumsum(0) / side, 0, 1) for _ in range(count)]
    return [samples.measured_slice(f"slice {at}", image, mask) for at, image in enumerate(images)], mask


@pytest.mark.parametrize("form", [Form(1, "float"), Form(2, "float"), Form(1, "u8"), Form(2, "u8")])
def test_programs_between_islands_have_the_integers_of_the_reference(form: Form) -> None:
    slices, mask = small_slices()
    net, measurement = small_net(), fourier_measurement(slices, mask)
    exact, inputs = float_run(net, measurement)
    chain = chain_of(net, inputs, form, Options(budget=None, across_functions=True))
    images, integers = chain.run(measurement, natively(chain))
    again, same = chain.run(measurement, by_reference(chain))
    assert differing(integers, same) == 0 and np.array_equal(images, again)
    assert np.abs(images - exact).max() < (0.02 if form.trunk == "float" else 0.05)
    assert [island.name for island in chain.islands] == [f"data step {at}: Fourier, float64" for at in (0, 1)]


def test_every_executor_runs_the_programs_of_a_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    slices, mask = small_slices(1)
    net, measurement = small_net(), fourier_measurement(slices, mask)
    chain = chain_of(net, float_run(net, measurement)[1], Form(), Options(budget=None, across_functions=True))
    assert executors.verified_chain(chain, measurement) >= len(cpu_isas())
    session = ort.NAME
    monkeypatch.setattr(run, "onnxruntime_executor", lambda *_parts: Executor(session, True, "", 9, 3))
    with pytest.raises(Mismatch, match="3 integers differ"):
        executors.verified_chain(chain, measurement)


def test_differing_integers_are_counted() -> None:
    a = [np.zeros((1, 2, 2, 1), np.uint8), np.ones((1, 2, 2, 1), np.uint8)]
    assert differing(a, a) == 0 and differing(a, [a[1], a[1]]) == 4


def test_integers_that_differ_from_the_reference_are_refused() -> None:
    law = [np.arange(6, dtype=np.uint8).reshape(1, 6)]
    outputs = [np.concatenate([law[0], law[0] + 1])]
    require_lawful("the first image", outputs, law)
    with pytest.raises(Mismatch, match="both: 6 integers differ"):
        require_lawful("both", outputs, [np.concatenate([law[0], law[0]])])


def test_two_planes_hold_more_of_an_image_than_one() -> None:
    slices, mask = small_slices()
    net, measurement = small_net(), fourier_measurement(slices, mask)
    _, inputs = float_run(net, measurement)
    options = Options(budget=None, across_functions=True)
    errors = []
    for planes in (1, 2):
        program = chain_of(net, inputs, Form(planes), options).programs[0]
        spec = program.tensors[program.inputs[0]]
        steps = in_planes(inputs[0], program, planes).astype(np.float64) - spec.affine.zero_point
        real = (steps * float(spec.affine.scale) / np.array([1.0, FINE])[:planes]).sum(axis=-1)
        errors.append(float(np.abs(real - inputs[0]).max()))
    assert errors[1] < errors[0] / 4


def test_the_whole_block_network_is_the_iteration() -> None:
    matrix_ = np.linalg.qr(RNG.normal(size=(1089, 40)))[0].T
    sampling = samples.BlockSampling(matrix_, matrix_.T)
    net = small_net()
    photo = samples.measured_blocks("photo", RNG.random((33, 66)), sampling)
    start, back = (torch.from_numpy(x).float().view(-1, 1, 33, 33) for x in (photo.start, photo.measured @ matrix_))
    with torch.no_grad():
        expected = net(start, back, networks.block_normal(matrix_, 33)).flatten(1).numpy()
    answer = by_float(BlockNetwork(net, sampling).eval())
    assert np.allclose(answer(photo.measured.astype(np.float32)), expected, atol=1e-4)
    (image,) = answer_photos(answer, [photo])
    assert image.shape == (33, 66) and image.min() >= 0 and image.max() <= 1


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_weights_of_few_bits_are_integers_of_one_scale(bits: int) -> None:
    weight = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    weight[3] = 0
    near = rounded(weight, bits)
    for row in near.flatten(1):
        levels = torch.unique(row.abs())
        steps = levels[levels > 0] / levels[levels > 0].min() if bool((levels > 0).any()) else levels
        assert len(torch.unique(row)) <= max(2**bits - 1, 2)
        assert bits > 4 or torch.allclose(steps * 12, (steps * 12).round(), atol=1e-3)
    best = rounded(near, bits)
    assert torch.allclose(best, near, atol=1e-6)  # rounding again changes nothing


def test_gradients_move_the_float_weights_that_the_forward_pass_rounds() -> None:
    net = small_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    quantize_weights(net, 2)
    x = torch.rand(2, 1, 9, 9)
    net(x, x, lambda z: 0.5 * z).square().sum().backward()
    stored = net.phases[0].analyse.parametrizations.weight.original  # type: ignore[union-attr]
    assert torch.equal(stored, before["phases.0.analyse.weight"]) and bool(stored.grad.abs().sum() > 0)
    settle_weights(net)
    assert len(torch.unique(net.phases[0].analyse.weight[0])) <= 3  # type: ignore[union-attr, index]


def test_equalized_shrinkages_leave_the_network_as_it_is() -> None:
    net, images = small_net(), torch.rand(4, 1, 12, 12)
    problem = training_data.Problem(images, lambda z: 0.5 * z, lambda z: 0.5 * z)
    start = 0.5 * images
    with torch.no_grad():
        before = net(start, start, problem.normal)
        train.equalize_shrink(net, problem, 4)
        assert torch.allclose(net(start, start, problem.normal), before, atol=1e-5)


def test_training_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(12, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    problem = training_data.Problem(images, lambda z: 0.5 * z, lambda z: 0.5 * z)
    monkeypatch.setattr(train, "problem_of", lambda _task: problem)
    monkeypatch.setattr(train, "SAVE_EVERY", 2)
    course = train.Course("mri", "average", 4, phases=1, width=4, steps=8, batch=4)
    whole = train.trained(course, tmp_path / "whole").state_dict()
    real = train.loss_of
    calls = []

    def stops(*arguments: object) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(train, "loss_of", stops)
    with pytest.raises(KeyboardInterrupt):
        train.trained(course, tmp_path / "parts")
    monkeypatch.setattr(train, "loss_of", real)
    again = train.trained(course, tmp_path / "parts").state_dict()
    assert all(torch.equal(again[name], whole[name]) for name in whole)
    assert (tmp_path / "parts" / "mri-average-w4-seed0.csv").read_text().startswith("step,psnr\n")
    with pytest.raises(FormatError, match="holds weights of 8 steps, not 6"):
        train.trained(replace(course, bits=None, steps=6), tmp_path / "parts")


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_lines_measure_the_share_and_the_middle(share: float) -> None:
    mask = training_data.line_mask(32, share)
    assert share <= mask.mean() < share + 0.15 and mask[0, 0] == 1 and set(np.unique(mask)) <= {0.0, 1.0}


def test_pictures_show_five_images(tmp_path: Path) -> None:
    image = RNG.random((40, 50))
    picture = panels(image, image * 0.5, image * 0.9, image * 0.95)
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[1] >= 5 * 50


def test_settings_are_compared_on_slices_that_nothing_else_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not set(settings.HELD) & {*SCORED, *CALIBRATED}
    labels = [settings.label_of(*setting) for setting in settings.SETTINGS]
    assert len(set(labels)) == len(labels) and labels[0] == "middle of 96, mse, axe"
    slices, mask = small_slices()
    monkeypatch.setattr(settings, "read_mask", lambda _path: mask)
    monkeypatch.setattr(settings, "read_slices", lambda _folder, _mask, numbers: slices[: len(numbers)])
    monkeypatch.setattr(settings, "published", lambda _path: small_net())
    ledger = Ledger(tmp_path / "rows.json", "python", (), benchmark="qpan")
    settings.run_settings(tmp_path, ledger, "biases left")
    rows = [dict(row) for row in ledger.result().rows]
    assert [row["levels"] for row in rows] == ["float", *(label for label in labels if "biases left" in label)]
    assert all(abs(float(row["below float, dB"])) < 3 for row in rows[1:])


def test_the_command_that_is_recorded_has_what_rows_depend_on(tmp_path: Path) -> None:
    flags = argparse.Namespace(experiment="train", task="mri", seeds=2, floats=True, only="", data=None)
    assert command._command(flags) == "python -m recipes.qpan train --task mri --seeds 2 --floats"
    facts = {"data": "free", "seeds": "2", "programs of integers": "no"}
    assert dict(command._facts(flags)) == facts
    flags.experiment, flags.only, flags.data = "blocks", "W8", tmp_path
    (tmp_path / "blocks").mkdir()
    (tmp_path / "blocks" / "phi").write_bytes(b"1")
    first = command._facts(flags)
    (tmp_path / "blocks" / "phi").write_bytes(b"2")
    assert len(first) == 1 and command._facts(flags) != first
    assert command._command(flags) == "python -m recipes.qpan blocks --data DIR"


def test_experiments_say_what_data_they_miss(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert command.main(["slices", "--out", str(tmp_path)]) == 2
    assert "--data names the folder" in capsys.readouterr().err
    assert command.main(["train", "--seeds", "0", "--out", str(tmp_path)]) == 2
    assert "--seeds 0" in capsys.readouterr().err
    assert command.main(["blocks", "--data", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_the_comparison_has_a_row_for_each_activation_and_width(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = training_data.line_mask(16, 0.3)
    normal = networks.fourier_normal(mask)
    images = torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    problem = training_data.Problem(images, normal, normal)
    slices, _ = small_slices()
    trial = comparison.Trial(
        "two", [part.image for part in slices], fourier_measurement(slices, mask), list, "Fourier, float64"
    )
    rows = [
        train.Course("mri", activation, bits, 0, phases=1, width=4, steps=2, batch=2)
        for bits in (None, 4, 2)
        for activation in train.SETS
    ]
    for module in (train, comparison):
        monkeypatch.setattr(module, "problem_of", lambda _task: problem)
    monkeypatch.setattr(comparison, "trial_of", lambda _task, _data: trial)
    monkeypatch.setattr(comparison, "courses", lambda _tasks, _seeds: rows)
    ledger = Ledger(tmp_path / "rows.json", "python", (), benchmark="qpan")
    comparison.compare("mri", 1, None, tmp_path / "weights", ledger)
    heads = [dict(row) for row in ledger.result().rows]
    assert [row["levels"] for row in heads[1:3]] == ["mri: soft, float", "mri: average, float"] and len(heads) == 7
    for row in heads[1:]:
        as_trained, integers = float(row["as trained"].split()[0]), float(row["integers, A8, seed 0"])
        assert abs(as_trained - integers) < 1.0, row
