"""A network as integers, timed beside ONNX Runtime on the same network, float and int8. Needs torch and onnxruntime."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from oaq.data.batches import Batch
from oaq.kernels.plan import Plan
from oaq.report.comparison import Contender, compare, our_contenders, peer_contender
from oaq.report.data import Latency
from oaq.report.latency import pinned
from oaq.report.peers import onnxruntime_peer, quantize_by_onnxruntime
from oaq.terminal import say
from recipes.float_onnx import export_float, run_float


def onnx_files(
    net: torch.nn.Module,
    x: Batch,
    calibration: Sequence[Batch],
    folder: Path,
    *,
    outputs: Sequence[str] = ("y",),
) -> dict[str, Path]:
    """The network as ONNX by precision, "fp32" and "int8"; files that are in ``folder`` already are taken as they are.

    Args:
        net: the float network.
        x: a batch of the shape it takes.
        calibration: batches the int8 file is calibrated on.
        folder: for both files; made if it is missing.
        outputs: names of the network's outputs.
    """
    files = {"fp32": folder / "float.onnx", "int8": folder / "int8.onnx"}
    if not all(file.exists() for file in files.values()):
        folder.mkdir(parents=True, exist_ok=True)
        export_float(net, x, files["fp32"], outputs=outputs)
        quantize_by_onnxruntime(files["fp32"], files["int8"], calibration)
    return files


def contenders(
    net: torch.nn.Module, plans: Mapping[str, Plan], x: Batch, files: Mapping[str, Path], threads: int
) -> list[Contender]:
    """Sessions of every plan, and ONNX Runtime on every file, each compared with the float network on ``x``."""
    expected = run_float(net, x)
    sessions, _ = our_contenders(plans, x, threads, expected)
    peers = (onnxruntime_peer(file, precision, threads) for precision, file in files.items())
    return [*sessions, *(peer_contender(peer, x, expected, "float", 0.0) for peer in peers)]


def baseline_of(timed: Sequence[Contender]) -> str:
    """The contender that ratios refer to: the first int8 peer."""
    return next(contender.name for contender in timed if not contender.ours and contender.precision == "int8")


def measure(
    net: torch.nn.Module,
    plans: Mapping[str, Plan],
    data: tuple[Batch, Sequence[Batch]],
    *,
    threads: int,
    rounds: int,
) -> Latency:
    """Check and time all of them, side by side.

    Args:
        net: the float network.
        plans: of the integer network, by name.
        data: the batch that is timed, and batches to calibrate ONNX Runtime's int8 on.
        threads: of each.
        rounds: counted.

    Raises:
        Mismatch: one of them computes something else.
    """
    x, calibration = data
    with tempfile.TemporaryDirectory() as folder, pinned(threads) as cpus:
        with say.bar("ONNX Runtime: export and calibrate", None):
            files = onnx_files(net, x, calibration, Path(folder))
        timed = contenders(net, plans, x, files, threads)
        return compare(
            timed,
            threads=threads,
            batch=len(x),
            rounds=rounds,
            baseline=baseline_of(timed),
            pinned=cpus,
            progress=lambda counted: say.track(counted, f"{threads} thread(s)"),
        )
