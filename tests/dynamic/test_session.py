"""Native execution of dynamic layers: every bit is the reference's."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from oaq.dynamic import DynamicSession, plan_layer, quantize_rows, run_reference
from oaq.dynamic.law import Law
from oaq.errors import AccumulatorOverflow, ProgramError
from oaq.kernels.table import cpu_isas
from oaq.numerics.affine import Affine
from tests.dynamic.layers import layer, weights

LAWS: tuple[Law, ...] = ("tensor", "row", "row_s8")


def test_layers_that_share_rows_are_computed_together() -> None:
    shapes = ((16, 24), (1, 24), (50, 24))
    layers = [layer(weight, zero) for shape in shapes for _, weight, zero in weights(shape)]
    session = DynamicSession([plan_layer(dynamic) for dynamic in layers], threads=2)
    x = np.random.default_rng(0).normal(size=(2, 3, 24)).astype(np.float32)
    for result, dynamic in zip(session.run(x), layers, strict=True):
        assert np.array_equal(result, run_reference(dynamic, x))


def test_a_constant_scale_is_computed_as_the_reference_does() -> None:
    weight = np.random.default_rng(0).integers(-128, 128, (9, 21)).astype(np.int8)
    dynamic = replace(layer(weight), law="constant", constant=Affine(0.02, 100))
    x = np.random.default_rng(0).normal(size=(7, 21)).astype(np.float32)
    x[0, 0], x[1, 1] = np.inf, -np.inf
    assert np.array_equal(DynamicSession(plan_layer(dynamic)).run(x)[0], run_reference(dynamic, x))


@pytest.mark.parametrize("isa", list(cpu_isas()))
def test_values_at_and_beside_the_middle_of_two_integers_round_as_the_quotient_does(isa: str) -> None:
    from oaq.kernels import _native

    rng = np.random.default_rng(0)
    for scale in (0.1, 1 / 3, 0.013, 7.7e-5, 1e-38, 3e35):
        middle = ((rng.integers(-255, 255, 4096) + 0.5) * scale).astype(np.float32)
        x = np.concatenate(
            [middle, np.nextafter(middle, np.float32(np.inf)), np.nextafter(middle, -np.float32(np.inf))]
        )
        constant = Affine(scale, 128)
        q, s, z = np.empty((1, x.size), np.uint8), np.empty(1, np.float32), np.empty(1, np.int32)
        law = _native.Quantization("constant", constant.scale, 128)
        assert _native.quantize_rows(x[None], q, s, z, law, isa) == -1
        assert np.array_equal(q, quantize_rows(x[None], "constant", constant).q)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("rows", [3, 300])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_without_a_scale_is_named(law: Law, rows: int, value: float) -> None:
    dynamic = layer(np.ones((40, 5), np.int8), law=law)
    x = np.ones((rows, 5), np.float32)
    x[2, 4] = value
    for threads in (1, 2):
        session = DynamicSession(plan_layer(dynamic), threads)
        with pytest.raises(ProgramError, match="row 2 of a dynamic layer's input"):
            session.run(x)


def test_rows_quantized_by_others_are_multiplied_exactly() -> None:
    rng = np.random.default_rng(3)
    for _, weight, zero in weights((20, 30)):
        dynamic = layer(weight, zero, "row")
        rows = quantize_rows(rng.normal(size=(50, 30)).astype(np.float32), "row")
        result = DynamicSession(plan_layer(dynamic), threads=2).run_quantized(rows)[0]
        from oaq.dynamic.reference import multiply

        assert np.array_equal(result, multiply(dynamic, rows))


def test_sessions_run_in_several_threads_at_once() -> None:
    dynamic = layer(np.random.default_rng(0).integers(-64, 65, (64, 64)).astype(np.int8))
    session = DynamicSession(plan_layer(dynamic), threads=2)
    batches = [np.random.default_rng(seed).normal(size=(100, 64)).astype(np.float32) for seed in range(16)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda x: session.run(x)[0], batches))
    for x, result in zip(batches, results, strict=True):
        assert np.array_equal(result, run_reference(dynamic, x))


def test_a_session_and_its_plan_survive_pickling_and_copying() -> None:
    dynamic = layer(np.random.default_rng(0).integers(-64, 65, (8, 16)).astype(np.int8))
    session = DynamicSession(plan_layer(dynamic), threads=2)
    x = np.ones((2, 16), np.float32)
    for copied in (pickle.loads(pickle.dumps(session)), copy.deepcopy(session)):
        assert copied.threads == 2
        assert np.array_equal(copied.run(x)[0], session.run(x)[0])


def test_a_plan_whose_proof_is_of_another_layer_is_not_run() -> None:
    plan = plan_layer(layer(np.ones((4, 8), np.int8)))
    forged = replace(plan, layer=layer(np.full((4, 8), 100, np.int8)))
    with pytest.raises(AccumulatorOverflow, match="plans to multiply other weights than the layer's"):
        DynamicSession(forged)
    with pytest.raises(AccumulatorOverflow, match="proves totals for the zero points"):
        DynamicSession(replace(plan, totals=plan.totals[:1]))


def test_inputs_that_do_not_fit_are_refused_in_words() -> None:
    session = DynamicSession(plan_layer(layer(np.ones((4, 8), np.int8))))
    with pytest.raises(ProgramError, match=r"takes float32 of shape \(..., 8\), not float64 of shape \(2, 8\)"):
        session.run(np.ones((2, 8)))
    with pytest.raises(ProgramError, match=r"not float32 of shape \(2, 7\)"):
        session.run(np.ones((2, 7), np.float32))
    with pytest.raises(ProgramError, match="threads is 1 to 256, not 0"):
        DynamicSession(session.plans, threads=0)
