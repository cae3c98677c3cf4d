"""Dynamic int8 layers beside ONNX Runtime's, layer by layer and as a whole encoder, on the best rows and on AVX2's.

    python -m benchmarks.dynamic [--isa avx2] [--threads 1] [--rounds 30]
    python -m benchmarks.dynamic --whole FILE [--theirs FILE] [--sizes 1x16 8x128] [--isa avx2]

Layers are those of MiniLM: hidden 384, inner 1536. Every contender's outputs are compared before anything is timed:
oaq's are ONNX Runtime's bit for bit. ``--isa avx2`` holds both to AVX2 (``benchmarks.held_onnxruntime``). ``--whole``
times a file of ``recipes.embeddings`` instead, at sequences of 16, 128 and 512 and batches of 1 and 8; ``--theirs`` is
the file that ONNX Runtime runs beside it, without which it is the same.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import oaq
from benchmarks.busy import BusyMachine, Disturbance, Watch, until_quiet
from benchmarks.harness import Result, add_record, save, stamp
from benchmarks.held_onnxruntime import held_environment, saturates
from oaq.dynamic import DynamicLayer, DynamicSession, plan_layer
from oaq.dynamic.weights import choose_weights, narrow_register
from oaq.report.comparison import Contender, compare
from oaq.report.data import Latency
from oaq.report.latency import pinned, turn
from oaq.terminal import say
from oaq.terminal.table import Table, render

SECONDS: Final = 1.0
"""Least length of what is timed of one subject."""
SHAPES = ((384, 384), (384, 1536), (1536, 384))
ROWS = (1, 8, 16, 128, 512, 1024)
SIZES = tuple((batch, tokens) for tokens in (16, 128, 512) for batch in (1, 8))
Floats = NDArray[np.float32]
Row = tuple[tuple[str, str], ...]


def layer(terms: int, outputs: int) -> DynamicLayer:
    """Weights like those of a trained layer, within the budgets of AVX2, at one scale, which ONNX Runtime needs."""
    rng = np.random.default_rng(0)
    weight = choose_weights(rng.standard_t(8, size=(outputs, terms)), narrow_register("avx2")).weight
    bias = rng.normal(size=outputs).astype(np.float32)
    return DynamicLayer(f"{terms} to {outputs}", weight, np.full(outputs, 0.01, np.float32), bias=bias)


def runtime_session(content: bytes | str, threads: int) -> Any:  # noqa: ANN401 (a class of onnxruntime)
    """A session of ONNX Runtime on this CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def models(dynamic: DynamicLayer) -> tuple[bytes, bytes]:
    """The layer in float and in dynamic int8 as ONNX."""
    from onnx import TensorProto, helper, numpy_helper

    real = dynamic.weight.T.astype(np.float32) * dynamic.scale
    constants: dict[str, NDArray[Any]] = {"real": real, "bias": dynamic.bias if dynamic.bias is not None else real[0]}
    constants |= {"w": np.ascontiguousarray(dynamic.weight.T), "zero": np.zeros((), np.int8), "scale": dynamic.scale[0]}
    plain = [helper.make_node("MatMul", ["x", "real"], ["m"]), helper.make_node("Add", ["m", "bias"], ["y"])]
    quantized = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "xs", "xz"]),
        helper.make_node("MatMulInteger", ["q", "w", "xz", "zero"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["reals"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["xs", "scale"], ["unit"]),
        helper.make_node("Mul", ["reals", "unit"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["y"]),
    ]
    contents = []
    for nodes in (plain, quantized):
        names = {name for node in nodes for name in node.input}
        tensors = [
            numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items() if name in names
        ]
        graph = helper.make_graph(
            nodes,
            "layer",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", dynamic.terms])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", dynamic.outputs])],
            tensors,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        contents.append(model.SerializeToString())
    return contents[0], contents[1]


def bound(session: Any, x: Floats) -> tuple[Callable[[], object], Callable[[], Floats]]:  # noqa: ANN401
    """A run of ONNX Runtime without copies of its ends, and its outputs."""
    import onnxruntime

    binding = session.io_binding()
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(x))
    binding.bind_output("y")

    def run() -> None:
        session.run_with_iobinding(binding)

    def outputs() -> Floats:
        run()
        return binding.copy_outputs_to_cpu()[0]

    return run, outputs


def layer_contenders(dynamic: DynamicLayer, rows: int, isa: str | None, threads: int) -> list[Contender]:
    """ONNX Runtime in float and in int8, and oaq."""
    x = np.random.default_rng(rows).normal(size=(rows, dynamic.terms)).astype(np.float32)
    plan = plan_layer(dynamic, isa)
    ours = DynamicSession(plan, threads)
    y = np.empty((rows, dynamic.outputs), np.float32)
    sessions = [runtime_session(content, threads) for content in models(dynamic)]
    (run_float, float_outputs), (run_int8, int8_outputs) = (bound(session, x) for session in sessions)
    expected = int8_outputs()

    def run() -> None:
        ours.run_into(x, [y])

    def outputs() -> Floats:
        run()
        return y

    return [
        Contender("onnxruntime fp32", False, "fp32", "", turn(run_float), float_outputs, expected, 20.0, "int8"),
        Contender("onnxruntime int8", False, "int8", "", turn(run_int8), int8_outputs, expected, None, "itself"),
        Contender(
            f"oaq {plan.row.name}", True, "int8", plan.row.isa, turn(run), outputs, expected, None, "onnxruntime"
        ),
    ]


