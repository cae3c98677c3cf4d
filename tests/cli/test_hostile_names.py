"""Names that try to write the verdict: through every verb, on both streams, as text, JSON and HTML."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import oaq as package
from oaq.errors import FormatError, OaqError, ProgramError
from oaq.escape import MOST_OF_A_NAME, escape_lines, escape_message, escape_name, escape_text
from oaq.program.files import save
from oaq.program.int_program import IntProgram
from oaq.program.plain import from_plain, to_plain
from tests.cli.test_doctor import one_conv
from tests.report import small

HOSTILE = "\x1b]0;owned\x07\x1b[2J\nSAFE: all proved\r\u202egnp\u200b\x9b2J\x85\u2028"
FORBIDDEN = {letter for letter in HOSTILE if not letter.isprintable()} - {"\n"}


def renamed(name: str) -> IntProgram:
    """The small program whose every name is hostile."""
    program = small.program(input_layout="NCHW")
    names = {tensor: f"{tensor}{name}" for tensor in program.tensors}
    nodes = tuple(
        dataclasses.replace(
            node,
            name=f"{node.name}{name}",
            inputs=tuple(names[tensor] for tensor in node.inputs),
            output=names[node.output],
        )
        for node in program.nodes
    )
    tensors = {names[key]: dataclasses.replace(spec, name=names[key]) for key, spec in program.tensors.items()}
    ends = {key: tuple(names[tensor] for tensor in getattr(program, key)) for key in ("inputs", "outputs")}
    return dataclasses.replace(program, name=name, tensors=tensors, nodes=nodes, **ends)


@pytest.fixture(scope="module", params=[HOSTILE, "n" * 200_000], ids=["codes", "long"])
def hostile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "net.oaq"
    save(renamed(request.param), path)
    return path


def commands(path: Path, folder: Path) -> dict[str, list[object]]:
    x = folder / "x.npy"
    np.save(x, np.zeros((1, 3, 8, 8), np.float32))
    return {
        "verify": ["verify", path, "--no-onnx"],
        "verify --quick": ["verify", path, "--quick"],
        "doctor": ["doctor", path],
        "report": ["report", path],
        "report --out": ["report", path, "--out", folder / "r.html"],
        "export": ["export", path, "--out", folder / "net.onnx"],
        "run": ["run", path, "--input", x],
        "plan": ["plan", path, "--target", "neon", "--out", folder / "net.plan"],
        "bench": ["bench", path, "--rounds", "1", "--explain"],
        "repair": ["repair", path, "--out", folder / "fixed.onnx"],
        "balance": ["balance", path, "--data", x, "--out", folder / "balanced.onnx"],
        "witness": ["witness", path, "--at", "nothing:0"],
        "doctor --html": ["doctor", path, "--html", folder / "d.html"],
    }


VERBS = (
    "verify",
    "verify --quick",
    "doctor",
    "report",
    "report --out",
    "export",
    "run",
    "plan",
    "bench",
    "repair",
    "balance",
    "witness",
    "doctor --html",
)


@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_shows_a_name_as_it_is(oaq, native, hostile, tmp_path, verb):
    code, out, err = oaq(*commands(hostile, tmp_path)[verb])
    assert code in (0, 1, 2), err
    for shown in (out, err):
        assert not FORBIDDEN & set(shown), repr(sorted(FORBIDDEN & set(shown)))
        assert not any(line.startswith("SAFE") for line in shown.splitlines())
        assert len(shown) < 60_000
    for page in tmp_path.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not FORBIDDEN & set(text)


def test_json_keeps_names_whole_and_in_ascii(oaq, native, hostile):
    for verb in (["verify", hostile, "--quick"], ["doctor", hostile], ["report", hostile]):
        _, out, _ = oaq(*verb, "--json")
        assert out.isascii()
        assert not FORBIDDEN & set(out)
        json.loads(out)


def test_a_lone_surrogate_is_no_name(oaq, tmp_path):
    with pytest.raises(ProgramError, match=r"is not Unicode text \(a lone surrogate at letter 1\)"):
        renamed("a\ud800b")
    header, arrays = to_plain(small.program(input_layout="NCHW"))
    with pytest.raises(FormatError, match="is not Unicode text"):
        from_plain({**header, "name": "a\ud800b"}, arrays)
    code, out, err = oaq("verify", tmp_path / "\udcff.oaq")  # a file name that is not UTF-8
    assert (code, out) == (2, "")
    assert "\\udcff.oaq: cannot be read" in err


def test_an_error_can_be_printed_as_it_is():
    error = ProgramError(f"{HOSTILE}: two lines\nare kept")
    assert not FORBIDDEN & set(str(error))
    assert "two lines\nare kept" in str(error)
    assert len(str(OaqError("n" * 10**6))) < 10_000
    with pytest.raises(OaqError) as caught:
        package.load(f"/nowhere/{HOSTILE}")
    assert not FORBIDDEN & set(str(caught.value))


def test_text_stays_one_line_and_printable_and_of_bounded_length():
    every = "".join(map(chr, range(0x3000))) + "\ud800\udfff\ufeff\U000e0001"
    assert escape_text(every, 10**6).isprintable()
    assert escape_text("größe 名前") == "größe 名前"
    assert len(escape_name("n" * 10**6)) == MOST_OF_A_NAME
    assert escape_lines(["a\nb", "c"]) == "a\\nb\nc"
    assert escape_message("a\r\nb") == "a\\r\nb"


def test_letters_that_an_encoding_lacks_are_shown_by_their_escape(tmp_path: Path) -> None:
    file = one_conv(1)
    next(node for node in file.graph.node if node.op_type == "Conv").name = "\u5c42"
    onnx.save(file, tmp_path / "net.onnx")
    command = [sys.executable, "-m", "oaq.cli", "doctor", "net.onnx", "--registers", "vnni"]
    environ = os.environ | {"PYTHONIOENCODING": "cp1252"}  # what a redirected output has on Windows
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True)
    assert done.returncode == 0 and b"\\u5c42" in done.stdout, done.stderr
