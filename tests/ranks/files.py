"""ONNX files of the small networks, float and quantized by another tool."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


def float_file(network: nn.Module, shape: tuple[int, ...], path: Path) -> Path:
    """The network as torch exports it, its batch open."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about its own exporter
        torch.onnx.export(
            network,
            (torch.zeros(2, *shape),),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["x"],
            dynamic_axes={"x": {0: "n"}},
        )
    return path


def quantized_file(source: Path, samples: NDArray[np.float32], path: Path, form: str) -> Path:
    """The float file as ONNX Runtime quantizes it: "QDQ" or "QOperator"."""
    from onnxruntime import quantization as ort

    class Reader(ort.CalibrationDataReader):
        def __init__(self) -> None:
            self.rest = iter([{"x": samples}])

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(self.rest, None)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ort.quantize_static(
            str(source),
            str(path),
            Reader(),
            quant_format=ort.QuantFormat[form],
            per_channel=form == "QDQ",
            activation_type=ort.QuantType.QUInt8,
            weight_type=ort.QuantType.QInt8,
        )
    return path
