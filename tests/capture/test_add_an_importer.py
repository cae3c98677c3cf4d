"""docs/how-to/add-an-importer.md, followed to the letter with the code that stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import MappingProxyType, ModuleType

import numpy as np
import pytest

import oaq
from oaq import reference
from oaq.capture import model_file
from oaq.cli import main
from oaq.errors import FormatError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "add-an-importer.md").read_text(encoding="utf-8")
FRONT_END, REGISTRATION = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
RNG = np.random.default_rng(7)


@pytest.fixture(autouse=True)
def _followed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("oaq.capture.from_npz")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(FRONT_END, "from_npz.py", "exec"), module.__dict__)
    exec(compile(REGISTRATION, "model_file.py", "exec"), vars(model_file))
    monkeypatch.setattr(
        model_file, "IMPORTERS", MappingProxyType({**model_file.IMPORTERS, ".npz": vars(model_file).pop("_npz")})
    )


def write(path: Path, **changes: object) -> Path:
    arrays = {
        "weight": RNG.integers(-128, 128, (6, 40)).astype(np.int8),
        "bias": RNG.integers(-1000, 1000, 6).astype(np.int32),
        "x_scale": 0.02,
        "x_zero": 3,
        "w_scale": np.full(6, 0.01, np.float32),
        "y_scale": 0.5,
        "y_zero": 128,
    }
    np.savez(path, **{**arrays, **changes})
    return path


def test_the_new_format_is_read_planned_and_run(tmp_path: Path) -> None:
    path = write(tmp_path / "layer.npz")
    program = oaq.import_model(path).program
    x = RNG.integers(0, 256, (5, 40)).astype(np.uint8)
    session = oaq.Session(oaq.plan(program))
    np.testing.assert_array_equal(session.run_integers(x)[0], reference.run(program, x).outputs[0])


def test_the_doctor_takes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(write(tmp_path / "layer.npz"))]) == 1
    assert "linear" in capsys.readouterr().out


@pytest.mark.parametrize(
    "changes", [{"weight": np.zeros(3, np.int8)}, {"bias": np.zeros(2, np.int32)}, {"x_zero": 300}, {"y_scale": -1.0}]
)
def test_arrays_that_do_not_fit_are_refused_with_the_path(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(FormatError, match=r"layer\.npz: not a quantized linear layer: .*; expected arrays: weight"):
        oaq.import_model(write(tmp_path / "layer.npz", **changes))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "layer.npz"
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(FormatError, match=r"layer\.npz"):
        oaq.import_model(path)


def test_steps_name_every_file_of_src_that_an_importer_touches() -> None:
    """Beside front ends, the one for TFLite is known to the files that the page names, and to no others."""
    named = set(re.findall(r"`(src/oaq/[\w/]+\.py)`", PAGE.partition("## A float format")[0]))
    touched = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "src" / "oaq").rglob("*.py")
        if not {"from_tflite", "from_float_tflite"} & {*path.parts}
        and "from_tflite" in path.read_text(encoding="utf-8")
    }
    assert touched == {"src/oaq/capture/model_file.py", "src/oaq/mixed/tflite.py"}
    assert named == touched | {"src/oaq/capture/from_npz.py", "src/oaq/cli/command.py"}