def whole_contenders(
    path: Path, theirs_path: Path, size: tuple[int, int], isa: str | None, threads: int
) -> list[Contender]:
    """The encoder's files by ONNX Runtime, float and int8, and by oaq."""
    batch, tokens = size
    ids = np.random.default_rng(tokens).integers(1000, 20000, (batch, tokens))
    feed = {"ids": ids, "mask": np.ones_like(ids)}
    ours = oaq.InferenceSession(path, threads=threads, isa=isa)
    theirs = {
        name: runtime_session(str(file), threads)
        for name, file in (("onnxruntime fp32", path.with_name("float.onnx")), ("onnxruntime int8", theirs_path))
    }
    expected = theirs["onnxruntime fp32"].run(None, feed)[0]
    result = [
        Contender(
            name,
            False,
            name.split()[1],
            "",
            turn(lambda session=session: session.run(None, feed)),
            lambda session=session: session.run(None, feed)[0],
            expected,
            8.0,
            "onnxruntime fp32",
        )
        for name, session in theirs.items()
    ]
    outputs = lambda: ours.run(None, feed)[0]  # noqa: E731
    isas = isa or "best"
    return [
        *result,
        Contender("oaq int8", True, "int8", isas, turn(outputs), outputs, expected, 12.0, "onnxruntime fp32"),
    ]


def size_of(text: str) -> tuple[int, int]:
    """Batch and tokens of ``8x128``."""
    batch, _, tokens = text.partition("x")
    return int(batch), int(tokens)


def subjects(flags: argparse.Namespace) -> Iterator[tuple[str, Callable[[], list[Contender]]]]:
    """Name of what is timed, and its contenders."""
    for terms, outputs in SHAPES if flags.whole is None else ():
        dynamic = layer(terms, outputs)
        for rows in ROWS:
            name = f"{rows} rows of {terms}, {outputs} outputs"
            yield name, lambda d=dynamic, r=rows: layer_contenders(d, r, flags.isa, flags.threads)
    for size in flags.sizes if flags.whole is not None else ():
        name = f"encoder, batch {size[0]}, {size[1]} tokens"
        yield (
            name,
            lambda s=size: whole_contenders(flags.whole, flags.theirs or flags.whole, s, flags.isa, flags.threads),
        )


def timed(contenders: list[Contender], flags: argparse.Namespace, cpus: tuple[int, ...]) -> tuple[Latency, Disturbance]:
    """Outputs are compared, then as many rounds are timed as take ``SECONDS``, at least those asked for.

    The system counts the time of other processes in hundredths of a second: in a shorter run one tick is a neighbour.
    """
    first = compare(contenders, threads=flags.threads, rounds=3, pinned=cpus)
    rounds = max(flags.rounds, ceil(1000 * SECONDS / sum(timing.median_ms for timing in first.timings)))
    watch = Watch(cpus)
    latency = compare(contenders, threads=flags.threads, rounds=rounds, pinned=cpus)
    return latency, watch.disturbance([timing.spread for timing in latency.timings])


def measure(flags: argparse.Namespace) -> tuple[list[Row], bool]:
    """Time every subject; rows of figures, and whether the machine was quiet throughout."""
    rows: list[Row] = []
    quiet = True
    for name, contenders in subjects(flags):
        with pinned(flags.threads) as cpus:
            latency, disturbance = until_quiet(partial(timed, contenders(), flags, cpus))
        try:
            disturbance.require_quiet()
        except BusyMachine as error:
            quiet = False
            say.warn(f"{name}: {error}")
        medians = {timing.name: timing.median_ms for timing in latency.timings}
        (ours,) = (timing.name for timing in latency.timings if timing.ours)
        ratio = medians["onnxruntime int8"] / medians[ours]
        figures = [(key, f"{1000 * medians[key]:.1f}") for key in ("onnxruntime fp32", "onnxruntime int8")]
        rows.append(
            (
                ("subject", name),
                *figures,
                ("oaq", f"{1000 * medians[ours]:.1f}"),
                ("row", ours),
                ("times", f"{ratio:.2f}"),
            )
        )
    return rows, quiet


def main(arguments: Sequence[str] | None = None) -> int:
    """Time, print, write the result file of a quiet run."""
    parser = argparse.ArgumentParser("python -m benchmarks.dynamic", description=__doc__)
    parser.add_argument("--isa", help="hold oaq to it; avx2 holds ONNX Runtime too")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--whole", type=Path, help="a file of recipes.embeddings")
    add_record(parser)
    parser.add_argument("--theirs", type=Path, help="the file ONNX Runtime runs beside it; default: the same")
    parser.add_argument("--sizes", type=size_of, nargs="+", default=SIZES, metavar="BxT", help="batches and tokens")
    flags = parser.parse_args(arguments)
    if flags.isa == "avx2" and not saturates():
        further = sys.argv[1:] if arguments is None else list(arguments)
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, **held_environment(Path(folder))}
            process = subprocess.run(
                [sys.executable, "-m", "benchmarks.dynamic", *further], env=environment, check=False
            )
        return process.returncode
    rows, quiet = measure(flags)
    header = tuple(key for key, _ in rows[0])
    table = Table(
        "microseconds", header, tuple(tuple(value for _, value in row) for row in rows), frozenset(range(1, 6))
    )
    say.words(render([table]))
    if not quiet:
        say.warn("the machine was busy: no result file is written")
        return 1
    command = "python -m benchmarks.dynamic " + " ".join(sys.argv[1:] if arguments is None else arguments)
    name = ("encoder" if flags.whole else "dynamic") + (f"_{flags.isa}" if flags.isa else "")
    say.words(str(save(Result("dynamic", command.strip(), stamp(), rows=tuple(rows)), name, record=flags.record)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
