"""Where exceptions of others arise (operating system, JSON, Unicode, numpy, protobuf, flatbuffers, zip, pictures, the
stack), one file for each kind and edge, through every verb that reads it: one line, exit code 2."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import oaq
from oaq.errors import OaqError
from oaq.export import onnx as to_onnx
from oaq.program.files import NO_CHECKSUM
from tests.report import small

VERBS: dict[str, tuple[str, ...]] = {
    "verify": (),
    "doctor": (),
    "run": ("--input", "x.npy"),
    "bench": (),
    "report": ("--out", "page.html"),
    "witness": ("--at", "stem:0"),
    "export": ("--out", "out.onnx"),
    "repair": ("--isa", "avx2-acc32", "--out", "out.onnx"),
    "balance": ("--data", "x.npy", "--out", "out.onnx"),
    "quantize": ("--calibrate", "photos", "--out", "out.oaq"),
    "robust": ("--input", "x.npy", "--radius", "1"),
    "tune": ("--out", "out.oaq"),
    "plan": ("--target", "neon", "--out", "net.plan"),
}
DEEP = 100_000


def header(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def program_of(text: str) -> bytes:
    """A file whose program is ``text``; its checksum is wrong, which is found after the text is read, if at all."""
    return header(json.dumps({"__metadata__": {"oaq": text, "sha256": NO_CHECKSUM}}).encode())


def array_of(entry: object, data: bytes = b"") -> bytes:
    return header(json.dumps({"__metadata__": {"oaq": "{}", "sha256": NO_CHECKSUM}, "a": entry}).encode()) + data


def field(number: int, content: bytes) -> bytes:
    """A message in a protobuf, which its classes would not write so deep."""
    size, length = len(content), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def nested_graph(depth: int) -> bytes:
    """An ONNX model whose only node holds a graph whose only node holds a graph ..."""
    graph = b""
    for _ in range(depth):
        attribute = field(1, b"then_branch") + field(6, graph) + b"\xa0\x01\x05"
        graph = field(1, field(2, b"y") + field(4, b"If") + field(5, attribute)) + field(2, b"g")
    return b"\x08\x08" + field(7, graph) + field(8, b"\x10\x11")


def onnx_with(change: Callable[[onnx.ModelProto], None]) -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])
    weight = numpy_helper.from_array(np.ones((3, 2), np.float32), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"], "product")], "g", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    change(model)
    return model.SerializeToString()


def short_weight(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].raw_data = b"123"


def huge_weight(model: onnx.ModelProto) -> None:
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([1 << 62, 1 << 62])


def weight_of_no_type(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_type = 99


def weight_elsewhere(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="no such file")


def weight_at_no_place(model: onnx.ModelProto) -> None:
    weight_elsewhere(model)
    model.graph.initializer[0].external_data.add(key="offset", value="1e99")


def flat(root: int, *words: int) -> bytes:
    return struct.pack("<I4s", root, b"TFL3") + b"".join(struct.pack("<i", word) for word in words)


MODELS: dict[str, tuple[str, bytes]] = {
    "struct: three bytes": ("m.oaq", b"123"),
    "struct: a header longer than any file": ("m.oaq", struct.pack("<Q", (1 << 63) + 5) + b"{}"),
    "unicode: a header that is no UTF-8": ("m.oaq", header(b'{"__metadata__": {"oaq": "\xff\xfe"}}')),
    "unicode: half of a pair": ("m.oaq", program_of('{"version": 1, "name": "\\ud800"}')),
    "json: no JSON": ("m.oaq", header(b"{oaq}")),
    "json: another type": ("m.oaq", header(b"[1, 2]")),
    "json: a program of another type": ("m.oaq", program_of("[]")),
    "json: a number of 5000 digits": ("m.oaq", program_of('{"version": ' + "9" * 5000 + "}")),
    "json: infinity and NaN": ("m.oaq", program_of('{"version": Infinity, "name": NaN}')),
    "recursion: lists in lists, in the header": ("m.oaq", header(b"[" * DEEP)),
    "recursion: lists in lists, in the program": ("m.oaq", program_of("[" * DEEP + "]" * DEEP)),
    "numpy: no such type": ("m.oaq", array_of({"dtype": "Q77", "shape": [1], "data_offsets": [0, 1]}, b"1")),
    "numpy: a shape of 2^124": (
        "m.oaq",
        array_of({"dtype": "I8", "shape": [1 << 62, 1 << 62], "data_offsets": [0, 1]}, b"1"),
    ),
    "numpy: a negative size": ("m.oaq", array_of({"dtype": "I8", "shape": [-1], "data_offsets": [0, 1]}, b"1")),
    "numpy: data that ends before it begins": (
        "m.oaq",
        array_of({"dtype": "I8", "shape": [1], "data_offsets": [1, 0]}, b"1"),
    ),
    "protobuf: no protobuf": ("m.onnx", b"\xff" * 64),
    "protobuf: nothing": ("m.onnx", b""),
    "protobuf: cut": ("m.onnx", onnx_with(lambda _: None)[:-20]),
    "protobuf: a text that is no UTF-8": ("m.onnx", onnx_with(lambda _: None).replace(b"product", b"pro\xffuct")),
    "recursion: graphs in graphs": ("m.onnx", nested_graph(30)),
    "recursion: more graphs in graphs than protobuf takes": ("m.onnx", nested_graph(60)),
    "numpy: a tensor shorter than its shape": ("m.onnx", onnx_with(short_weight)),
    "numpy: a tensor of 2^124": ("m.onnx", onnx_with(huge_weight)),
    "numpy: a tensor of no type": ("m.onnx", onnx_with(weight_of_no_type)),
    "os: weights in a file that is not there": ("m.onnx", onnx_with(weight_elsewhere)),
    "int: weights at no place of a file": ("m.onnx", onnx_with(weight_at_no_place)),
    "flatbuffers: nothing": ("m.tflite", b""),
    "flatbuffers: a root behind the end": ("m.tflite", flat(1 << 31, 0)),
    "flatbuffers: a table of itself": ("m.tflite", flat(8, 0, 0, 0)),
    "flatbuffers: a table that lies before the file": ("m.tflite", flat(12, 0, 1 << 30, 0)),
    "flatbuffers: a vector of 2^31": ("m.tflite", flat(16, 8 | 4 << 16, 4, 8, 4, 0x7FFFFFFF)),
}


def judged(verb: str, outcome: tuple[int, str, str]) -> None:
    code, out, err = outcome
    assert (code, out) == (2, ""), (verb, outcome)
    assert err.startswith("oaq: "), (verb, err)
    assert err.isprintable() or err.replace("\n", "").isprintable()
    assert len(err) < 4000


@pytest.mark.parametrize("kind", MODELS)
def test_a_broken_model_ends_every_verb_with_one_error(oaq, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    name, content = MODELS[kind]
    path = tmp_path / name
    path.write_bytes(content)
    (tmp_path / "photos").mkdir()
    np.save(tmp_path / "x.npy", np.zeros((1, 3), np.float32))
    for verb, more in VERBS.items():
        judged(verb, oaq(verb, path, *more))
    assert not list(tmp_path.glob("out.*"))


@pytest.mark.parametrize("kind", MODELS)
def test_a_broken_model_ends_every_function_with_one_error(tmp_path, kind):
    name, content = MODELS[kind]
    path = tmp_path / name
    path.write_bytes(content)
    for call in (oaq.load, oaq.import_model, oaq.verify_file):
        with pytest.raises(OaqError):
            call(path)


@pytest.mark.parametrize("suffix", [".oaq", ".onnx", ".tflite"])
def test_what_is_no_file_ends_every_verb_with_one_error(oaq, tmp_path, monkeypatch, suffix):
    """OSError of every kind: not there, a folder, a link to itself, a name too long, a name that cannot be."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"folder{suffix}").mkdir()
    loop = tmp_path / f"loop{suffix}"
    loop.symlink_to(loop)
    names = (
        f"missing{suffix}",
        f"folder{suffix}",
        f"loop{suffix}",
        "n" * 300 + suffix,
        f"nul\0{suffix}",
        f"a/b{suffix}",
    )
    for verb, more in VERBS.items():
        for name in names:
            judged(verb, oaq(verb, name, *more))


