"""Runtimes of the benchmarks by name: those of ``oaq.report.peers``, and those that only benchmarks know."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.report.peers import Peer, PeerInput, onnxruntime_peer, openvino_peer

Make = Callable[[Path, str, int], Peer]


def litert_peer(model: Path, precision: str, threads: int) -> Peer:
    """LiteRT on the CPU with its default kernels, XNNPACK; takes the file's own input, NHWC, whatever its type."""
    from ai_edge_litert import interpreter as litert

    interpreter: Any = litert.Interpreter(model_path=str(model), num_threads=threads)
    interpreter.allocate_tensors()
    (input_details,), output_details = interpreter.get_input_details(), interpreter.get_output_details()[0]

    def run(x: PeerInput) -> NDArray[np.float32]:
        interpreter.set_tensor(input_details["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(output_details["index"])

    return Peer(f"litert {metadata.version('ai-edge-litert')} {precision}", precision, "best of the CPU", run)


RUNTIMES: dict[str, Make] = {"onnxruntime": onnxruntime_peer, "openvino": openvino_peer, "litert": litert_peer}
