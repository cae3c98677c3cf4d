"""File number ``index`` of a seed: what is broken in it is a function of the two.

Kinds: bytes of an ``.oaq`` file (its checksum made anew, so that what lies behind it is read), leaves of its JSON,
values of its arrays, fields and nodes of an ONNX file, words of a TFLite file, and valid programs of extreme geometry;
then files that are float in part, quantize as they go, or are float throughout.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.file_mutations import mutate
from benchmarks.fuzz.extreme import extreme_program
from benchmarks.fuzz.sealed import oaq_file, resealed
from benchmarks.fuzz.seeds import Seeds
from benchmarks.fuzz.tflite_bytes import break_tflite

Generator = np.random.Generator
WHOLE: Final = (
    *(0, 1, -1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 4000, 32767, 32768, 65535, 65536, 1 << 20, (1 << 24) + 1),
    *(
        (1 << 31) - 1,
        1 << 31,
        -(1 << 31),
        (1 << 32) - 1,
        1 << 32,
        1 << 62,
        (1 << 63) - 1,
        1 << 63,
        -(1 << 63),
        1 << 100,
    ),
)
REAL: Final = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-38, 3e38, 1e300, float("inf"), float("nan"), 0.5, 255.0)
TEXT: Final = (
    *("", "x", "Conv2d", "MaxPool", "../../x", "a" * 3000, "nul\0", "\x1b[2J\x1b]0;owned\x07", "\nSAFE: all proved"),
    *("\u202eevil", "\ud800", "\u2028", "\x9b2J", "scalar", "gemm_u8s8_avx2_acc16", "NCHW", "fixed_point"),
)


@dataclass(frozen=True)
class Mutant:
    """One file to be read.

    Attributes:
        kind: how it was made.
        suffix: what it claims to be: ".oaq", ".onnx" or ".tflite".
        content: its bytes.
    """

    kind: str
    suffix: str
    content: bytes


def mutant(seeds: Seeds, seed: int, index: int) -> Mutant:
    """File number ``index`` of ``seed``."""
    rng = np.random.default_rng([seed, index])
    kind = KINDS[int(rng.choice(len(KINDS), p=WEIGHTS))]
    return MAKERS[kind](seeds, rng, kind)


def _oaq_bytes(seeds: Seeds, rng: Generator, kind: str) -> Mutant:
    content = bytearray(_pick_file(rng, seeds.files[".oaq"]))
    header = int.from_bytes(content[:8], "little")
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(8 + header if rng.random() < 0.8 else max(len(content), 1))) % max(len(content), 1)
        match int(rng.integers(5)):
            case 0:
                content[place : place + 1] = bytes([int(rng.integers(256))])
            case 1:
                content[place : place + 1] = _pick(rng, b'-0123456789.eE[]{},:"\\ntf').to_bytes(1, "little")
            case 2:
                del content[place : place + int(rng.integers(1, 9))]
            case 3:
                content[place:place] = content[place : place + int(rng.integers(1, 33))]
            case _:
                content = content[: place if rng.random() < 0.2 else len(content)]
    return Mutant(kind, ".oaq", resealed(bytes(content)) if rng.random() < 0.9 else bytes(content))


def _oaq_json(seeds: Seeds, rng: Generator, kind: str) -> Mutant:
    opened = _pick_file(rng, seeds.opened)
    documents = dict(opened.documents)
    key = "oaq" if rng.random() < 0.75 else _pick(rng, sorted(documents))
    document = json.loads(documents[key])
    for _ in range(int(rng.integers(1, 4))):
        _edit(document, rng)
    documents[key] = json.dumps(document)
    return Mutant(kind, ".oaq", oaq_file(documents, opened.arrays))


def _oaq_arrays(seeds: Seeds, rng: Generator, kind: str) -> Mutant:
    opened = _pick_file(rng, seeds.opened)
    arrays = dict(opened.arrays)
    for _ in range(int(rng.integers(1, 4))):
        name = _pick(rng, sorted(arrays))
        arrays[name] = _broken_array(arrays[name].copy(), rng)
    return Mutant(kind, ".oaq", oaq_file(opened.documents, arrays))


def _broken_array(array: np.ndarray[Any, Any], rng: Generator) -> np.ndarray[Any, Any]:
    if array.size and rng.random() < 0.6:
        places = rng.integers(array.size, size=int(rng.integers(1, 5)))
        with np.errstate(all="ignore"):
            if array.dtype.kind == "f":
                array.reshape(-1)[places] = np.array(_pick(rng, REAL)).astype(array.dtype)
            else:
                ends = np.iinfo(array.dtype)
                array.reshape(-1)[places] = min(max(int(_pick(rng, WHOLE)), int(ends.min)), int(ends.max))
        return array
    repeated = np.concatenate([array, array]) if array.ndim else array
    dtype = _pick(rng, ("int8", "uint8", "int16", "int32", "float32"))
    with np.errstate(all="ignore"):
        converted = array.astype(dtype, casting="unsafe")
    choices = [array[:0], array[:1], array.reshape(-1), array[None], repeated, converted]
    return np.ascontiguousarray(_pick(rng, choices))


def _onnx(seeds: Seeds, rng: Generator, kind: str) -> Mutant:
    files = seeds.files[".onnx"]
    return Mutant(kind, ".onnx", mutate(_pick_file(rng, files), files, rng))


def _tflite(seeds: Seeds, rng: Generator, kind: str) -> Mutant:
    return Mutant(kind, ".tflite", break_tflite(seeds.files[".tflite"], rng))


def _float_onnx(seeds: Seeds, rng: Generator, kind: str) -> Mutant:
    files = [content for _, content in seeds.floats[kind]]
    return Mutant(kind, ".onnx", mutate(_pick_file(rng, files), files, rng))


def _float_tflite(seeds: Seeds, rng: Generator, kind: str) -> Mutant:
    return Mutant(kind, ".tflite", break_tflite([content for _, content in seeds.floats[kind]], rng))


def _extreme(seeds: Seeds, rng: Generator, kind: str) -> Mutant:
    header, arrays = extreme_program(rng)
    return Mutant(kind, ".oaq", oaq_file({"oaq": json.dumps(header)}, arrays))


def _edit(document: Any, rng: Generator) -> None:  # noqa: ANN401 (parsed JSON)
    """Change one leaf, list or key; deep places are as likely as shallow ones."""
    holders = _holders(document)
    if not holders:
        return
    holder = _pick(rng, holders)
    key = _pick(rng, list(holder) if isinstance(holder, dict) else range(len(holder)))
    value = holder[key]
    if rng.random() < 0.08:
        del holder[key]
    elif rng.random() < 0.05 and isinstance(holder, list):
        holder.append(value)
    elif isinstance(value, bool) or value is None or isinstance(value, list | dict):
        holder[key] = _pick(rng, (not value, 0, "x", [], {}, [value]))
    elif isinstance(value, int):
        holder[key] = int(_pick(rng, WHOLE)) if rng.random() < 0.7 else value + int(rng.integers(-3, 4))
    elif isinstance(value, float):
        holder[key] = _pick(rng, REAL) if rng.random() < 0.9 else value * 2
    else:
        texts = [item for nested in holders for item in _values(nested) if isinstance(item, str)]
        holder[key] = _pick(rng, TEXT) if rng.random() < 0.5 else _pick(rng, texts)


def _values(holder: Any) -> list[Any]:  # noqa: ANN401 (parsed JSON)
    return list(holder.values()) if isinstance(holder, dict) else holder


def _holders(document: Any) -> list[Any]:  # noqa: ANN401 (parsed JSON)
    """Every non-empty list and object of a document."""
    holders, queue = [], [document]
    while queue:
        value = queue.pop()
        if isinstance(value, list | dict) and value:
            holders.append(value)
            queue += _values(value)
    return holders


def _pick_file(rng: Generator, files: Any) -> Any:  # noqa: ANN401 (a file, or one taken apart)
    """Mostly the smallest of three, as seeds come in order of size: networks are many, and take longer."""
    first, *others = (int(rng.integers(len(files))) for _ in range(3))
    return files[min(first, *others) if rng.random() < 0.8 else first]


def _pick(rng: Generator, choices: Any) -> Any:  # noqa: ANN401 (an element of what the caller gives)
    return choices[int(rng.integers(len(choices)))]


MAKERS: Final[dict[str, Callable[[Seeds, Generator, str], Mutant]]] = {
    "oaq bytes": _oaq_bytes,
    "oaq json": _oaq_json,
    "oaq arrays": _oaq_arrays,
    "oaq extreme": _extreme,
    "onnx": _onnx,
    "tflite": _tflite,
    "onnx mixed": _float_onnx,
    "onnx dynamic": _float_onnx,
    "tflite float": _float_tflite,
    "tflite mixed": _float_tflite,
}
KINDS: Final = tuple(MAKERS)
WEIGHTS: Final = (0.22, 0.18, 0.02, 0.06, 0.07, 0.26, 0.05, 0.05, 0.05, 0.04)
FLOAT_KINDS: Final = frozenset({"onnx mixed", "onnx dynamic", "tflite float", "tflite mixed"})
"""Files that are no program of integers from end to end."""
