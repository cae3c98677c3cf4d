"""Weights that several layers of a program have: a file holds them once.

In the file, ``__metadata__["repeated"]`` maps the name of each array that is left out to the name of the one it equals,
which the file holds: {"nodes/12/weight": "nodes/7/weight"}. The same holds of codes ("codes/nodes/12/weight"). What is
read back is the same program. A file without equal weights is what it was, to the bit; an oaq that knows no repeated
weights refuses a file that has them, by name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from numpy.typing import NDArray

from oaq.errors import FormatError
from oaq.program.memory import memory_limit, require_memory
from oaq.program.safetensors import NamedArrays, parse_json

REPEATED: Final = "repeated"
"""Key of a file's metadata."""
WEIGHTS: Final = re.compile(r"(codes/)?nodes/([0-9]{1,9})/weight")
"""Arrays that may be left out, and the number of their node."""
CODES_IN_A_BYTE: Final = 8
"""At most: each becomes a byte."""


def without_repeats(arrays: NamedArrays) -> tuple[NamedArrays, str | None]:
    """Arrays of a file in which equal weights are held once, by their first node.

    Returns:
        the arrays, and the value of ``REPEATED`` in the file's metadata; None, and the same arrays, if none are equal.
    """
    weights = sorted((_node(name), name) for name in arrays if WEIGHTS.fullmatch(name))
    first: dict[object, str] = {}
    sources: dict[str, str] = {}
    for _, name in weights:
        array = arrays[name]
        key = (array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).digest(), name.startswith("codes/"))
        source = first.setdefault(key, name)
        if source != name and array.size:
            sources[name] = source
    result = {name: array for name, array in arrays.items() if name not in sources}
    return result, json.dumps(sources, separators=(",", ":")) if sources else None


def with_repeats(text: str, arrays: Mapping[str, NDArray[Any]], where: str) -> NamedArrays:
    """Arrays with those that the file left out. Every layer of a program has a copy: a small file may ask for many.

    Args:
        text: value of ``REPEATED`` in the file's metadata; trusted in nothing.
        arrays: of the program, as the file has them.
        where: begins every message.

    Raises:
        FormatError: an entry names no weights, or weights that the file does not hold, or that come later.
        MemoryLimit: the copies take more memory than ``OAQ_MEMORY_LIMIT`` allows.
    """
    sources, result = parse_json(text, f"{where}: {REPEATED}"), dict(arrays)
    if not isinstance(sources, dict) or not sources:
        raise FormatError(f"{where}: {REPEATED} maps names of weights to those they equal")
    for name, source in sources.items():
        place = f"{where}: repeated weights {name[:60]!r}"
        if not isinstance(source, str) or not WEIGHTS.fullmatch(name) or not WEIGHTS.fullmatch(source):
            raise FormatError(f"{place}: are not weights of a node, or equal something else: {str(source)[:60]!r}")
        if name in arrays or source not in arrays or _node(source) >= _node(name):
            raise FormatError(f"{place}: the file holds them itself, or no {source!r} before them")
        result[name] = arrays[source]
    copies = sum(result[name].nbytes * (CODES_IN_A_BYTE if name.startswith("codes/") else 1) for name in sources)
    require_memory(copies, memory_limit(), f"{where}: {len(sources)} layers with the weights of others")
    return result


def _node(name: str) -> int:
    match = WEIGHTS.fullmatch(name)
    return -1 if match is None else int(match[2])
