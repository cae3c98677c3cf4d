"""Networks of the public benchmark of quantized robustness as programs, and its result tables.

Weights and tables are data of a folder the caller names (GPL-3: read, never copied). Scheme of those networks, in
integers: weights of Q bits with Q - 1 fractional bits, biases and activations with Q - 2, u8 input with 8; acc is
rounded half up by a shift; results are clamped to [0, 2**Q - 1], the last layer's to [-2**(Q-1), 2**(Q-1) - 1]. That is
a fixed-point requantize of multiplier 1, the last zero point being 2**(Q-1).
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize
from oaq.operators import TensorSpec
from oaq.program.int_program import IntProgram, Node


@dataclass(frozen=True)
class Query:
    """One row of the public table."""

    dataset: str
    radius: int
    sample: int
    answer: str


def network(path: Path, bits: int) -> IntProgram:
    """A file of Keras weights as a program of 784 inputs."""
    import h5py  # only this benchmark needs it

    arrays: list[tuple[str, NDArray[np.float64]]] = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: arrays.append((name, np.array(item))) if hasattr(item, "shape") else None)
    kernels, biases = ([array for name, array in arrays if part in name] for part in ("kernel", "bias"))
    tensors = {"x": TensorSpec("x", (kernels[0].shape[0],), Affine(2.0**-8, 0))}
    nodes, before = [], "x"
    half = 1 << (bits - 1)
    for at, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
        shift = bits - 1 + (8 if at == 0 else bits - 2) - (bits - 2)
        weight = np.clip(_half_away(kernel.T * half), -half, half - 1).astype(np.int8)
        start = np.clip(_half_away(bias * (half / 2)), -half, half - 1) * 2.0**shift
        outputs, name = len(bias), f"y{at}"
        zero = half if at == len(kernels) - 1 else 0
        tensors[name] = TensorSpec(name, (outputs,), Affine(2.0 ** (2 - bits), zero), IntRange(0, 2 * half - 1))
        steps = Requantize(np.full(outputs, 1, np.int32), np.full(outputs, shift, np.int32))
        nodes.append(Node(f"fc{at}", ops.Linear(weight, start.astype(np.int32), steps), (before,), name))
        before = name
    return IntProgram(path.stem, ("x",), (before,), tensors, tuple(nodes), "fixed_point")


def _half_away(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sign(values) * np.floor(np.abs(values) + 0.5)


def images(path: Path) -> NDArray[np.uint8]:
    """An IDX file of images, plain or gzipped: (n, 784)."""
    return np.frombuffer(_content(path), np.uint8, offset=16).reshape(-1, 784)


def classes(path: Path) -> NDArray[np.uint8]:
    """An IDX file of labels."""
    return np.frombuffer(_content(path), np.uint8, offset=8)


def _content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def table_two(path: Path) -> list[Query]:
    """The table of two networks (Q = 6) at radii 1 to 4."""
    queries, dataset = [], ""
    for row in csv.reader(path.read_text(encoding="utf-8").splitlines()):
        text = " ".join(row)
        if "Dataset" in text:
            dataset = "fashion" if "Fashion" in text else "mnist"
            continue
        for radius in range(1, 5):
            column = 4 * radius - 3
            if len(row) > column + 1 and row[column].strip().isdigit():
                queries.append(Query(dataset, radius, int(row[column]), row[column + 1]))
    return queries


def table_three(path: Path, title: str, radius: int) -> list[Query]:
    """One network (title such as ``P3-6``) of the other table at one radius (2, 4, 6, 10, 20 or 30)."""
    column = 1 + 3 * (2, 4, 6, 10, 20, 30).index(radius)
    queries, inside = [], False
    for row in csv.reader(path.read_text(encoding="utf-8").splitlines()):
        heading = next((cell.strip() for cell in row if cell.strip().startswith("P") and ":" in cell), "")
        inside = heading.startswith(f"{title}:") if heading else inside
        if inside and len(row) > column + 1 and row[column].strip().isdigit():
            queries.append(Query("mnist", radius, int(row[column]), row[column + 1]))
    return queries
