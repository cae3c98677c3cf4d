"""SSD-MobileNetV2 as proved integers beside OpenVINO's int8 of the same network held to AVX2, in turns.

    python -m recipes.detection                              first: it writes the program
    python -m benchmarks.detection --program out/ssd-mobilenet-v2/ssd-mobilenet-v2.oaq --record

The peer's file is ONNX Runtime's static QDQ of the float network (U8S8, a scale per channel), calibrated on the same
photos. Each answers the raw twelve maps; decoding is float code that both would share. Held to AVX2, the peer's sums
may saturate: how far its maps are from float stands beside its time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

import oaq
from benchmarks.busy import Disturbance
from benchmarks.harness import Result, add_record, stamp
from benchmarks.process_peer import ProcessPeer
from benchmarks.side_by_side import timed, written
from oaq.data.batches import Batches
from oaq.data.photos import read_photo
from oaq.report.comparison import Contender, Values, our_contenders
from oaq.report.data import Latency
from oaq.report.latency import pinned
from oaq.report.peers import quantize_by_onnxruntime
from oaq.terminal import say
from recipes.data import photos
from recipes.detection import ssd
from recipes.float_onnx import export_float

HELD = {"ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2"}
NAME = "ssd-mobilenet-v2"
IMAGES = 64
"""Photos that the peer's int8 is calibrated on."""


def peer_file(net: torch.nn.Module, x: np.ndarray, folder: Path) -> Path:
    """The int8 file; one that is in ``folder`` already is taken as it is."""
    floats, int8 = folder / "float.onnx", folder / "int8.onnx"
    if not int8.exists():
        folder.mkdir(parents=True, exist_ok=True)
        export_float(net, x, floats)
        batches = Batches(photos.calibration(IMAGES), ssd.PREPROCESS, 8)
        quantize_by_onnxruntime(floats, int8, say.track(batches, "ONNX Runtime: calibrate"))
    return int8


def measure(flags: argparse.Namespace) -> tuple[Latency, Disturbance]:
    """Check and time both, side by side; also what else ran meanwhile.

    Raises:
        Mismatch: our integers are not those of the reference.
    """
    net, task = ssd.load(flags.weights)
    x = read_photo(photos.labelled()[0].path, task.preprocess)[None]
    program = oaq.load(flags.program)
    plans = {f"oaq {isa}": oaq.plan(program, isa) for isa in flags.isa}
    with torch.inference_mode():
        real: Values = tuple(y.numpy() for y in net(torch.from_numpy(x)))
    with ExitStack() as stack:
        folder = flags.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        int8 = peer_file(net, x, folder)
        cpus = stack.enter_context(pinned(flags.threads))
        sessions, _ = our_contenders(plans, x, flags.threads, real)
        child = stack.enter_context(ProcessPeer(int8, x, "openvino", "int8", flags.threads, HELD))
        first = real[0]
        peer = Contender(
            name=f"{child.name}, held to AVX2",
            ours=False,
            precision="int8",
            isa="avx2",
            take=child.take,
            outputs=lambda: child.outputs().reshape(first.shape),
            reference=first,
            least_sqnr_db=-20.0,
            against="float, first map",
        )
        return timed(
            [*sessions, peer], NAME, threads=flags.threads, rounds=flags.rounds, baseline=peer.name, pinned=cpus
        )


def main() -> int:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.detection", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--program", type=Path, required=True, metavar="FILE", help="written by recipes.detection")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="frozen_inference_graph.pb, if not fetched")
    parser.add_argument("--isa", nargs="+", default=["avx2"], help="of ours (default avx2)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the peer's files here for the next run")
    add_record(parser)
    flags = parser.parse_args()
    latency, disturbance = measure(flags)
    command = f"python -m benchmarks.detection --program {flags.program.name} --threads {flags.threads}"
    result = Result("networks", command, stamp(), latency)
    return 0 if written(result, f"{NAME}_{flags.threads}t", disturbance, record=flags.record) else 1


if __name__ == "__main__":
    sys.exit(main())
