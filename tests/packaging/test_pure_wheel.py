"""The wheel without native code: NumPy beside it, and every verb works or says what it needs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest

import oaq
from oaq.kernels.table import native_rows
from oaq.seal import model_signature
from tests.cli.test_doctor import one_conv
from tests.packaging.environments import clean_environ, new_environment, sources
from tests.report import small


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of sources alone, without a network."""
    folder = tmp_path_factory.mktemp("pure")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    options = ["--config-settings=wheel.cmake=false", "--wheel-dir", folder / "dist", sources(folder / "oaq")]
    subprocess.run([*command, *options], check=True, env=clean_environ())
    (path,) = (folder / "dist").iterdir()
    return path


@pytest.fixture(scope="module")
def python(wheel: Path) -> Path:
    """Of an environment that holds NumPy and the wheel."""
    python = new_environment(wheel.parents[1] / "environment", ["numpy"])
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel]
    subprocess.run(command, check=True, env=clean_environ())
    return python


@pytest.fixture(scope="module")
def network(wheel: Path) -> Path:
    path = wheel.parents[1] / "small.oaq"
    assert native_rows()
    oaq.save(small.program(), path)  # with schedules of every row, which the checker proves again
    return path


def call(python: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [python.with_name("oaq"), *map(str, arguments)]
    return subprocess.run(command, env=clean_environ(), cwd=python.parent, capture_output=True, text=True)


def test_it_is_for_every_system_and_holds_no_native_code(wheel: Path) -> None:
    assert wheel.name == f"oaq-{oaq.__version__}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    assert "oaq/py.typed" in names and any(name.endswith("style.css") for name in names)
    assert not [name for name in names if name.endswith((".so", ".cc", ".h"))]
    (metadata,) = [name for name in names if name.endswith("METADATA")]
    assert "Requires-Python: >=3.11" in zipfile.ZipFile(wheel).read(metadata).decode()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--version",),
        ("info",),
        ("doctor", "NETWORK", "--registers", "vnni", "--sarif", "out.sarif"),
        ("verify", "NETWORK", "--quick"),
        ("witness", "NETWORK", "--at", "stem:0", "--registers", "avx2-acc16"),
        ("completion", "bash"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_needs_no_kernel_works(python: Path, network: Path, arguments: tuple[str, ...]) -> None:
    done = call(python, *(network if word == "NETWORK" else word for word in arguments))
    assert done.returncode == 0, done.stderr


def test_a_system_without_the_calls_of_posix_will_do(python: Path, network: Path) -> None:
    missing = ["uname", "sysconf", "sched_getaffinity", "sched_setaffinity", "fchmod", "getuid", "geteuid", "fork"]
    code = (
        f"import numpy, os, platform, sys; platform.node()\nfor name in {missing}: delattr(os, name)\n"
        "sys.modules.update(dict.fromkeys(('fcntl', 'resource', 'pwd', 'grp', 'termios')))\n"
        "from oaq.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    page = python.parent / "doctor.html"
    verb = ["doctor", network, "--registers", "vnni", "--html", page, "--sarif", python.parent / "doctor.sarif"]
    done = subprocess.run([python, "-c", code, *verb], env=clean_environ(), capture_output=True, text=True)
    assert done.returncode == 0 and page.exists(), done.stderr


@pytest.mark.parametrize("arguments", [("run", "--input", "x.npy"), ("bench",), ("report", "--out", "page.html")])
def test_what_needs_one_says_so_in_a_sentence(python: Path, network: Path, arguments: tuple[str, ...]) -> None:
    spec = small.program().tensors[small.program().inputs[0]]
    np.save(python.parent / "x.npy", np.zeros((1, *spec.shape), np.float32))
    done = call(python, arguments[0], network, *arguments[1:])
    assert done.returncode == 2
    assert done.stderr == (
        "oaq: this needs the native module, and this oaq was installed without it. In a clone of oaq: pip install . "
        "(compiles some minutes of C++), or make build\n"
    )


def test_a_file_of_another_tool_says_which_package_reads_it(python: Path) -> None:
    onnx.save(one_conv(), python.parent / "model.onnx")
    done = call(python, "doctor", "model.onnx")
    assert done.returncode == 2 and "pip install onnx" in done.stderr and len(done.stderr.splitlines()) == 1


def test_programs_are_proved_and_run_by_the_reference(python: Path, network: Path) -> None:
    code = (
        "import numpy, oaq, sys; from oaq.seal import model_signature; program = oaq.load(sys.argv[1]);"
        "print(oaq.analyze(program).program is program, model_signature(program)); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([python, "-c", code, network], env=clean_environ(), capture_output=True, text=True)
    assert done.stdout.split()[1] == model_signature(small.program()), done.stderr
