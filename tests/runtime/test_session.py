"""``Session`` against the reference, in simulated registers: memory, schedules and numbers as native code gets them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from oaq import operators as ops
from oaq.errors import AccumulatorOverflow, NoKernel, ProgramError
from oaq.kernels.plan import plan
from oaq.numerics.affine import Affine
from oaq.program.int_program import IntProgram
from oaq.reference import run
from oaq.runtime import Session
from tests.kernels.tables import ENTRIES
from tests.simulated_machine import no_native_module, simulated_machine
from tests.strategies import Builder, conv2d, linear, programs_with_inputs

SUMMING_ROWS = [one["name"] for one in ENTRIES if one["family"] in ("gemm", "depthwise") and one["available"]]


@settings(max_examples=60, deadline=None)
@given(programs_with_inputs(max_nodes=6))
def test_a_session_equals_the_reference_whatever_the_program(case: tuple[IntProgram, tuple[np.ndarray, ...]]) -> None:
    program, inputs = case
    with simulated_machine():
        outputs = Session(plan(program)).run_integers(inputs)
    for got, expected in zip(outputs, run(program, inputs).outputs, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("row", SUMMING_ROWS)
def test_every_summing_row_equals_the_reference_on_extreme_weights(row: str) -> None:
    @settings(max_examples=10, deadline=None)
    @given(programs_with_inputs(("Conv2d", "Depthwise"), max_nodes=2))
    def check(case: tuple[IntProgram, tuple[np.ndarray, ...]]) -> None:
        program, inputs = case
        with simulated_machine():
            outputs = Session(plan(program, rows=[row])).run_integers(inputs)
        np.testing.assert_array_equal(outputs[0], run(program, inputs).outputs[0])

    check()


def small(layout: str = "NCHW") -> IntProgram:
    rng = np.random.default_rng(0)
    builder = Builder("small")
    x = builder.input((4, 5, 3), Affine(0.05, 100))
    x = builder.add(conv2d(rng, (8, 3, 3, 3), padding=(1, 1, 1, 1)), [x], Affine(0.05, 7), name="conv")
    flat = builder.add(ops.Reshape((160,)), [x], name="flat")
    builder.add(linear(rng, (10, 160)), [flat], Affine(0.05, 128), name="fc")
    return builder.finish(input_layout=layout)


def test_floats_go_through_in_the_callers_layout_at_any_batch() -> None:
    program = small()
    real = np.random.default_rng(1).normal(0, 3, (3, 3, 4, 5)).astype(np.float32)
    spec = program.tensors["t0"]
    q = spec.affine.quantize(real.transpose(0, 2, 3, 1), spec.range)
    with simulated_machine():
        session = Session(plan(program))
        for batch in (0, 1, 3):
            y = session.run(real[:batch])
            assert isinstance(y, np.ndarray)
            assert y.shape == (batch, 10)
            assert y.dtype == np.float32
            expected = program.tensors[program.outputs[0]].affine.dequantize(run(program, q[:batch]).outputs[0])
            np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(session.run(q), session.run(real))
        with pytest.raises(ProgramError, match="values are NaN"):
            session.run(real * np.float32(np.nan))
        with pytest.raises(ProgramError, match="takes uint8"):
            session.run_integers(real)


def test_the_profile_names_every_node_and_reshapes_cost_nothing() -> None:
    with simulated_machine():
        session = Session(plan(small()))
        session.run_integers(np.full((1, 4, 5, 3), 9, np.uint8))
        assert [(time.node, time.nanoseconds > 0) for time in session.profile()] == [
            ("conv", True),
            ("flat", False),
            ("fc", True),
        ]


@pytest.mark.parametrize("threads", [0, -1, 257, 1.5, True, "2"])
def test_threads_out_of_range_are_refused(threads: object) -> None:
    with simulated_machine(), pytest.raises(ProgramError, match="threads is 1 to 256"):
        Session(plan(small()), threads)  # type: ignore[arg-type]


def test_an_observed_plan_runs_only_when_asked_for_by_name() -> None:
    with simulated_machine():
        observed = replace(plan(small()), tier="observed")
        with pytest.raises(AccumulatorOverflow, match=r"observed to fit, not proved.*accept_observed=True"):
            Session(observed)
        assert Session(observed, accept_observed=True).verdict is None


def test_a_plan_whose_schedule_was_edited_is_refused_by_the_checker() -> None:
    with simulated_machine():
        good = plan(small(), rows=["gemm_u8s8_avx2_acc16"])
        verdict = Session(good).verdict
        assert verdict is not None
        assert verdict.safe
        node = good["conv"]
        assert node.schedule is not None
        packed = node.schedule.packed.copy()
        packed[0, 0, 0] ^= 1
        steps = int(node.schedule.segments[:, 2].sum()) // node.schedule.tiles
        one_run = np.array([[tile, 0, steps] for tile in range(node.schedule.tiles)], np.int32)
        for edited in (replace(node.schedule, packed=packed), replace(node.schedule, segments=one_run)):
            bad = replace(good, nodes=(replace(node, schedule=edited), *good.nodes[1:]))
            with pytest.raises(AccumulatorOverflow, match=r"the independent checker finds .* do not hold"):
                Session(bad)


def test_without_the_native_module_the_error_says_what_to_do() -> None:
    with simulated_machine():
        made = plan(small())
    with (
        no_native_module(),
        pytest.raises(NoKernel, match=r"installed without it\. In a clone of oaq: pip install \. .*make build"),
    ):
        Session(made)


@pytest.mark.parametrize("value", [None, 3, "net.oaq"])
def test_anything_but_a_plan_is_refused_with_what_is_needed(value: object) -> None:
    with pytest.raises(ProgramError, match=f"Session takes a Plan, not {type(value).__name__}; make one by oaq.plan"):
        Session(value)  # type: ignore[arg-type]
    with pytest.raises(ProgramError, match=f"plan takes an IntProgram .*, not {type(value).__name__}"):
        plan(value)  # type: ignore[arg-type]
    with pytest.raises(ProgramError, match="Session takes a Plan, not IntProgram"):
        Session(small())  # type: ignore[arg-type]


def test_one_row_may_be_forced_by_its_name_alone() -> None:
    with simulated_machine():
        assert plan(small(), rows="gemm_u8s8_avx2_acc16")["conv"].row.name == "gemm_u8s8_avx2_acc16"
        with pytest.raises(NoKernel, match="there is no row 'gemm_u8s8_x87'"):
            plan(small(), rows="gemm_u8s8_x87")


def test_a_masked_array_is_refused_as_its_mask_would_be_ignored() -> None:
    with simulated_machine():
        session = Session(plan(small("NHWC")))
        for array in (np.zeros((1, 4, 5, 3), np.uint8), np.zeros((1, 4, 5, 3), np.float32)):
            with pytest.raises(ProgramError, match=r"is a masked array.*filled"):
                session.run(np.ma.masked_array(array, mask=array == 1))


def test_infinities_saturate_as_every_value_beyond_the_range_does() -> None:
    """As QuantizeLinear of ONNX; only a NaN has no integer."""
    program = small("NHWC")
    spec = program.tensors["t0"]
    real = np.full((1, 4, 5, 3), 1e30, np.float32)
    for sign, end in ((1, spec.range.hi), (-1, spec.range.lo)):
        for value in (np.inf, 1e30):
            q = spec.affine.quantize(np.full_like(real, sign * value), spec.range)
            assert (q == end).all()
