"""What a training step of ResNet-18 takes on a GPU, in float and by method: ``python -m benchmarks.cuda_step``.

Random images, batches of 128, medians of 12 steps after 3. "image by image" is how torch convolves on CUDA without
cuDNN, which is exact too and was used before ``oaq.qat.exact``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median

import torch
import torch.nn.functional as F

from benchmarks.harness import Result, add_record, save, stamp
from oaq.capture.from_torch import normalize
from oaq.capture.graph import FloatConv2d, FloatGraph
from oaq.qat import Config, QatNetwork, Target, layer, parameter_groups, prepare
from oaq.terminal import say
from recipes.cifar10 import resnet18
from recipes.models.small import published_init

BATCH, STEPS, WARM = 128, 12, 3
CELLS = (("none", 4, 32), ("proved", 4, 12), ("none", 8, 32), ("a2q+", 4, 16))
"""Method, bits of weights and operands, bits of a pure accumulator."""
CUDA = torch.device("cuda")
Row = tuple[tuple[str, str], ...]


def milliseconds(step: Callable[[], object], steps: int = STEPS) -> str:
    """Median of one step, to its end on the GPU."""
    times = []
    for _ in range(WARM + steps):
        start = time.perf_counter()
        step()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return f"{1e3 * median(times[WARM:]):.2f}"


def float_step(x: torch.Tensor, y: torch.Tensor) -> Callable[[], None]:
    """As the recipes train: bfloat16 autocast, channels last, SGD."""
    net = published_init(resnet18()).train().to(CUDA)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(net.parameters(), 0.01, 0.9, weight_decay=5e-4, nesterov=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = F.cross_entropy(net(x), y)
        float(loss.detach())
        loss.backward()
        optimizer.step()

    return step


def integer_step(network: QatNetwork, x: torch.Tensor, y: torch.Tensor) -> Callable[[], None]:
    """As the recipes train: AdamW."""
    optimizer = torch.optim.AdamW(parameter_groups(network, 3e-4, 1e-4), 3e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(network(x), y) + network.penalty()  # type: ignore[arg-type]
        float(loss.detach())
        loss.backward()
        optimizer.step()

    return step


@contextmanager
def image_by_image() -> Iterator[None]:
    """Sums as torch forms them without cuDNN."""

    def convolved(x: torch.Tensor, weight: torch.Tensor, op: FloatConv2d) -> torch.Tensor:
        with torch.backends.cudnn.flags(enabled=False):
            return F.conv2d(x, weight, None, op.stride, (op.padding[0], op.padding[2]), op.dilation, op.groups)

    original, layer.convolved = layer.convolved, convolved
    try:
        yield
    finally:
        layer.convolved = original


def rows_of(graph: FloatGraph, x: torch.Tensor, y: torch.Tensor) -> Iterator[Row]:
    """One row for each cell."""
    on_gpu = x.to(CUDA)
    for method, bits, accumulator in CELLS:
        target = Target("pure", accumulator)
        config = Config(method, bits, bits, target, "register", first_last_exempt=True)  # type: ignore[arg-type]
        start = time.monotonic()
        network = prepare(graph, x[:1], config, calibration=[x], device=CUDA).to(CUDA)
        prepared = f"{time.monotonic() - start:.1f}"
        step = integer_step(network.train(), on_gpu, y)
        name = f"{method} W{bits}A{bits} {accumulator}"
        row: Row = (("step", name), ("ms", milliseconds(step)), ("prepare_s", prepared))
        with torch.no_grad():
            row += (("forward_ms", milliseconds(lambda net=network: net(on_gpu))),)
        if (method, bits) == ("none", 4):
            with image_by_image():
                row += (("image_by_image_ms", milliseconds(step, 3)),)
        yield row


def main(arguments: Sequence[str] | None = None) -> int:
    """Time and store; 1 where there is no GPU."""
    parser = argparse.ArgumentParser("python -m benchmarks.cuda_step", description=__doc__)
    add_record(parser)
    flags = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        say.warn("cuda_step is NOT RUN: there is no GPU that torch can use")
        return 1
    torch.manual_seed(0)
    x, y = torch.randn(BATCH, 3, 32, 32), torch.randint(0, 10, (BATCH,)).to(CUDA)
    graph = normalize(published_init(resnet18()).eval(), x[:1], "resnet18")
    rows: list[Row] = [(("step", "float bf16"), ("ms", milliseconds(float_step(x.to(CUDA), y))))]
    for row in rows_of(graph, x, y):
        rows.append(row)
        say.words("  ".join(value for _, value in row))
    facts = (("network", "resnet18"), ("batch", str(BATCH)), ("device", torch.cuda.get_device_name(CUDA)))
    result = Result("cuda_step", "python -m benchmarks.cuda_step", stamp(), facts=facts, rows=tuple(rows))
    save(result, "cuda_step", record=flags.record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
