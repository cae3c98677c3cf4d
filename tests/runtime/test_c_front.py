"""Where the header and the library of an installed oaq are, and what is said if they are not there."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import oaq
from oaq.runtime import c_front


def test_header_and_library_are_installed() -> None:
    assert "oaq_load" in (oaq.include_dir() / "oaq.h").read_text(encoding="utf-8")
    assert (oaq.library_dir() / "liboaq.so").read_bytes().startswith(b"\x7fELF")


@pytest.mark.parametrize("folder", [oaq.include_dir, oaq.library_dir])
def test_an_oaq_without_them_says_how_to_get_them(folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere:
        def locate_file(self, path: str) -> Path:
            return tmp_path / path

    def missing(name: str) -> Elsewhere:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(c_front, "distribution", lambda name: Elsewhere())
    with pytest.raises(oaq.FormatError, match=r"built without OAQ_C\. In a clone of oaq: pip install \."):
        folder()
    monkeypatch.setattr(c_front, "distribution", missing)
    with pytest.raises(oaq.FormatError, match="comes with an installed oaq"):
        folder()
