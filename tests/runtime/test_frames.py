"""Sessions that run frames pane by pane."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import oaq
from oaq import operators as ops
from oaq.errors import ProgramError
from oaq.program.frames import at_size
from oaq.runtime.frames import MOST, FrameSession
from tests.program.test_frames import UNIT, frame_of, network, single
from tests.strategies import Builder, conv2d


@pytest.mark.parametrize("seed", range(12))
def test_frames_of_odd_sizes_have_the_integers_of_a_session_of_their_own(seed: int) -> None:
    program = network(seed, (24, 25))
    for frame, pane in (((61, 53), (25, 26)), ((24, 90), (64, 31)), ((23, 24), (128, 128))):
        whole = at_size(program, *frame)
        x = np.concatenate([frame_of(whole, seed), frame_of(whole, seed + 1)])
        session = FrameSession(program, pane, threads=1 + seed % 2)
        expected = oaq.Session(oaq.plan(whole), threads=1).run_integers(x)
        for y, other in zip(session.run_integers(x), expected, strict=True):
            np.testing.assert_array_equal(y, other)
        assert (session.panes(frame) > 1) == (frame != (23, 24))


def test_several_outputs_of_different_sizes_are_put_together_each() -> None:
    builder, rng = Builder("several"), np.random.default_rng(0)
    x = builder.input((16, 16, 4), UNIT)
    wide = builder.add(conv2d(rng, (4, 7, 7, 4), padding=(3,) * 4), [x], UNIT)
    builder.add(ops.DepthToSpace(2), [wide])
    builder.add(ops.MaxPool((2, 2), (2, 2)), [x])
    program = builder.finish()
    frame = frame_of(at_size(program, 42, 30), 0)
    expected = oaq.Session(oaq.plan(at_size(program, 42, 30))).run_integers(frame)
    for y, other in zip(FrameSession(program, (16, 16)).run_integers(frame), expected, strict=True):
        np.testing.assert_array_equal(y, other)


def test_reals_go_in_and_come_out_as_of_a_session_for_the_whole_frame() -> None:
    program = network(3, (24, 25))
    whole = at_size(program, 40, 41)
    channels = whole.tensors[whole.inputs[0]].channels
    x = np.random.default_rng(0).normal(0, 3, (2, 40, 41, channels)).astype(np.float32)
    session = FrameSession(program, (30, 30))
    for layout in ("NHWC", "NCHW"):
        program = replace(program, metadata={"input_layout": layout})
        whole = replace(whole, metadata={"input_layout": layout})
        given = x if layout == "NHWC" else np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        y = FrameSession(program, (30, 30)).run(given)
        np.testing.assert_array_equal(y, oaq.Session(oaq.plan(whole)).run(given))
    integers = frame_of(whole, 0)
    np.testing.assert_array_equal(
        session.run(integers), oaq.Session(oaq.plan(whole)).run(integers).transpose(0, 2, 3, 1)
    )
    assert FrameSession(program, (30, 30)).run(given[:0]).shape[0] == 0


def test_memory_is_that_of_a_pane_whatever_the_frame() -> None:
    program = network(1, (24, 25))
    session, pane = FrameSession(program, (40, 40)), oaq.Session(oaq.plan(at_size(program, 40, 40)))
    large = session.session((400, 300))
    assert large is session.session((400, 300)) and large.memory.tensors <= pane.memory.tensors
    for rows in range(50, 50 + 2 * MOST):
        assert session.panes((rows, 300)) > 1
        assert session.session((rows, 300)).memory.tensors <= pane.memory.tensors
    assert session.session((400, 300)) is not large  # others needed the room


def test_frames_that_are_none_are_refused() -> None:
    program = network(0, (24, 25))
    with pytest.raises(ProgramError, match="panes have 1 row and 1 column at least"):
        FrameSession(program, (0, 10))
    with pytest.raises(ProgramError, match="a frame has 1 row"):
        FrameSession(program).run_integers(np.zeros((1, 0, 40, 3), np.uint8))
    with pytest.raises(ProgramError, match="four axes"):
        FrameSession(program).run_integers(np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(ProgramError, match="four axes"):
        FrameSession(program).run(np.zeros((40, 40, 3), np.float32))
    with pytest.raises(ProgramError, match=r"four axes, not \(40, 40, 3\)"):
        FrameSession(program).run(np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(ProgramError, match="Reshape is of images of one size"):
        FrameSession(single(ops.Reshape((12,)), (2, 3, 2)))


def test_panes_shorter_than_the_strides_are_told_so() -> None:
    strided = single(conv2d(np.random.default_rng(0), (2, 3, 3, 2), padding=(1,) * 4, stride=(4, 2)), (8, 8, 2))
    with pytest.raises(
        ProgramError, match=r"panes of \(1, 8\) are too small, for they lie multiples of \(4, 2\) apart"
    ):
        FrameSession(strided, (1, 8)).panes((10, 10))
