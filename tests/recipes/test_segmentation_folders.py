"""The command that reads three photos of VOC with their masks, on an archive that the test lays out the same way."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oaq.tasks.coco import VOC
from recipes.labelme import PHOTOS
from recipes.segmentation import folders
from recipes.segmentation.mask_files import voc_palette

ROWS, COLUMNS = 96, 128
LEFT, TOP, RIGHT, BOTTOM = 10, 20, 60, 50
PERSON = 15


def jpeg() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (ROWS, COLUMNS, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def mask() -> bytes:
    values = np.zeros((ROWS, COLUMNS), np.uint8)
    values[TOP:BOTTOM, LEFT:RIGHT] = PERSON
    image = Image.fromarray(values)
    image.putpalette(voc_palette().reshape(-1).tolist())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def document(left: int) -> bytes:
    corners = [left, TOP, RIGHT, TOP, RIGHT, BOTTOM, left, BOTTOM]
    names = list(enumerate(PHOTOS))
    images = [{"id": at, "file_name": f"JPEGImages/{name}.jpg", "height": ROWS, "width": COLUMNS} for at, name in names]
    annotations = [{"id": at, "image_id": at, "category_id": PERSON, "segmentation": [corners]} for at, _ in names]
    categories = [{"id": PERSON, "name": "person"}]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories}).encode()


def write_archive(path: Path, left: int = LEFT) -> Path:
    contents = {
        ".jpg": jpeg(),
        ".png": mask(),
        ".txt": "\n".join(("__ignore__", "_background_", *VOC)).encode(),
        ".json": document(left),
    }
    with tarfile.open(path, "w:gz") as archive:
        for name in folders.members():
            content = contents[Path(name).suffix]
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def test_all_forms_agree_and_every_damage_is_named_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folders.main([str(write_archive(tmp_path / "a.tar.gz"))]) == 0
    words = capsys.readouterr().out
    assert "14 of 14" in words and words.count(f"3 / 2 / {3 * ROWS * COLUMNS}") == 4 and words.count("1.0000") == 3


def test_outlines_that_lie_elsewhere_in_the_other_form_are_a_mismatch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folders.main([str(write_archive(tmp_path / "a.tar.gz", LEFT + 10))]) == 1
    assert "COCO polygons: the mIoU with VOC's masks is" in capsys.readouterr().err


def test_a_missing_archive_is_asked_for_by_the_name_of_this_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OAQ_CACHE", str(tmp_path / "cache"))
    assert folders.main([]) == 2
    assert "then: python -m recipes.segmentation.folders labelme-6.3.1.tar.gz" in capsys.readouterr().err
