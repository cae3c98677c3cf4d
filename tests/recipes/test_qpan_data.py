"""Matrices of MATLAB files in every form, damaged or not, and folders of --data that are not whole."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oaq.errors import FormatError
from recipes.qpan import __main__ as command
from recipes.qpan import samples, training_data
from recipes.qpan.matfiles import read_arrays

RNG = np.random.default_rng(7)


def element(code: int, content: bytes, order: str = "<") -> bytes:
    if len(content) <= 4:
        return struct.pack(f"{order}I", len(content) << 16 | code) + content.ljust(4, b"\0")
    return struct.pack(f"{order}II", code, len(content)) + content + b"\0" * (-len(content) % 8)


def matrix(name: str, values: np.ndarray, code: int, order: str = "<") -> bytes:
    parts = [
        element(6, struct.pack(f"{order}II", 6, 0), order),
        element(5, np.array(values.shape, f"{order}i4").tobytes(), order),
        element(1, name.encode(), order),
        element(code, values.astype(values.dtype.newbyteorder(order)).tobytes(order="F"), order),
    ]
    return element(14, b"".join(parts), order)


def mat(body: bytes, order: str = "<") -> bytes:
    return (
        b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(f"{order}H", 0x0100) + (b"IM" if order == "<" else b"MI") + body
    )


def packed(content: bytes) -> bytes:
    data = zlib.compress(content)
    return struct.pack("<II", 15, len(data)) + data


def test_matrices_are_read_in_either_order_and_packed(tmp_path: Path) -> None:
    phi, mask = RNG.normal(size=(3, 5)), np.eye(4, dtype=np.uint8)
    for order, body in (
        ("<", packed(matrix("phi", phi, 9)) + packed(matrix("mask_matrix", mask, 2))),
        (">", matrix("phi", phi, 9, ">") + matrix("mask_matrix", mask, 2, ">")),
    ):
        (tmp_path / "a.mat").write_bytes(mat(body, order))
        arrays = read_arrays(tmp_path / "a.mat")
        assert np.array_equal(arrays["phi"], phi) and np.array_equal(arrays["mask_matrix"], mask)
    assert np.array_equal(samples.read_mask(tmp_path / "a.mat"), mask)


def test_damaged_matrices_are_refused_however_they_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    content = mat(packed(matrix("mask_matrix", np.full((2, 2), 3.0), 9)))
    for size in (0, 100, 130, len(content) - 3):
        path.write_bytes(content[:size])
        with pytest.raises(FormatError):
            samples.read_mask(path)
    path.write_bytes(content)
    with pytest.raises(FormatError, match="not a matrix of 0 and 1"):
        samples.read_mask(path)
    with pytest.raises(FormatError, match="cannot be read"):
        samples.read_mask(tmp_path / "none.mat")
    for body, message in (
        (matrix("mask_matrix", np.full((2, 2), np.nan), 9), "not finite"),
        (packed(packed(matrix("mask_matrix", np.eye(2), 9))), "holds nothing"),
        (
            matrix("mask_matrix", np.eye(2), 9).replace(struct.pack("<ii", 2, 2), struct.pack("<ii", -1, 2)),
            "is damaged",
        ),
    ):
        path.write_bytes(mat(body))
        with pytest.raises(FormatError, match=message):
            samples.read_mask(path)


def test_data_of_the_last_task_are_read_before_the_first_is_trained(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mri").mkdir()
    mask = training_data.line_mask(64, 0.2)
    (tmp_path / "mri" / "mask_20.mat").write_bytes(mat(matrix("mask_matrix", mask, 9)))
    for number in samples.SLICES:
        picture = np.full((64, 64), number, np.uint8)
        Image.fromarray(picture).save(tmp_path / "mri" / f"brain_test_{number:02}.png")
    monkeypatch.setattr(command, "compare", None)
    assert command.main(["train", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "Monarch.tif: no such file" in capsys.readouterr().err
