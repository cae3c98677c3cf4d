"""The encoder as ONNX files: float, and quantized by ONNX Runtime itself. Needs torch and onnxruntime."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import torch

from recipes.embeddings.encoder import Encoder


def export(encoder: Encoder, path: Path) -> None:
    """Write float ONNX with open batch and sequence."""
    ids = torch.ones(2, 8, dtype=torch.int64)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            encoder,
            (ids, torch.ones_like(ids)),
            str(path),
            input_names=["ids", "mask"],
            output_names=["embedding"],
            dynamic_axes={"ids": {0: "batch", 1: "tokens"}, "mask": {0: "batch", 1: "tokens"}},
            dynamo=False,
            opset_version=17,
        )


def quantize(source: Path, path: Path, kind: str, *, per_channel: bool = False) -> None:
    """``quantize_dynamic`` of ONNX Runtime; ``kind`` is int8 or uint8, of the weights."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().setLevel(logging.ERROR)  # it asks for a preprocessing that changes no number here
    weight_type = QuantType.QInt8 if kind == "int8" else QuantType.QUInt8
    quantize_dynamic(
        str(source),
        str(path),
        weight_type=weight_type,
        per_channel=per_channel,
        op_types_to_quantize=["MatMul", "Gemm"],
    )
