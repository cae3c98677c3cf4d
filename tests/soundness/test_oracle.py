"""The oracle against results worked out by hand, and that it shares nothing with oaq."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.soundness import laws, oracle
from benchmarks.soundness.refusals import judged, kind_of
from benchmarks.soundness.registers import PlainSchedule, broken_rules

FOLDER = Path(oracle.__file__).parent
ASKS_OAQ = {"subject.py", "campaign.py", "__main__.py"}


def tensor(shape: tuple[int, ...], zero: int = 0, ends: tuple[int, int] = (0, 255)) -> dict[str, object]:
    return {"shape": list(shape), "zero_point": zero, "range": list(ends)}


def step(node: dict[str, object], inputs: list, output: dict[str, object], **arrays: np.ndarray) -> laws.Step:
    return laws.Step(
        {"name": "n", **node}, {key.replace("_of_", "."): value for key, value in arrays.items()}, inputs, output
    )


def column(*values: int) -> np.ndarray:
    return np.array(values, np.int64)[None, :, None, None]


def test_the_oracle_imports_nothing_of_what_it_judges() -> None:
    for path in FOLDER.glob("*.py"):
        modules = {
            name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
        }
        shared = {name for name in modules if name.split(".")[0] == "oaq"}
        assert bool(shared) == (path.name in ASKS_OAQ), (path.name, shared)


def test_a_window_sums_weight_times_distance_from_the_zero_point_and_padding_adds_nothing() -> None:
    node = {"op": "Conv2d", "stride": [1, 1], "padding": [1, 0, 0, 0], "dilation": [1, 1], "groups": 1}
    weight, bias = np.array([10, 1], np.int8).reshape(1, 2, 1, 1), np.array([7], np.int32)
    conv = step(node, [tensor((2, 1, 1), zero=3)], tensor((2, 1, 1)), weight=weight, bias=bias)
    assert laws.sums(conv, column(5, 9)).reshape(-1).tolist() == [7 + 2, 7 + 20 + 6]


def test_a_group_reads_its_own_channels() -> None:
    node = {"op": "Conv2d", "stride": [1, 1], "padding": [0, 0, 0, 0], "dilation": [1, 1], "groups": 2}
    weight = np.array([[1, 10], [100, 1000]], np.int16).reshape(2, 1, 1, 2)
    conv = step(node, [tensor((1, 1, 4))], tensor((1, 1, 2)), weight=weight, bias=np.zeros(2, np.int32))
    assert laws.sums(conv, np.array([1, 2, 3, 4]).reshape(1, 1, 1, 4)).reshape(-1).tolist() == [21, 4300]


def test_a_window_slides_over_lines_and_over_volumes_as_over_images() -> None:
    node = {"op": "Conv2d", "groups": 1}
    line = {**node, "stride": [2], "padding": [1, 0], "dilation": [2]}
    conv = step(line, [tensor((4, 1), zero=3)], tensor((2, 1)), weight=_taps(2), bias=np.array([7]))
    assert laws.sums(conv, np.array([5, 9, 4, 8]).reshape(1, 4, 1)).reshape(-1).tolist() == [7 + 6 * 10, 7 + 6 + 50]
    volume = {**node, "stride": [1, 1, 1], "padding": [1, 0, 0, 0, 0, 0], "dilation": [1, 1, 1]}
    conv = step(volume, [tensor((2, 1, 2, 1))], tensor((2, 1, 1, 1)), weight=_taps(2, 1, 2), bias=np.zeros(1))
    planes = np.array([[1, 2], [3, 4]]).reshape(1, 2, 1, 2, 1)
    assert laws.sums(conv, planes).reshape(-1).tolist() == [100 + 2000, 1 + 20 + 300 + 4000]


def _taps(*kernel: int) -> np.ndarray:
    """1, 10, 100, ...: a sum shows which input met which tap."""
    return 10 ** np.arange(np.prod(kernel)).reshape(1, *kernel, 1)


def test_a_pool_of_a_volume_counts_the_taps_that_lie_inside() -> None:
    node = {"kernel": [2, 1, 2], "stride": [1, 1, 1], "padding": [1, 0, 0, 0, 0, 0], "dilation": [1, 1, 1]}
    planes = np.array([[1, 2], [3, 8]]).reshape(1, 2, 1, 2, 1)
    largest = step({"op": "MaxPool", **node}, [tensor((2, 1, 2, 1))], tensor((2, 1, 1, 1)))
    assert laws.computed(largest, [planes]).reshape(-1).tolist() == [2, 8]
    assert largest.edges.partly_padded == 1


def test_a_sum_that_wraps_takes_the_entry_of_its_residue() -> None:
    table = np.arange(10, 18, dtype=np.uint8).reshape(2, 4)
    layer = step({"op": "Linear"}, [], {}, requantize_of_table=table)
    total = np.array([[0, 0], [-1, -1], [5, 4 * 10**9 + 3]])
    assert laws.requantized(layer, total).tolist() == [[10, 14], [13, 17], [11, 17]]
    assert laws.modulo(layer) == 2
    shared = step({"op": "Linear"}, [], {}, requantize_of_table=table[:1])
    assert laws.requantized(shared, total).tolist() == [[10, 10], [13, 13], [11, 13]]


def test_a_lane_may_wrap_only_where_it_holds_the_residue_that_counts() -> None:
    weight, packed = np.full((1, 4), 127), np.full((1, 1, 4), 127)
    segments, bounds = np.array([[0, 0, 1]]), np.array([[0, 127 * 255 * 4]])
    plan = PlainSchedule(16, "wraps", "exact", 4, 1, 1, 1, False, segments, packed, bounds)
    broken = ["a lane holds [129540, 129540] at a spill, which leaves 16 bits"]
    operands, bias = np.full((1, 1, 4), 255), np.array([2**31 - 1])
    spilled = "tile 0: a 32-bit total leaves 32 bits on the way"
    assert list(broken_rules(plan, weight, operands, bias)) == [*broken, spilled]
    for bits, sentences in ((16, []), (17, broken), (2, [])):
        assert list(broken_rules(replace(plan, modulo=bits), weight, operands, bias)) == sentences
    saturates = replace(plan, overflow="saturates", modulo=8)
    assert broken[0] in list(broken_rules(saturates, weight, operands, bias))


def test_an_empty_window_is_the_least_integer_of_the_result() -> None:
    node = {"op": "MaxPool", "kernel": [2, 1], "stride": [1, 1], "padding": [1, 1, 0, 0], "dilation": [2, 1]}
    pool = step(node, [tensor((1, 1, 1), 5)], tensor((1, 1, 1), 5, (4, 200)))
    assert laws.computed(pool, [column(50)]).reshape(-1).tolist() == [4]
    assert pool.edges.empty_windows == 1


def test_a_mean_over_what_lies_inside_takes_the_multiplier_of_its_count() -> None:
    node = {"op": "AvgPool", "kernel": [2, 1], "stride": [1, 1], "padding": [1, 0, 0, 0], "count_include_pad": False}
    multiplier = np.array([1.0, 0.5], np.float32)
    pool = step(node, [tensor((2, 1, 1))], tensor((2, 1, 1)), requantize_of_multiplier=multiplier)
    assert laws.computed(pool, [column(9, 4)]).reshape(-1).tolist() == [9, 6]  # 6.5 is a tie
    including = step(
        {**node, "count_include_pad": True}, [tensor((2, 1, 1))], tensor((2, 1, 1)), requantize_of_multiplier=multiplier
    )
    assert laws.computed(including, [column(9, 4)]).reshape(-1).tolist() == [4, 6]


@pytest.mark.parametrize(("total", "expected"), [(1, 1), (3, 2), (-1, 0), (-3, -1), (5, 3)])
def test_fixed_point_rounds_halves_up(total: int, expected: int) -> None:
    numbers = {"requantize_of_multiplier": np.array([1], np.int32), "requantize_of_shift": np.array([1], np.int32)}
    node = step({"op": "Mul"}, [tensor((1,)), tensor((1,))], tensor((1,), 100), **numbers)
    assert laws.requantized(node, np.array([[total]])).tolist() == [[100 + expected]]
    assert node.edges.ties == 1


def test_a_lane_that_leaves_its_register_is_named() -> None:
    weight = np.full((1, 8), 127, np.int8)
    packed = np.zeros((2, 16, 4), np.int8)
    packed[:, 0] = 127
    bounds = np.array([[-(1 << 40), 1 << 40]])
    plan = PlainSchedule(16, "wraps", "saturates", 4, 2, 2, 16, False, np.array([[0, 0, 2]]), packed, bounds)
    full = np.full((1, 1, 8), 255)
    sentences = list(broken_rules(plan, weight, full, np.zeros(1, np.int64)))
    assert any("an instruction adds [0, 64770], which leaves 16 bits" in sentence for sentence in sentences)
    assert any("a lane holds [0, 129540]" in sentence for sentence in sentences)
    half = np.full((1, 1, 8), 64)
    assert not list(broken_rules(plan, weight, half, np.zeros(1, np.int64)))  # 4 * 64 * 127 = 32512


def test_a_schedule_that_loses_or_repeats_a_weight_is_named() -> None:
    weight, packed = np.arange(8, dtype=np.int8).reshape(1, 8), np.zeros((2, 8, 4), np.int8)
    packed[:, 0] = np.arange(8).reshape(2, 4)
    whole = PlainSchedule(32, "exact", "exact", 4, 1, 1, 8, False, np.array([[0, 0, 2]]), packed, np.array([[0, 9999]]))
    x = np.ones((1, 1, 8), np.int64)
    assert not list(broken_rules(whole, weight, x, np.zeros(1, np.int64)))
    packed[1, 0, 3] += 1
    assert "the executed weights do not sum to the program's" in list(
        broken_rules(whole, weight, x, np.zeros(1, np.int64))
    )


def test_a_refusal_is_judged_by_the_windows_there_are() -> None:
    node = {
        "name": "n0", "op": "Conv2d", "inputs": ["x"], "output": "y",
        "stride": [1, 1], "padding": [1, 0, 0, 0], "dilation": [1, 1], "groups": 1,
    }  # fmt: skip
    header = {
        "inputs": ["x"],
        "tensors": [{"name": "x", **tensor((1, 1, 1))}, {"name": "y", **tensor((1, 1, 1))}],
        "nodes": [node],
    }
    message = "n0, output 0: the 32-bit sum needs 33 bits: a partial sum with bias can reach [0, 2147483648]."
    weight = np.array([100, 100], np.int8).reshape(1, 2, 1, 1)
    arrays = {"nodes/0/weight": weight, "nodes/0/bias": np.array([(1 << 31) - 1 - 255 * 100], np.int32)}
    assert kind_of(message) == "a partial sum with bias"
    assert (
        judged(header, arrays, message) == "no input of one window does"
    )  # its window holds one input, the other pads
    arrays["nodes/0/bias"] = np.array([(1 << 31) - 255 * 100], np.int32)
    assert judged(header, arrays, message) == "an input leaves 32 bits"
