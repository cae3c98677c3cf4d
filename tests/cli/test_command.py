"""Exit codes, and one clear line for everything a user can get wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from oaq.cli import command, info
from oaq.errors import AccumulatorOverflow, FormatError, Mismatch, NoKernel


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "oaq.cli", *map(str, arguments)], capture_output=True, text=True, check=False, **options
    )


def test_version_and_help_are_exit_code_0(oaq):
    assert oaq("--version")[0] == 0
    code, out, _ = oaq("--help")
    assert code == 0
    assert "exit codes: 0 safe, 1 unsafe" in out


@pytest.mark.parametrize("verb", [one.__name__.rpartition(".")[2] for one in command.VERBS])
def test_every_verb_explains_itself_with_an_example(oaq, verb):
    code, out, _ = oaq(verb, "--help")
    assert code == 0
    assert f"oaq {verb} " in out[out.index("example") :]
    assert "--json" in out


@pytest.mark.parametrize(
    "arguments", [(), ("frobnicate",), ("run",), ("run", "x.oaq", "--input", "y", "--top", "many")]
)
def test_a_wrong_command_line_is_exit_code_2(oaq, arguments):
    assert oaq(*arguments)[0] == 2


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (FormatError("x.oaq: is cut off"), 2, "oaq: x.oaq: is cut off\n"),
        (NoKernel("no row"), 2, "oaq: no row\n"),
        (AccumulatorOverflow("it can overflow"), 1, "oaq: it can overflow\n"),
        (Mismatch("they differ"), 1, "oaq: they differ\n"),
        (KeyboardInterrupt(), 130, "oaq: interrupted; nothing half-written is left behind\n"),
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            2,
            "torch, which is not installed: pip install torch (in a clone of oaq: pip install '.[torch]')",
        ),
        (ModuleNotFoundError("No module named 'PIL.Image'", name="PIL.Image"), 2, "pip install pillow (in a clone"),
        (MemoryError(), 2, "oaq: out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 2, "oaq: out of memory"),
        (OSError(28, "No space left on device", "x.npy"), 2, "oaq: the disk is full: x.npy\n"),
        (PermissionError(13, "Permission denied", "x.npy"), 2, "oaq: x.npy: Permission denied\n"),
    ],
)
def test_every_error_is_one_line_and_an_exit_code(oaq, monkeypatch, error, code, words):
    def fail(arguments: object) -> int:
        raise error

    monkeypatch.setattr(info, "call", fail)
    got, out, err = oaq("info")
    assert (got, out) == (code, "")
    assert words in err
    assert "Traceback" not in err
    assert "Traceback" in oaq("info", "--debug")[2]


def test_a_defect_is_shown_whole_and_is_not_called_unsafe(oaq, monkeypatch):
    monkeypatch.setattr(info, "call", lambda arguments: 1 // 0)
    code, _, err = oaq("info")
    assert code == 70
    assert "ZeroDivisionError" in err
    assert "please report it" in err


def test_a_closed_pipe_is_silent():
    done = subprocess.run(
        f"{sys.executable} -m oaq.cli info | true; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() in ("141", "0")  # 0: the pipe took everything before it closed
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_standard_output_is_exit_code_2():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "oaq.cli", "info"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr == "oaq: the disk is full: output\n"


def test_info_as_json_is_one_document(oaq):
    code, out, _ = oaq("info", "--json")
    assert code == 0
    assert json.loads(out)["environment"]["cpu"]


def test_verify_and_run_need_numpy_only():
    heavy = ("torch", "onnx", "onnxruntime", "PIL", "rich", "matplotlib")
    code = f"import sys, oaq.cli.command as m; m.parser(); print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("quantise",), "did you mean quantize?"),
        (("doctor", "m.onnx", "--regsters", "vnni"), "did you mean --registers?"),
        (("run", "x.oaq", "--inputs", "y"), "--input"),
        (("quantize", "m.onnx", "--calibrate", "d", "--out", "o.oaq", "--target", "avx3"), "did you mean avx2?"),
    ],
)
def test_a_mistyped_word_is_answered_with_the_nearest(oaq, arguments, words):
    code, _, err = oaq(*arguments)
    assert code == 2 and words in err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_every_verb_and_option(oaq, shell):
    code, script, _ = oaq("completion", shell)
    assert code == 0 and "\N{HORIZONTAL ELLIPSIS}" not in script
    for word in ("quantize", "doctor", "calibrate", "registers", "avx512bw"):
        assert word in script


def test_bash_completes_by_the_script(oaq):
    bash = shutil.which("bash")
    assert bash is not None, "make itself needs it"
    _, script, _ = oaq("completion", "bash")
    asked = "COMP_WORDS=(oaq quantize --target a); COMP_CWORD=3; _oaq; echo ${COMPREPLY[@]}"
    done = subprocess.run([bash, "-c", f"{script}\n{asked}"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["avx2", "avx512bw", "avxvnni", "avx512", "all"]
