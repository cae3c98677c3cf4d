"""Stored TFLite files and what LiteRT computed in them (``benchmarks.tflite_stored``): needs no LiteRT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.import_equality import Seen
from benchmarks.tflite_equality import as_held, compare
from oaq import reference
from oaq.capture.from_tflite import import_tflite
from oaq.kernels.plan import plan
from oaq.kernels.table import cpu_isas
from oaq.numerics.requantize import SEMANTICS, Semantics
from oaq.overflow.settle import settle
from oaq.runtime import Session

FOLDER = Path(__file__).parent / "by_litert"
FILES = sorted(FOLDER.glob("*int8-[0-9].tflite"))
OPERATORS = sorted(FOLDER.glob("*-*int8.tflite"))
TENSORS = {"x", "c", "d", "a", "m", "f"}


def computed(path: Path) -> dict[str, np.ndarray]:
    """LiteRT's integers by the file's names."""
    with np.load(path.with_suffix(".npz")) as held:
        return dict(held)


def test_files_of_both_kinds_are_stored() -> None:
    assert [path.stem for path in FILES] == [f"{kind}-{seed}" for kind in ("int8", "uint8") for seed in range(3)]
    assert all(set(computed(path)) == TENSORS for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_every_integer_is_the_one_litert_computed(path: Path) -> None:
    imported, seen = import_tflite(path), Seen()
    compare(imported, computed(path), seen)
    assert seen.integers["Conv2d"] == 6 * 2 * 5 * 5 * 8
    assert seen.integers["Linear"] == 6 * 5
    assert not any(seen.differ.values()), seen


@pytest.mark.parametrize("semantics", SEMANTICS)
@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_native_code_is_exact_on_every_instruction_set(path: Path, semantics: Semantics) -> None:
    imported = import_tflite(path, requantize=semantics)
    program = settle(imported.program).program
    x = as_held(imported, computed(path))[program.inputs[0]]
    (law,) = reference.run(program, x).outputs
    assert cpu_isas()
    for isa in cpu_isas():
        (got,) = Session(plan(program, isa)).run_integers(x)
        np.testing.assert_array_equal(got, law, err_msg=f"{path.stem} on {isa}")


def test_every_operator_is_stored_for_both_kinds() -> None:
    assert len(OPERATORS) == 2 * 17


@pytest.mark.parametrize("path", OPERATORS, ids=[path.stem for path in OPERATORS])
def test_each_operator_computes_what_litert_did(path: Path) -> None:
    imported, seen = import_tflite(path), Seen()
    compare(imported, computed(path), seen)
    assert not imported.islands
    assert bool(seen.skipped) == path.stem.startswith(("mean", "max-pool", "sub"))  # made of two nodes
    assert len(seen.integers) >= 2, seen
    name = path.stem.rpartition("-")[0]
    assert max(seen.most.values()) == 0, (name, seen)
