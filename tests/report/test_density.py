"""Zeros, bit operations, entropies: counted by hand on small layers."""

from __future__ import annotations

from dataclasses import replace
from math import log2

import numpy as np
import pytest

from oaq.errors import ProgramError
from oaq.kernels.plan import plan
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.report import build_report, from_json, to_json
from oaq.report.data import Evidence
from oaq.report.density import bit_operations, density, entropy, neural_efficiency, totals
from oaq.report.density_facts import LayerEntropy, NeuralEfficiency
from oaq.report.html.page import render
from oaq.report.text import to_text
from tests.strategies import Builder, conv2d, linear


def test_the_published_bit_operations_of_the_jet_tagger() -> None:
    layers = [(16, 64), (64, 32), (32, 32), (32, 5)]
    for bits, wanted in ((32, 4_652_832), (12, 1_003_552), (8, 583_968), (6, 412_960), (4, 267_808)):
        assert (
            round(sum(bit_operations(size, 1.0, bits if at else 32, bits) for at, size in enumerate(layers))) == wanted
        )
    pruned = sum(bit_operations(size, 0.2, 6 if at else 32, 6) for at, size in enumerate(layers))
    assert round(pruned) == 162_592


def test_zeros_of_a_convolution_are_counted_at_every_position() -> None:
    op = conv2d(np.random.default_rng(0), (4, 2, 2, 3))
    weight = np.full((4, 2, 2, 3), 7, np.int8)
    weight[1] = 0
    weight[..., 2] = 0
    op = replace(op, weight=weight, bias=np.array([0, 0, 1, 1], np.int32))
    found = density(op, IntRange(0, 63), (5, 6, 4))
    assert (found.weights, found.zeros, found.unread, found.silent) == (48, 24, 1, 1)
    assert found.products == 30 * 24
    assert found.bit_operations == pytest.approx(30 * 4 * 12 * (26 / 52 * 6 * 4 + 6 + 4 + log2(12)))
    assert found.steps is found.skipped is None


def test_entropies_of_states() -> None:
    assert entropy([5]) == 0.0
    assert entropy([1] * 8) == 3.0
    builder = Builder()
    x = builder.input((2,), Affine(1.0, 0))
    op = linear(np.random.default_rng(0), (2, 2))
    op = replace(op, weight=np.eye(2, dtype=np.int8), bias=np.zeros(2, np.int32))
    builder.add(op, [x], Affine(1.0, 0), name="same")
    program = builder.finish()
    corners = np.array([[0, 0], [0, 255], [255, 0], [255, 255]], np.uint8)
    found = neural_efficiency(program, [corners, corners], 0.5)
    assert found == NeuralEfficiency(8, (LayerEntropy("same", 2, 2.0),), 0.5)
    assert found.efficiency == 1.0
    assert found.aiq == pytest.approx(0.25 ** (1 / 3))
    silent = neural_efficiency(program, [corners[:1]])
    assert (silent.efficiency, silent.aiq) == (0.0, None)
    with pytest.raises(ProgramError, match="observed on samples; none was given"):
        neural_efficiency(program, [])
    with pytest.raises(ProgramError, match="lies between 0 and 1"):
        neural_efficiency(program, [corners], 76.0)


def test_zeros_stand_in_every_form_of_the_report() -> None:
    builder = Builder("pruned")
    x = builder.input((4, 4, 64))
    op = conv2d(np.random.default_rng(1), (32, 1, 1, 64), kind="small")
    weight = op.weight.copy()
    weight[..., :48] = 0
    builder.add(replace(op, weight=weight), [x], name="conv")
    neural = NeuralEfficiency(10, (LayerEntropy("conv", 32, 3.0),), 0.9)
    data = build_report(plan(builder.finish(), "avx2"), Evidence(neural=neural))
    zeros = data.layers[0].density
    assert zeros is not None
    assert zeros.steps is not None
    assert zeros.skipped == zeros.steps * 3 // 4
    total = totals([zeros])
    assert total is not None
    assert total.sparsity >= 0.75
    text = to_text(data)
    assert "weights that are zero" in text
    assert f"{zeros.skipped} of {zeros.steps}" in text
    assert "3.00 of 32" in text
    assert "aIQ" in text
    assert '<section id="zeros">' in render(data)
    again = from_json(to_json(data))
    assert again.layers[0].density == zeros
    assert again.neural == neural
