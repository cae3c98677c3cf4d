"""Ways of breaking a TFLite file: bytes, aligned words (offsets, sizes, shapes) and stretches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

EXTREMES: Final = (0, 1, 2, 3, 4, 8, 127, 128, 255, 256, 32767, 65536, 2**31 - 1, 2**31, 2**32 - 1)
"""What a word is set to besides its neighbours in value."""


def break_tflite(files: Sequence[bytes], rng: np.random.Generator) -> bytes:
    """One of ``files`` with one to four places broken."""
    content = bytearray(files[int(rng.integers(len(files)))])
    for _ in range(int(rng.integers(1, 5))):
        _break(content, files, rng)
    return bytes(content)


def _break(content: bytearray, files: Sequence[bytes], rng: np.random.Generator) -> None:
    if len(content) < 16:
        return
    place = int(rng.integers(0, len(content) - 8)) // 4 * 4
    match int(rng.integers(6)):
        case 0:
            content[place + int(rng.integers(4))] ^= 1 << int(rng.integers(8))
        case 1:
            content[place : place + 4] = int(rng.choice(EXTREMES)).to_bytes(4, "little")
        case 2:
            word = int.from_bytes(content[place : place + 4], "little")
            content[place : place + 4] = ((word + int(rng.integers(-8, 9))) % 2**32).to_bytes(4, "little")
        case 3:
            del content[place : place + int(rng.integers(1, 64))]
        case 4:
            donor = files[int(rng.integers(len(files)))]
            start = int(rng.integers(0, len(donor) - 8)) // 4 * 4
            length = 4 * int(rng.integers(1, 16))
            content[place : place + length] = donor[start : start + length]
        case _:
            del content[place:]
