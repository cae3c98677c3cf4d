"""Small labelled images: archives as other clients serve them, damaged or not; epochs that depend on their numbers."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image

from recipes.data import labelled, registries
from recipes.data.labelled import Labelled, shifted
from recipes.data.packages import FetchError, Package
from recipes.data.registries import apt_download, deb_members, npm_download, tar_members


def tar(files: dict[str, bytes], packed: Literal["gz", "xz"]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz" if packed == "gz" else "w:xz") as opened:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            opened.addfile(info, io.BytesIO(data))
    return made.getvalue()


def deb(files: dict[str, bytes]) -> bytes:
    """An ar archive whose first member has an odd size, as debian-binary may."""
    made = b"!<arch>\n"
    for name, data in (("debian-binary", b"2.0"), ("data.tar.xz", tar(files, "xz"))):
        made += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return made


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OAQ_CACHE", str(tmp_path))
    (tmp_path / "archives").mkdir()
    return tmp_path / "archives"


def pinned(data: bytes, package: Package, folder: Path) -> Package:
    (folder / package.file).write_bytes(data)
    return Package(package.name, package.version, package.file, hashlib.sha256(data).hexdigest(), len(data))


def test_cifar_images_come_out_as_they_went_in(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    png = io.BytesIO()
    Image.fromarray(pixels.reshape(3, 1024, 3)).save(png, "PNG")
    files = {"package/test_batch.png": png.getvalue(), "package/test_lables.json": json.dumps([3, 0, 9]).encode()}
    monkeypatch.setattr(labelled, "CIFAR10", pinned(tar(files, "gz"), labelled.CIFAR10, cached))
    found = labelled.cifar10("test")
    assert np.array_equal(found.pixels.numpy().transpose(0, 2, 3, 1), pixels)
    assert found.labels.tolist() == [3, 0, 9]
    with pytest.raises(FetchError, match=r"does not hold a file package/data_batch_1\.png"):
        labelled.cifar10("train")


def fashion(labels: bytes, magic: int = 2051) -> dict[str, bytes]:
    header = np.array([magic, 2, 28, 28], ">i4").tobytes()
    stem = "./usr/share/datasets/fashion-mnist/t10k"
    return {
        f"{stem}-images-idx3-ubyte.gz": gzip.compress(header + bytes(range(256)) * 6 + bytes(32)),
        f"{stem}-labels-idx1-ubyte.gz": gzip.compress(np.array([2049, len(labels)], ">i4").tobytes() + labels),
    }


def test_fashion_images_come_out_as_they_went_in(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelled, "FASHION_MNIST", pinned(deb(fashion(b"\x07\x02")), labelled.FASHION_MNIST, cached))
    found = labelled.fashion_mnist("test")
    assert found.pixels.shape == (2, 1, 28, 28)
    assert found.pixels.flatten()[:300].tolist() == [*range(256), *range(44)]
    assert found.labels.tolist() == [7, 2]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (fashion(b"\x07"), r"2 images have 1 labels"),
        (fashion(b"\x07\x0a"), r"labels in \[7, 10\]"),
        (fashion(b"\x07\x02", magic=2049), "begins with 2051, this one with 2049"),
    ],
)
def test_fashion_data_that_contradict_themselves_are_refused(
    cached: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes], words: str
) -> None:
    monkeypatch.setattr(labelled, "FASHION_MNIST", pinned(deb(files), labelled.FASHION_MNIST, cached))
    with pytest.raises(FetchError, match=words):
        labelled.fashion_mnist("test")


def test_fashion_data_of_a_folder_are_read_and_refused_by_file(tmp_path: Path) -> None:
    for name, data in fashion(b"\x07\x02").items():
        (tmp_path / Path(name).name).write_bytes(data)
    assert labelled.fashion_mnist_of(tmp_path, "test").labels.tolist() == [7, 2]
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    whole = gzip.decompress(path.read_bytes())
    huge = np.array([2051, 1 << 30, 1 << 30, 1 << 30], ">i4").tobytes()
    negative = np.array([2051, -2, 28, -28], ">i4").tobytes()
    for content, words in (
        (path.read_bytes()[:60], "cannot be read"),
        (path.read_bytes()[:20] + b"\xff" * 60, "cannot be read"),
        (gzip.compress(whole[:9]), "a header of 16 bytes, this one is of 9"),
        (gzip.compress(whole[:-1]), r"\[2, 28, 28\] bytes are announced, 1567 are there"),
        (gzip.compress(huge + whole[16:]), "are announced, 1568 are there"),
        (gzip.compress(negative + whole[16:]), "are announced, 1568 are there"),
    ):
        path.write_bytes(content)
        with pytest.raises(FetchError, match=words) as caught:
            labelled.fashion_mnist_of(tmp_path, "test")
        assert str(path) in str(caught.value)
    with pytest.raises(FetchError, match="holds no train-images"):
        labelled.fashion_mnist_of(tmp_path, "train")


@pytest.mark.parametrize("size", [0, 7, 100, 1500])
def test_archives_that_were_cut_off_are_refused(tmp_path: Path, size: int) -> None:
    path, noise = tmp_path / "cut", np.random.default_rng(0).bytes(2000)
    for data, read in ((deb({"./a": noise}), deb_members), (tar({"a": noise}, "gz"), tar_members)):
        path.write_bytes(data[:size])
        with pytest.raises(FetchError, match=r"is not a readable archive|does not hold (data\.tar\.xz|a file a)"):
            read(path, ["a"])


def test_clients_are_asked_for_exactly_one_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 1, "", "noise\nE: nothing there")

    monkeypatch.setattr(registries.subprocess, "run", run)
    monkeypatch.setattr(registries.shutil, "which", lambda name: f"/usr/bin/{name}")
    package = Package("toy", "1.0", "toy.tgz", "0", 1)
    for download, client in ((npm_download, "npm"), (apt_download, "apt-get")):
        with pytest.raises(FetchError, match=rf"{client} cannot fetch it: .*nothing there.*put toy\.tgz into"):
            download(package, tmp_path)
    assert [command[-1] for command in asked] == ["toy@1.0", "toy=1.0"]
    monkeypatch.setattr(registries.shutil, "which", lambda name: None)
    with pytest.raises(FetchError, match="npm is needed to fetch it and is not installed"):
        npm_download(package, tmp_path)


def some(count: int = 10) -> Labelled:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return Labelled(pixels, torch.arange(count), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_an_epoch_depends_on_seed_and_number_only_and_shares_add_up_to_it() -> None:
    data = some()
    whole = list(data.epoch(4, 1, 2))
    assert [len(y) for _, y in whole] == [4, 4]
    for (x, y), (again, labels) in zip(whole, data.epoch(4, 1, 2), strict=True):
        assert torch.equal(x, again)
        assert torch.equal(y, labels)
    halves = [list(data.epoch(4, 1, 2, share=(rank, 2))) for rank in (0, 1)]
    for index, (x, y) in enumerate(whole):
        for rank in (0, 1):
            assert torch.equal(halves[rank][index][0], x[rank::2])
            assert torch.equal(halves[rank][index][1], y[rank::2])
    (late,) = data.epoch(4, 1, 2, skip=1)
    assert torch.equal(late[0], whole[1][0])
    assert not torch.equal(next(data.epoch(4, 1, 3))[0], whole[0][0])
    assert not torch.equal(next(data.epoch(4, 2, 2))[0], whole[0][0])


def test_shifts_and_flips_move_pixels_and_nothing_else() -> None:
    x = some(2).pixels
    still = torch.full((2, 2), 4)
    assert torch.equal(shifted(x, still, torch.tensor([False, False])), x)
    assert torch.equal(shifted(x, still, torch.tensor([True, False]))[0], x[0].flip(2))
    moved = shifted(x, torch.tensor([[8, 4], [0, 4]]), torch.tensor([False, False]))
    assert torch.equal(moved[0, :, :4, 4:], x[0, :, 4:, :4])
    assert not moved[0, :, 4:].any()
    assert not moved[0, :, :, :4].any()


def test_a_part_is_chosen_by_its_seed() -> None:
    data = some()
    assert data.part(4, 0).labels.tolist() == data.part(4, 0).labels.tolist() != data.part(4, 1).labels.tolist()
    assert sorted(data.part(99, 3).labels.tolist()) == list(range(10))


def test_normalizing_is_that_of_the_pixels() -> None:
    x, y = next(some().batches(3))
    assert y.tolist() == [0, 1, 2]
    assert torch.allclose(x, (some().pixels[:3] / 255 - 0.5) / 0.25)
