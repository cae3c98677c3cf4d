"""Photos in folders: the same batches from any number of workers, and errors that name the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from oaq.data.batches import read
from oaq.data.preprocess import Preprocess
from oaq.errors import FormatError
from recipes.data.folders import FolderError, Photos, classes_of, photos_below

HOW = Preprocess((16, 16), 20)


def photo(path: Path, seed: int, size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)).save(path)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for index in range(7):
        photo(tmp_path / ("n01" if index % 2 else "n02") / f"{index}.png", index, (20 + 5 * index, 30))
    return tmp_path


def photos(place: Path, workers: int = 0) -> Photos:
    return photos_below(place, classes_of(place), HOW, workers)


def test_labels_are_places_in_name_order(place: Path) -> None:
    found = photos(place)
    assert [(path.parent.name, label) for path, label in zip(found.paths, found.labels, strict=True)] == [
        *[("n01", 0)] * 3,
        *[("n02", 1)] * 4,
    ]


def test_folders_called_by_numbers_are_those_classes(tmp_path: Path) -> None:
    for name in ("7", "609", "12"):
        photo(tmp_path / name / "a.png", 0)
    assert classes_of(tmp_path) == {"12": 12, "609": 609, "7": 7}


def test_batches_are_the_preprocessed_photos_in_order(place: Path) -> None:
    found = photos(place)
    x = torch.cat([x for x, _ in found.batches(3)])
    wanted = np.concatenate([read(path, HOW) for path in found.paths])
    assert np.array_equal(x.numpy(), wanted)


def test_an_epoch_does_not_depend_on_the_number_of_workers(place: Path) -> None:
    alone, helped = list(photos(place).epoch(2, 3, 1)), list(photos(place, workers=2).epoch(2, 3, 1))
    assert len(alone) == 3
    for (x, y), (other, labels) in zip(alone, helped, strict=True):
        assert torch.equal(x, other)
        assert torch.equal(y, labels)


def test_epochs_differ_and_shares_and_skips_are_parts_of_one(place: Path) -> None:
    found = photos(place)
    whole = list(found.epoch(2, 3, 1))
    assert not torch.equal(whole[0][0], next(found.epoch(2, 3, 2))[0])
    for rank in (0, 1):
        for (x, _), (own, _) in zip(whole, found.epoch(2, 3, 1, share=(rank, 2)), strict=True):
            assert torch.equal(own, x[rank::2])
    late = list(found.epoch(2, 3, 1, skip=2))
    assert len(late) == 1
    assert torch.equal(late[0][0], whole[2][0])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_photo_that_does_not_decode_is_named(place: Path, workers: int) -> None:
    (place / "n01" / "bad.jpg").write_bytes(b"no photo")
    found = photos(place, workers)
    for batches in (found.batches(8), found.epoch(8, 0, 0)):
        with pytest.raises(FormatError, match=r"bad\.jpg: is not a photo that decodes"):
            list(batches)


def test_what_is_no_folder_of_folders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="no such folder; the layout is none/CLASS/PHOTO"):
        classes_of(tmp_path / "none")
    with pytest.raises(FolderError, match="does not hold folders"):
        classes_of(tmp_path)
    (tmp_path / "a").mkdir()
    with pytest.raises(FolderError, match="does not hold a photo"):
        photos(tmp_path)
    photo(tmp_path / "b" / "x.png", 0)
    with pytest.raises(FolderError, match="b are not among the classes of the training photos"):
        photos_below(tmp_path, {"a": 0}, HOW)
