r"""Whole networks: oaq on every instruction set beside ONNX Runtime and OpenVINO, float and int8, in one run.

    python -m benchmarks.networks                     EfficientNet-Lite0, MobileNetV2, ResNet-18 (random weights)
    python -m benchmarks.networks mobilenet-v2 --threads 1
    python -m benchmarks.networks mobilenet-v2 --size 640 --limit 8
    python -m benchmarks.networks net.py:make --calibrate photos/ --size 224 --resize 256

Peers get the same float network as ONNX and, for int8, ONNX Runtime's static QDQ quantization (U8S8, a scale per
channel) on the same calibration data. OpenVINO runs three times: as it is, and in processes under ONEDNN_MAX_CPU_ISA
AVX2 and AVX512_CORE (no VNNI), which are the honest comparisons for our rows of those instruction sets. Beside our AVX2
plan stand the same network's plans that leave 16 bits at every step (acc32) and never enter them (exact).
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import oaq
from benchmarks.busy import Disturbance
from benchmarks.child import held_to
from benchmarks.harness import Result, add_record, stamp
from benchmarks.process_peer import HELD, ProcessPeer, child_contender
from benchmarks.session import peak
from benchmarks.side_by_side import timed, written
from oaq.cli import images, models
from oaq.data.batches import Batches, files
from oaq.data.preprocess import Preprocess
from oaq.errors import FormatError
from oaq.kernels.plan import Plan, plan
from oaq.kernels.table import cpu_isas
from oaq.ptq.quantize import quantize
from oaq.report.comparison import Contender, distinct_plans
from oaq.report.data import Latency
from oaq.report.latency import pinned
from oaq.terminal import say
from recipes.beside_onnxruntime import baseline_of, contenders, onnx_files
from recipes.data.photos import calibration
from recipes.float_onnx import run_float
from recipes.networks import NETWORKS

DEFAULT = ("efficientnet-lite0", "mobilenet-v2", "resnet18")
WIDE = {
    "oaq avx2, 32-bit sums": ("gemm_u8s8_avx2_acc32", "depthwise_u8s8_avx2_exact"),
    "oaq avx2, exact": ("gemm_u8s8_avx2_exact", "depthwise_u8s8_avx2_exact"),
}
"""Rows of plans without 16-bit sums: what those sums are worth."""
Batch = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Subject:
    """One network ready to be compared.

    Attributes:
        name: of the result file.
        net: the float network.
        plans: of the integer network, by name.
        x: the batch that is timed: real inputs.
        calibration: batches the int8 peers are calibrated on, as ours was.
        kept: folder of the peers' files, read if they are there; None for a temporary one.
        trained: False for random weights, where only speed means something.
    """

    name: str
    net: torch.nn.Module
    plans: dict[str, Plan]
    x: Batch
    calibration: Sequence[Batch]
    kept: Path | None = None
    trained: bool = True


def watched(subject: Subject, threads: int, rounds: int, openvino: bool) -> tuple[Latency, Disturbance]:
    """Timings of a subject and its peers, and what the machine did besides."""
    with ExitStack() as stack:
        folder = subject.kept or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cpus = stack.enter_context(pinned(threads))
        with say.bar("ONNX Runtime: export and calibrate", None):
            files = onnx_files(subject.net, subject.x, subject.calibration, folder)
        everyone = contenders(subject.net, subject.plans, subject.x, files, threads)
        if openvino:
            everyone += _openvino(files, (subject.x, run_float(subject.net, subject.x)), threads, stack)
        return timed(
            everyone,
            subject.name,
            threads=threads,
            rounds=rounds,
            baseline=baseline_of(everyone),
            pinned=cpus,
            batch=len(subject.x),
        )


def _openvino(
    files: dict[str, Path], sample: tuple[Batch, Batch], threads: int, stack: ExitStack
) -> Iterable[Contender]:
    """OpenVINO as it is, and int8 held to less than the CPU has; each in a process of its own.

    In one process its threads would get the CPUs that were free when it was first loaded. Held, its sums may overflow,
    so its precision is only noted.
    """
    x, expected = sample
    for precision, most in (("fp32", ""), ("int8", ""), *(("int8", most) for most in HELD)):
        child = stack.enter_context(ProcessPeer(files[precision], x, "openvino", precision, threads, held_to(most)))
        yield child_contender(child, expected, most, precision=precision)


def prepare(flags: argparse.Namespace, model: str) -> Subject:
    """Load, quantize, plan."""
    network = NETWORKS.get(model)
    if network is not None:
        net, preprocessing, paths = network.load(), of_size(network.preprocess, flags), calibration(flags.limit)
    elif flags.calibrate is not None:
        net, preprocessing = models.load(model), images.preprocess(flags, None, (224, 224))
        if isinstance(net, Path):
            raise FormatError(f"{model}: peers get their float file from a torch module; give FILE.py:NAME")
        paths = files(flags.calibrate)[: flags.limit]
    else:
        raise FormatError(
            f"{model!r} is none of {', '.join(NETWORKS)}; for a network of yours, give --calibrate DIR too"
        )
    batches = list(Batches(paths, preprocessing, 8))
    budget = {} if flags.budget is ... else {"budget": flags.budget}
    name = model if network is not None else model.rpartition(":")[2]
    if network is not None and preprocessing.size != network.preprocess.size:
        name += f"-{preprocessing.size[0]}"
    folder = flags.keep / f"{name}-{digest(flags)}" if flags.keep is not None else None
    file = folder / "ours.oaq" if folder is not None else None
    if file is not None and file.exists():
        program = oaq.load(file)
    else:
        program = quantize(net, batches, **budget)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            oaq.save(program, file)
    plans = distinct_plans(plan(program, isa) for isa in cpu_isas() if isa != "scalar")
    plans |= {name: plan(program, "avx2", rows) for name, rows in WIDE.items() if "avx2" in cpu_isas()}
    trained = network is None or network.trained
    return Subject(name, net, plans, np.concatenate(batches)[: flags.batch], batches, folder, trained)


def of_size(own: Preprocess, flags: argparse.Namespace) -> Preprocess:
    """How a network of the recipes takes its photos; if another size is asked for, by the same part of a photo."""
    if flags.size is None:
        return own
    wider = max(flags.size) / max(own.size)
    resize = flags.resize or (None if own.resize is None else round(own.resize * wider))
    return replace(own, size=flags.size, resize=resize)


def digest(flags: argparse.Namespace) -> str:
    """Digest of all that decides what is prepared: sources of quantizer, planner and networks, and the options."""
    root = Path(__file__).parent.parent
    options = ("calibrate", "limit", "budget", "size", "resize", "mean", "std", "interpolation")
    content = hashlib.sha256(repr([(name, getattr(flags, name)) for name in options]).encode())
    for path in sorted(path for folder in ("src/oaq", "recipes") for path in (root / folder).rglob("*.py")):
        content.update(path.read_bytes())
    return content.hexdigest()[:12]


def facts(subject: Subject) -> tuple[tuple[str, str], ...]:
    """What the result file says about the network besides its timings."""
    program = next(iter(subject.plans.values())).program
    layers = len(list(program.summing_nodes()))
    weights = "trained" if subject.trained else "random"
    rows = [
        ("network", subject.name),
        ("weights", weights),
        ("summing layers", str(layers)),
        ("input", str(subject.x.shape)),
        ("memory of a session, at its peak", peak(program)),
    ]
    for name, planned in subject.plans.items():
        rows.append((f"{name}: predicted cost", f"{planned.cost:.3f}"))
        rows.append((f"{name}: average run", f"{planned.average_run:.2f}"))
    return tuple(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every network at every number of threads asked for; one result file each."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.networks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "models", nargs="*", default=list(DEFAULT), metavar="MODEL", help=f"{', '.join(NETWORKS)}, or yours"
    )
    parser.add_argument("--calibrate", type=Path, metavar="DIR", help="for a network of yours")
    parser.add_argument("--limit", type=int, default=64, help="calibration files")
    parser.add_argument("--budget", type=lambda text: None if text == "none" else float(text), default=...)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="folder of prepared networks: read from it, or written to it"
    )
    parser.add_argument("--prepare", action="store_true", help="only make what --keep keeps; time nothing")
    parser.add_argument("--no-openvino", action="store_true")
    images.add_arguments(parser)
    add_record(parser)
    flags = parser.parse_args(arguments)
    openvino = not flags.no_openvino and find_spec("openvino") is not None
    command = " ".join(["python -m benchmarks.networks", *(sys.argv[1:] if arguments is None else arguments)])
    refused = 0
    for model in flags.models:
        subject = prepare(flags, model)
        if flags.prepare:
            if subject.kept is None:
                parser.error("--prepare makes what --keep DIR keeps; name the folder")
            onnx_files(subject.net, subject.x, subject.calibration, subject.kept)
            continue
        for threads in flags.threads:
            latency, disturbance = watched(subject, threads, flags.rounds, openvino)
            result = Result("networks", command, stamp(), latency, facts(subject), notes=(disturbance.words,))
            refused += not written(result, f"{subject.name}-{threads}t", disturbance, record=flags.record)
    return min(refused, 1)


if __name__ == "__main__":
    sys.exit(main())
