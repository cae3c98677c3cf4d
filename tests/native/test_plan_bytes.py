"""A plan's bytes: what native code takes, and what it refuses by name before it touches memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from oaq.kernels import _native
from oaq.kernels.plan import plan
from oaq.numerics.requantize import Requantize
from oaq.runtime import plan_bytes
from oaq.runtime.plan_bytes import CHECKED, HEADER, Contents, PlacedTensor, Step, encode
from oaq.runtime.step_fields import STEP_KINDS
from tests.native.fenced import others
from tests.native.machine import ROWS, SUMMING, layer
from tests.plan_reader import decode

LIMIT = 1 << 24
WINDOW = ((1, 1), (1, 1), (0, 0, 0, 0), (1, 1))
WEIGHTS = np.zeros((2, 8, 4), np.int8)
SEGMENTS = np.array([[0, 0, 2]], np.int32)
BIAS = np.zeros(8, np.int32)
SCALE = np.full(8, 0.5, np.float32)
FIELDS = ("kernel", "stride", "padding", "dilation", "groups", "x_zero_point", "packed", "segments", "bias")
POINT: dict[str, Any] = {
    "kernel": (1, 1),
    "stride": (1, 1),
    "padding": (0, 0, 0, 0),
    "dilation": (1, 1),
    "groups": 1,
    "x_zero_point": 0,
    "packed": WEIGHTS,
    "segments": SEGMENTS,
    "bias": BIAS,
    "requant": Requantize(SCALE),
    "y_zero_point": 0,
    "clamp": (0, 255),
}


def tensor(offset: int, *shape: int, **changes: Any) -> PlacedTensor:
    return replace(PlacedTensor("t", shape, offset, 1.0, 0, 0, 255), **changes)


def step(inputs: tuple[int, ...] = (0,), output: int = 1, **changes: Any) -> Step:
    values = tuple((POINT | changes)[field.name] for field in STEP_KINDS["gemm"].fields)
    return Step("gemm", "gemm_u8s8_scalar", "layer", inputs, output, values)


GOOD = Contents(384, (tensor(0, 4, 4, 8), tensor(192, 4, 4, 8)), (0,), (1,), (step(),))


def load(contents: Contents | bytes, threads: int = 1, limit: int = LIMIT) -> Any:
    return _native.Session(contents if isinstance(contents, bytes) else encode(contents), threads, limit)


def sealed(content: bytes) -> bytes:
    """``content`` with its size and checksum made right."""
    content = content[:16] + struct.pack("<Q", len(content)) + content[24:]
    return content[:12] + struct.pack("<I", zlib.crc32(content[CHECKED:])) + content[CHECKED:]


def test_the_plan_that_the_others_spoil_is_taken() -> None:
    y = np.empty((2, 4, 4, 8), np.uint8)
    load(GOOD).run([np.ones((2, 4, 4, 8), np.uint8)], [y])
    assert not y.any()


@pytest.mark.parametrize("row", SUMMING)
def test_what_is_written_of_a_summing_row_is_read_back(row: str) -> None:
    for semantics in ("float32_half_even", "fixed_point"):
        content = plan_bytes(plan(layer(ROWS[row], 9, 6, semantics=semantics), rows=[row]))
        assert encode(decode(content)) == content


@pytest.mark.parametrize(("row", "program"), list(others()), ids=[row for row, _ in others()])
def test_what_is_written_of_any_other_row_is_read_back(row: str, program: Any) -> None:
    content = plan_bytes(plan(program, rows=[row]))
    assert encode(decode(content)) == content
    assert {one.row for one in decode(content).steps} <= {row}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kernel": (3, 3)}, "window"),
        ({"kernel": (0, 1)}, "size"),
        ({"stride": (1, 0)}, "size"),
        ({"dilation": (2**30, 1)}, "size"),
        ({"padding": (-1, 0, 0, 0)}, "padding"),
        ({"groups": 3}, "groups"),
        ({"groups": 0}, "groups"),
        ({"packed": WEIGHTS[:1]}, "bytes of weights"),
        ({"segments": np.array([[0, 0, 1]])}, "bytes of weights"),
        ({"segments": np.array([[0, 1, 2]])}, "leaves the 2 steps"),
        ({"segments": np.array([[0, -1, 2]])}, "leaves the 2 steps"),
        ({"segments": np.array([[0, 0, 0]])}, "leaves the 2 steps"),
        ({"segments": np.array([[0, 2**31 - 1, 2**31 - 1]])}, "leaves the 2 steps"),
        ({"segments": np.array([[1, 0, 2]])}, "order of tiles"),
        ({"segments": np.array([[-1, 0, 2]])}, "order of tiles"),
        ({"segments": np.zeros((0, 3))}, "no segment"),
        ({"segments": np.array([0, 0])}, "not \\(tile, start, count\\)"),
        ({"bias": BIAS[:7]}, "7 biases"),
        ({"requant": Requantize(SCALE[:7])}, "7 multipliers"),
        ({"x_zero_point": 256}, "zero point 256"),
        ({"y_zero_point": -1}, "zero point -1"),
        ({"clamp": (5, 4)}, "clamp"),
        ({"clamp": (0, 256)}, "clamp"),
    ],
)
def test_a_convolution_that_does_not_fit_together_is_refused_by_name(change: dict[str, Any], says: str) -> None:
    with pytest.raises(_native.PlanError, match=rf"layer: the row gemm_u8s8_scalar refuses it: .*{says}"):
        load(replace(GOOD, steps=(step(**change),)))


def volume_step(kind: str, **changes: Any) -> Step:
    """One step over a volume of 2 planes of (2, 4, 8), of which a window of 1 sees one after the other."""
    values: dict[str, Any] = POINT | {
        "planes": (1, 1, 0, 0, 1, 2, 2),
        "count_include_pad": 0,
        "requant": Requantize(SCALE if kind == "gemm" else SCALE[:1]),
        "zero_point": 0,
        "begin": (0, 0, 0),
        "end": (2, 4, 8),
    }
    fields = STEP_KINDS[f"{kind}_volume"].fields
    values = values | changes
    return Step(
        f"{kind}_volume",
        f"{kind}_u8{'s8' * (kind == 'gemm')}_scalar",
        "layer",
        (0,),
        1,
        tuple(values[field.name] for field in fields),
    )


VOLUME_KINDS = ("gemm", "max_pool", "avg_pool", "pad", "slice")


@pytest.mark.parametrize("kind", VOLUME_KINDS)
def test_the_volumes_that_the_others_spoil_are_taken(kind: str) -> None:
    x, y = np.arange(2 * 128, dtype=np.uint8).reshape(2, 4, 4, 8), np.empty((2, 4, 4, 8), np.uint8)
    load(replace(GOOD, steps=(volume_step(kind),))).run([x], [y])
    np.testing.assert_array_equal(y, {"gemm": 0 * x, "avg_pool": np.rint(x / 2)}.get(kind, x))


@pytest.mark.parametrize("kind", VOLUME_KINDS)
@pytest.mark.parametrize(
    ("planes", "says"),
    [
        ((1, 1, 0, 0, 1, 0, 2), "no planes"),
        ((1, 1, 0, 0, 1, 2, -1), "no planes"),
        ((1, 1, 0, 0, 1, 3, 3), "planes|lines"),
        ((1, 1, 0, 0, 1, 8, 8), "planes|lines"),
        ((1, 1, 0, 0, 1, 1, 2), "planes"),
        ((1, 1, -1, 1, 1, 2, 2), "planes"),
        ((1, 1, 2**31 - 1, 0, 1, 2, 2), "planes"),
    ],
)
def test_planes_that_a_volume_has_not_are_refused(kind: str, planes: tuple[int, ...], says: str) -> None:
    with pytest.raises(_native.PlanError, match=f"layer: .*{says}"):
        load(replace(GOOD, steps=(volume_step(kind, planes=planes),)))


@pytest.mark.parametrize("kind", ["gemm", "max_pool", "avg_pool"])
@pytest.mark.parametrize(
    "planes",
    [(0, 1, 0, 0, 1), (2, 1, 0, 0, 1), (1, 0, 0, 0, 1), (1, 1, 0, 0, 0), (1, 1, 0, 32768, 1), (32768, 1, 0, 0, 1)],
)
def test_a_window_along_planes_that_does_not_fit_is_refused(kind: str, planes: tuple[int, ...]) -> None:
    with pytest.raises(_native.PlanError, match=r"layer: .*planes"):
        load(replace(GOOD, steps=(volume_step(kind, planes=(*planes, 2, 2)),)))


def test_a_window_whose_sizes_multiply_beyond_64_bits_is_refused() -> None:
    side, channels = 1 << 14, 1 << 22  # 2^42 taps of 2^22 channels: 0 in 64 bits
    around = (side - 1, 0)
    wide = volume_step("gemm", planes=(side, 1, *around, 1, 1, 1), kernel=(side, side), padding=(*around, *around))
    line = Contents(channels + 1024, (tensor(0, channels), tensor(channels + 512, 8)), (0,), (1,), (wide,))
    with pytest.raises(_native.PlanError, match=r"layer: .*buffer of more than"):
        load(line)


def test_a_volume_has_no_depthwise_row() -> None:
    with pytest.raises(_native.PlanError, match="family"):
        load(replace(GOOD, steps=(replace(volume_step("gemm"), row="depthwise_u8s8_scalar"),)))


@pytest.mark.parametrize(
    ("outer", "size", "index", "says"),
    [
        (0, 4, [0], "an axis has entries"),
        (4, 0, [0], "an axis has entries"),
        (-4, -4, [0], "an axis has entries"),
        (4, 4, [], "an axis has entries"),
        (4, 5, [0, 1, 2, 3], "equal entries"),
        (4, 64, [0, 1, 2, 3], "equal entries"),
        (2**31 - 1, 2**31 - 1, [0], "equal entries"),
        (4, 4, [0, 1, 2], "do not give the output"),
        (4, 4, [0, 1, 2, 4], "entry 4 of 4"),
        (4, 4, [0, 1, -1, 3], "entry -1 of 4"),
        (4, 4, [0, 1, 2, -(2**31)], "entry -2147483648"),
    ],
)
def test_entries_that_an_axis_has_not_are_refused(outer: int, size: int, index: list[int], says: str) -> None:
    picked = Step("gather", "gather_u8_scalar", "pick", (0,), 1, (outer, size, np.array(index, np.int32)))
    with pytest.raises(_native.PlanError, match=f"pick: .*{says}"):
        load(replace(GOOD, steps=(picked,)))


@pytest.mark.parametrize(
    ("at", "value", "says"),
    [
        ("scale", np.float32(np.nan), "finite"),
        ("scale", np.float32(np.inf), "finite"),
        ("scale", np.float32(-1), "positive"),
        ("multiplier", np.int32(0), "not positive"),
        ("shift", np.int32(63), "shift 63"),
        ("shift", np.int32(0), "shift 0"),
    ],
)
def test_multipliers_that_nothing_may_be_scaled_by_are_refused(at: str, value: Any, says: str) -> None:
    fixed = Requantize(np.full(8, 77, np.int32), np.full(8, 33, np.int32))
    good = encode(replace(GOOD, steps=(step(requant=Requantize(SCALE) if at == "scale" else fixed),)))
    pattern = {"scale": SCALE, "multiplier": fixed.multiplier, "shift": np.full(8, 33, np.int32)}[at].tobytes()
    assert good.count(pattern) == 1
    with pytest.raises(_native.PlanError, match=says):
        load(sealed(good.replace(pattern, value.tobytes() + pattern[4:])))


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ((tensor(320, 4, 4, 8), tensor(0, 4, 4, 8)), "leaves the arena"),
        ((tensor(2**63, 4, 4, 8), tensor(0, 4, 4, 8)), "leaves the arena"),
        ((tensor(0, 4, 4, 8), tensor(256, 4, 4, 8)), "fewer than 64 bytes of the arena behind it"),
        ((tensor(0, 4, 4, 8), tensor(128, 4, 4, 8)), "the output overlaps an input"),
        ((tensor(0, 4, 4, 8), tensor(0, 4, 4, 8)), "the output overlaps an input"),
        ((tensor(0, 0, 4, 8), tensor(192, 4, 4, 8)), "empty"),
        ((tensor(0, 2**31, 4, 8), tensor(192, 4, 4, 8)), "empty"),
        ((tensor(0, 2**30, 2**30, 2**30), tensor(192, 4, 4, 8)), "2\\^31"),
        ((tensor(0), tensor(192, 4, 4, 8)), "rank 0"),
        ((tensor(0, *(1,) * 9), tensor(192, 4, 4, 8)), "rank 9"),
        ((tensor(0, 4, 4, 8, scale=np.nan), tensor(192, 4, 4, 8)), "scale"),
        ((tensor(0, 4, 4, 8, zero_point=256), tensor(192, 4, 4, 8)), "zero point 256"),
        ((tensor(0, 4, 4, 8, lo=9, hi=8), tensor(192, 4, 4, 8)), "clamp"),
        ((tensor(0, 4, 4, 8, name="a\0b"), tensor(192, 4, 4, 8)), "UTF-8"),
    ],
)
def test_a_tensor_that_has_no_room_or_no_meaning_is_refused(tensors: tuple[PlacedTensor, ...], says: str) -> None:
    with pytest.raises(_native.PlanError, match=says):
        load(replace(GOOD, tensors=tensors))


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        (replace(GOOD, steps=(step((2,)),)), "tensor 2 is used; there are 2"),
        (replace(GOOD, steps=(step((0,), 9),)), "tensor 9"),
        (replace(GOOD, inputs=(7,)), "tensor 7"),
        (replace(GOOD, outputs=(2**32 - 1,)), "tensor 4294967295"),
        (replace(GOOD, steps=(step((0, 0)),)), "2 inputs, where 1"),
        (replace(GOOD, steps=(step(()),)), "0 inputs, where 1"),
        (replace(GOOD, steps=(replace(step(), row="gemm_nothing"),)), "layer: .*no row"),
        (replace(GOOD, steps=(replace(step(), row="depthwise_u8s8_scalar"),)), "layer: .*family"),
        (replace(GOOD, arena=2**41), "too large"),
    ],
)
def test_what_is_not_there_is_refused(contents: Contents, says: str) -> None:
    with pytest.raises(_native.PlanError, match=says):
        load(contents)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda _: b"", "not a plan"),
        (lambda _: b"OAQPLAN1", "not a plan"),
        (lambda good: b"X" + good[1:], "not a plan"),
        (lambda good: good[:8] + b"\2" + good[9:], "version 2"),
        (lambda good: good[:-1], "are there"),
        (lambda good: good[:-1] + b"\1", "checksum"),
        (lambda good: sealed(good[:32] + struct.pack("<Q", 2**40) + good[40:]), "outside the plan"),
        (lambda good: sealed(good[:40] + struct.pack("<I", 2**32 - 1) + good[44:]), "tensor"),
        (lambda good: sealed(good[:52] + struct.pack("<I", 0) + good[56:]), "records are not read"),
        (lambda good: sealed(good[:56] + b"\1" + good[57:]), "not zero"),
        (lambda good: sealed(good[:HEADER]), "outside the plan"),
    ],
)
def test_bytes_that_are_not_whole_are_refused(spoil: Callable[[bytes], bytes], says: str) -> None:
    with pytest.raises(_native.PlanError, match=says):
        load(spoil(encode(GOOD)))


def test_two_steps_cannot_share_an_array_and_none_leaves_the_file() -> None:
    content = encode(GOOD)
    begin = struct.unpack_from("<Q", content, 32)[0]
    place = content.index(struct.pack("<QQ", begin, WEIGHTS.nbytes))
    for offset, size in ((begin + 64, len(content)), (begin + 4, 64), (2**64 - 64, 64), (begin, 2**64 - 1), (0, 64)):
        changed = content[:place] + struct.pack("<QQ", offset, size) + content[place + 16 :]
        with pytest.raises(_native.PlanError, match="an array"):
            load(sealed(changed))
    second = struct.pack("<QQ", begin + 64, SEGMENTS.nbytes)
    assert content.count(second) == 1
    with pytest.raises(_native.PlanError, match="an array"):
        load(sealed(content.replace(second, struct.pack("<QQ", begin, SEGMENTS.nbytes))))


def test_tensors_weights_tables_and_scratch_are_counted_against_the_limit() -> None:
    arena, samples, weights, scratch = load(GOOD).memory()
    assert (arena, samples, weights) == (384, 1, WEIGHTS.nbytes)
    load(GOOD, 3, arena + weights + 3 * scratch)
    with pytest.raises(_native.MemoryExceeded, match=r"3 threads .*scratch, which 'layer' takes"):
        load(GOOD, 3, arena + weights + 3 * scratch - 1)
    wide = Step("resize", "resize_u8_scalar", "r", (0,), 1, (0,))
    line = replace(GOOD, arena=2**20, tensors=(tensor(0, 1, 1, 1), tensor(128, 1, 2**19, 1)), steps=(wide,))
    with pytest.raises(_native.MemoryExceeded, match="tables of a resize"):
        load(line, 1, 2**22)
    load(line, 1, 2**25)


def test_threads_have_limits() -> None:
    for threads in (0, 257, -1):
        with pytest.raises(ValueError, match="threads"):
            load(GOOD, threads)


def test_other_types_are_no_plan() -> None:
    for content in (None, "plan", bytearray(encode(GOOD)), GOOD):
        with pytest.raises(TypeError):
            _native.Session(content, 1, LIMIT)
