"""Bytes of files: as many as there are, never more memory than they need."""

from __future__ import annotations

import os
import threading
import tracemalloc
from pathlib import Path

import pytest

from oaq.capture.content import PIECE, read_content
from oaq.errors import FormatError

LIMIT = 1 << 40


def test_a_small_file_takes_the_memory_of_a_small_file(tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"x" * 300)
    tracemalloc.start()
    try:
        assert read_content(path, LIMIT, "is too large") == b"x" * 300
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_a_pipe_is_read_to_its_end(size: int, tmp_path: Path) -> None:
    path, content = tmp_path / "pipe", os.urandom(size)
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    assert read_content(path, LIMIT, "is too large") == content
    writer.join()


@pytest.mark.parametrize("size", [0, 1, 9, 10])
def test_a_file_as_large_as_allowed_is_read(size: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"y" * size)
    assert read_content(path, 10, "is too large") == b"y" * size


@pytest.mark.parametrize("size", [11, 12, 1000])
def test_a_larger_file_is_refused_with_the_message(size: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"y" * size)
    with pytest.raises(FormatError, match="file: is too large"):
        read_content(path, 10, "is too large")


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(FormatError, match="cannot be read"):
            read_content(path, 10, "is too large")
