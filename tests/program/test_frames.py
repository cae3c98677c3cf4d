"""Programs at other sizes, and frames pane by pane: every integer is that of the whole frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oaq import operators as ops
from oaq.data.preprocess import KEY, Preprocess
from oaq.errors import ProgramError
from oaq.numerics.affine import Affine
from oaq.numerics.requantize import Requantize
from oaq.operators.tensor import Shape
from oaq.program.edges import Edge, input_edges, output_edges, with_edges
from oaq.program.frames import PaneEnds, at_size, evenly, panes_of, spans, stride_of
from oaq.program.int_program import IntProgram
from oaq.reference.run import run
from tests.strategies import Builder, conv2d, random_input

KINDS = ("Conv2d", "Depthwise", "MaxPool", "AvgPool", "DepthToSpace", "Slice", "Pad", "Resize", "Lookup", "Channel")
UNIT = Affine(0.05, 7)


def network(seed: int, size: tuple[int, int], strided: bool = False) -> IntProgram:
    """Some random operators that slide over an image, with a branch that is added again."""
    rng = np.random.default_rng(seed)
    builder = Builder(f"network {seed}")
    x = builder.input((*size, int(rng.integers(1, 4))), UNIT)
    for _ in range(int(rng.integers(2, 6))):
        x = _grown(builder, rng, x, str(rng.choice(KINDS)), strided)
    shape = builder.tensors[x].shape
    branch = builder.add(conv2d(rng, (shape[2], 3, 3, shape[2]), padding=(1,) * 4), [x], UNIT)
    both = Requantize.from_scales(np.array([0.7, 0.6], np.float32), "float32_half_even")
    builder.add(ops.Add(both), [x, branch], UNIT)
    return builder.finish()


def _grown(builder: Builder, rng: np.random.Generator, x: str, kind: str, strided: bool) -> str:
    rows, columns, channels = builder.tensors[x].shape
    kernel = tuple(int(v) for v in rng.integers(1, 4, 2))
    padding = tuple(int(v) for v in rng.integers(0, 3, 4))
    stride = tuple(int(v) for v in rng.integers(1, 3, 2)) if strided else (1, 1)
    if min(rows, columns) < 8 or max(rows, columns) > 120:
        return x
    match kind:
        case "Conv2d":
            dilation = tuple(int(v) for v in rng.integers(1, 3, 2))
            shape = (int(rng.choice([3, 4, 8])), *kernel, channels)
            return builder.add(conv2d(rng, shape, padding=padding, stride=stride, dilation=dilation), [x], UNIT)
        case "Depthwise":
            shape = (channels, *kernel, 1)
            return builder.add(conv2d(rng, shape, padding=padding, stride=stride, groups=channels), [x], UNIT)
        case "MaxPool":
            return builder.add(ops.MaxPool(kernel, stride, (kernel[0] - 1, 0, 0, kernel[1] - 1)), [x])
        case "AvgPool":
            counts = np.arange(1, kernel[0] * kernel[1] + 1)
            rule = Requantize.from_scales((1 / counts).astype(np.float32), "float32_half_even")
            pads = (kernel[0] - 1, 0, 0, kernel[1] - 1)
            return builder.add(ops.AvgPool(kernel, stride, rule, pads, bool(rng.integers(2))), [x], UNIT)
        case "DepthToSpace" if channels % 4 == 0:
            return builder.add(ops.DepthToSpace(2, str(rng.choice(["DCR", "CRD"]))), [x])  # type: ignore[arg-type]
        case "Slice":
            ends = rows - int(rng.integers(0, 3)), columns - int(rng.integers(0, 3)), channels
            return builder.add(ops.Slice((int(rng.integers(0, 3)), int(rng.integers(0, 3)), 0), ends), [x])
        case "Pad":
            return builder.add(ops.Pad(padding), [x])
        case "Resize":
            return builder.add(ops.Resize(2 * rows, 3 * columns, str(rng.choice(["nearest", "bilinear"]))), [x])  # type: ignore[arg-type]
        case "Lookup":
            return builder.add(ops.Lookup(rng.integers(0, 256, 256).astype(np.uint8)), [x], UNIT)
        case "Channel":
            return builder.add(ops.ChannelLookup(rng.integers(0, 256, (channels, 256)).astype(np.uint8)), [x], UNIT)
    return x


def frame_of(program: IntProgram, seed: int) -> np.ndarray:
    spec = program.tensors[program.inputs[0]]
    return random_input(np.random.default_rng(seed), (1, *spec.shape), spec.range)


def by_panes(program: IntProgram, frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The frame's output, every pane by the reference."""
    small, whole = at_size(program, *size), at_size(program, *frame.shape[1:3])
    name = program.outputs[0]
    y = np.zeros((1, *whole.tensors[name].shape), np.uint8)
    counts = np.zeros(y.shape, int)
    for row in panes_of(small, 0, frame.shape[1]):
        for column in panes_of(small, 1, frame.shape[2]):
            part = frame[:, row.begin : row.begin + size[0], column.begin : column.begin + size[1]]
            (a, first, last), (b, left, right) = row.kept[name], column.kept[name]
            place = (slice(None), slice(a + first, a + last), slice(b + left, b + right))
            y[place] = run(small, part).outputs[0][:, first:last, left:right]
            counts[place] += 1
    assert (counts == 1).all()
    return y


@pytest.mark.parametrize("seed", range(40))
def test_panes_hold_the_integers_of_the_whole_frame(seed: int) -> None:
    program = network(seed, (24, 27))
    rng = np.random.default_rng(seed)
    rows, columns = (int(v) for v in rng.integers(28, 47, 2))
    frame = frame_of(at_size(program, rows, columns), seed)
    expected = run(at_size(program, rows, columns), frame).outputs[0]
    np.testing.assert_array_equal(by_panes(program, frame, (24, 27)), expected)


