"""``oaq bench``: how fast, here, on every instruction set, beside other runtimes."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.cli import bench_scores, images, mixed_bench
from oaq.cli.mixed_file import open_mixed
from oaq.cli.model_file import HELP as MODEL_HELP
from oaq.cli.model_file import open_whole
from oaq.cli.opened import THREADS_HELP, Opened
from oaq.cli.side_by_side import isas_to_time, require_counts, side_by_side
from oaq.cli.sizes import add_shape
from oaq.errors import FormatError
from oaq.escape import escape_name
from oaq.kernels.cpus import default_threads
from oaq.kernels.plan import Plan, plan
from oaq.report.codec import encode
from oaq.report.comparison import distinct_plans, our_contenders, peer_contender
from oaq.report.data import Latency
from oaq.report.environment import environment
from oaq.report.explain import COLUMNS, explain, explained_table
from oaq.report.latency import pinned
from oaq.report.node_profile import NodeProfile
from oaq.report.peers import Peer, onnxruntime_peer
from oaq.report.profile import edge_times, profile
from oaq.report.text import latency_table
from oaq.runtime.values import file_integers
from oaq.terminal import say

HELP = "time a network here, on every instruction set"
DESCRIPTION = (
    """\
Time one plan per instruction set of this CPU, in turns within one run, after
every output integer has been compared with the reference. --onnx adds ONNX
Runtime on a file of the same network, float or int8. Of an ONNX file with parts
that stay in float the whole is timed; --explain shows each region.

--photos says beside each time how good the answers are, by the metrics of the
file's task: top-1, mAP, mIoU, or PSNR and SSIM.

--explain adds one line per node, by the session's own clock:
"""
    + "\n".join(f"  {title:<10}  {meaning}" for title, meaning in COLUMNS)
    + """
and why each kernel was chosen. OAQ_COSTS says whose costs predict (oaq
calibrate makes this CPU's own)."""
)
EXAMPLES = """\
examples:
  oaq bench net.oaq
  oaq bench net.oaq --isa avx2 --threads 2 --explain
  oaq bench net.oaq --onnx float.onnx --onnx int8.onnx --json
  oaq bench net.oaq --onnx float.onnx --peer onnxruntime --calibrate photos/
  oaq bench upscaler.oaq --photos photos/ --onnx float.onnx"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE --isa --threads --onnx --explain ..."""
    parser.add_argument("file", type=Path, metavar="FILE", help=MODEL_HELP)
    parser.add_argument(
        "--peer",
        choices=("onnxruntime",),
        help="also a static int8 file that this runtime makes of the float --onnx file, on --calibrate",
    )
    parser.add_argument("--calibrate", type=Path, metavar="DIR", help="with --peer: photos or arrays, 64 files of it")
    bench_scores.add_arguments(parser)
    images.add_arguments(parser)
    parser.add_argument("--explain", action="store_true", help="time per node, and why each kernel was chosen")
    add_timing(parser)


def add_timing(parser: argparse.ArgumentParser) -> None:
    """The flags of a timed run."""
    parser.add_argument(
        "--isa", action="append", help="only this instruction set; repeat for several (default: all here but scalar)"
    )
    parser.add_argument(
        "--threads", type=int, default=default_threads(), metavar="N", help=f"of every executor; {THREADS_HELP}"
    )
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="samples per call (default 1)")
    add_shape(parser)
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="rounds of turns (default 20)")
    parser.add_argument(
        "--onnx", type=Path, action="append", default=[], metavar="FILE", help="also ONNX Runtime on FILE"
    )


