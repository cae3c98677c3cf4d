"""Memory of tensors that is used again: never while anything still refers to it."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import oaq
from oaq.mixed.reuse import LEAST, MOST, Buffers
from tests import dynamic_files as files

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_a_buffer_is_used_again_once_nothing_refers_to_it_and_not_before() -> None:
    buffers = Buffers()
    first = buffers.empty((LEAST, 2))
    place = address(first)
    second = buffers.empty((2, LEAST))
    assert address(second) != place
    part = first[5:7, 1]
    del first
    third = buffers.empty((2 * LEAST,))
    assert address(third) not in (place, address(second))  # a view of the first is still there
    del part
    assert address(buffers.empty((2 * LEAST,))) == place


def test_no_more_buffers_are_kept_than_are_allowed_and_small_arrays_are_none() -> None:
    buffers = Buffers()
    arrays = [buffers.empty((LEAST + index,)) for index in range(MOST + 5)]
    assert len(buffers._kept) == MOST and len({address(array) for array in arrays}) == MOST + 5
    buffers.empty((LEAST - 1,))
    assert len(buffers._kept) == MOST


def test_threads_have_buffers_of_their_own() -> None:
    buffers, addresses = Buffers(), []
    held = [address(array) for array in [buffers.empty((LEAST,))]]
    thread = threading.Thread(target=lambda: addresses.append(address(buffers.empty((LEAST,)))))
    thread.start()
    thread.join()
    assert addresses[0] not in held and len(buffers._kept) == 1


def test_results_that_a_caller_holds_are_not_written_again() -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, (16, 600)).astype(np.int8)
    session = oaq.InferenceSession(files.matmul_integer(weight, np.float32(0.01)))
    inputs = [rng.normal(size=(1, 40, 16)).astype(np.float32) for _ in range(4)]
    results = [session.run(None, {"x": x})[0] for x in inputs]
    copies = [result.copy() for result in results]
    views = [session.run(None, {"x": x})[0][0, 3:5] for x in inputs]
    for result, copy, view in zip(results, copies, views, strict=True):
        assert np.array_equal(result, copy) and np.array_equal(view, copy[0, 3:5])
