"""Batches on several threads: whole samples side by side, steps of independent branches side by side, any chunks."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.errors import MemoryLimit
from oaq.kernels import _native
from oaq.kernels.plan import Plan, plan
from oaq.numerics.affine import Affine
from oaq.numerics.requantize import Requantize
from oaq.program.int_program import IntProgram
from oaq.reference import run
from oaq.runtime import Session
from oaq.runtime.memory import ALIGNMENT, SLACK, Arena, plan_memory
from oaq.runtime.plan_bytes import plan_bytes
from tests.native.machine import ROWS, SUMMING, U8, layer
from tests.strategies import Builder, conv2d, programs_with_inputs, random_input

LIMIT = 1 << 30
SIDE = 8 * 8 * 16
"""Bytes of a tensor of the program of two branches."""
Integers = NDArray[np.uint8]


def opened(planned: Plan, threads: int, chunks: int = 0) -> _native.Session:
    """The native session, its steps in so many chunks; 0 is as many as suit them."""
    return _native.Session(plan_bytes(planned, plan_memory(planned.program)), threads, LIMIT, chunks)


def outputs(session: _native.Session, program: IntProgram, x: tuple[Integers, ...]) -> list[Integers]:
    batch = len(x[0])
    results = [np.full((batch, *program.tensors[name].shape), 0xA5, np.uint8) for name in program.outputs]
    session.run(list(x), results)
    return results


def same(results: list[Integers], expected: tuple[Integers, ...]) -> None:
    for result, law in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, law)


def branches(count: int = 3, side: int = 24) -> IntProgram:
    """Convolutions of one input, which meet in additions."""
    rng = np.random.default_rng(count)
    builder, affine = Builder("branches"), Affine(0.05, 100)
    x = builder.input((side, side, 16), affine)
    names = [
        builder.add(conv2d(rng, (16, 3, 3, 16), padding=(1, 1, 1, 1)), [x], affine, name=f"branch{index}")
        for index in range(count)
    ]
    current = names[0]
    for index, name in enumerate(names[1:]):
        halves = ops.Add(Requantize(np.array([0.5, 0.5], np.float32)))
        current = builder.add(halves, [current, name], affine, name=f"add{index}")
    return builder.finish()


@settings(max_examples=60, deadline=None)
@given(programs_with_inputs(max_nodes=8), st.integers(2, 5), st.integers(0, 40))
def test_any_program_computes_the_same_integers_in_any_chunks_on_any_threads(
    case: tuple[IntProgram, tuple[Integers, ...]], threads: int, chunks: int
) -> None:
    program, x = case
    same(outputs(opened(plan(program), threads, chunks), program, x), run(program, x).outputs)


@pytest.mark.parametrize("row", [name for name in SUMMING if ROWS[name].family in ("gemm", "depthwise")])
def test_every_summing_row_computes_the_same_integers_in_any_chunks(row: str) -> None:
    entry = ROWS[row]
    program = layer(entry, 40, 16, size=(12, 9), kernel=(3, 3), padding=(1, 1, 1, 1))
    spec = program.tensors[program.inputs[0]]
    x = (random_input(np.random.default_rng(0), (1, *spec.shape), spec.range),)
    expected, planned = run(program, x).outputs, plan(program, rows=[row])
    for threads, chunks in itertools.product((2, 3, 5), (1, 2, 3, 7, 12, 100, 4096)):
        same(outputs(opened(planned, threads, chunks), program, x), expected)


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 8])
def test_every_batch_computes_the_same_integers(threads: int) -> None:
    program = branches()
    session = Session(plan(program), threads)
    x = random_input(np.random.default_rng(1), (19, 24, 24, 16), U8)
    expected = run(program, [x]).outputs[0]
    for batch in range(20):
        np.testing.assert_array_equal(session.run_integers([x[:batch]])[0], expected[:batch])


def test_more_samples_than_chunks_of_a_stage() -> None:
    builder = Builder("tiny")
    x = builder.input((1, 1, 3), Affine(0.05, 100))
    builder.add(conv2d(np.random.default_rng(0), (4, 1, 1, 3)), [x], Affine(0.05, 100))
    program = builder.finish()
    samples = random_input(np.random.default_rng(1), (2 * 4096 + 7, 1, 1, 3), U8)
    expected = run(program, [samples]).outputs[0]
    np.testing.assert_array_equal(Session(plan(program), 3).run_integers([samples])[0], expected)


@pytest.mark.parametrize("batch", [1, 8, 9])
def test_times_of_whole_samples_and_of_branches_add_up_to_no_more_than_the_run(batch: int) -> None:
    """Time that passed is shared out among steps: threads that compute side by side do not count it twice."""
    x = random_input(np.random.default_rng(1), (batch, 24, 24, 16), U8)
    session = Session(plan(branches()), 2)
    for _ in range(2):  # a run's times are its own
        start = time.perf_counter_ns()
        session.run_integers([x])
        passed = time.perf_counter_ns() - start
        times = [node.nanoseconds for node in session.profile()]
        assert min(times) > 0
        assert sum(times) <= passed


def test_memory_of_every_thread_is_stated_and_counted() -> None:
    planned = plan(branches())
    arena = plan_memory(planned.program).size
    one, three = Session(planned, 1).memory, Session(planned, 3).memory
    assert (one.tensors, one.samples, three.tensors, three.samples) == (arena, 1, arena, 3)
    assert three.total == 3 * arena + three.weights + 3 * three.scratch == one.total + 2 * (arena + one.scratch)
    exact = Session(planned, 3, memory_limit=three.total)
    assert exact.memory == three


def test_where_memory_allows_one_sample_at_a_time_threads_share_it() -> None:
    planned = plan(branches())
    full = Session(planned, 3).memory
    session = Session(planned, 3, memory_limit=full.total - 1)
    assert session.memory == replace(full, samples=1)
    x = random_input(np.random.default_rng(1), (7, 24, 24, 16), U8)
    np.testing.assert_array_equal(session.run_integers([x])[0], run(planned.program, [x]).outputs[0])
    least = full.tensors + full.weights + 3 * full.scratch
    assert Session(planned, 3, memory_limit=least).memory.total == least
    with pytest.raises(MemoryLimit, match="3 threads"):
        Session(planned, 3, memory_limit=least - 1)


def test_independent_branches_are_one_stage_and_a_single_thread_keeps_the_order() -> None:
    planned = plan(branches())
    assert opened(planned, 2, 4).stages() == [[0, 1, 2], [3], [4]]
    assert opened(planned, 1).stages() == [[0], [1], [2], [3], [4]]


def test_long_steps_have_a_stage_of_their_own() -> None:
    planned = plan(branches())
    assert opened(planned, 2, 5).stages() == [[0], [1], [2], [3], [4]]


@pytest.mark.parametrize(
    ("moved", "onto", "distance", "stages"),
    [
        ("second", "first", SIDE + SLACK, [[0, 1], [2]]),
        ("second", "first", SIDE + SLACK - ALIGNMENT, [[0], [1], [2]]),  # one writes what belongs to the other's end
        ("second", "first", 0, [[0], [1], [2]]),  # both write it
        ("second", "x0", 0, [[0], [1], [2]]),  # one writes what the other reads
        ("x1", "first", 0, [[0], [1], [2]]),  # one reads what the other writes
    ],
)
def test_steps_that_share_memory_are_in_stages_one_after_another(
    moved: str, onto: str, distance: int, stages: list[list[int]]
) -> None:
    """Whatever the plan: the arena of ours would not place tensors so."""
    rng, builder, affine = np.random.default_rng(0), Builder("apart"), Affine(0.05, 100)
    sources = [builder.input((8, 8, 16), affine) for _ in range(2)]
    results = [
        builder.add(conv2d(rng, (16, 1, 1, 16)), [source], affine, name=name)
        for source, name in zip(sources, ("first", "second"), strict=True)
    ]
    builder.add(ops.Add(Requantize(np.array([0.5, 0.5], np.float32))), results, affine)
    program = builder.finish()
    names = dict(zip(("x0", "x1", "first", "second"), (*sources, *results), strict=True))
    offsets = {name: 4096 * place for place, name in enumerate(program.tensors)}
    offsets[names[moved]] = offsets[names[onto]] + distance
    arena = Arena(1 << 16, offsets, frozenset())
    assert _native.Session(plan_bytes(plan(program), arena), 2, LIMIT, 4).stages() == stages


@settings(max_examples=100, deadline=None)
@given(programs_with_inputs(max_nodes=12), st.integers(2, 4))
def test_steps_of_a_stage_and_those_that_change_places_touch_no_memory_of_each_other(
    case: tuple[IntProgram, tuple[Integers, ...]], threads: int
) -> None:
    program, _ = case
    planned = plan(program)
    arena = plan_memory(program)
    nodes = [node.node for node in planned.nodes if node.node.name not in arena.in_place]
    stages = opened(planned, threads, 2).stages()
    assert sorted(itertools.chain(*stages)) == list(range(len(nodes)))

    def place(name: str) -> range:
        begin = arena.offsets[name]
        return range(begin, begin + int(np.prod(program.tensors[name].shape)) + SLACK)

    def overlap(a: str, b: str) -> bool:
        return max(place(a).start, place(b).start) < min(place(a).stop, place(b).stop)

    def conflict(first: int, second: int) -> bool:
        a, b = nodes[first], nodes[second]
        return (
            overlap(a.output, b.output)
            or any(overlap(name, b.output) for name in a.inputs)
            or any(overlap(a.output, name) for name in b.inputs)
        )

    stage_of = {step: index for index, stage in enumerate(stages) for step in stage}
    for first, second in itertools.combinations(range(len(nodes)), 2):
        assert stage_of[first] < stage_of[second] or not conflict(first, second)


def test_chunks_have_limits() -> None:
    planned = plan(branches(1))
    for chunks in (-1, 4097):
        with pytest.raises(ValueError, match="chunks"):
            opened(planned, 2, chunks)
