"""What C prints to file descriptor 1 ends up on standard error; standard output holds what Python wrote, whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from oaq.terminal.native_output import native_output_on_stderr

CHILD = """
import ctypes, os, sys
from oaq.terminal.native_output import native_output_on_stderr
libc = ctypes.CDLL(None)
sys.stdout.write("before\\n")
{prologue}
try:
    with native_output_on_stderr():
        libc.printf(b"buffered by C\\n")
        os.write(1, b"written at once\\n")
        {inside}
except KeyError:
    sys.stdout.write("failed\\n")
sys.stdout.write("after\\n")
"""


def outputs(prologue: str = "", inside: str = "pass") -> tuple[str, str]:
    """Standard output and standard error of a process, both pipes."""
    code = CHILD.format(prologue=prologue, inside=inside)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def test_printing_of_c_is_on_standard_error_in_its_order() -> None:
    out, err = outputs()
    assert out == "before\nafter\n"
    assert sorted(err.splitlines()) == ["buffered by C", "written at once"]


def test_standard_output_is_back_after_an_error() -> None:
    out, err = outputs(inside="raise KeyError")
    assert out == "before\nfailed\nafter\n"
    assert "buffered by C" in err


def test_without_standard_error_nothing_is_moved() -> None:
    out, err = outputs(prologue="sys.stdout.flush(); os.close(2)")
    assert out.startswith("before\n")
    assert out.endswith("after\n")
    assert err == ""


def test_without_standard_output_nothing_fails() -> None:
    code = "import os, sys\nfrom oaq.terminal.native_output import native_output_on_stderr\nos.close(1)\n"
    code += "with native_output_on_stderr(): pass\nsys.stderr.write('done')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.startswith("done")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_descriptor_is_left_open() -> None:
    before = descriptors()
    for _ in range(5):
        with native_output_on_stderr():
            pass
        with pytest.raises(KeyError), native_output_on_stderr():
            raise KeyError
    assert descriptors() == before
