"""Native code of dynamic layers, among the tests that run once more under sanitizers: every bit is the reference's."""

from __future__ import annotations

import numpy as np
import pytest

from oaq.dynamic import DynamicSession, plan_layer, quantize_rows, run_reference
from oaq.dynamic.law import Law
from oaq.errors import NoKernel
from oaq.kernels.table import cpu_isas, dynamic_rows, native_rows
from tests.dynamic.layers import SHAPES, inputs, layer, weights

LAWS: tuple[Law, ...] = ("tensor", "row", "row_s8")
ROWS = tuple(
    row.name for row in (*native_rows(), *dynamic_rows()) if row.family == "gemm" and row.available and row.shift == 0
)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("row", ROWS)
def test_every_row_computes_every_bit_of_the_reference(row: str, shape: tuple[int, int]) -> None:
    for law in LAWS:
        for place, (name, weight, zero) in enumerate(weights(shape)):
            dynamic = layer(weight, zero, law, bias=place % 2 == 0)
            try:
                session = DynamicSession(plan_layer(dynamic, rows=row))
            except NoKernel as error:
                assert "no row is proved" in str(error)
                continue
            for kind, x in inputs(shape[1]):
                expected = run_reference(dynamic, x)
                # 0 times a scale beyond float32 is NaN, of which only that is compared.
                assert np.array_equal(session.run(x)[0], expected, equal_nan=True), (row, law, name, kind)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("rows", [1, 2, 15, 200])
def test_threads_change_no_bit(threads: int, rows: int) -> None:
    x = np.random.default_rng(1).normal(size=(rows, 131)).astype(np.float32)
    for _, weight, zero in weights((100, 131)):
        for law in LAWS:
            dynamic = layer(weight, zero, law)
            assert np.array_equal(DynamicSession(plan_layer(dynamic), threads).run(x)[0], run_reference(dynamic, x))


@pytest.mark.parametrize("isa", list(cpu_isas()))
@pytest.mark.parametrize("law", LAWS)
def test_rows_are_quantized_to_the_integers_of_the_law_by_every_instruction_set(isa: str, law: Law) -> None:
    from oaq.kernels import _native

    for terms in (1, 31, 64, 200):
        for name, x in inputs(terms):
            q, scale = np.empty(x.shape, np.uint8), np.empty(len(x), np.float32)
            zero = np.empty(len(x), np.int32)
            assert _native.quantize_rows(x, q, scale, zero, _native.Quantization(law), isa) == -1
            rows = quantize_rows(x, law)
            assert np.array_equal(q, rows.q), (name, terms)
            assert np.array_equal(scale, rows.scale) and np.array_equal(zero, rows.zero_point)
