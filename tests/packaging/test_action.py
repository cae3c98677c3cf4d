"""``action.yml``: its steps, run as a host of code would run them."""

from __future__ import annotations

import json
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml

from tests.cli.test_doctor import one_conv
from tests.packaging.environments import ROOT, clean_environ, new_environment, sources

ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
EXPRESSION = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")


class Host:
    """Runs the steps with given inputs and keeps their outputs."""

    def __init__(self, folder: Path, action: Path) -> None:
        self.folder = folder
        self.values = {"github.action_path": str(action), "runner.temp": str(folder / "temp")}
        (folder / "temp").mkdir(exist_ok=True)

    def run(self, step: dict[str, Any], **inputs: str) -> subprocess.CompletedProcess[str]:
        defaults = {name: entry.get("default", "") for name, entry in ACTION["inputs"].items()}
        assert set(inputs) <= set(defaults)
        values = {**self.values, **{f"inputs.{name}": value for name, value in (defaults | inputs).items()}}
        environ = {name: EXPRESSION.sub(lambda m: values[m[1]], text) for name, text in step["env"].items()}
        assert "${{" not in step["run"], "what others write reaches a script through variables only"
        output = self.folder / "output"
        output.write_text("")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.folder,
            env=clean_environ(GITHUB_OUTPUT=str(output), PIP_NO_DEPS="1", **environ),
            capture_output=True,
            text=True,
        )
        for line in output.read_text().splitlines():
            name, _, value = line.partition("=")
            self.values[f"steps.{step['id']}.outputs.{name}"] = value
        return done


INSTALL, DOCTOR = ACTION["runs"]["steps"]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """With the oaq of this environment in place of an installed one."""
    place = Host(tmp_path, ROOT)
    place.values["steps.install.outputs.oaq"] = f"{sysconfig.get_path('scripts')}/oaq"
    return place


def save(path: Path, weight: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(one_conv(weight), path)


def test_a_model_that_can_overflow_fails_the_build(host: Host) -> None:
    save(host.folder / "models" / "bad one.onnx", 127)
    save(host.folder / "models" / "good.onnx", 1)
    done = host.run(DOCTOR, models="models/*.onnx\n", registers="avx2-acc32\nvnni\n")
    assert done.returncode == 1 and "models/bad one.onnx: can overflow" in done.stderr
    assert host.values["steps.doctor.outputs.unsafe"] == "1"
    logs = sorted((host.folder / host.values["steps.doctor.outputs.sarif"]).iterdir())
    results = [json.loads(path.read_text())["runs"][0]["results"] for path in logs]
    assert [len(entries) for entries in results] == [1, 0]
    uri = results[0][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "models/bad%20one.onnx"


def test_safe_models_pass(host: Host) -> None:
    save(host.folder / "deep" / "er" / "good.onnx", 1)
    done = host.run(DOCTOR, models="deep/**/*.onnx", sarif="logs")
    assert done.returncode == 0, done.stderr
    assert host.values["steps.doctor.outputs.unsafe"] == "0" and (host.folder / "logs" / "0.sarif").exists()


def test_what_decides_are_the_registers_that_were_named(host: Host) -> None:
    save(host.folder / "bad.onnx", 127)
    assert host.run(DOCTOR, models="bad.onnx").returncode == 1
    assert host.run(DOCTOR, models="bad.onnx", registers="vnni").returncode == 0


@pytest.mark.parametrize("models", ["*.onnx", "none.onnx", "", "\n \n", "-h", "$(touch hacked)"])
def test_nothing_to_look_at_is_no_success(host: Host, models: str) -> None:
    assert host.run(DOCTOR, models=models).returncode == 2
    assert not (host.folder / "hacked").exists()


def test_a_mistyped_register_fails_the_build(host: Host) -> None:
    save(host.folder / "good.onnx", 1)
    done = host.run(DOCTOR, models="good.onnx", registers="avx3")
    assert done.returncode == 2 and "no register model is called 'avx3'" in done.stderr


def test_names_inside_a_model_give_the_host_no_commands(host: Host) -> None:
    file = one_conv(127)
    next(node for node in file.graph.node if node.op_type == "Conv").name = "::error::hello"
    onnx.save(file, host.folder / "bad.onnx")
    lines = host.run(DOCTOR, models="bad.onnx").stdout.splitlines()
    token = lines[0].removeprefix("::stop-commands::")
    assert lines[-1] == f"::{token}::" and token not in "".join(lines[1:-1])


def test_the_install_step_compiles_nothing_and_gives_a_doctor_that_runs(tmp_path: Path) -> None:
    python = new_environment(tmp_path / "base", site=Path(sysconfig.get_path("purelib")))
    host = Host(tmp_path, sources(tmp_path / "action"))
    wrapper = tmp_path / "python"  # the environment that the step makes sees the packages of this one
    wrapper.write_text(
        f'#!/bin/sh\n"{python}" "$@" || exit\n'
        f'if [ "$2" = venv ]; then for d in "$4"/lib/*/site-packages; do cp "{python.parents[1]}"/lib/*/site-packages/'
        'more.pth "$d"; done; fi\n'
    )
    wrapper.chmod(0o755)
    done = host.run(INSTALL, python=str(wrapper))
    assert done.returncode == 0, done.stderr
    save(tmp_path / "bad.onnx", 127)
    done = host.run(DOCTOR, models="bad.onnx", registers="avx2-acc32")
    assert done.returncode == 1 and "UNSAFE" in done.stdout, done.stderr
    assert not [*(tmp_path / "temp").rglob("_native*.so")]


def test_an_old_python_is_named(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.8.1"\nexit 1\n')
    old.chmod(0o755)
    done = Host(tmp_path, ROOT).run(INSTALL, python=str(old))
    assert done.returncode == 2 and "is Python 3.8.1: run actions/setup-python" in done.stderr
