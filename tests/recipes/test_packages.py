"""Fetching archives: checked, cached, all or nothing, and one clear error otherwise. No network here."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from recipes.data import packages
from recipes.data.packages import FetchError, Package, cache, fetch, members, unpack


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OAQ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            made.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def package(content: bytes) -> Package:
    return Package("toy", "1.0", "toy-1.0.whl", hashlib.sha256(content).hexdigest(), len(content))


class Registry:
    """Serves one file, and counts."""

    def __init__(self, content: bytes, name: str = "toy-1.0.whl") -> None:
        self.content, self.name, self.served = content, name, 0

    def __call__(self, wanted: Package, folder: Path) -> None:
        self.served += 1
        (folder / self.name).write_bytes(self.content)


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() or path.name.startswith("."))


def test_an_archive_is_fetched_once() -> None:
    content = archive(a=b"1")
    registry = Registry(content)
    assert (
        fetch(package(content), registry) == fetch(package(content), registry) == cache() / "archives" / "toy-1.0.whl"
    )
    assert registry.served == 1
    assert (cache() / "archives" / "toy-1.0.whl").read_bytes() == content


def test_another_file_than_the_pinned_one_is_refused_and_not_kept(own_cache: Path) -> None:
    wanted = package(archive(a=b"1"))
    with pytest.raises(FetchError) as error:
        fetch(wanted, Registry(b"something else"))
    said = str(error.value)
    assert "toy-1.0.whl" in said
    assert f"Expected sha256 {wanted.sha256}" in said
    assert f"got {hashlib.sha256(b'something else').hexdigest()}" in said
    assert "do not use it" in said
    assert left_behind(own_cache) == []


def test_a_damaged_archive_in_the_cache_is_refused_with_what_to_do() -> None:
    content = archive(a=b"1")
    wanted = package(content)
    kept = fetch(wanted, Registry(content))
    kept.write_bytes(content[:-1] + b"!")
    with pytest.raises(FetchError, match=r"checksum of toy 1\.0 differs.*delete .*toy-1\.0\.whl and run this again"):
        fetch(wanted, Registry(content))


def test_pip_fetching_another_name_says_which() -> None:
    content = archive(a=b"1")
    with pytest.raises(FetchError, match=r"pip fetched toy-1\.1\.whl, not toy-1\.0\.whl"):
        fetch(package(content), Registry(content, "toy-1.1.whl"))


def test_a_cache_that_cannot_be_written_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OAQ_CACHE", str(tmp_path / "file"))
    content = archive(a=b"1")
    with pytest.raises(FetchError, match=r"cannot write to the cache .*OAQ_CACHE"):
        fetch(package(content), Registry(content))


def test_only_the_members_asked_for_are_unpacked(own_cache: Path) -> None:
    content = archive(data__a=b"1", data__b=b"2", code__c=b"3")
    registry = Registry(content)
    found = unpack(package(content), ["data/a", "data/b"], registry)
    assert {name: path.read_bytes() for name, path in found.items()} == {"data/a": b"1", "data/b": b"2"}
    assert left_behind(own_cache) == ["a", "b", "toy-1.0.whl"]
    assert members(package(content), registry) == ["code/c", "data/a", "data/b"]
    assert registry.served == 1


def test_what_is_unpacked_needs_no_archive_again(own_cache: Path) -> None:
    content = archive(a=b"1")
    first = unpack(package(content), ["a"], Registry(content))
    (own_cache / "archives" / "toy-1.0.whl").unlink()
    assert unpack(package(content), ["a"], Registry(b"gone")) == first


@pytest.mark.parametrize("name", ["../evil", "/evil", "data/../../evil", "..\\evil", "C:evil"])
def test_a_member_that_leaves_the_folder_is_refused(name: str, own_cache: Path) -> None:
    content = archive(**{name: b"x"})
    with pytest.raises(FetchError, match="outside its folder"):
        unpack(package(content), [name], Registry(content))
    assert left_behind(own_cache) == []


def test_a_missing_member_leaves_nothing_half_unpacked(own_cache: Path) -> None:
    content = archive(a=b"1")
    with pytest.raises(FetchError, match=r"no item named 'b' .*not laid out as expected"):
        unpack(package(content), ["a", "b"], Registry(content))
    assert left_behind(own_cache) == ["toy-1.0.whl"]


def test_an_archive_that_is_no_zip_file_is_one_error(own_cache: Path) -> None:
    content = b"this is no zip file"
    for use in (lambda: unpack(package(content), ["a"], Registry(content)), lambda: members(package(content))):
        with pytest.raises(FetchError, match="is not a readable zip file"):
            use()
    assert left_behind(own_cache) == ["toy-1.0.whl"]


def test_a_flipped_bit_inside_a_member_is_found(own_cache: Path) -> None:
    content = bytearray(archive(a=bytes(range(256)) * 50))
    content[80] ^= 0xFF
    with pytest.raises(FetchError, match="is not a readable zip file"):
        unpack(package(bytes(content)), ["a"], Registry(bytes(content)))
    assert left_behind(own_cache) == ["toy-1.0.whl"]


def test_pip_failing_is_one_error_with_its_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text(
        "#!/bin/sh\necho 'WARNING: noise'\necho 'ERROR: No matching distribution found for toy==1.0' >&2\nexit 1\n"
    )
    fake.chmod(0o755)
    monkeypatch.setattr(packages.sys, "executable", str(fake))
    with pytest.raises(
        FetchError, match=r"pip cannot fetch it: ERROR: No matching distribution found for toy==1\.0\. .*put toy"
    ):
        fetch(package(archive(a=b"1")))
