r"""Whether zeros of a dithered gradient pay on a CPU: a sparse product beside the dense one, one thread.

    python -m benchmarks.sparse_product [--rounds 40] [--record]

Both products of backprop of a layer, G W and G^T X, for a gradient G of s8 steps with so many zeros, by torch: dense,
as CSR times dense, and CSR with the conversion that a fresh gradient needs at every step. In turns, medians.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Final

import torch

from benchmarks.harness import add_record, save
from oaq.errors import ConfigError
from oaq.terminal import say
from recipes.exit_code import exit_code
from recipes.ledger import table_of
from recipes.result_file import Result, stamp

SHAPES: Final[Mapping[str, tuple[int, int, int]]] = {
    "LeNet-300-100, first layer": (128, 300, 784),
    "a linear layer": (128, 1024, 1024),
    "convolution 3x3, 64 to 64, 8 images of 32 x 32": (8192, 64, 576),
}
"""(rows of G: batch times positions; columns of G: outputs; K)."""
ZEROS: Final = (0.90, 0.95, 0.97, 0.99)


def products(gradient: torch.Tensor, weight: torch.Tensor, x: torch.Tensor) -> dict[str, Callable[[], object]]:
    """Both products in each way."""
    sparse, turned = gradient.to_sparse_csr(), gradient.T.contiguous().to_sparse_csr()

    def converted() -> tuple[torch.Tensor, torch.Tensor]:
        return gradient.to_sparse_csr() @ weight, gradient.T.contiguous().to_sparse_csr() @ x

    return {
        "dense": lambda: (gradient @ weight, gradient.T @ x),
        "CSR": lambda: (sparse @ weight, turned @ x),
        "CSR, made each time": converted,
    }


def measure(shape: tuple[int, int, int], zeros: float, rounds: int) -> dict[str, float]:
    """Median milliseconds of both products, by way; what they give is compared first."""
    generator = torch.Generator().manual_seed(0)
    rows, outputs, terms = shape
    keep = torch.rand(rows, outputs, generator=generator) >= zeros
    gradient = torch.randint(1, 20, (rows, outputs), generator=generator).float() * keep
    weight, x = torch.randn(outputs, terms, generator=generator), torch.randn(rows, terms, generator=generator)
    ways = products(gradient, weight, x)
    results = {name: way() for name, way in ways.items()}
    for name, result in results.items():
        for part, exact in zip(result, results["dense"], strict=True):  # type: ignore[call-overload]
            torch.testing.assert_close(part, exact, rtol=1e-3, atol=1e-2, msg=f"{name} differs")
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: median(values) for name, values in times.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure; every refusal is one line."""
    parser = argparse.ArgumentParser("python -m benchmarks.sparse_product", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    add_record(parser)
    flags = parser.parse_args(arguments)
    return exit_code("sparse_product", lambda: run(flags))


def run(flags: argparse.Namespace) -> int:
    """Every shape at every share of zeros, then the result file."""
    if flags.rounds < 1:
        raise ConfigError(f"--rounds {flags.rounds}: at least 1")
    rows = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            for name, shape in SHAPES.items():
                for zeros in ZEROS:
                    times = measure(shape, zeros, flags.rounds)
                    cells = {way: f"{value:.3f}" for way, value in times.items()}
                    rows.append(
                        tuple(
                            {
                                "layer": name,
                                "zeros": f"{zeros:.0%}",
                                **cells,
                                "dense / CSR made": f"{times['dense'] / times['CSR, made each time']:.2f}",
                            }.items()
                        )
                    )
        finally:
            torch.set_num_threads(threads)
    command = f"python -m benchmarks.sparse_product --rounds {flags.rounds} --record"
    notes = ("milliseconds of both products of backprop, float32, one thread, medians in turns",)
    result = Result("sparse_product", command, stamp(), rows=tuple(rows), notes=notes)
    say.tables([table_of("sparse products", [dict(row) for row in rows])])
    say.words(str(save(result, "sparse_product", record=flags.record)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
