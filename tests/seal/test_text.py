"""Parts as one text: what goes in comes out, what has been touched does not."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from oaq.errors import FormatError
from oaq.program.files import Part
from oaq.program.safetensors import DTYPES
from oaq.seal.text import BLANK, from_text, to_text

MODEL = "ab" * 32
PARTS = {"one": Part({"x": [1, None]}, {"a": np.arange(6, dtype=np.int64).reshape(2, 3), "b": np.zeros((0, 2))})}


@given(
    st.sampled_from(sorted(DTYPES)).flatmap(lambda name: arrays.arrays(DTYPES[name], arrays.array_shapes(min_side=0)))
)
def test_every_array_survives(value: np.ndarray) -> None:
    model, parts = from_text(to_text({"p": Part(["ü", 0.1], {"k": value})}, MODEL), "t")
    assert model == MODEL
    assert parts["p"].content == ["ü", 0.1]
    found = parts["p"].arrays["k"]
    assert (found.dtype, found.shape, found.tobytes()) == (value.dtype.newbyteorder("<"), value.shape, value.tobytes())


def test_big_endian_arrays_are_stored_little_endian() -> None:
    _, parts = from_text(to_text({"p": Part(0, {"k": np.array([1, 2], ">i4")})}, MODEL), "t")
    assert parts["p"].arrays["k"].tolist() == [1, 2]


def test_every_single_character_counts() -> None:
    text = to_text(PARTS, MODEL)
    for at in range(len(text)):
        edited = text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]
        with pytest.raises(FormatError, match="t: "):
            from_text(edited, "t")


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"version": 3}', "{" * 100_000])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(FormatError, match="t: "):
        from_text(text, "t")


def rehashed(edit: Callable[[dict[str, Any]], None]) -> str:
    """The text after an edit of its document, with a checksum that fits."""
    import hashlib

    document = json.loads(to_text(PARTS, MODEL))
    document["sha256"] = BLANK
    edit(document)
    text = json.dumps(document, separators=(",", ":"))
    return text.replace(BLANK, hashlib.sha256(text.encode()).hexdigest(), 1)


def packed(data: bytes, dtype: str, shape: list[int]) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data": base64.b64encode(zlib.compress(data)).decode()}


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (packed(b"1234", "I32", [2]), "takes 8 bytes, not these"),
        (packed(b"12345678", "I32", [1]), "takes 4 bytes, not these"),
        (packed(bytes(1 << 20), "U8", [1]), "takes 1 bytes, not these"),
        (packed(b"1", "U8", [1 << 40]), "take more than"),
        (packed(b"", "U8", [0, 1 << 40, 1 << 40]), "no array has the shape"),
        (packed(b"1", "U8", [-1]), "integers in"),
        (packed(b"1", "F16", [1]), "is not an array"),
        ({"dtype": "U8", "shape": [1], "data": "!!"}, "bytes are damaged"),
        ({"dtype": "U8", "shape": [1], "data": base64.b64encode(b"no").decode()}, "bytes are damaged"),
        ({"dtype": "U8", "shape": [1]}, "needs exactly dtype, shape and data"),
        (None, "needs exactly dtype, shape and data"),
    ],
)
def test_a_hostile_array_is_refused_before_it_takes_memory(array: object, message: str) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["parts"]["one"]["arrays"]["a"] = array

    with pytest.raises(FormatError, match=message):
        from_text(rehashed(edit), "t")


def test_arrays_share_one_limit() -> None:
    def edit(document: dict[str, Any]) -> None:
        document["parts"]["one"]["arrays"] = {str(n): packed(b"", "U8", [1 << 29]) for n in range(3)}

    with pytest.raises(FormatError, match=r"bytes|more than"):
        from_text(rehashed(edit), "t")


@pytest.mark.parametrize("parts", [[], {"one": 1}, {"one": {"content": 1}}, {"one": {"content": 1, "arrays": []}}])
def test_parts_have_one_form(parts: object) -> None:
    with pytest.raises(FormatError, match="needs exactly"):
        from_text(rehashed(lambda document: document.update(parts=parts)), "t")


def test_what_cannot_be_stored_is_refused() -> None:
    with pytest.raises(FormatError, match="complex128 cannot be stored"):
        to_text({"p": Part(0, {"k": np.zeros(1, complex)})}, MODEL)
    with pytest.raises(FormatError, match="cannot be stored as JSON"):
        to_text({"p": Part(float("nan"))}, MODEL)
