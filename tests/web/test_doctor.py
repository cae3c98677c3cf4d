"""The doctor in the page says what the doctor on the command line says: in Node, and in headless Chromium."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.web import node as engine
from benchmarks.web.build import PACKAGE
from benchmarks.web.node import NoNode, run_script
from benchmarks.web.python import write_python
from oaq.cli import main
from oaq.cli.model_file import open_diagnosed
from oaq.doctor import diagnose
from oaq.doctor.registers import REGISTERS
from oaq.numerics.affine import Affine
from oaq.operators import Conv2d
from oaq.program.files import save
from oaq.program.int_program import IntProgram
from oaq.report.doctor import headlines
from oaq.seal.parts import sealed_parts
from recipes.data.packages import FetchError
from tests.capture.from_onnx.files import node
from tests.capture.from_onnx.test_functions import network
from tests.capture.from_onnx.test_inline import BRANCHES
from tests.strategies import Builder, conv2d
from tests.web.machine import NOT_RUN, require_chromium
from tests.web.test_package import classifier

pytestmark = pytest.mark.xdist_group("web")
SCRIPT = Path(__file__).with_name("run_doctor.mjs")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with nothing but its doctor."""
    try:
        engine.node()
        path = tmp_path_factory.mktemp("site")
        for name in ("src", "demo"):
            shutil.copytree(PACKAGE / name, path / name)
        write_python(path / "demo" / "python")
    except (NoNode, FetchError) as error:
        pytest.skip(f"{NOT_RUN}: the doctor in a page: {error}")
    (path / "demo" / "demo.json").write_text(json.dumps({"networks": [], "samples": [], "models": []}))
    return path


def test_every_kind_of_register_has_words_for_who_has_it() -> None:
    titles = (PACKAGE / "demo" / "doctor" / "doctor.js").read_text().partition("const CPUS = {")[2].partition("};")[0]
    assert re.findall(r'^  "?([\w-]+)"?: "\S', titles, re.M) == [model.name for model in REGISTERS]


def extreme() -> IntProgram:
    """Weights at their ends, an accumulator near 32 bits, and a layer named by markup that sums of 32 bits wrap."""
    builder = Builder("extreme")
    x = builder.input((6, 6, 16))
    ends = np.where(np.arange(8 * 3 * 3 * 16) % 3, 127, -128).astype(np.int8).reshape(8, 3, 3, 16)
    op = conv2d(np.random.default_rng(3), (8, 3, 3, 16), padding=(1, 1, 1, 1))
    assert isinstance(op, Conv2d)
    op = replace(op, weight=ends, bias=np.full(8, 2**31 - 1 - 255 * 128 * 144, np.int32))
    x = builder.add(op, [x], Affine(0.5, 3), name="ends")
    builder.add(
        conv2d(np.random.default_rng(4), (5, 6, 6, 8)), [x], Affine(0.5, 128), name="<img src=x onerror=console.log(1)>"
    )
    return builder.finish()


def wide() -> IntProgram:
    """A layer of more outputs than a function of JavaScript takes arguments."""
    builder = Builder("outputs")
    op = conv2d(np.random.default_rng(5), (140_000, 1, 1, 2))
    builder.add(op, [builder.input((1, 1, 2))], Affine(0.5, 128), name="outputs")
    return builder.finish()


def small_onnx(path: Path) -> None:
    path.write_bytes(network([node("HardSwish", ["r"], "f")]).SerializeToString())


def a_float_network(path: Path) -> None:
    path.write_bytes(onnx.parser.parse_model(BRANCHES).SerializeToString())


def sealed(program: Callable[[], IntProgram]) -> Callable[[Path], None]:
    return lambda path: save(program(), path, sealed_parts(program()))


FILES: dict[str, Callable[[Path], object]] = {
    "small.onnx": small_onnx,
    "small.oaq": sealed(classifier),
    "extreme.oaq": sealed(extreme),
    "float.onnx": a_float_network,
    "noise.onnx": lambda path: path.write_bytes(bytes(range(256)) * 8),
    "photo.onnx": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 64),
    "empty.onnx": lambda path: path.write_bytes(b""),
    "noise.tflite": lambda path: path.write_bytes(b"TFL3" * 64),
    "noise.oaq": lambda path: path.write_bytes(b"{}"),
    "words.txt": lambda path: path.write_bytes(b"a network"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    for name, write in FILES.items():
        write(folder / name)
    return [folder / name for name in FILES]


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that uses up an engine's stack, and with it the interpreter."""
    path, header = tmp_path_factory.mktemp("deep") / "deep.oaq", b'{"a":' * 200_000
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return path


def said_here(path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """What ``oaq doctor --json`` prints here, or its error."""
    code = main(["doctor", str(path), "--json"])
    out, error = capsys.readouterr()
    if code == 2:
        return {"error": error.removeprefix("oaq: ").strip().replace(str(path), path.name)}
    document = json.loads(out)
    del document["file"]
    return document


def test_every_number_is_that_of_the_command_line(
    site: Path, files: list[Path], deep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = json.loads(run_script([SCRIPT, site, deep, *files]))["answers"]
    assert "deep.oaq: takes more memory than a page has here" in answers[str(deep)]["error"]
    for path in files:
        answer, expected = answers[str(path)], said_here(path, capsys)
        if "error" in expected:
            assert answer == expected
            continue
        assert answer["diagnosis"] == expected
        model = open_diagnosed(path)
        diagnosis = diagnose(
            model.opened.program, (), unsigned=model.unsigned, islands=model.islands, notes=model.imported.notes
        )
        assert answer["words"] == headlines(diagnosis, path.name)
        assert answer["page"].startswith("<!doctype html>")


def test_the_page_shows_the_verdict_and_fetches_nothing_for_a_file(
    site: Path, files: list[Path], deep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chromium = require_chromium("the page's doctor")
    save(wide(), tmp_path / "wide.oaq")
    result = json.loads(run_script([SCRIPT, site, *files, deep, tmp_path / "wide.oaq", "--", chromium]))
    assert result["said"] == []
    assert result["unreadable"] == f"{files[0].name}: cannot be read: it is gone"
    assert "takes more memory than a page has here" in result["shown"][str(deep)]["status"]
    assert result["shown"][str(tmp_path / "wide.oaq")]["layers"] == ["outputs"]
    for path in files:
        shown, expected = result["shown"][str(path)], said_here(path, capsys)
        assert shown["wide"] <= 0
        if "error" in expected:
            assert (shown["status"], shown["verdict"]) == (expected["error"], False)
            continue
        assert shown["title"].startswith(f"{path.name}: {'safe' if expected['safe'] else 'some input'}")
        assert shown["unsafe"] == [register["name"] for register in expected["registers"] if not register["safe"]]
        assert shown["layers"] == [layer["node"] for layer in expected["layers"]]
        assert shown["words"][0].startswith(expected["program"])
