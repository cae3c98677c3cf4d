"""Random damage to a container whose checksum is recomputed: success or one FormatError, nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from oaq.errors import FormatError
from oaq.program.files import CHECKSUM, NO_CHECKSUM, decode_archive, save
from oaq.program.safetensors import decode
from tests.strategies import Builder, conv2d


def resummed(content: bytes) -> bytes:
    """``content`` with the checksum it would have if it had been written so."""
    start = content.find(f'"{CHECKSUM}":"'.encode())
    if start < 0:
        return content
    start += len(f'"{CHECKSUM}":"')
    blank = content[:start] + NO_CHECKSUM.encode() + content[start + 64 :]
    return content[:start] + hashlib.sha256(blank).hexdigest().encode() + content[start + 64 :]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_under_a_valid_checksum_is_success_or_one_format_error(data: st.DataObject) -> None:
    content = bytearray(_sample())
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(("set", "digit", "cut", "repeat"))):
            case "set":
                content[position] = data.draw(st.integers(0, 255))
            case "digit":
                digits = [i for i, byte in enumerate(content) if chr(byte).isdigit()]
                content[digits[position % len(digits)]] = ord(data.draw(st.sampled_from("-0123456789.e")))
            case "cut":
                del content[position : position + data.draw(st.integers(1, 8))]
            case _:
                content[position:position] = content[position : position + data.draw(st.integers(1, 8))]
        if not content:
            return
    with contextlib.suppress(FormatError):
        decode_archive(resummed(bytes(content)), "fuzzed")


@cache
def _sample() -> bytes:
    builder = Builder("fuzz")
    x = builder.input((2, 2, 1))
    builder.add(conv2d(np.random.default_rng(0), (1, 1, 1, 1)), [x], name="conv")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.oaq"
        save(builder.finish(), path)
        return path.read_bytes()


def test_the_recomputed_checksum_is_the_right_one() -> None:
    decode(_sample(), "sample")
    assert resummed(_sample()) == _sample()
    decode_archive(resummed(_sample()), "sample")
