"""Another build of the native module is taken only if it is the one asked for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.native_module import NAME, load_native
from oaq.kernels import _native


def test_a_folder_without_a_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="holds 0 native modules"):
        load_native(tmp_path, "GNU")


def test_a_module_that_comes_too_late_is_refused(tmp_path: Path) -> None:
    shutil.copy(_native.__file__, tmp_path)
    with pytest.raises(RuntimeError, match=f"{NAME} is loaded already"):
        load_native(tmp_path, "GNU")


@pytest.mark.parametrize(("wanted", "code"), [("Release", 0), ("no such compiler", 1)])
def test_a_module_is_asked_what_it_is(tmp_path: Path, wanted: str, code: int) -> None:
    shutil.copy(_native.__file__, tmp_path)
    program = (
        "import sys\nfrom pathlib import Path\nfrom benchmarks.native_module import NAME, load_native\n"
        f"load_native(Path({str(tmp_path)!r}), {wanted!r})\n"
        "from oaq.kernels import _native\n"
        f"assert _native is sys.modules[NAME] and _native.__file__.startswith({str(tmp_path)!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert ("is not the build asked for" in done.stderr) == bool(code)
