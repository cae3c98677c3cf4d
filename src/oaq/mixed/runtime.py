"""Float regions by ONNX Runtime, which is loaded when one is opened and need not be installed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from oaq.errors import ProgramError, UnsupportedOp
from oaq.mixed.encode import region_model
from oaq.mixed.program import FloatBody, Region, Values

REWRITES: Final = (
    *("ReluQuantRewrite", "ClipQuantRewrite", "DoubleQDQPairsRemover", "QDQPropagationTransformer"),
    *("WeightBiasQuantization", "QDQS8ToU8Transformer", "QDQFinalCleanupTransformer"),
)
"""Optimizers of ONNX Runtime that move or drop quantizers: files were seen whose numbers two of them change."""
Function = Callable[[Mapping[str, Values]], Sequence[Values]]


def runtime_version() -> str | None:
    """The version of the ONNX Runtime that is installed; None if there is none."""
    try:
        import onnxruntime
    except ImportError:
        return None
    return str(onnxruntime.__version__)


def open_runtime(region: Region, body: FloatBody, threads: int) -> Function:
    """The region as a session of ONNX Runtime on this CPU.

    Quantizers are neither moved nor fused into kernels that compute in integers: what such kernels sum is not proved.

    Raises:
        UnsupportedOp: ONNX Runtime does not load it; the message is its own.
    """
    content = region_model(region, body) if body.content is None else body.content
    session = runtime_session(content, threads, body.folder, region)
    writes = list(region.writes)

    def run(feed: Mapping[str, Values]) -> Sequence[Values]:
        try:
            return session.run(writes, feed)
        except Exception as error:  # onnxruntime raises classes of its own, derived from Exception only
            raise ProgramError(f"{_where(region)}: ONNX Runtime: {first_line(error)}") from error

    return run


def runtime_session(content: bytes, threads: int, folder: str, region: Region) -> Any:  # noqa: ANN401
    """ONNX Runtime on a model's bytes.

    Args:
        content: of the model.
        threads: of each operator.
        folder: where its external data lie; "" if nowhere.
        region: for messages.

    Raises:
        UnsupportedOp: ONNX Runtime does not load it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.force_spinning_stop", "1")  # the CPUs are the next region's
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    if folder:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    try:
        return onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(REWRITES)
        )
    except Exception as error:  # see above
        raise UnsupportedOp(f"{_where(region)}: ONNX Runtime does not load it: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """What an exception says, shortened to its first line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:400]


def folder_of(path: Path) -> str:
    """The folder of a file, absolute, as ONNX Runtime takes it."""
    return os.fspath(path.resolve().parent)


def _where(region: Region) -> str:
    name, operator = region.nodes[0]
    return f"{region.name}, from node {name!r} ({operator})" if len(region.nodes) > 1 else f"node {name!r} ({operator})"
