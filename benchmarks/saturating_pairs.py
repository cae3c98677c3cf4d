r"""Which products other people's kernels sum in 16 bits: every pair of products of small layers, one output each.

    python -m benchmarks.saturating_pairs
    python -m benchmarks.saturating_pairs --emulator "qemu-x86_64 -cpu Haswell"

Output n has the weight 127 at two places and 0 elsewhere, all activations are 255, so its exact sum is 64770; where the
two products share a 16-bit register that saturates, 32767 comes out. Each pair is tried alone, so an order of products
is found, not guessed. Layers go to every runtime as QDQ files (PyTorch gets its own quantized tensors) in a process of
its own. oneDNN is held to an instruction set by ONEDNN_MAX_CPU_ISA; ONNX Runtime and FBGEMM cannot be held, so for them
an emulator of a CPU without VNNI stands in. Writes ``results/saturating_pairs.json``.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import shlex
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.child import child
from benchmarks.harness import Result, add_record, save, stamp
from oaq import operators as ops
from oaq.doctor.registers import Order, RegisterModel
from oaq.doctor.sums import lay
from oaq.numerics.accumulator import AVX2_ACC32
from oaq.numerics.affine import Affine
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec, output_shape
from oaq.program.int_program import IntProgram, Node

Pair = tuple[int, int]
Run = Callable[[IntProgram], tuple[NDArray[np.floating], str]]
"""One layer on the input of all 255s: (1, ...) real results and the name of the kernel, if the runtime tells."""
STEP = 1 / 270
"""Step of the output: 64770 becomes 240, 32767 becomes 121."""
BETWEEN = 200
ORDERS: tuple[Order, ...] = ("taps", "flat", "rows", "columns")


@dataclass(frozen=True)
class Layer:
    """A layer to try.

    Attributes:
        channels: of the input; K of a Linear.
        kernel: rows and columns; (0, 0) is a Linear.
        groups: of a convolution; equal to ``channels`` with ``per_channel`` outputs each is depthwise.
        outputs: outputs per group at a time; 0 tries all pairs at once. Kernels are chosen by it.
        side: of the input.
        stride, padding, dilation: of a convolution.
    """

    channels: int
    kernel: Pair
    groups: int = 1
    outputs: int = 0
    side: int = 8
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def __str__(self) -> str:
        if self.kernel == (0, 0):
            return f"Linear {self.channels}"
        text = f"Conv2d {self.kernel[0]}x{self.kernel[1]} of {self.channels} channels, {self.side} x {self.side}"
        for name, value, usual in (
            ("groups", self.groups, 1),
            ("outputs per group", self.outputs, 0),
            ("stride", self.stride, 1),
            ("padding", self.padding, 0),
            ("dilation", self.dilation, 1),
        ):
            text += f", {name} {value}" if value != usual else ""
        return text

    @property
    def pairs(self) -> list[Pair]:
        """All pairs of places (row, column, channel) of one group's window."""
        window = max(self.kernel[0] * self.kernel[1], 1)
        return list(itertools.combinations(range(window * self.channels // self.groups), 2))

    def programs(self) -> Iterator[tuple[list[Pair], IntProgram]]:
        """The pair that each output tries, and the layer."""
        if self.groups == self.channels and self.outputs:  # one group has too few outputs for all pairs
            count = self.channels * self.outputs
            yield from ((part, self._program(part)) for part in _parts(self.pairs, count))
            return
        for part in _parts(self.pairs, self.outputs or len(self.pairs)):
            yield part * self.groups, self._program(part * self.groups)

    def _program(self, pairs: Sequence[Pair]) -> IntProgram:
        outputs = len(pairs)
        window = max(self.kernel[0] * self.kernel[1], 1)
        weight = np.zeros((outputs, window * self.channels // self.groups), np.int8)
        for output, pair in enumerate(pairs):
            weight[output, list(pair)] = 127
        requantize = Requantize(np.full(outputs, STEP, np.float32))
        bias = np.zeros(outputs, np.int32)
        if self.kernel == (0, 0):
            op, shape = ops.Linear(weight, bias, requantize), (self.channels,)
        else:
            four = (self.padding, self.padding, self.padding, self.padding)
            op = ops.Conv2d(
                weight.reshape(outputs, *self.kernel, -1),
                bias,
                requantize,
                (self.stride, self.stride),
                four,
                (self.dilation, self.dilation),
                self.groups,
            )
            shape = (self.side, self.side, self.channels)
        x, y = (
            TensorSpec(name, dimensions, Affine(1.0, 0))
            for name, dimensions in (("x", shape), ("y", output_shape(op, [shape])))
        )
        return IntProgram("pairs", ("x",), ("y",), {"x": x, "y": y}, (Node("layer", op, ("x",), "y"),))


LAYERS = (
    Layer(5, (1, 1)),
    Layer(8, (1, 1)),
    Layer(40, (1, 1)),
    Layer(3, (3, 3)),
    Layer(3, (3, 3), outputs=32, side=64, stride=2, padding=1),
    Layer(3, (7, 7), outputs=64, side=64, stride=2, padding=3),
    Layer(5, (2, 2)),
    Layer(6, (2, 2)),
    Layer(5, (3, 3), outputs=32, side=16),
    Layer(8, (3, 3), outputs=16, side=16, dilation=2),
    Layer(1, (3, 3)),
    Layer(1, (5, 5), outputs=32, side=28),
    Layer(8, (2, 2), groups=2),
    Layer(6, (2, 2), groups=2),
    Layer(9, (3, 3), groups=3),
    Layer(24, (2, 2), groups=3),
    Layer(32, (1, 1), groups=2),
    Layer(10, (0, 0)),
    Layer(33, (0, 0)),
    Layer(36, (3, 3), groups=36, outputs=1),
    Layer(40, (3, 3), groups=40, outputs=1, side=16, stride=2, padding=1),
    Layer(40, (5, 5), groups=40, outputs=1, side=16, padding=2),
    Layer(36, (3, 3), groups=36, outputs=2),
)


def saturated(layer: Layer, run: Run) -> tuple[set[Pair], str]:
    """The pairs that do not come out exactly in the middle of the image, and the kernels that computed them."""
    pairs_found, kernels = set[Pair](), set[str]()
    for pairs, program in layer.programs():
        y, kernel = run(program)
        middle = y[0] if y.ndim == 2 else y[0, :, y.shape[2] // 2, y.shape[3] // 2]
        pairs_found |= {pair for pair, value in zip(pairs, middle.tolist(), strict=True) if value < BETWEEN}
        kernels.add(kernel)
    return pairs_found, ", ".join(sorted(kernels))


def meeting(layer: Layer, order: Order) -> set[Pair]:
    """The pairs that share a register of vpmaddubsw if products stand in ``order``."""
    (_, program), *_ = layer.programs()
    op = program.nodes[0].op
    assert isinstance(op, ops.Products)
    model = RegisterModel("pairs", AVX2_ACC32, AVX2_ACC32, (order,), "", "")
    groups = np.sort(lay(op, program.tensors["x"], model, order).place.reshape(-1, 2), axis=1)
    return {(int(a), int(b)) for a, b in groups if a >= 0}


def order_of(layer: Layer, pairs: set[Pair]) -> str:
    """The order that explains exactly these pairs; "exact" if there are none, "unknown" if none does."""
    if not pairs:
        return "exact"
    return next((order for order in ORDERS if meeting(layer, order) == pairs), "unknown")


def openvino_run(program: IntProgram) -> tuple[NDArray[np.floating], str]:
    """OpenVINO on the exported file."""
    import openvino

    core = openvino.Core()
    with tempfile.TemporaryDirectory() as folder:
        compiled = core.compile_model(core.read_model(_exported(program, folder)), "CPU", {"INFERENCE_NUM_THREADS": 1})
        y = np.array(compiled(_input(program))[0])
        kinds = {}
        for node in compiled.get_runtime_model().get_ordered_ops():
            runtime_info = node.get_rt_info()
            kinds[runtime_info["layerType"].astype(str)] = runtime_info["primitiveType"].astype(str)
        del compiled
    return y, next((kinds[name] for name in ("Convolution", "FullyConnected", "MatMul") if name in kinds), "")


def onnxruntime_run(program: IntProgram) -> tuple[NDArray[np.floating], str]:
    """ONNX Runtime on the exported file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    with tempfile.TemporaryDirectory() as folder:
        session = onnxruntime.InferenceSession(_exported(program, folder), options, providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, {"x": _input(program)})[0]), ""


def torch_run(engine: str) -> Run:
    """PyTorch's quantized operators on one of its engines."""
    torch: Any = importlib.import_module("torch")  # whose types do not name the functions that make quantized tensors
    warnings.simplefilter("ignore")  # they are deprecated, and still what deployed models call
    torch.backends.quantized.engine = engine
    torch.set_num_threads(1)

    def run(program: IntProgram) -> tuple[NDArray[np.floating], str]:
        op = program.nodes[0].op
        assert isinstance(op, ops.Products)
        weight = torch.from_numpy(op.weight.transpose(0, 3, 1, 2).copy() if op.weight.ndim == 4 else op.weight.copy())
        if op.weight.ndim == 4:
            weight = weight.contiguous(memory_format=torch.channels_last)
        outputs = len(op.weight)
        scale, zero = torch.full((outputs,), STEP, dtype=torch.float64), torch.zeros(outputs, dtype=torch.int64)
        w = torch._make_per_channel_quantized_tensor(weight, scale, zero, 0)
        integers = torch.from_numpy(_input(program)).to(torch.uint8)
        x = torch._make_per_tensor_quantized_tensor(integers, 1.0, 0)
        calls = torch.ops.quantized
        if isinstance(op, ops.Linear):
            return calls.linear(x, calls.linear_prepack(w, None), 1.0, 0).dequantize().numpy(), ""
        if not isinstance(op, ops.Conv2d):
            raise TypeError(f"{type(op).__name__} is neither a linear layer nor a convolution")
        geometry = [list(op.stride), [op.padding[0], op.padding[2]], list(op.dilation), op.groups]
        return calls.conv2d(x, calls.conv2d_prepack(w, None, *geometry), 1.0, 0).dequantize().numpy(), ""

    return run


RUNTIMES: dict[str, Callable[[], Run]] = {
    "openvino": lambda: openvino_run,
    "onnxruntime": lambda: onnxruntime_run,
    "torch-fbgemm": lambda: torch_run("fbgemm"),
    "torch-onednn": lambda: torch_run("onednn"),
}
HELD = {"AVX2": "AVX2", "AVX-512 without VNNI": "AVX512_CORE"}
"""What ONEDNN_MAX_CPU_ISA calls them."""


def ask(runtime: str, layers: Sequence[Layer], isa: str = "", emulator: str = "") -> list[tuple[set[Pair], str]]:
    """``saturated`` of every layer in a process of its own, held to ``isa`` or under an emulator."""
    indices = json.dumps([LAYERS.index(layer) for layer in layers])
    environment = {"OMP_NUM_THREADS": "1"}
    if isa:
        environment["ONEDNN_MAX_CPU_ISA"] = isa
    python = [sys.executable]
    if emulator:  # an emulator runs the interpreter itself, so the virtual environment is passed by name
        python = [*shlex.split(emulator), str(Path(sys.executable).resolve())]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    printed = child(["benchmarks.saturating_pairs", "--child", runtime, "--layers", indices], environment, python)
    answers = json.loads(printed.splitlines()[-1])
    return [({(a, b) for a, b in pairs}, kernel) for pairs, kernel in answers]


def rows(runtime: str, machine: str, isa: str = "", emulator: str = "") -> Iterator[tuple[tuple[str, str], ...]]:
    """One line per layer."""
    for layer, (pairs, kernel) in zip(LAYERS, ask(runtime, LAYERS, isa, emulator), strict=True):
        (_, program), *_ = layer.programs()
        op = program.nodes[0].op
        yield (
            ("runtime", runtime),
            ("machine", machine),
            ("layer", ("depthwise " if isinstance(op, ops.Conv2d) and op.is_depthwise() else "") + str(layer)),
            ("kernel", kernel),
            ("pairs", str(len(layer.pairs))),
            ("saturated", str(len(pairs))),
            ("order", order_of(layer, pairs)),
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask every runtime; write the result file."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.saturating_pairs", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--emulator", default="", help="a command that runs programs as on a CPU without VNNI")
    parser.add_argument("--child", choices=sorted(RUNTIMES), help=argparse.SUPPRESS)
    parser.add_argument("--layers", type=json.loads, default=[], help=argparse.SUPPRESS)
    add_record(parser)
    flags = parser.parse_args(arguments)
    if flags.child:
        run = RUNTIMES[flags.child]()
        results = [saturated(LAYERS[index], run) for index in flags.layers]
        sys.stdout.write("\n" + json.dumps([(sorted(pairs), kernel) for pairs, kernel in results]) + "\n")
        return 0
    lines = []
    for runtime in RUNTIMES:
        lines += rows(runtime, "this CPU")
        if flags.emulator:
            lines += rows(runtime, flags.emulator, emulator=flags.emulator)
    for machine, isa in HELD.items():
        lines += rows("openvino", f"held to {machine}", isa)
    command = " ".join(["python -m benchmarks.saturating_pairs", *sys.argv[1:]])
    path = save(
        Result("saturating_pairs", command, stamp(), rows=tuple(lines)), "saturating_pairs", record=flags.record
    )
    for line in lines:
        sys.stdout.write("  ".join(value for _, value in line) + "\n")
    sys.stdout.write(f"{path}\n")
    return 0


def _parts(pairs: list[Pair], count: int) -> Iterator[list[Pair]]:
    """``count`` pairs at a time; the last part is filled with pairs of the beginning."""
    for first in range(0, len(pairs), count):
        part = pairs[first : first + count]
        while len(part) < count:
            part += pairs[: count - len(part)]
        yield part


def _input(program: IntProgram) -> NDArray[np.float32]:
    shape = program.tensors["x"].shape
    return np.full((1, shape[2], *shape[:2]) if len(shape) == 3 else (1, *shape), 255, np.float32)


def _exported(program: IntProgram, folder: str) -> str:
    from oaq.export.onnx_qdq.model import save as export

    path = Path(folder) / "layer.onnx"
    export(program, path)
    return str(path)


if __name__ == "__main__":
    sys.exit(main())