@pytest.mark.parametrize("seed", range(40))
def test_panes_of_strided_networks_lie_whole_strides_apart(seed: int) -> None:
    program = network(seed, (40, 48), strided=True)
    strides = stride_of(program)
    rows, columns = 40 + 3 * strides[0], 48 + 2 * strides[1]
    frame = frame_of(at_size(program, rows, columns), seed)
    expected = run(at_size(program, rows, columns), frame).outputs[0]
    np.testing.assert_array_equal(by_panes(program, frame, (40, 48)), expected)


def test_the_frames_edge_counts_as_its_own_and_every_other_edge_takes_the_window_away() -> None:
    builder = Builder("window")
    x = builder.input((10, 12, 2), UNIT)
    y = builder.add(conv2d(np.random.default_rng(0), (4, 3, 5, 2), padding=(1, 1, 2, 2)), [x], UNIT)
    builder.add(ops.DepthToSpace(2), [y])
    program = builder.finish()
    ends = {
        (begins, last): spans(program, 1, PaneEnds(begins, last))[program.outputs[0]]
        for begins in (True, False)
        for last in (True, False)
    }
    assert [(span.first, span.last) for span in ends.values()] == [(0, 24), (0, 20), (4, 24), (4, 20)]
    assert {span.scale for span in ends.values()} == {2}


def single(op: ops.Op, shape: Shape) -> IntProgram:
    builder = Builder("single")
    builder.add(op, [builder.input(shape, UNIT)], UNIT)
    return builder.finish()


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (single(ops.Reshape((12,)), (2, 3, 2)), r"Reshape is of images of one size, \(2, 3, 2\)"),
        (single(ops.Resize(5, 6), (2, 3, 2)), r"Resize is of images of one size: nearest from \(2, 3\) to 5 x 6"),
        (single(ops.Resize(4, 6, "bilinear_corners"), (2, 3, 2)), "bilinear_corners from"),
        (single(ops.Gather(1, np.array([1, 0], np.int32)), (2, 3, 2)), r"Gather is of images of one size, \(2, 3, 2\)"),
        (
            single(ops.Transpose((2, 3, 2), (1, 0, 2), (3, 2, 2)), (2, 3, 2)),
            r"Transpose is of images of one size, \(2, 3, 2\)",
        ),
        (
            single(ops.Lookup(np.zeros(256, np.uint8) + 7), (6, 2)),
            r"one input \(rows, columns, channels\), not \(6, 2\)",
        ),
    ],
)
def test_what_depends_on_the_size_is_refused(program: IntProgram, words: str) -> None:
    with pytest.raises(ProgramError, match=words):
        at_size(program, 8, 9)


def test_channels_are_picked_at_every_place_alike() -> None:
    program = single(ops.Gather(0, np.array([1, 1, 0], np.int32)), (8, 8, 2))
    frame = frame_of(at_size(program, 20, 9), 0)
    np.testing.assert_array_equal(by_panes(program, frame, (8, 8)), frame[..., [1, 1, 0]])


def test_panes_that_are_too_small_or_do_not_fill_the_frame_say_what_would() -> None:
    wide = single(conv2d(np.random.default_rng(0), (2, 9, 9, 2), padding=(4,) * 4), (8, 8, 2))
    with pytest.raises(ProgramError, match=r"panes of 8 rows are too small, .*: take 9 at least"):
        panes_of(wide, 0, 30)
    assert len(panes_of(at_size(wide, 9, 9), 0, 30)) == 22
    strided = single(conv2d(np.random.default_rng(0), (2, 3, 3, 2), stride=(2, 2)), (9, 9, 2))
    with pytest.raises(ProgramError, match=r"panes of 9 columns do not fill a frame of 12: .* a multiple of 2"):
        panes_of(strided, 1, 12)
    with pytest.raises(ProgramError, match="do not fill a frame of 5"):
        panes_of(strided, 0, 5)


@pytest.mark.parametrize("frame", [9, 20, 30, 31, 57, 200])
def test_panes_that_share_a_frame_evenly_are_as_many_and_as_small_as_can_be(frame: int) -> None:
    wide = single(conv2d(np.random.default_rng(0), (2, 9, 9, 2), padding=(4,) * 4), (min(frame, 24), 12, 2))
    size = evenly(wide, 0, frame)
    count = len(panes_of(wide, 0, frame))
    assert len(panes_of(at_size(wide, size, 12), 0, frame)) == count
    if size > 9:
        assert len(panes_of(at_size(wide, size - 1, 12), 0, frame)) > count
    with pytest.raises(ProgramError, match="too small"):
        evenly(at_size(wide, 8, 12), 0, 30)


def test_what_a_file_says_of_its_ends_and_photos_goes_to_the_new_size() -> None:
    program = single(conv2d(np.random.default_rng(0), (2, 3, 3, 2), padding=(1,) * 4), (8, 8, 2))
    program = replace(program, metadata={KEY: Preprocess((8, 8), 10, (0.0,), (1.0,)).to_json()})
    edge = Edge("image", "t0", "int8", (8, 8, 2), ((0,), (1,), (2,)))
    program = with_edges(program, [replace(edge, tensor=program.inputs[0])], output_edges(program))
    large = at_size(program, 20, 30)
    assert input_edges(large)[0].shape == (20, 30, 2)
    preprocess = Preprocess.from_metadata(large.metadata)
    assert preprocess is not None and (preprocess.size, preprocess.resize) == ((20, 30), 30)
    assert at_size(large, 8, 8).tensors == program.tensors
