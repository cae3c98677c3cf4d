"""Masks of users: Pascal VOC's, COCO-stuff's, COCO's polygons and run lengths; what is bad is named or counted."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_api

from oaq.data.preprocess import Preprocess
from oaq.data.window import window_of
from oaq.errors import FormatError
from oaq.tasks.coco import VOC
from oaq.tasks.segment import on_photo
from recipes.data.annotations import Skips
from recipes.segmentation.coco_masks import decompress, fill_polygon
from recipes.segmentation.coco_stuff import BY_PIXEL, STUFF
from recipes.segmentation.mask_files import voc_palette
from recipes.segmentation.samples import IGNORE, Masked, Unknown, as_seen, classes_of, names_of, open_folder

LABELS = ("background", "cat", "couch", "tv")
COUCH, TV, GRASS = 18, 20, 123


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "SegmentationClass").mkdir()
    Image.new("RGB", (6, 4), (90, 120, 30)).save(tmp_path / "JPEGImages" / "a.png")
    return tmp_path


def values(value: int = COUCH) -> np.ndarray:
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3, 2:5], mask[0, 0] = value, 255
    return mask


def save(folder: Path, mask: np.ndarray, name: str = "a", kind: str = "SegmentationClass") -> None:
    (folder / kind).mkdir(exist_ok=True)
    image = Image.fromarray(mask)
    if kind == "SegmentationClass" and mask.ndim == 2:
        image.putpalette(voc_palette().reshape(-1).tolist())
    image.save(folder / kind / f"{name}.png")


def read(place: Path, *, skip: bool = False, unknown: Unknown = "error") -> tuple[list[Masked], Skips]:
    skips = Skips([] if skip else None)
    return list(open_folder(place, classes_of(LABELS, unknown), skips)), skips


def truth(index: int = 2) -> np.ndarray:
    mask = values(index).astype(np.int64)
    mask[0, 0] = IGNORE
    return mask


def test_voc_values_are_vocs_classes_by_name_and_255_counts_for_nothing(folder: Path) -> None:
    save(folder, values())
    ((sample,), _) = read(folder)
    np.testing.assert_array_equal(sample.mask, truth())
    assert sample.photo.shape == (4, 6, 3) and sample.title.endswith("a.png")


@pytest.mark.parametrize("mode", ["L", "I;16", "RGB", "RGBA"])
def test_masks_are_read_in_every_form_that_tools_write(folder: Path, mode: str) -> None:
    mask = values()
    coloured = voc_palette()[mask]
    alpha = np.full((4, 6, 1), 255, np.uint8)
    forms = {"L": mask, "I;16": mask.astype(np.uint16), "RGB": coloured, "RGBA": np.concatenate([coloured, alpha], 2)}
    Image.fromarray(forms[mode]).save(folder / "SegmentationClass" / "a.png")
    ((sample,), _) = read(folder)
    np.testing.assert_array_equal(sample.mask, truth())


def test_a_list_of_names_beside_the_masks_holds_over_vocs(folder: Path) -> None:
    save(folder, values(1))
    (folder / "class_names.txt").write_text("__ignore__\n_background_\nTV/Monitor\n")
    ((sample,), _) = read(folder)
    np.testing.assert_array_equal(sample.mask, truth(3))
    (folder / "class_names.txt").write_text("0: background\n1: Couch\n")
    ((sample,), _) = read(folder)
    np.testing.assert_array_equal(sample.mask, truth(2))


def test_only_photos_of_the_list_are_scored_and_one_that_lacks_a_mask_is_named(folder: Path) -> None:
    save(folder, values())
    save(folder, values(), "b")
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    (folder / "ImageSets" / "Segmentation" / "val.txt").write_text("a\nc\n")
    samples, skips = read(folder, skip=True)
    assert len(samples) == 1 and skips.reasons is not None and "c.png: no such mask" in skips.reasons[0]
    (folder / "ImageSets" / "Segmentation" / "val.txt").write_text("../a\n")
    with pytest.raises(FormatError, match="outside its folder"):
        read(folder)


def test_cocostuff_values_are_category_ids_less_one(tmp_path: Path) -> None:
    (tmp_path / "images" / "val").mkdir(parents=True)
    (tmp_path / "stuffthingmaps" / "val").mkdir(parents=True)
    Image.new("RGB", (6, 4)).save(tmp_path / "images" / "val" / "a.jpg")
    save(tmp_path / "stuffthingmaps", values(62), kind="val")
    mask = values(62)
    mask[mask == 0] = GRASS
    save(tmp_path / "stuffthingmaps", mask, kind="val")
    with pytest.raises(
        FormatError, match=r"a\.png: has 17 pixels of value 123, a class that the network does not know"
    ):
        read(tmp_path)
    ((sample,), _) = read(tmp_path, unknown="background")
    np.testing.assert_array_equal(sample.mask, truth())
    ((sample,), _) = read(tmp_path, unknown="ignore")
    assert set(np.unique(sample.mask)) == {IGNORE, 2}


def test_cocostuffs_own_list_is_by_category_id(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("0: unlabeled\n1: person\n63: couch\n")
    assert names_of(tmp_path, is_voc=False) == {0: "person", 62: "couch"}


def test_cocostuff_has_91_things_and_91_kinds_of_stuff() -> None:
    assert len(STUFF) == 91 and min(STUFF) == 92 and STUFF[124] == "grass" and STUFF[182] == "wood"
    assert len(BY_PIXEL) == 182 and BY_PIXEL[0] == "person" and BY_PIXEL[62] == "couch" and BY_PIXEL[90] == "hair brush"


def broken(folder: Path) -> None:
    (folder / "SegmentationClass" / "bad.png").write_bytes(b"no image")


def bad_photo(folder: Path) -> None:
    save(folder, values(), "bad")
    (folder / "JPEGImages" / "bad.jpg").write_bytes(b"no photo")


def bad_mask(mask: np.ndarray, suffix: str = "png"):
    def write(folder: Path) -> None:
        Image.new("RGB", (6, 4)).save(folder / "JPEGImages" / "bad.png")
        Image.fromarray(mask).save(folder / "SegmentationClass" / f"bad.{suffix}")

    return write


BAD = {
    "is not a mask that decodes": broken,
    "is not a photo that decodes": bad_photo,
    "is a mask of the photo bad, which is neither in": lambda folder: save(folder, values(), "bad"),
    "is a mask of 5 x 4 pixels; the photo": bad_mask(values()[:, :5]),
    "has 6 pixels of value 77, which no class of the set has": bad_mask(values(77)),
    "has 6 pixels of value 15, a class that the network does not know": bad_mask(values(15)),
    "24 pixels have a colour that no class of VOC has, such as [1, 2, 3]": bad_mask(
        np.full((4, 6, 3), (1, 2, 3), np.uint8)
    ),
    "is an image of mode LA": bad_mask(np.zeros((4, 6, 2), np.uint8)),
}


@pytest.mark.parametrize("words", BAD)
def test_a_bad_mask_or_photo_is_named_or_left_out_and_counted(folder: Path, words: str) -> None:
    save(folder, values())
    BAD[words](folder)
    with pytest.raises(FormatError) as caught:
        read(folder)
    assert words in str(caught.value) and "bad." in str(caught.value) and "--skip-bad" in str(caught.value)
    samples, skips = read(folder, skip=True)
    assert len(samples) == 1 and skips.reasons is not None and len(skips.reasons) == 1


def test_every_cut_of_a_mask_is_refused_by_name_or_read_whole(folder: Path) -> None:
    save(folder, values())
    path = folder / "SegmentationClass" / "a.png"
    whole = path.read_bytes()
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        samples, skips = read(folder, skip=True)
        assert (len(samples), len(skips.reasons or ())) in ((0, 1), (1, 0))
        if samples:
            np.testing.assert_array_equal(samples[0].mask, truth())


def document(segmentation: object = ..., category: object = 7, **changes: object) -> dict[str, object]:
    polygon = [[2, 1, 5, 1, 5, 3, 2, 3]] if segmentation is ... else segmentation
    annotation = {"id": 1, "image_id": 5, "category_id": category, "segmentation": polygon, "iscrowd": 0} | changes
    return {
        "images": [{"id": 5, "file_name": "a.png", "width": 6, "height": 4}],
        "annotations": [annotation],
        "categories": [{"id": 7, "name": "sofa"}],
    }


def expected(index: int = 2) -> np.ndarray:
    mask = np.zeros((4, 6), np.int64)
    mask[1:3, 2:5] = index
    return mask


RUNS = {"size": [4, 6], "counts": [9, 2, 2, 2, 2, 2, 5]}


@pytest.mark.parametrize("form", ["polygon", "runs", "compressed"])
def test_coco_regions_are_the_same_pixels_in_every_form(tmp_path: Path, form: str) -> None:
    compressed = coco_api.encode(np.asfortranarray(expected(1).astype(np.uint8)))
    runs = {"size": [4, 6], "counts": compressed["counts"].decode()}
    forms = {"polygon": ..., "runs": RUNS, "compressed": runs}
    Image.new("RGB", (6, 4)).save(tmp_path / "a.png")
    (tmp_path / "x.json").write_text(json.dumps(document(forms[form])))
    ((sample,), _) = read(tmp_path)
    np.testing.assert_array_equal(sample.mask, expected())


def test_crowds_do_not_count_and_small_regions_lie_on_large_ones(tmp_path: Path) -> None:
    Image.new("RGB", (6, 4)).save(tmp_path / "a.png")
    content = document(iscrowd=1)
    content["annotations"] = [
        {"id": 2, "image_id": 5, "category_id": 8, "segmentation": [[3, 1, 4, 1, 4, 2, 3, 2]]},
        *content["annotations"],  # type: ignore[misc]
    ]
    content["categories"] = [{"id": 7, "name": "sofa"}, {"id": 8, "name": "cat"}]
    (tmp_path / "x.json").write_text(json.dumps(content))
    ((sample,), _) = read(tmp_path)
    mask = expected(IGNORE)
    mask[1, 3] = 1
    np.testing.assert_array_equal(sample.mask, mask)


BAD_COCO = {
    "segmentation is polygons or run lengths, not None": document(None),
    "a polygon is x and y of three corners or more, not 5 numbers": document([[1, 2, 3, 4, 5]]),
    "a corner is 'a', not a finite number": document([[1, 2, 3, 4, 5, "a"]]),
    "a corner is nan, not a finite number": document([[1, 2, 3, 4, 5, float("nan")]]),
    "leaves the photo of 6 x 4": document([[1, 1, 90, 1, 3, 3]]),
    "a mask of size [6, 4] (rows, columns) is of a photo of [4, 6]": document({"size": [6, 4], "counts": [24]}),
    "counts are run lengths that sum to 24 pixels, not to 25": document({"size": [4, 6], "counts": [25]}),
    "not to something else": document({"size": [4, 6], "counts": [30, -6]}),
    "counts hold the character": document({"size": [4, 6], "counts": "\x7f"}),
    "counts end inside a number": document({"size": [4, 6], "counts": "P"}),
    "has the category 9": document(category=9),
    "the class 'gnu' is unknown to the network": document() | {"categories": [{"id": 7, "name": "gnu"}]},
    "belong to the image 6, which it lacks": document(image_id=6),
    "says that a.png has 7 x 4 pixels": document()
    | {"images": [{"id": 5, "file_name": "a.png", "width": 7, "height": 4}]},
    "is neither beside it": document() | {"images": [{"id": 5, "file_name": "b.png"}]},
    "two images have the id 5": document() | {"images": [{"id": 5, "file_name": "a.png"}] * 2},
}


@pytest.mark.parametrize("words", BAD_COCO)
def test_a_bad_part_of_a_coco_file_is_named_or_left_out_and_counted(tmp_path: Path, words: str) -> None:
    Image.new("RGB", (6, 4)).save(tmp_path / "a.png")
    (tmp_path / "x.json").write_text(json.dumps(BAD_COCO[words]))
    with pytest.raises(FormatError) as caught:
        read(tmp_path)
    assert words in str(caught.value) and "x.json" in str(caught.value)
    _, skips = read(tmp_path, skip=True)
    assert skips.reasons is not None and len(skips.reasons) == 1


def test_compressed_run_lengths_are_those_of_pycocotools() -> None:
    rng = np.random.default_rng(0)
    for share in (0.02, 0.3, 0.98, 0.0, 1.0):
        mask = np.asfortranarray((rng.random((57, 43)) < share).astype(np.uint8))
        runs = decompress(coco_api.encode(mask)["counts"].decode(), "x")
        np.testing.assert_array_equal(np.repeat(np.arange(len(runs)) % 2, runs).reshape(mask.shape, order="F"), mask)


def test_random_texts_are_no_run_lengths_or_some_and_never_another_error() -> None:
    draw = random.Random(0)
    for _ in range(500):
        text = "".join(chr(draw.randint(32, 127)) for _ in range(draw.randint(0, 20)))
        try:
            assert all(isinstance(run, int) for run in decompress(text, "x"))
        except FormatError as error:
            assert "counts" in str(error)


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")  # pycocotools, NumPy 2
@pytest.mark.parametrize("seed", range(4))
def test_polygons_are_filled_as_pycocotools_fills_them_but_for_pixels_on_the_edge(seed: int) -> None:
    rng = np.random.default_rng(seed)
    turns = np.sort(rng.random(12)) * 2 * np.pi
    radius = rng.uniform(20, 45, 12)
    corners = np.stack([50 + radius * np.cos(turns), 50 + radius * np.sin(turns)], axis=1)
    ours = fill_polygon(corners, (100, 100))
    theirs = coco_api.decode(coco_api.frPyObjects([corners.reshape(-1).tolist()], 100, 100))[..., 0].astype(bool)
    assert np.sum(ours & theirs) / np.sum(ours | theirs) > 0.97


def test_a_photo_seen_and_put_back_is_itself_where_the_network_looked() -> None:
    mask = np.random.default_rng(0).integers(0, 4, (30, 40))
    for preprocess in (Preprocess((80, 80), fit="pad"), Preprocess((60, 80), fit="stretch"), Preprocess((60, 60))):
        window = window_of(preprocess, 40, 30)
        seen = as_seen(mask, window, preprocess.size, IGNORE)
        back = on_photo(seen, window, (30, 40), -1)
        np.testing.assert_array_equal(back[back >= 0], mask[back >= 0])
        assert (seen == IGNORE).any() == (preprocess.fit == "pad")


def test_a_folder_without_masks_is_told_what_is_expected(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FormatError, match="holds no masks: SegmentationClass"):
            read(place)


def test_vocs_own_palette_has_its_colours() -> None:
    assert voc_palette()[VOC.index("person") + 1].tolist() == [192, 128, 128]
    assert len({tuple(colour) for colour in voc_palette().tolist()}) == 256
