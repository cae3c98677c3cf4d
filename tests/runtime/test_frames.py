"""Sessions that run frames pane by pane."""

from __future__ import annotations

import numpy as np
import pytest

import oaq
from oaq.errors import ProgramError
from oaq.program.frames import at_size
from oaq.runtime.frames import FrameSession
from tests.program.test_frames import frame_of, network


@pytest.mark.parametrize("seed", range(12))
def test_frames_of_odd_sizes_have_the_integers_of_a_session_of_their_own(seed: int) -> None:
    program = network(seed, (24, 25))
    for frame, pane in (((61, 53), (25, 26)), ((24, 90), (64, 31)), ((23, 24), (128, 128))):
        whole = at_size(program, *frame)
        x = np.concatenate([frame_of(whole, seed), frame_of(whole, seed + 1)])
        session = FrameSession(program, frame, pane, threads=1 + seed % 2)
        expected = oaq.Session(oaq.plan(whole), threads=1).run_integers(x)
        for y, other in zip(session.run_integers(x), expected, strict=True):
            np.testing.assert_array_equal(y, other)
        assert (session.panes > 1) == (frame != (23, 24))


def test_reals_go_in_and_come_out_as_of_a_session_for_the_whole_frame() -> None:
    program = at_size(network(3, (24, 25)), 40, 41)
    x = np.random.default_rng(0).normal(0, 3, (2, *program.tensors[program.inputs[0]].shape)).astype(np.float32)
    y = FrameSession(program, (40, 41), (30, 30)).run(x)
    np.testing.assert_array_equal(y, oaq.Session(oaq.plan(program)).run(x))
    assert FrameSession(program, (40, 41), (30, 30)).run(x[:0]).shape[0] == 0


def test_memory_is_that_of_a_pane() -> None:
    program = network(1, (24, 25))
    large = FrameSession(program, (400, 300), (40, 40)).session.memory.tensors
    assert large == FrameSession(program, (90, 80), (40, 40)).session.memory.tensors


def test_sizes_below_one_and_frames_of_another_shape_are_refused() -> None:
    program = network(0, (24, 25))
    with pytest.raises(ProgramError, match="sizes are 1 or more"):
        FrameSession(program, (0, 10))
    with pytest.raises(ProgramError):
        FrameSession(program, (40, 40)).run_integers(np.zeros((1, 41, 40, 3), np.uint8))
