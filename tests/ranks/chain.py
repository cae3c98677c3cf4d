"""The whole way of a program: proof, certificate, every instruction set, ONNX, files; tensors as the caller counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import oaq
from oaq.kernels.table import cpu_isas
from oaq.program.int_program import IntProgram
from oaq.reference import run
from oaq.runtime.values import caller_shape, to_floats, to_integers

Reals = NDArray[np.float32]


def extremes_first(shape: tuple[int, ...], count: int = 3, seed: int = 0) -> list[Reals]:
    """Batches of the greatest, the least and no values, then random ones of an odd batch size."""
    rng = np.random.default_rng(seed)
    ends = [np.full((1, *shape), value, np.float32) for value in (1e3, -1e3, 0.0)]
    return [*ends, rng.normal(size=(count, *shape)).astype(np.float32)]


def check_chain(program: IntProgram, batches: list[Reals], folder: Path) -> None:
    """Every executor gives the reference's integers; saved and exported files say the same.

    Args:
        program: with one input.
        batches: (batch, ...) each, as the caller counts axes.
        folder: for files.
    """
    for batch in batches:
        law = run(program, to_integers(program, batch))
        expected = to_floats(program, law.outputs)
        for isa in cpu_isas():
            result = oaq.Session(oaq.plan(program, isa=isa)).run(batch)
            results = result if isinstance(result, tuple) else (result,)
            for name, value, wanted in zip(program.outputs, results, expected, strict=True):
                assert value.shape == (len(batch), *caller_shape(program, name)), (isa, name)
                np.testing.assert_array_equal(value, wanted, err_msg=f"{isa}: {name}")
    report = oaq.verify(program, to_integers(program, batches[-1]))
    assert report.mismatches == 0 and report.is_safe, report
    assert report.certificate.startswith("holds"), report.certificate
    oaq.save(program, folder / "net.oaq")
    assert oaq.verify_file(folder / "net.oaq").is_safe
    check_exported(program, batches, folder)


def check_exported(program: IntProgram, batches: list[Reals], folder: Path) -> None:
    """The exported file takes and gives what the session does, is checked from itself alone, and runs elsewhere."""
    runtime = pytest.importorskip("onnxruntime")
    path = folder / "net.onnx"
    oaq.export.onnx(program, path)
    assert oaq.verify_file(path).is_safe
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    shapes = {end.name: tuple(end.shape[1:]) for end in (*session.get_inputs(), *session.get_outputs())}
    assert shapes == {name: caller_shape(program, name) for name in (*program.inputs, *program.outputs)}
    for batch in batches:
        law = run(program, to_integers(program, batch))
        expected = to_floats(program, law.outputs)
        for name, value, wanted in zip(
            program.outputs, session.run(None, {program.inputs[0]: batch}), expected, strict=True
        ):
            steps = np.abs(value - wanted) / program.tensors[name].affine.scale
            assert steps.max() <= 4.01, f"{name}: sums and means may be rounded to a neighbour, here by {steps.max()}"
