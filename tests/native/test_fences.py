"""No row touches a byte it was not given: fences around every block of memory, canaries around every tensor."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oaq.kernels import _native
from oaq.kernels.plan import Plan, plan
from oaq.program.int_program import IntProgram
from oaq.reference import run
from oaq.runtime.build import build
from oaq.runtime.memory import ALIGNMENT, Arena
from oaq.runtime.plan_bytes import PlacedTensor, encode
from tests.native.conftest import FOLDER, WANTED
from tests.native.fenced import layers, others
from tests.native.machine import SUMMING
from tests.plan_reader import decode
from tests.strategies import random_input

GAP = 3 * ALIGNMENT
SEGMENTATION_FAULT = -11


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """fence.cc, built by the compiler that builds oaq."""
    path = tmp_path_factory.mktemp("fence") / "fence.so"
    source = Path(__file__).with_name("fence.cc")
    compiler = os.environ.get("CXX", "c++")
    flags = ["-std=c++20", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    subprocess.run([compiler, *flags, "-o", path, source, "-ldl"], check=True)
    return path


def fenced(library: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # A sanitized run brings a malloc and a module of its own; this process has neither.
    sanitized = os.environ.get(WANTED) == "address"
    kept = {key: value for key, value in os.environ.items() if key != FOLDER or not sanitized}
    return subprocess.run(
        [sys.executable, "-m", "tests.native.fenced", *arguments],
        env={**kept, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.parametrize("side", ["end", "start"])
def test_every_row_stays_inside_every_block_of_memory(library: Path, side: str) -> None:
    """Weights, biases, multipliers, segments, scratch, callers' arrays; read or write, before or behind."""
    done = fenced(library, side)
    assert done.returncode == 0, f"{done.stdout[-300:]}\n{done.stderr[-2000:]}"
    sessions, _, blocks, _ = done.stdout.splitlines()[-1].split()
    assert int(sessions) > 12 * len(SUMMING)
    assert int(blocks) > 10 * int(sessions)


@pytest.mark.parametrize("side", ["end", "start"])
@pytest.mark.parametrize("how", ["misread", "miswrite"])
def test_a_single_byte_outside_a_block_ends_the_process(library: Path, side: str, how: str) -> None:
    assert fenced(library, side, how).returncode == SEGMENTATION_FAULT


class Watched:
    """A native session whose arena holds canaries: bytes that belong to no tensor, filled and read back by ``run``."""

    hidden = 0
    """Rows of the first output that the canaries take for theirs."""

    def __init__(self, plan: bytes, threads: int, memory_limit: int) -> None:
        contents = decode(plan)
        named = [contents.tensors[number] for number in (*contents.inputs, *contents.outputs)]
        sizes = [prod(tensor.shape) for tensor in named]
        sizes[len(contents.inputs)] -= self.hidden * prod(named[len(contents.inputs)].shape[1:])
        tensors = sorted((tensor.offset, tensor.offset + size) for tensor, size in zip(named, sizes, strict=True))
        edges = [0, *(edge for tensor in tensors for edge in tensor), contents.arena]
        gaps = [
            PlacedTensor("gap", (stop - start,), start, 1.0, 0, 0, 255)
            for start, stop in zip(edges[::2], edges[1::2], strict=True)
        ]
        first = len(contents.tensors)
        numbers = tuple(range(first, first + len(gaps)))
        self.gaps = [gap.shape for gap in gaps]
        watched = replace(
            contents,
            tensors=(*contents.tensors, *gaps),
            inputs=(*contents.inputs, *numbers),
            outputs=(*contents.outputs, *numbers, *contents.inputs),
        )
        self.native: Any = SESSION(encode(watched), threads, memory_limit)

    def run(self, inputs: list[np.ndarray], outputs: list[np.ndarray]) -> None:
        """As the session does; then every byte of the arena that is no output must be what it was."""
        rng, batch = np.random.default_rng(9), len(inputs[0])
        canaries = [rng.integers(0, 256, (batch, *shape), np.uint8) for shape in self.gaps]
        after, unchanged = [np.empty_like(one) for one in canaries], [np.empty_like(one) for one in inputs]
        self.native.run([*inputs, *canaries], [*outputs, *after, *unchanged])
        for one, other in zip([*canaries, *inputs], [*after, *unchanged], strict=True):
            np.testing.assert_array_equal(one, other)


SESSION = _native.Session


def spread(program: IntProgram) -> Arena:
    """Every tensor with room before and behind it, whatever its lifetime."""
    offsets, end = {}, 0
    for name, spec in program.tensors.items():
        offsets[name] = end + GAP
        end = offsets[name] + -(-prod(spec.shape) // ALIGNMENT) * ALIGNMENT
    return Arena(end + GAP, offsets, frozenset())


def check_watched(planned: Plan, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    program, rng = planned.program, np.random.default_rng(5)
    x = [random_input(rng, (1, *program.tensors[name].shape), program.tensors[name].range) for name in program.inputs]
    wanted = run(program, tuple(x)).outputs
    monkeypatch.setattr(_native, "Session", Watched)
    native = build(planned, spread(program), threads)
    assert isinstance(native, Watched)
    got = [np.empty_like(one) for one in wanted]
    native.run(x, got)
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("row", SUMMING)
def test_a_row_that_sums_writes_its_output_and_nothing_else(
    row: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in layers(row):
        check_watched(plan(program, rows=[row]), threads, monkeypatch)


@pytest.mark.parametrize(("row", "program"), list(others()), ids=[row for row, _ in others()])
def test_any_other_row_writes_its_output_and_nothing_else(
    row: str, program: IntProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_watched(plan(program, rows=[row]), 2, monkeypatch)


def test_a_stray_write_is_seen_by_the_canaries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer told that its output is a pixel longer than the canaries believe."""
    ((_, program),) = [one for one in others() if one[0] == "lookup_u8_scalar"]
    planned = plan(program, rows=["lookup_u8_scalar"])

    class Blind(Watched):
        hidden = 1

    monkeypatch.setattr(_native, "Session", Blind)
    native = build(planned, spread(program), 1)
    x = [np.full((1, *program.tensors[name].shape), 9, np.uint8) for name in program.inputs]
    with pytest.raises(AssertionError, match="not equal"):
        native.run(x, [np.empty((1, 5, 7, 3), np.uint8)])
