"""Weights as codes of a file: what is written is read again, in one form only, and damage is one error."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaq.errors import FormatError, ProgramError
from oaq.numerics.codebook import Codebook, tail_steps
from oaq.program.codes import CODES, TOGETHER, coded_layers, packed, unpacked, with_codes, without_codes
from oaq.program.files import decode_archive, load, save
from oaq.program.int_program import IntProgram
from oaq.program.plain import fingerprint, to_plain
from oaq.program.safetensors import NamedArrays, decode, encode
from tests.program.test_container_fuzz import resummed
from tests.program.test_files import same
from tests.strategies import Builder, conv2d, linear

BITS = range(2, 7)
NAME = "nodes/0/weight"


def coded(bits: int, seed: int = 0, outputs: int = 5) -> IntProgram:
    """A convolution and a linear layer of codebooks of ``bits``, with all-zero, uniform and long-tailed outputs."""
    rng = np.random.default_rng(seed)
    builder = Builder("coded")
    x = builder.input((2, 2, 3))
    conv, dense = conv2d(rng, (outputs, 2, 2, 3)), linear(rng, (4, outputs))
    layers = []
    for op in (conv, dense):
        weight = np.zeros(op.weight.shape, np.int8)
        for output in range(1, len(weight)):
            book = Codebook(bits, tail_steps(bits)[output % len(tail_steps(bits))])
            weight[output] = rng.choice(book.integers(), weight[output].shape)
            weight[output].flat[0] = book.most
        layers.append(dataclasses.replace(op, weight=weight))
    y = builder.add(layers[0], [x], name="conv")
    builder.add(layers[1], [y], name="dense")
    return builder.finish(weight_codes=json.dumps({"conv": bits, "dense": bits, "gone": 3}))


@cache
def content(bits: int = 4) -> bytes:
    """A file of codes."""
    head, data = encode(*stored(coded(bits)))
    return resummed(head + b"".join(data))


def stored(program: IntProgram) -> tuple[dict[str, str], NamedArrays]:
    """Metadata and arrays of a file, its checksum blank."""
    header, arrays = to_plain(program)
    arrays, codes = with_codes(program, arrays)
    assert codes is not None
    return {"oaq": json.dumps(header), "sha256": "0" * 64, CODES: codes}, arrays


@pytest.mark.parametrize("bits", BITS)
def test_a_coded_program_survives_its_file_in_fewer_bytes(bits: int, tmp_path: Path) -> None:
    program = coded(bits)
    save(program, tmp_path / "a.oaq")
    loaded = load(tmp_path / "a.oaq")
    same(program, loaded)
    assert fingerprint(loaded) == fingerprint(program)
    save(loaded, tmp_path / "b.oaq")
    assert (tmp_path / "a.oaq").read_bytes() == (tmp_path / "b.oaq").read_bytes()
    _, arrays = decode((tmp_path / "a.oaq").read_bytes(), "a")
    assert NAME not in arrays
    assert arrays[f"codes/{NAME}"].size == -(-5 * 12 * (bits + 1) // 8)


def test_a_program_that_states_no_codes_has_the_file_it_always_had(tmp_path: Path) -> None:
    program = dataclasses.replace(coded(4), metadata={})
    _, arrays = to_plain(program)
    assert with_codes(program, arrays) == (arrays, None)
    save(program, tmp_path / "p.oaq")
    metadata, names = decode((tmp_path / "p.oaq").read_bytes(), "p")
    assert set(metadata) == {"oaq", "sha256"}
    assert names[NAME].dtype == np.int8


@pytest.mark.parametrize("value", [127, -128, 8 + 32])
def test_weights_that_are_not_of_their_codebook_stay_bytes(value: int, tmp_path: Path) -> None:
    program = coded(4)
    conv = program.nodes[0]
    weight = conv.products.weight.copy()
    weight[0, 0, 0, 0], weight[0, 0, 0, 1] = value, 13
    node = dataclasses.replace(conv, op=dataclasses.replace(conv.products, weight=weight))
    edited = dataclasses.replace(program, nodes=(node, *program.nodes[1:]))
    assert list(coded_layers(edited)) == ["dense"]
    save(edited, tmp_path / "p.oaq")
    same(edited, load(tmp_path / "p.oaq"))


@pytest.mark.parametrize(
    "text", ["4", "[", "[]", '{"conv":7}', '{"conv":true}', '{"conv":"4"}', '{"conv":-1}', "[" * 100_000, '{"a":1}']
)
def test_metadata_that_state_no_codebook_are_one_error(text: str, tmp_path: Path) -> None:
    program = dataclasses.replace(coded(4), metadata={"weight_codes": text})
    with pytest.raises(ProgramError, match="metadata 'weight_codes'"):
        save(program, tmp_path / "p.oaq")
    assert not (tmp_path / "p.oaq").exists()


@pytest.mark.parametrize("width", range(3, 8))
@pytest.mark.parametrize("count", [1, 7, 8, 9, TOGETHER - 1, TOGETHER, TOGETHER + 1, 2 * TOGETHER + 5])
def test_codes_come_back_whatever_their_width_and_number(width: int, count: int) -> None:
    index = np.random.default_rng(count).integers(-(1 << (width - 1)), 1 << (width - 1), count)
    code = packed(index, width)
    assert code.size == -(-count * width // 8)
    np.testing.assert_array_equal(unpacked(code, count, width), index)
    spare = 8 * code.size - count * width
    if spare:
        code[-1] |= 0x80
        assert unpacked(code, count, width) is None


@pytest.mark.parametrize(("last", "names"), [(21, ["dense"]), (28, [])])
def test_a_tail_step_is_that_of_a_whole_row_however_long_it_is(last: int, names: list[str], tmp_path: Path) -> None:
    """21 is of the tail step 2 alone and 28 of 3 alone; they lie in parts that are worked on one after the other."""
    builder = Builder("long")
    weight = np.zeros((2, TOGETHER + 3), np.int8)
    weight[1, 0], weight[1, -1] = 21, last
    op = dataclasses.replace(linear(np.random.default_rng(0), weight.shape), weight=weight)
    builder.add(op, [builder.input((weight.shape[1],))], name="dense")
    program = builder.finish(weight_codes='{"dense":4}')
    assert list(coded_layers(program)) == names
    save(program, tmp_path / "p.oaq")
    same(program, load(tmp_path / "p.oaq"))


def test_the_codes_of_a_file_are_these_bytes() -> None:
    """Pinned: other bytes would be another format."""
    bits = "".join(format(byte, "08b")[::-1] for byte in packed(np.array([0, 1, -1, 15, -15, 8]), 5).tolist())
    assert bits == "00000100001111111110100010001000"


def damages() -> dict[str, tuple[object, str]]:
    """What is put in place of the description of the codes, or of an array, and what the error says."""
    good = {"bits": 4, "shape": [5, 2, 2, 3]}
    return {
        "a list": ([], "maps names"),
        "nothing": ({}, "maps names"),
        "no name": ({"nodes/9/weight": good}, "are missing"),
        "no entry": ({NAME: 4}, "exactly bits and shape"),
        "more": ({NAME: {**good, "step": 1}}, "exactly bits and shape"),
        "seven bits": ({NAME: {**good, "bits": 7}}, "codebooks have 2 to 6 bits, not 7"),
        "one bit": ({NAME: {**good, "bits": 1}}, "codebooks have"),
        "many bits": ({NAME: {**good, "bits": 10**30}}, "codebooks have"),
        "half bits": ({NAME: {**good, "bits": 4.0}}, "codebooks have"),
        "true bits": ({NAME: {**good, "bits": True}}, "codebooks have"),
        "fewer bits": ({NAME: {**good, "bits": 3}}, "60 codes of 4 bits take 30 bytes"),
        "huge": ({NAME: {**good, "shape": [5, 1 << 60, 2, 3]}}, "bytes, the file holds"),
        "overflowing": ({NAME: {**good, "shape": [1 << 62, 1 << 62]}}, "bytes, the file holds"),
        "empty": ({NAME: {**good, "shape": [5, 0, 2]}}, "no empty one"),
        "a line": ({NAME: {**good, "shape": [60]}}, "2 to 5 axes"),
        "many axes": ({NAME: {**good, "shape": [5, 2, 2, 3, 1, 1]}}, "2 to 5 axes"),
        "negative": ({NAME: {**good, "shape": [-5, -12]}}, "a list of integers"),
        "other outputs": ({NAME: {**good, "shape": [10, 2, 1, 3]}}, "a tail step of"),
        "other shape": ({NAME: {**good, "shape": [5, 12]}}, "does not hold a valid program|weight"),
    }


@pytest.mark.parametrize(("stated", "message"), damages().values(), ids=damages().keys())
def test_a_description_that_fits_no_codes_is_one_format_error(stated: object, message: str) -> None:
    metadata, arrays = stored_of_conv()
    head, data = encode({**metadata, CODES: json.dumps(stated)}, arrays)
    with pytest.raises(FormatError, match=message):
        decode_archive(resummed(head + b"".join(data)), "p")


def stored_of_conv() -> tuple[dict[str, str], NamedArrays]:
    """A file whose convolution alone is coded."""
    program = coded(4)
    return stored(dataclasses.replace(program, metadata={"weight_codes": '{"conv":4}'}))


def test_arrays_that_are_no_codes_are_one_format_error() -> None:
    metadata, arrays = stored_of_conv()
    code, step = f"{CODES}/{NAME}", f"{CODES}/{NAME}.step"
    zero = packed(np.zeros(60, np.int64), 5)
    minus = packed(np.array([-16] + [0] * 59), 5)
    longer, spare = np.append(arrays[code], np.uint8(0)), arrays[code].copy()
    spare[-1] |= 0x80
    for name, value, message in (
        (code, minus, "zero has a single code"),
        (code, longer, "take 38 bytes"),
        (code, arrays[code][:-1], "take 38 bytes"),
        (code, arrays[code].astype(np.int16), "int16"),
        (code, arrays[code].reshape(2, -1), "shape"),
        (code, zero, "a smaller tail step"),
        (code, spare, "behind the last code"),
        (step, np.full(5, 5, np.uint8), "a tail step of"),
        (step, np.zeros(5, np.uint8), "a tail step of"),
        (step, np.ones(4, np.uint8), "a tail step of"),
        (step, arrays[step].astype(np.int64), "a tail step of"),
        (step, np.full(5, 4, np.uint8), "a smaller tail step"),
    ):
        with pytest.raises(FormatError, match=message):
            without_codes(metadata[CODES], {**arrays, name: value}, "p")
    for edited, message in (
        ({key: array for key, array in arrays.items() if key != step}, "missing"),
        ({**arrays, NAME: np.zeros((5, 2, 2, 3), np.int8)}, "holds the array itself"),
    ):
        with pytest.raises(FormatError, match=message):
            without_codes(metadata[CODES], edited, "p")
    head, data = encode({key: value for key, value in metadata.items() if key != CODES}, arrays)
    with pytest.raises(FormatError, match="'nodes/0/weight' is missing"):
        decode_archive(resummed(head + b"".join(data)), "p")


def test_any_bit_flipped_under_a_valid_checksum_is_a_program_or_one_format_error() -> None:
    whole = content()
    rng = np.random.default_rng(0)
    for position in range(len(whole)):
        edited = bytearray(whole)
        edited[position] ^= 1 << int(rng.integers(8))
        with contextlib.suppress(FormatError):
            decode_archive(resummed(bytes(edited)), "flipped")


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_random_damage_under_a_valid_checksum_is_a_program_or_one_format_error(data: st.DataObject) -> None:
    edited = bytearray(content(data.draw(st.sampled_from(BITS))))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(edited) - 1))
        if data.draw(st.booleans()):
            edited[position] = data.draw(st.integers(0, 255))
        else:
            digits = [index for index, byte in enumerate(edited) if chr(byte).isdigit()]
            edited[digits[position % len(digits)]] = ord(data.draw(st.sampled_from("-0123456789.e")))
    with contextlib.suppress(FormatError):
        decode_archive(resummed(bytes(edited)), "fuzzed")
