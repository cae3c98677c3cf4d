"""The command that reads three photos of VOC in both forms, on an archive that the test lays out the same way."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recipes.detection import folders

BOX = (10, 20, 60, 50)


def jpeg() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def xml(name: str, left: int) -> bytes:
    edges = zip(("xmin", "ymin", "xmax", "ymax"), (left + 1, BOX[1] + 1, BOX[2], BOX[3]), strict=True)
    box = "".join(f"<{edge}>{value}</{edge}>" for edge, value in edges)
    thing = f"<object><name>person</name><bndbox>{box}</bndbox></object>"
    return f"<annotation><filename>{name}.jpg</filename>{thing}</annotation>".encode()


def document() -> bytes:
    box = [BOX[0], BOX[1], BOX[2] - BOX[0], BOX[3] - BOX[1]]
    names = enumerate(folders.PHOTOS)
    return json.dumps(
        {
            "images": [{"id": number, "file_name": f"JPEGImages/{name}.jpg"} for number, name in names],
            "annotations": [
                {"id": number, "image_id": number, "category_id": 15, "bbox": box}
                for number in range(len(folders.PHOTOS))
            ],
            "categories": [{"id": 15, "name": "person"}],
        }
    ).encode()


def write_archive(path: Path, left: int = BOX[0]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name in folders.members():
            stem = Path(name).stem
            content = jpeg() if name.endswith(".jpg") else xml(stem, left) if name.endswith(".xml") else document()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def test_both_forms_agree_and_every_damage_is_named_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folders.main([str(write_archive(tmp_path / "a.tar.gz"))]) == 0
    words = capsys.readouterr().out
    assert "13 of 13" in words and "3 / 3 / 1" in words and "1.00" in words


def test_boxes_that_lie_elsewhere_in_the_other_form_are_a_mismatch(tmp_path: Path) -> None:
    assert folders.main([str(write_archive(tmp_path / "a.tar.gz", left=40))]) == 1


def test_another_archive_and_a_missing_one_end_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"no archive")
    assert folders.main([str(tmp_path / "a.tar.gz")]) == 2
    monkeypatch.setenv("OAQ_CACHE", str(tmp_path / "cache"))
    assert folders.main([]) == 2
    assert "pip download --no-deps --no-binary labelme" in capsys.readouterr().err