def call(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    mixed = open_mixed(arguments.file, arguments)
    if mixed is not None and arguments.photos is not None:
        raise FormatError(f"--photos: {mixed.path} has parts that stay in float; scored are files of integers alone")
    if mixed is not None:
        return mixed_bench.call(mixed, peers(arguments.onnx, arguments.threads), arguments)
    opened = open_whole(arguments.file)
    plans = plans_here(opened, arguments.isa)
    runtimes = _peers(opened, arguments)
    scores = None
    if arguments.photos is not None:
        for peer in runtimes:
            _try(peer, sample(opened, arguments.batch), opened.path)
        scores = bench_scores.score(opened, plans, runtimes, arguments)
    latency, profiles = measure(opened, plans, arguments, runtimes)
    explained = {
        name: explain(plans[name], times, arguments.batch, arguments.threads) for name, times in profiles.items()
    }
    if arguments.json:
        document: dict[str, object] = {"environment": encode(environment()), "latency": encode(latency)}
        if scores is not None:
            document["scores"] = scores.document()
        if arguments.explain:
            document["plans"] = {name: planned.to_json() for name, planned in plans.items()}
            document["profiles"] = {name: [asdict(node) for node in nodes] for name, nodes in explained.items()}
        say.document(document)
        return 0
    stamp = environment()
    forced = f", OAQ_ISA={stamp.forced_isa}" if stamp.forced_isa else ""
    say.words(f"{escape_name(opened.program.name)} on {stamp.cpu}{forced}\n")
    say.tables([latency_table(scores.with_scores(latency) if scores is not None else latency)])
    for name, nodes in explained.items():
        say.words("")
        say.tables([explained_table(name, nodes)])
        entry, result = edge_times(plans[name], sample(opened, arguments.batch), arguments.threads)
        say.words(f"edges: {entry:.1f} us from the caller's values to integers, {result:.1f} us back")
        costs = plans[name].costs
        predictor = f"predicted by the costs of {costs.cpu}" if costs else "no costs to predict with"
        say.words(f"{predictor}\n\n{plans[name].explain()}")
    return 0


def plans_here(opened: Opened, isas: Sequence[str] | None) -> dict[str, Plan]:
    """A plan per instruction set asked for, or per one this CPU has; equal plans once."""
    return distinct_plans(plan(opened.program, isa) for isa in isas_to_time(isas))


def measure(
    opened: Opened, plans: dict[str, Plan], arguments: argparse.Namespace, runtimes: Sequence[Peer] | None = None
) -> tuple[Latency, dict[str, tuple[NodeProfile, ...]]]:
    """Time every plan and every peer side by side, ``runtimes`` else the flags'; profile the plans where asked."""
    require_counts(arguments)
    x = sample(opened, arguments.batch)
    with pinned(arguments.threads) as cpus:
        contenders, expected = our_contenders(plans, x, arguments.threads)
        for peer in _peers(opened, arguments) if runtimes is None else runtimes:
            _try(peer, x, opened.path)
            contenders.append(peer_contender(peer, x, expected, "the integer reference", strict=False))
        latency = side_by_side(contenders, arguments, cpus)
        explained = plans if getattr(arguments, "explain", False) else {}
        return latency, {name: profile(planned, x, arguments.threads) for name, planned in explained.items()}


def _peers(opened: Opened, arguments: argparse.Namespace) -> list[Peer]:
    """Those of ``--onnx``, and the int8 file that ``--peer`` makes of a float one.

    Raises:
        FormatError: there is no float file, or no data to calibrate it on.
    """
    result = peers(arguments.onnx, arguments.threads)
    if getattr(arguments, "peer", None) is None:
        return result
    from oaq.report.peers import quantize_by_onnxruntime

    source = Path(opened.program.metadata.get("source", ""))
    models = [*arguments.onnx, *([source] if source.suffix == ".onnx" and source.is_file() else [])]
    model = next((path for path in models if _precision(path) == "fp32"), None)
    if model is None or arguments.calibrate is None:
        raise FormatError(
            "--peer onnxruntime quantizes the float network itself: give --onnx FLOAT.onnx (a torch module: "
            "torch.onnx.export first) and --calibrate DIR, the data this file was calibrated on"
        )
    samples = [batch for _, batch in opened.batches(arguments.calibrate, arguments, 64)]
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "int8.onnx"
        try:
            quantize_by_onnxruntime(model, made, samples)
            peer = onnxruntime_peer(made, "int8", arguments.threads)
        except (ModuleNotFoundError, OSError):
            raise
        except Exception as error:  # onnxruntime raises its own kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise FormatError(f"{model}: ONNX Runtime does not quantize it: {reason}") from error
    return [*result, replace(peer, name=f"{peer.name}, made here")]


def _try(peer: Peer, x: NDArray[Any], file: Path) -> None:
    """Run a peer once.

    Raises:
        FormatError: it does not take what the file takes.
    """
    try:
        peer.run(x)
    except Exception as error:  # onnxruntime raises its own kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FormatError(
            f"{peer.name} does not run on the input of {file}, {x.dtype} {x.shape}: {reason}. --onnx takes a file of "
            "the same network and size"
        ) from error


def sample(opened: Opened, batch: int) -> NDArray[Any]:
    """Values over the whole range of the input, the same every time, as the file takes them."""
    spec, edge = opened.program.tensors[opened.program.inputs[0]], opened.input_edge
    rng = np.random.default_rng(0)
    integers = rng.integers(spec.range.lo, spec.range.hi + 1, (batch, *opened.input_shape)).astype(np.uint8)
    return file_integers(edge, integers).view(edge.dtype) if edge.is_integer else spec.affine.dequantize(integers)


def peers(models: Sequence[Path], threads: int) -> list[Peer]:
    """ONNX Runtime on every file."""
    result = []
    for model in models:
        precision = _precision(model)
        try:
            peer = onnxruntime_peer(model, precision, threads)
        except ModuleNotFoundError:
            raise
        except Exception as error:  # onnxruntime raises its own kinds
            raise FormatError(f"{model}: ONNX Runtime does not load it: {error}") from error
        names = {other_peer.name for other_peer in result}
        name = peer.name if peer.name not in names else f"{peer.name} ({model.name})"
        result.append(replace(peer, name=name))
    return result


def _precision(model: Path) -> str:
    try:
        content = model.read_bytes()
    except OSError as error:
        raise FormatError(f"{model}: cannot be read: {error.strerror}") from error
    return "int8" if b"QuantizeLinear" in content or b"QLinearConv" in content else "fp32"
