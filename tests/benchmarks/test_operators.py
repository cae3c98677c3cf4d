"""The benchmark of single operators: what it runs, what it compares, its floors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.operator_subjects import SIZES, Subject, integer_model, linear, program, subjects
from benchmarks.operators import Figure, row_of
from oaq import operators as ops
from oaq.kernels.table import native_rows
from oaq.reference import run

SMALL = Subject("lookup", "in cache", program("lookup", ops.Lookup(np.arange(256)[::-1].astype(np.uint8)), (2, 3, 4)))


def test_every_family_without_sums_is_timed_in_cache_and_out_of_it() -> None:
    families = {row.family for row in native_rows() if row.accumulator is None} - {"copy"}
    families -= {"coarsen"}  # ONNX has no such operator to compare with; benchmarks.levels times whole networks of it
    for size in SIZES:
        timed = [subject for subject in subjects() if subject.size == size]
        assert {ops.family_of(subject.program.nodes[0].op) for subject in timed} == families
        assert len({subject.name for subject in timed}) == len(timed)


def test_bytes_are_those_of_inputs_weights_and_output_and_of_a_slice_its_own() -> None:
    assert SMALL.bytes == 48
    assert linear(2, 30, 7).bytes == 60 + 210 + 14
    part = Subject("slice", "in cache", program("slice", ops.Slice((0, 0, 0), (2, 3, 1)), (2, 3, 4)))
    assert part.bytes == 12


@pytest.mark.parametrize(
    ("share", "peer", "verdicts"),
    [(0.5, 2.0, ("yes", "yes")), (0.49, 1.9, ("NO", "NO")), (0.6, None, ("yes", "-"))],
)
def test_floors(share: float, peer: float | None, verdicts: tuple[str, str]) -> None:
    row = dict(row_of(Figure(SMALL, "avx2", 2.0, 2.0 * share, peer)))
    assert (row["limit >= 0.5"], row["as fast"]) == verdicts
    assert row["of the limit"] == f"{share:.2f}"


def test_what_does_not_stream_has_no_floor_of_the_limit() -> None:
    row = dict(row_of(Figure(replace(SMALL, streams=False), "avx2", 9.0, 1.0, 10.0)))
    assert (row["limit >= 0.5"], row["as fast"]) == ("no floor", "yes")


def test_onnxruntime_runs_the_same_operator_on_the_same_integers(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from benchmarks.operators import bound, channels_first, peer_session

    x = SMALL.inputs()
    session = peer_session(str(integer_model(SMALL, tmp_path / "lookup.onnx")))
    (actual,) = bound(session, [channels_first(x[0])])().copy_outputs_to_cpu()
    np.testing.assert_array_equal(actual, channels_first(run(SMALL.program, x).outputs[0]))
