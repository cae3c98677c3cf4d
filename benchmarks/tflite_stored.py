"""Store small TFLite files with the integers that LiteRT computed in them, for tests that run without LiteRT.

    python -m benchmarks.tflite_stored

Writes NAME.tflite and NAME.npz (each tensor by its name, (photos, *shape)) of ``benchmarks.tflite_files.network`` and
``benchmarks.tflite_operators`` to ``tests/capture/from_tflite/by_litert``: default kernels (XNNPACK), noise and both
ends of the range as photos.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.tflite_equality import runs, with_every_output
from benchmarks.tflite_files import network
from benchmarks.tflite_operators import CASES, operator
from oaq.capture.from_tflite import import_tflite

FOLDER: Final = Path(__file__).parents[1] / "tests" / "capture" / "from_tflite" / "by_litert"
SEEDS: Final = range(3)
NOISE: Final = 4


def main() -> None:
    """Write all."""
    FOLDER.mkdir(exist_ok=True)
    for kind in (np.int8, np.uint8):
        for seed in SEEDS:
            store(f"{kind.__name__}-{seed}", network(seed, kind), kind, seed)
        for name in CASES:
            store(f"{name}-{kind.__name__}", operator(name, kind), kind, 0)


def store(name: str, content: bytes, kind: type[np.integer], seed: int) -> None:
    """One file and its integers."""
    names = [source.name for source in import_tflite(content).tensors.values()]
    ends, rng = np.iinfo(kind), np.random.default_rng(seed)
    photos = list(rng.integers(ends.min, ends.max + 1, (NOISE, 1, 9, 9, 3)))
    photos += [np.full((1, 9, 9, 3), end) for end in (ends.min, ends.max)]
    results = list(runs(with_every_output(content, names), "AUTO", names, photos))
    (FOLDER / f"{name}.tflite").write_bytes(content)
    arrays = {tensor: np.concatenate([result[tensor] for result in results]) for tensor in results[0]}
    np.savez_compressed(FOLDER / f"{name}.npz", **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
