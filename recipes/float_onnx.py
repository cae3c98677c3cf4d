"""The float network: its outputs, and an ONNX file for runtimes that read nothing else. Needs torch and onnxscript."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def export_float(
    net: torch.nn.Module,
    x: NDArray[np.float32],
    path: Path,
    *,
    whole: bool = False,
    outputs: Sequence[str] = ("y",),
) -> None:
    """Export ``net`` for inputs of the shape of ``x``, weights in the file; ``whole`` keeps batch norms as they are.

    Outputs are called ``outputs``.

    The exporter talks on standard output; that is kept off a benchmark's own output.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, loudly
    options: dict[str, Any] = {"dynamo": True, "external_data": False}
    if whole:
        options = {"dynamo": False, "do_constant_folding": False, "training": torch.onnx.TrainingMode.PRESERVE}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(),
            (torch.from_numpy(x),),
            str(path),
            input_names=["x"],
            output_names=list(outputs),
            **options,
        )


def run_float(net: torch.nn.Module, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the float network computes."""
    with torch.inference_mode():
        return net.eval()(torch.from_numpy(x)).numpy()
