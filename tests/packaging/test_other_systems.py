"""Files that differ by system compile for Windows and macOS too; make other-systems compiles all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cross_build import CannotBuild, cross_compiler
from benchmarks.other_systems import ROOT, complaint, complaints, differing, sources


@pytest.mark.parametrize("target", ["x86_64-windows-gnu", "aarch64-macos"])
def test_what_differs_by_system_compiles(target: str) -> None:
    try:
        cross_compiler()
    except CannotBuild as error:
        pytest.skip(f"other systems NOT RUN: {error}")
    files = differing(target)
    assert {"pages.cc", "helper_threads.cc", "shared_threads.cc", "placement.cc", "isa.cc"} <= {
        file.name for file in files
    }
    assert list(complaints(target, files)) == []


def test_a_file_that_does_not_compile_is_named(tmp_path: Path) -> None:
    file = tmp_path / "wrong.cc"
    file.write_text("#ifdef _WIN32\nint f() { return none; }\n#endif\n")
    assert "undeclared identifier 'none'" in complaint("x86_64-windows-gnu", file)


def test_arm_has_its_own_rows_and_x86_none_of_them() -> None:
    own = {path for path in sources("aarch64-macos") if path.parent.name == "arm"}
    assert own and not own & set(sources("x86_64-macos"))
    assert all(path.is_relative_to(ROOT / "native") for path in own)
