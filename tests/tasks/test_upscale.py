"""Images: PSNR and SSIM by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from oaq.data.preprocess import Preprocess
from oaq.data.window import Window
from oaq.errors import ProgramError
from oaq.tasks.upscale import Upscaler, decode_image, draw_image, luma, psnr, ssim, upscale


def test_psnr_by_hand():
    image = np.full((4, 4), 0.5)
    assert psnr(image, image) == math.inf
    assert psnr(image, image + 0.1) == pytest.approx(20.0)


def test_ssim_is_one_of_equals_falls_with_noise_and_needs_a_window():
    rng = np.random.default_rng(0)
    image = rng.random((24, 30))
    assert ssim(image, image) == pytest.approx(1.0)
    assert ssim(image + rng.normal(0, 0.1, image.shape), image) < 0.95
    flat, other = np.full((11, 11), 0.2), np.full((11, 11), 0.6)
    assert ssim(flat, other) == pytest.approx((2 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4))
    with pytest.raises(ValueError, match="11 x 11"):
        ssim(image[:10], image[:10])


def test_white_is_235_of_255_in_luma():
    assert luma(np.ones((1, 1, 3)))[0, 0] * 255 == pytest.approx(235, abs=0.01)
    assert luma(np.zeros((1, 1, 3)))[0, 0] * 255 == pytest.approx(16)


def test_an_output_is_scaled_between_black_and_white_and_cut():
    decoder = Upscaler(low=-1.0, high=1.0)
    assert decode_image(decoder, {"y": np.array([[[-1.0, 0.0], [1.0, 5.0]]])}).tolist() == [[0.0, 0.5], [1.0, 1.0]]
    assert decode_image(decoder, {"y": np.zeros((3, 4, 5))}).shape == (4, 5, 3)
    with pytest.raises(ProgramError, match=r"1 or 3, rows, columns\)"):
        decode_image(decoder, {"y": np.zeros((2, 4, 5))})


def test_scores_leave_a_border_out_and_pictures_are_the_image():
    task = upscale(Preprocess((8, 8)), Upscaler(border=2))
    true = np.random.default_rng(0).random((16, 16))
    answer = true.copy()
    answer[0] = 0.0
    signal, _ = task.metrics
    assert signal.compute([answer], [true]) == math.inf
    assert task.draw(np.zeros((8, 8, 3), np.uint8), answer, Window(0, 0, 8, 8)).shape == (16, 16, 3)
    assert task.entries(answer, Window(0, 0, 8, 8), (8, 8)) == [{"height": 16, "width": 16}]
    with pytest.raises(ValueError, match="an image of"):
        signal.compute([true], [true[:8]])


def test_images_too_small_for_a_metric_are_refused_and_what_is_nan_is_black():
    signal, likeness = upscale(Preprocess((8, 8)), Upscaler(border=2)).metrics
    assert signal.compute([np.zeros((5, 5))], [np.zeros((5, 5))]) == math.inf
    for metric, side in ((signal, 4), (likeness, 14)):
        with pytest.raises(ProgramError, match="is taken on"):
            metric.compute([np.zeros((side, side))], [np.zeros((side, side))])
    pixels = np.array([[np.nan, np.inf], [-np.inf, 1.0]])
    assert decode_image(Upscaler(low=-1.0, high=3.0), {"y": pixels}).tolist() == [[0.0, 1.0], [0.0, 0.5]]


def test_luma_takes_the_colour_of_what_the_network_saw() -> None:
    decoder = Upscaler(luma=True)
    photo = np.zeros((20, 30, 3), np.uint8)
    photo[:, 10:20] = (200, 40, 90)
    window = Window(10, 0, 10, 20)
    answer = np.full((40, 20), luma(photo[:1, 12:13] / 255)[0, 0])
    picture = draw_image(decoder, photo, answer, window)
    assert picture.shape == (40, 20, 3) and np.abs(picture[20, 10].astype(int) - [200, 40, 90]).max() <= 1
    brighter = draw_image(decoder, photo, answer + 0.1, window)[20, 10].astype(int)
    assert np.ptp(brighter - [200, 40, 90]) <= 1 and brighter[0] > 220
    grey = draw_image(Upscaler(), photo, answer, window)
    assert (grey == grey[0, 0, 0]).all()
    beyond = draw_image(decoder, photo, answer, Window(-5, -5, 50, 50))  # photos that were padded
    assert beyond.shape == (40, 20, 3)
