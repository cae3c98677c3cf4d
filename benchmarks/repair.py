r"""What repairing an int8 file costs, beside what ``reduce_range`` costs: real networks, photos of no calibration.

    python -m benchmarks.repair [efficientnet-lite0 mobilenet-v2]

ONNX Runtime quantizes each network twice (QDQ, U8S8, a scale per channel; with and without ``reduce_range``); oaq
repairs the one without for ``avx2-acc32``, from the file alone and with the calibration photos. Each file is run by
ONNX Runtime and by OpenVINO on this CPU, and by OpenVINO held to AVX2 and to AVX-512 without VNNI, where vpmaddubsw
saturates. Logits are compared with the float network's, and with the same file's on this CPU. Writes
``results/repair.json``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.harness import Result, add_record, save, stamp
from benchmarks.held_peer import outputs
from oaq.capture.from_onnx import import_quantized
from oaq.data.batches import Batches
from oaq.doctor import diagnose
from oaq.repair import Repaired, repair
from oaq.report.agreement import sqnr_db
from oaq.report.peers import quantize_by_onnxruntime
from recipes.data.photos import calibration, comparison, labelled, views
from recipes.float_onnx import export_float, run_float
from recipes.networks import NETWORKS, Network

ISA = "avx2-acc32"
VIEWS = 5
RUNS = (
    ("onnxruntime", "this CPU", ""),
    ("openvino", "this CPU", ""),
    ("openvino", "held to AVX2", "AVX2"),
    ("openvino", "held to AVX-512 without VNNI", "AVX512_CORE"),
)
Batch = NDArray[np.float32]
Row = tuple[tuple[str, str], ...]


def files(net: Network, module: torch.nn.Module, folder: Path) -> dict[str, Path]:
    """The four files, by name."""
    photos = list(Batches(calibration(), net.preprocess, 8))
    export_float(module, photos[0][:1], folder / "float.onnx")
    paths = {name: folder / f"{name.replace(' ', '-')}.onnx" for name in ("original", "reduce_range")}
    for name, path in paths.items():
        quantize_by_onnxruntime(folder / "float.onnx", path, photos, reduce_range=name == "reduce_range")
    for name, data in (("repaired", None), ("repaired with data", photos)):
        repaired = repair(paths["original"], ISA, data)
        paths[name] = folder / f"{name.replace(' ', '-')}.onnx"
        repaired.save(paths[name])
        sys.stdout.write(f"{net.name}, {name}: {summary(repaired)}\n")
    return paths


def summary(repaired: Repaired) -> str:
    """What was changed."""
    total = sum(layer.outputs for layer in repaired.before.layers)
    outputs = sum(len(layer.changed) for layer in repaired.layers)
    rounded = sum(layer.rounded for layer in repaired.layers)
    weights = sum(layer.weights_changed for layer in repaired.layers)
    return (
        f"{len(repaired.layers)} of {len(repaired.before.layers)} layers, {outputs} of {total} outputs "
        f"({rounded} rounded again, {outputs - rounded} rescaled), {weights} weights"
    )


def rows(name: str) -> Iterator[Row]:
    """One line per file and machine."""
    net = NETWORKS[name]
    module = net.load()
    photos = comparison()
    x = np.concatenate([views(photo, net.preprocess) for photo in photos])
    right = np.array([photo.label for photo in labelled()])
    plain = slice(0, len(right) * VIEWS, VIEWS)
    expected = np.concatenate([run_float(module, x[first : first + 8]) for first in range(0, len(x), 8)])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for file, path in files(net, module, folder).items():
            unsafe = len(diagnose(import_quantized(path).program, (ISA,)).unsafe(ISA))
            native: dict[str, Batch] = {}
            for runtime, machine, isa in RUNS:
                y = outputs(path, x, isa, runtime=runtime, threads=2)
                reference_logits = native.setdefault(runtime, y)
                classes = y.argmax(axis=1)
                row: Row = (
                    ("network", name),
                    ("file", file),
                    ("unsafe layers", str(unsafe)),
                    ("runtime", runtime),
                    ("machine", machine),
                    ("SQNR against float, dB", f"{sqnr_db(expected, y):.2f}"),
                    ("SQNR on labelled photos, dB", f"{sqnr_db(expected[plain], y[plain]):.2f}"),
                    ("top-1 as float, %", f"{100 * np.mean(classes == expected.argmax(axis=1)):.1f}"),
                    ("labelled right", f"{np.sum(classes[plain] == right)} of {len(right)}"),
                    (
                        "equal to its logits on this CPU",
                        "yes" if np.array_equal(reference_logits, y) else f"{sqnr_db(reference_logits, y):.2f} dB",
                    ),
                )
                sys.stdout.write("  ".join(value for _, value in row) + "\n")
                sys.stdout.flush()
                yield row


def main(arguments: Sequence[str] | None = None) -> int:
    """Repair, run everywhere, write the result file."""
    parser = argparse.ArgumentParser("python -m benchmarks.repair", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=["efficientnet-lite0", "mobilenet-v2"])
    add_record(parser)
    flags = parser.parse_args(arguments)
    command = " ".join(["python -m benchmarks.repair", *sys.argv[1:]])
    notes = (
        f"{VIEWS} views of each of {len(comparison())} photos that calibration never saw, against the float network; "
        "labelled photos are the first 20, one view each",
        f"repaired for {ISA}: every pair of products proved to fit 16 bits, per tap and over the window",
    )
    result_rows: tuple[Row, ...] = ()
    for name in flags.networks:
        result_rows += tuple(rows(name))
        result = Result("repair", command, stamp(), rows=result_rows, notes=notes)
        sys.stdout.write(f"{save(result, 'repair', record=flags.record)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
