"""A peer held to an instruction set, in a process of its own: oneDNN reads ``ONEDNN_MAX_CPU_ISA`` once.

python -m benchmarks.held_peer RUNTIME MODEL INPUTS.npy OUTPUTS.npy THREADS
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.child import child, held_to
from benchmarks.peers import RUNTIMES

Batch = NDArray[np.float32]


def outputs(model: Path, x: Batch, isa: str = "", *, runtime: str = "openvino", threads: int = 1) -> Batch:
    """The first output for every sample of ``x``, one call each.

    Args:
        model: ONNX file that takes one sample at a time.
        x: (N, C, H, W).
        isa: for oneDNN: "AVX2", "AVX512_CORE"; "" does not hold it.
        runtime: one of ``RUNTIMES``.
        threads: of the runtime.

    Raises:
        RuntimeError: the child ended otherwise than well.
    """
    with tempfile.TemporaryDirectory() as folder:
        input_file, result = Path(folder) / "x.npy", Path(folder) / "y.npy"
        np.save(input_file, x)
        child(
            ["benchmarks.held_peer", runtime, str(model), str(input_file), str(result), str(threads)],
            held_to(isa),
        )
        return np.load(result)


if __name__ == "__main__":
    name, path, inputs, where, count = sys.argv[1:]
    peer = RUNTIMES[name](Path(path), "int8", int(count))
    np.save(where, np.concatenate([peer.run(sample[None]) for sample in np.load(inputs)]))
