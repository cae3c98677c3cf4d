"""The benchmark of dynamic layers: what it compares, and how ONNX Runtime is held."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from benchmarks.held_onnxruntime import trapped


def library(code: bytes) -> bytes:
    """An ELF file of one segment, loaded at 0x1000."""
    header = bytearray(64)
    struct.pack_into("<Q", header, 32, 64)
    struct.pack_into("<H", header, 56, 1)
    return bytes(header) + struct.pack("<IIQQQQQQ", 1, 5, 120, 0x1000, 0x1000, len(code), len(code), 1) + code


def test_only_the_instructions_named_become_traps() -> None:
    content = library(b"\x0f\xa2\x90\x0f\xa2")
    assert trapped(content, [0x1003])[120:] == b"\x0f\xa2\x90\xcc\x90"
    with pytest.raises(SystemExit, match="no cpuid stands at 0x1001"):
        trapped(content, [0x1001])


def test_contenders_of_a_layer_compute_the_same_bits() -> None:
    pytest.importorskip("onnxruntime")
    from benchmarks.dynamic import layer, layer_contenders

    for contender in layer_contenders(layer(24, 40), 7, None, 1):
        off = np.abs(contender.outputs() - contender.reference).max()
        assert off == 0 if contender.least_sqnr_db is None else off < 0.1 * np.abs(contender.reference).max()