def npy(text: str, data: bytes = b"") -> bytes:
    head = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


def zipped(content: bytes) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content)
    return whole.getvalue()


def objects() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], object), allow_pickle=True)
    return file.getvalue()


ARRAY = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 8, 8)}", bytes(768))
INPUTS: dict[str, tuple[str, bytes]] = {
    "pickle: objects": ("x.npy", objects()),
    "eof: nothing": ("x.npy", b""),
    "eof: cut": ("x.npy", ARRAY[:-100]),
    "struct: a cut header": ("x.npy", ARRAY[:9]),
    "ast: a header that is no literal": ("x.npy", npy("{'descr': open('x')}")),
    "tokenize: a header of brackets": ("x.npy", npy("(" * 500)),
    "numpy: no such type": ("x.npy", npy("{'descr': 'Q9', 'fortran_order': False, 'shape': (1,)}")),
    "memory: a shape of 2^62": ("x.npy", npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({1 << 60},)}}")),
    "unicode: text": ("x.npy", b"\xff\xfe no array"),
    "zip: no archive": ("x.npz", b"PK\x03\x04 no archive"),
    "zip: cut": ("x.npz", zipped(ARRAY)[:-30]),
    "zip: a wrong checksum": ("x.npz", zipped(ARRAY).replace(b"x.npy", b"y.npy", 1)),
    "zip: objects": ("x.npz", zipped(objects())),
    "pictures: no picture": ("x.png", b"\x89PNG no picture"),
    "pictures: cut": ("x.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(20)),
    "pictures: a picture of 2^62 pixels": (
        "x.bmp",
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0),
    ),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_a_broken_input_ends_every_verb_with_one_error(oaq, sealed, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    name, content = INPUTS[kind]
    data = tmp_path / "data"
    data.mkdir()
    (data / name).write_bytes(content)
    for verb, more in {
        "run": ("--input", data / name),
        "robust": ("--input", data / name, "--radius", "1"),
        "doctor": ("--data", data),
        "tune": ("--data", data, "--out", "out.oaq"),
    }.items():
        judged(verb, oaq(verb, sealed, *more))


WRITERS: dict[str, tuple[str, ...]] = {
    "report": (),
    "export": (),
    "witness": ("--at", "stem:0"),
}


@pytest.mark.parametrize("verb", WRITERS)
def test_a_place_that_cannot_be_written_ends_every_writer_with_one_error(oaq, sealed, tmp_path, verb):
    """OSError of every kind while an output is made: no folder, a folder, a file as folder, names that cannot be."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    for place in ("no/out", "folder", "file/out", "n" * 300, "nul\0"):
        code, _, err = oaq(verb, sealed, *WRITERS[verb], "--out", tmp_path / place)
        assert code == 2, (place, err)
        assert err.startswith("oaq: "), (place, err)
    assert not list((tmp_path / "folder").iterdir())


def test_functions_that_write_end_with_one_error(tmp_path):
    program = small.program()
    for place in (tmp_path / "no" / "out", tmp_path, tmp_path / ("n" * 300), str(tmp_path / "nul\0")):
        for write in (oaq.save, to_onnx):
            with pytest.raises(OaqError):
                write(program, place)


@pytest.mark.parametrize("value", ["", "nul", "/no/such/file", "[" * DEEP, "{}", "[]", "1e999", "\ud800"])
def test_a_table_of_costs_that_is_none_ends_every_verb_with_one_error(oaq, sealed, tmp_path, monkeypatch, value):
    path = tmp_path / "costs.json"
    path.write_bytes(value.encode("utf-8", "surrogatepass"))
    monkeypatch.setenv("OAQ_COSTS", value if value.startswith("/") else str(path))
    judged("verify", oaq("verify", sealed))
    judged("info", oaq("info"))


@pytest.mark.parametrize("value", ["[" * DEEP, "{}", "[]", '{"timings": 1}', "\ud800", '{"stamp": [1]}'])
def test_a_record_of_times_that_is_none_is_one_error(oaq, sealed, tmp_path, monkeypatch, value):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "record.json").write_bytes(value.encode("utf-8", "surrogatepass"))
    judged("tune", oaq("tune", sealed, "--record", "record.json", "--out", "out.oaq"))
