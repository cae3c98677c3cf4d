"""Photos and arrays to batches, and every way they can be wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from oaq.data.batches import Batches, check_shape, files, read
from oaq.data.preprocess import Preprocess
from oaq.errors import CalibrationError, FormatError, ProgramError

Image = pytest.importorskip("PIL.Image")
GREY = Preprocess((8, 8), None, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def photo(path, size=(20, 10), colour=(255, 128, 0)):
    Image.new("RGB", size, colour).save(path)
    return path


def test_a_photo_is_cropped_scaled_and_normalized(tmp_path):
    made = read(photo(tmp_path / "a.png"), Preprocess((8, 8), 9, (0.5, 0.5, 0.5), (0.5, 0.25, 1.0)))
    assert made.shape == (1, 3, 8, 8)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made[0, :, 0, 0], [1.0, (128 / 255 - 0.5) / 0.25, -0.5], atol=1e-6)


@pytest.mark.parametrize("resize", [None, 8, 12])
def test_the_crop_is_central_and_keeps_proportions(tmp_path, resize):
    stripes = np.zeros((16, 32, 3), np.uint8)
    stripes[:, 8:24] = 255  # exactly the central square
    Image.fromarray(stripes).save(tmp_path / "a.png")
    made = read(tmp_path / "a.png", Preprocess((8, 8), resize, GREY.mean, GREY.std, "nearest"))
    assert made.min() == 1.0


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 3, 8, 8)])
@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_arrays_are_taken_as_they_are(tmp_path, shape, ending):
    x = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    path = tmp_path / f"x.{ending}"
    np.save(path, x) if ending == "npy" else np.savez(path, x)
    made = read(path, GREY)
    assert made.shape == (shape if len(shape) == 4 else (1, *shape))
    assert np.array_equal(made.reshape(shape), x)


def _write(path, content):
    path.write_bytes(content)
    return path


def test_what_cannot_be_read_is_one_clear_error_with_its_path(tmp_path):
    np.savez(tmp_path / "two.npz", a=np.zeros(3), b=np.zeros(3))
    np.save(tmp_path / "words.npy", np.array(["a"]))
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "whole.npy", np.zeros((3, 8, 8)))
    cut = (tmp_path / "whole.npy").read_bytes()[:-7]
    cases = {
        _write(tmp_path / "bad.jpg", b"not a photo"): "is not a photo that decodes",
        _write(tmp_path / "cut.png", photo(tmp_path / "x.png").read_bytes()[:40]): "is not a photo that decodes",
        _write(tmp_path / "cut.npy", cut): "is not a readable NumPy file",
        _write(tmp_path / "empty.npy", b""): "is not a readable NumPy file",
        _write(tmp_path / "bad.npz", b"PK\x03\x04 nonsense"): "is not a readable NumPy file",
        tmp_path / "object.npy": "is not a readable NumPy file",
        tmp_path / "two.npz": r"holds 2 arrays \(a, b\); one is expected",
        tmp_path / "words.npy": "a sample is numbers",
        tmp_path / "missing.jpg": "no such file",
    }
    for path, words in cases.items():
        with pytest.raises(FormatError, match=f"{path.name}: .*{words}|{path.name}: {words}"):
            read(path, GREY)


def test_folders_are_walked_in_name_order_and_other_files_ignored(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("b/2.JPG", "1.png"):
        photo(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    assert [p.name for p in files(tmp_path)] == ["1.png", "2.JPG"]


def test_an_empty_folder_and_a_missing_one_are_told_apart(tmp_path):
    with pytest.raises(CalibrationError, match="holds neither a photo nor an array"):
        files(tmp_path)
    with pytest.raises(FormatError, match="no such file or folder"):
        files(tmp_path / "none")


def test_batches_can_be_read_again(tmp_path):
    for i in range(5):
        photo(tmp_path / f"{i}.png")
    batches = Batches(files(tmp_path), GREY, 2)
    assert len(batches) == 3
    assert [len(b) for b in batches] == [len(b) for b in batches] == [2, 2, 1]


def test_samples_of_different_shapes_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 8, 8)))
    np.save(tmp_path / "b.npy", np.zeros((3, 9, 8)))
    with pytest.raises(CalibrationError, match=r"differ in shape: a.npy \(3, 8, 8\), b.npy \(3, 9, 8\)"):
        list(Batches(files(tmp_path), GREY, 2))


@pytest.mark.parametrize(
    "made",
    [
        {"size": (0, 8)},
        {"size": (8, 8), "resize": 7},
        {"size": (8, 8), "std": (0.0, 1.0, 1.0)},
        {"size": (8, 8), "mean": (0.0, 1.0)},
        {"size": (8, 8), "interpolation": "best"},
    ],
)
def test_impossible_preprocessing_is_refused(made):
    with pytest.raises(FormatError, match=r"is positive|are whole|at least the|numbers each|is one of"):
        Preprocess(**made)


def test_a_damaged_record_of_preprocessing_is_refused():
    for text in (
        "{",
        "{}",
        '{"size": 3, "mean": [1], "std": [1]}',
        '{"size": [8, 8], "mean": [1], "std": [1], "x": 1}',
    ):
        with pytest.raises(FormatError, match="record of its preprocessing is damaged"):
            Preprocess.from_metadata({"preprocess": text})


def test_a_sample_of_the_wrong_shape_names_both_shapes():
    with pytest.raises(ProgramError, match=r"x.npy: a sample has the shape \(3, 8, 8\), the network takes \(3, 9, 9\)"):
        check_shape(np.zeros((1, 3, 8, 8), np.float32), (3, 9, 9), "x.npy")


@pytest.mark.parametrize("settings", [{"size": 0}, {"limit": 0}])
def test_batches_of_nothing_are_refused(settings):
    with pytest.raises(CalibrationError, match="at least 1"):
        Batches(["a.jpg"], GREY, **settings)


def test_a_folder_gives_its_files_in_order_up_to_the_limit(tmp_path):
    for name in ("b", "a", "c"):
        photo(tmp_path / f"{name}.png")
    assert [path.stem for path in Batches(str(tmp_path), GREY, limit=2).paths] == ["a", "b"]


@pytest.mark.parametrize("side", [1 << 30, 8.0, "8", None])
def test_a_recorded_size_cannot_ask_for_any_amount_of_memory(side):
    text = json.dumps({"size": [8, side], "mean": [0.5], "std": [0.5]})
    with pytest.raises(FormatError, match="record of its preprocessing is damaged"):
        Preprocess.from_metadata({"preprocess": text})
