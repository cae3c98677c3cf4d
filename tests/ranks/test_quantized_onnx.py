"""Quantized ONNX files of lines (C, L) and tokens (T, C): every integer of the file, in the file's own order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import oaq
from oaq.capture.from_onnx import import_quantized
from oaq.reference import run
from oaq.runtime.values import caller_shape, to_floats, to_integers
from tests.ranks.chain import check_chain, extremes_first
from tests.ranks.files import float_file, quantized_file
from tests.ranks.networks import Keywords, Tokens, trained

onnxruntime = pytest.importorskip("onnxruntime")

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "keywords": (Keywords, (5, 33)),
    "keywords, a line shorter than the kernel": (Keywords, (5, 2)),
    "tokens": (Tokens, (9, 12)),
    "one token": (Tokens, (1, 12)),
}


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_quantized_file_is_imported_whole_and_keeps_its_axes(name: str, form: str, tmp_path: Path) -> None:
    make, shape = NETWORKS[name]
    # ONNX Runtime rounds what a MatMul gives before it adds the bias; that is the next test
    curve = F.gelu if form == "QDQ" else torch.sigmoid  # which ONNX Runtime has integers for
    network = trained(Tokens(bias=False, curve=curve) if make is Tokens else make())
    source = float_file(network, shape, tmp_path / "float.onnx")
    batches = extremes_first(shape)
    path = quantized_file(source, extremes_first(shape, 16)[-1], tmp_path / "ints.onnx", form)
    imported = import_quantized(path, {"x": (3, *shape)})
    assert imported.is_whole, imported.islands
    assert caller_shape(imported.program, imported.program.inputs[0]) == shape
    sums = list(imported.program.summing_nodes())
    assert len(sums) == sum(isinstance(each, nn.Conv1d | nn.Linear) for each in make().modules())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for batch in batches:
        law = to_floats(imported.program, run(imported.program, to_integers(imported.program, batch)).outputs)
        results = dict(zip((end.name for end in session.get_outputs()), session.run(None, {"x": batch}), strict=True))
        for output, value in zip(imported.program.outputs, law, strict=True):
            if output in results:
                assert value.shape == results[output].shape
                scale = imported.program.tensors[output].affine.scale
                assert np.abs(value - results[output]).max() <= 6.01 * scale, output
    check_chain(imported.program, batches, tmp_path)


def test_a_bias_added_to_rounded_integers_is_named_with_what_to_do(tmp_path: Path) -> None:
    source = float_file(trained(Tokens()), (9, 12), tmp_path / "float.onnx")
    path = quantized_file(source, extremes_first((9, 12), 16)[-1], tmp_path / "ints.onnx", "QDQ")
    imported = import_quantized(path, {"x": (3, 9, 12)})
    assert not imported.is_whole
    why = next(island.why for island in imported.islands if island.where == "inside")
    assert "it meets constants of shape (20,) after integers were rounded" in why and "quantize after it" in why


@pytest.mark.parametrize("name", NETWORKS)
def test_what_oaq_exports_comes_back_with_the_same_integers_and_axes(name: str, tmp_path: Path) -> None:
    make, shape = NETWORKS[name]
    batches = extremes_first(shape)
    program = oaq.quantize(trained(make()), [batches[-1]])
    oaq.export.onnx(program, tmp_path / "net.onnx")
    again = import_quantized(tmp_path / "net.onnx").program
    assert [tensor.shape for tensor in again.tensors.values()][:1] == [program.tensors[program.inputs[0]].shape]
    for batch in batches:
        first = to_floats(program, run(program, to_integers(program, batch)).outputs)
        second = to_floats(again, run(again, to_integers(again, batch)).outputs)
        for one, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(one, other)
