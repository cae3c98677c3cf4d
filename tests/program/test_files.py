"""``.oaq`` files: what is written is what is read, and nothing else is ever accepted."""

from __future__ import annotations

import json
import resource
import stat
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings

from oaq.errors import FormatError, OaqError
from oaq.operators import OPERATORS
from oaq.operators.fields import stored_fields
from oaq.program import files, plain
from oaq.program.files import Part, decode_archive, load, read, save
from oaq.program.int_program import IntProgram
from oaq.program.plain import fingerprint, from_plain, to_plain
from oaq.program.safetensors import decode, encode
from oaq.reference import run
from tests.strategies import OPERATORS as KINDS
from tests.strategies import Builder, conv2d, programs, programs_with_inputs


def tiny() -> IntProgram:
    builder = Builder("tiny")
    x = builder.input((2, 2, 1))
    builder.add(conv2d(np.random.default_rng(0), (1, 1, 1, 1)), [x], name="conv")
    return builder.finish(source="a test")


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.oaq"
    save(tiny(), path, {"note": Part({"a": [1, 2]}, {"bounds": np.arange(6, dtype=np.int64).reshape(2, 3)})})
    return path


def same(first: IntProgram, second: IntProgram) -> None:
    header, arrays = to_plain(first)
    other_header, other_arrays = to_plain(second)
    assert header == other_header
    assert arrays.keys() == other_arrays.keys()
    for name, array in arrays.items():
        assert array.dtype == other_arrays[name].dtype
        np.testing.assert_array_equal(array, other_arrays[name])


