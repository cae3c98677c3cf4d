"""Networks in the published form: made by ``quantize_exact``, run by the reference, near the float network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from oaq.errors import CalibrationError
from oaq.overflow.three_sums import three_bounds
from oaq.ptq.exact import quantize_exact
from oaq.ptq.options import Options
from oaq.ptq.pieces import Piecewise
from oaq.ptq.quantize import quantize
from oaq.reference import run_exact
from oaq.runtime.values import to_floats, to_integers
from tests.ptq.nets import images, net


def noise(bits: int, **options: object) -> float:
    """Noise at the outputs in parts of their power."""
    model, x = net(), np.concatenate(list(images(16, seed=7)))
    weights = Piecewise(bits, form="exact")
    exact = quantize_exact(model, images(16), Options(budget=None, weights=weights, **options))  # type: ignore[arg-type]
    assert {node.name for node in exact.program.summing_nodes()} == set(exact.layers)
    assert all(three_bounds(exact, name).fits for name in exact.layers)
    tensors = run_exact(exact, to_integers(exact.program, x))
    (rounded,) = to_floats(exact.program, [tensors[name] for name in exact.program.outputs])
    with torch.inference_mode():
        real = model(torch.from_numpy(x)).numpy()
    return float(((rounded - real) ** 2).sum() / (real**2).sum())


def test_more_bits_are_more_precise_and_eight_are_as_good_as_eight() -> None:
    errors = [noise(bits) for bits in (2, 4, 6, 8)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 10 * errors[1]
    assert errors[3] < 2e-3


def test_correction_pays() -> None:
    assert noise(3, correct_bias=True) < noise(3, correct_bias=False)


def test_each_form_is_made_by_its_own_function() -> None:
    with pytest.raises(CalibrationError, match="three sums for each output, which no program holds"):
        quantize(net(), images(8), weights=Piecewise(4, form="exact"))
    for options in (
        Options(),
        Options(weights="piecewise"),
        Options(weights=Piecewise(4, form="exact"), requantize="fixed_point"),
    ):
        with pytest.raises(CalibrationError, match=r"quantize_exact is of weights=Piecewise\(form='exact'\)"):
            quantize_exact(net(), images(8), options)
    with pytest.raises(CalibrationError, match="form of piecewise weights is one of integer, exact"):
        Piecewise(4, form="half")  # type: ignore[arg-type]
    assert Piecewise(8, form="exact").bits == 8
    with pytest.raises(CalibrationError, match="not of 9"):
        Piecewise(9, form="exact")
