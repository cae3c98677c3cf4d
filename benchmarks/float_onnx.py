"""The float network as an ONNX file, for peers that read nothing else. Needs torch and onnxscript."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray


def export_float(net: torch.nn.Module, x: NDArray[np.float32], path: Path) -> None:
    """Export ``net`` for inputs of the shape of ``x``, weights inside the file.

    The exporter talks on standard output; that is kept off a benchmark's own output.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, loudly
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(),
            (torch.from_numpy(x),),
            str(path),
            dynamo=True,
            external_data=False,
            input_names=["x"],
            output_names=["y"],
        )


def run_float(net: torch.nn.Module, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the float network computes."""
    with torch.inference_mode():
        return net.eval()(torch.from_numpy(x)).numpy()
