"""The memory limit: where it comes from, and what it says."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest

from oaq import operators as ops
from oaq.errors import ConfigError, MemoryLimit
from oaq.numerics.affine import Affine
from oaq.program.int_program import IntProgram
from oaq.program.memory import memory_limit, require_memory, show_bytes
from oaq.reference import run
from tests.strategies import Builder, conv2d

FAR = 32767


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("7000", 7000), ("16K", 1 << 14), ("8g", 8 << 30), (" 3M ", 3 << 20), ("2T", 2 << 40)]
)
def test_the_environment_sets_the_limit(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setenv("OAQ_MEMORY_LIMIT", text)
    assert memory_limit() == size
    assert memory_limit(5) == 5


@pytest.mark.parametrize("text", ["0", "-1", "1.5G", "G", "8GB", "much", "٣"])
def test_a_mistyped_limit_is_an_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("OAQ_MEMORY_LIMIT", text)
    with pytest.raises(ConfigError, match=rf"OAQ_MEMORY_LIMIT is a number of bytes .*{re.escape(text)}"):
        memory_limit()


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "8G"])
def test_a_limit_that_is_not_a_number_of_bytes_is_refused(limit: object) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        memory_limit(limit)  # type: ignore[arg-type]


def test_without_one_it_is_at_most_half_of_the_memory_and_four_gibibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OAQ_MEMORY_LIMIT", raising=False)
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert memory_limit() == min(4 << 30, physical // 2)


def test_exactly_the_limit_is_allowed_and_one_byte_more_is_not() -> None:
    require_memory(100, 100, "this")
    with pytest.raises(MemoryLimit, match=r"this needs 101 bytes \(101 B\), more than the limit of 100"):
        require_memory(101, 100, "this")
    assert show_bytes(5 << 50) == "5.12e+03 TiB"


def far() -> IntProgram:
    builder = Builder("far")
    x = builder.input((1, 1, 8), Affine(0.05, 3))
    window = {"padding": (FAR, FAR, FAR, FAR), "dilation": (FAR, FAR), "stride": (FAR, FAR)}
    op = conv2d(np.random.default_rng(0), (8, 2, 2, 8), **window)
    builder.add(op, [x], Affine(0.05, 5), name="far")
    return builder.finish()


def test_the_reference_refuses_what_would_take_gigabytes_before_it_takes_them() -> None:
    with pytest.raises(MemoryLimit, match=r"^far: the reference needs \d+ bytes \(\d+ [GT]iB\).*damaged file"):
        run(far(), np.zeros((1, 1, 1, 8), np.uint8))


def test_the_reference_keeps_to_the_limit_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    builder = Builder("small")
    x = builder.input((9, 9, 8))
    builder.add(ops.Pad((1, 1, 1, 1)), [x])
    program, zeros = builder.finish(), np.zeros((1, 9, 9, 8), np.uint8)
    run(program, zeros)
    monkeypatch.setenv("OAQ_MEMORY_LIMIT", "1K")
    with pytest.raises(MemoryLimit, match="n0: the reference"):
        run(program, zeros)