@pytest.mark.parametrize("operator", KINDS)
def test_a_program_of_every_operator_survives_its_file(operator: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("files") / "p.oaq"

    @settings(max_examples=8, deadline=None)
    @given(programs_with_inputs((operator,), max_nodes=2))
    def check(case: tuple[IntProgram, tuple[np.ndarray, ...]]) -> None:
        program, inputs = case
        save(program, path)
        loaded = load(path)
        same(program, loaded)
        assert fingerprint(loaded) == fingerprint(program)
        for first, second in zip(run(program, inputs).outputs, run(loaded, inputs).outputs, strict=True):
            np.testing.assert_array_equal(first, second)

    check()


def test_every_field_of_every_operator_has_a_way_to_be_stored() -> None:
    for rules in OPERATORS.values():
        assert list(stored_fields(rules.value)) == [field.name for field in fields(rules.value)]
    assert set(OPERATORS) == {"Conv2d" if kind == "Depthwise" else kind for kind in KINDS}


def test_parts_come_back_as_they_went(stored: Path) -> None:
    archive = read(stored)
    assert archive.parts["note"].content == {"a": [1, 2]}
    np.testing.assert_array_equal(archive.parts["note"].arrays["bounds"], [[0, 1, 2], [3, 4, 5]])
    assert archive.program.metadata["source"] == "a test"


def test_the_safetensors_package_reads_our_files_and_we_read_its(stored: Path, tmp_path: Path) -> None:
    _, arrays = decode(stored.read_bytes(), "ours")
    theirs = safetensors.numpy.load_file(stored)
    assert theirs.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(theirs[name], array)
    with safetensors.safe_open(stored, framework="numpy") as file:
        assert file.metadata().keys() == {"oaq", "part/note", "sha256"}
    other = tmp_path / "other.safetensors"
    kinds = ("bool", "u1", "i1", "u2", "i2", "u4", "i4", "f4", "u8", "i8", "f8")
    content = {f"a{index}": np.arange(6).reshape(3, 2).astype(kind) for index, kind in enumerate(kinds)}
    content["scalar"] = np.array(3, np.int32)
    content["empty"] = np.zeros((0, 3), np.float32)
    safetensors.numpy.save_file(content, other, {"k": "v"})
    metadata, arrays = decode(other.read_bytes(), "theirs")
    assert metadata == {"k": "v"}
    for name, array in content.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
    with pytest.raises(FormatError, match="is a safetensors file, but holds no oaq program"):
        read(other)


def test_the_same_program_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(tiny(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_cut_off_anywhere_is_one_format_error(stored: Path) -> None:
    content = stored.read_bytes()
    for length in range(len(content)):
        with pytest.raises(FormatError, match="tiny"):
            decode_archive(content[:length], "tiny")
    with pytest.raises(FormatError, match="holds"):
        decode_archive(content + b"\0", "tiny")


def test_a_file_with_any_bit_flipped_is_one_format_error(stored: Path) -> None:
    content = stored.read_bytes()
    rng = np.random.default_rng(1)
    for position in range(len(content)):
        edited = bytearray(content)
        edited[position] ^= 1 << int(rng.integers(8))
        with pytest.raises(FormatError):
            decode_archive(bytes(edited), "tiny")


def edits() -> Iterator[tuple[str, object, str]]:
    """Where in a program's header, what to put there, and what the error says."""
    yield "version", 2, "version 2, this oaq reads 1"
    yield "requantize", "magic", "requantize is one of"
    yield "inputs", [], "at least one input"
    yield "inputs", "t0", "a list expected"
    yield "tensors.0.shape", [-1, 2, 1], "all >= 1"
    yield "tensors.0.shape", [10**12, 10**12, 1], "the limit is"
    yield "tensors.0.shape", [2, 0], "a shape is"
    yield "tensors.0.scale", 0.1, "the scale is a float32"
    yield "tensors.0.scale", "1", "the scale is a float32"
    yield "tensors.0.scale", 1e300, "the scale is a float32"
    yield "tensors.0.scale", -1.0, "positive and finite"
    yield "tensors.0.zero_point", True, "an integer expected"
    yield "tensors.0.zero_point", 300, "outside the effective range"
    yield "tensors.0.range", [0], "two ends"
    yield "tensors.0.range", [5, 3], "holds none"
    yield "tensors.0.range", [-1, 255], "leaves u8"
    yield "tensors.1.name", "t0", "declared twice"
    yield "tensors.0.extra", 1, "exactly the keys"
    yield "nodes.0.op", "Softmax", "unknown kind 'Softmax'"
    yield "nodes.0.op", "Linear", "exactly the keys"
    yield "nodes.0.op", ["Conv2d"], "unknown kind"
    yield "nodes.0.inputs", ["nowhere"], "reads 'nowhere'"
    yield "nodes.0.inputs", [], "takes 1 inputs, got 0"
    yield "nodes.0.output", "t0", "written already"
    yield "nodes.0.stride", [1], "out of range"
    yield "nodes.0.stride", [0, 1], "out of range"
    yield "nodes.0.padding", [2**40, 0, 0, 0], "out of range"
    yield "nodes.0.groups", 0, "groups 0"
    yield "nodes.0.groups", 1.0, "an integer expected"
    yield "metadata.source", 3, "maps names to strings"
    yield "nodes", [], "arrays that no node uses"


@pytest.mark.parametrize(("where", "value", "message"), list(edits()))
def test_an_edited_header_is_one_format_error_that_says_what(where: str, value: object, message: str) -> None:
    header, arrays = to_plain(tiny())
    place = header = json.loads(json.dumps(header))
    *path, last = where.split(".")
    for step in path:
        place = place[int(step) if step.isdigit() else step]
    place[last] = value
    with pytest.raises(FormatError, match=message):
        from_plain(header, arrays)


def test_a_missing_wrong_or_left_over_array_is_one_format_error() -> None:
    header, arrays = to_plain(tiny())
    with pytest.raises(FormatError, match="'nodes/0/weight' is missing"):
        from_plain(header, {name: array for name, array in arrays.items() if name != "nodes/0/weight"})
    with pytest.raises(FormatError, match="no node uses"):
        from_plain(header, {**arrays, "nodes/7/weight": arrays["nodes/0/weight"]})
    for wrong in (
        arrays["nodes/0/weight"].astype(np.int16),
        arrays["nodes/0/weight"][0],
        np.full((1, 1, 1, 1), 256, np.int16),
        np.full((1, 1, 1, 1), 200, np.int32),
    ):
        with pytest.raises(FormatError, match="weight"):
            from_plain(header, {**arrays, "nodes/0/weight": wrong})
    with pytest.raises(FormatError, match="multiplier"):
        from_plain(header, {**arrays, "nodes/0/requantize.multiplier": np.array([np.nan], np.float32)})


def raw(header: object | bytes, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


HOSTILE = {
    "empty": b"",
    "huge header": (1 << 63).to_bytes(8, "little") + b"{}",
    "not JSON": raw(b"\xff\xfe"),
    "deep": raw(b'{"a":' * 100_000),
    "deep list": raw(b"[" * 1_000_000),
    "a list": raw([1]),
    "long integer": raw(b'{"a":{"dtype":"U8","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,0]}}'),
    "NaN": raw(b'{"a":NaN}'),
    "twice": raw(b'{"a":1,"a":2}'),
    "huge array": raw({"a": {"dtype": "U8", "shape": [1 << 60], "data_offsets": [0, 1 << 60]}}),
    "overflowing product": raw({"a": {"dtype": "U8", "shape": [1 << 32, 1 << 32], "data_offsets": [0, 0]}}),
    "huge empty": raw({"a": {"dtype": "U8", "shape": [0, 1 << 62], "data_offsets": [0, 0]}}),
    "empty and large": raw({"a": {"dtype": "U8", "shape": [0, 1 << 40, 1 << 40], "data_offsets": [0, 0]}}),
    "negative": raw({"a": {"dtype": "U8", "shape": [-1], "data_offsets": [0, 1]}}, b"x"),
    "fraction": raw({"a": {"dtype": "U8", "shape": [1.0], "data_offsets": [0, 1]}}, b"x"),
    "unknown dtype": raw({"a": {"dtype": "F8", "shape": [1], "data_offsets": [0, 1]}}, b"x"),
    "dtype list": raw({"a": {"dtype": ["U8"], "shape": [1], "data_offsets": [0, 1]}}, b"x"),
    "wrong size": raw({"a": {"dtype": "I32", "shape": [1], "data_offsets": [0, 1]}}, b"x"),
    "backwards": raw({"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 0]}}, b"x"),
    "three offsets": raw({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1, 1]}}, b"x"),
    "overlap": raw({n: {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]} for n in "ab"}, b"x"),
    "hole": raw({"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}}, b"xy"),
    "left over": raw({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, b"xy"),
    "no shape": raw({"a": {"dtype": "U8", "data_offsets": [0, 1]}}, b"x"),
    "many axes": raw({"a": {"dtype": "U8", "shape": [1] * 100, "data_offsets": [0, 1]}}, b"x"),
    "metadata of numbers": raw({"__metadata__": {"a": 1}}),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_container_is_one_format_error(content: bytes) -> None:
    with pytest.raises(FormatError, match="hostile"):
        decode(content, "hostile")


@settings(max_examples=60, deadline=None)
@given(programs(max_nodes=2), programs(max_nodes=1))
def test_a_well_summed_file_of_shuffled_content_never_escapes_as_another_error(
    program: IntProgram, other: IntProgram
) -> None:
    header, arrays = to_plain(program)
    other_header, other_arrays = to_plain(other)
    for mixed_header, mixed_arrays in ((header, other_arrays), (other_header, arrays)):
        try:
            from_plain(mixed_header, mixed_arrays)
        except OaqError as error:
            assert isinstance(error, FormatError)


def test_metadata_of_another_kind_is_refused(tmp_path: Path) -> None:
    save(tiny(), tmp_path / "p", {"a": Part(1)})
    metadata, arrays = decode((tmp_path / "p").read_bytes(), "p")
    head, data = encode({**metadata, "surprise": "1"}, arrays)
    with pytest.raises(FormatError, match="checksum"):
        decode_archive(head + b"".join(data), "p")
    with pytest.raises(FormatError, match="a part's name"):
        save(tiny(), tmp_path / "q", {"a/b": Part(1)})
    with pytest.raises(FormatError, match="cannot be stored as JSON"):
        save(tiny(), tmp_path / "q", {"a": Part(float("nan"))})
    with pytest.raises(FormatError, match="safetensors has no complex128"):
        save(tiny(), tmp_path / "q", {"a": Part(1, {"z": np.zeros(1, complex)})})
    assert not (tmp_path / "q").exists()


def test_fingerprint_sees_weights_and_ranges_but_not_the_free_text() -> None:
    program = tiny()
    header, arrays = to_plain(program)
    assert fingerprint(from_plain({**header, "metadata": {}}, arrays)) == fingerprint(program)
    weight = arrays["nodes/0/weight"].copy()
    weight.flat[0] ^= 1
    assert fingerprint(from_plain(header, {**arrays, "nodes/0/weight": weight})) != fingerprint(program)


def test_a_missing_file_is_one_format_error(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"none\.oaq: cannot be read: No such file"):
        load(tmp_path / "none.oaq")
    with pytest.raises(FormatError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_a_folder_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    for bad in (tmp_path / "missing" / "p.oaq", Path("/proc/oaq-test.oaq"), tmp_path):
        with pytest.raises(FormatError, match=r"cannot be written: .* Nothing was changed"):
            save(tiny(), bad)
    assert list(tmp_path.iterdir()) == []
    assert not list(tmp_path.parent.glob(".*.tmp"))


def test_a_full_disk_leaves_the_old_file_and_nothing_else(stored: Path) -> None:
    before = stored.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(FormatError, match="cannot be written: File too large"):
            save(tiny(), stored)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert stored.read_bytes() == before
    assert list(stored.parent.iterdir()) == [stored]


def test_a_rename_that_fails_leaves_the_old_file_and_nothing_else(
    stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stored.read_bytes()

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(FormatError, match="Read-only file system"):
        save(tiny(), stored)
    assert stored.read_bytes() == before
    assert list(stored.parent.iterdir()) == [stored]


def test_a_new_file_has_the_permissions_of_any_new_file(stored: Path, tmp_path: Path) -> None:
    plain_file = tmp_path / "plain"
    plain_file.touch()
    assert stat.S_IMODE(stored.stat().st_mode) == stat.S_IMODE(plain_file.stat().st_mode)


def test_versions_are_declared() -> None:
    assert plain.VERSION == 1
    assert files.PROGRAM == "oaq"
