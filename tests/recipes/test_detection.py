"""The detection recipe without its weights: a graph drawn in the test, folders of VOC and COCO, cut-outs, scores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from oaq.errors import FormatError
from oaq.tasks import Detections, segment
from oaq.tasks.coco import COCO
from oaq.tasks.detections import truth
from recipes.detection import __main__ as command
from recipes.detection import ssd
from recipes.detection.composited import CutOut, scenes, singles, trimmed
from recipes.detection.graphdef import read_constants
from recipes.detection.samples import Sample, Skips, open_folder
from recipes.detection.scoring import coco_scores, known_of, recalled

IDS = {name: number for number, name in COCO.items()}


def number(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def part(field: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return number(field << 3) + number(content)
    return number(field << 3 | 2) + number(len(content)) + content


def tensor(array: np.ndarray, *, listed: bool = False) -> bytes:
    kind = 1 if array.dtype == np.float32 else 3
    shape = b"".join(part(2, part(1, size)) for size in array.shape)
    head = part(1, kind) + part(2, shape)
    if not listed:
        return head + part(4, array.tobytes())
    if kind == 1:
        return head + part(5, array.tobytes())
    return head + part(7, b"".join(number(int(value) & (1 << 64) - 1) for value in array.reshape(-1)))


def constant(name: str, content: bytes) -> bytes:
    attribute = part(1, b"value") + part(2, part(8, content))
    return part(1, part(1, name.encode()) + part(2, b"Const") + part(5, attribute))


def test_constants_are_read_whichever_way_their_numbers_are_written(tmp_path: Path) -> None:
    x, y = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([3, -1], np.int32)
    graph = constant("x", tensor(x)) + constant("l", tensor(x, listed=True)) + constant("y", tensor(y, listed=True))
    one_for_all = part(1, 1) + part(2, part(2, part(1, 4))) + part(5, np.float32(2.5).tobytes())
    graph += constant("same", one_for_all) + part(1, part(1, b"add") + part(2, b"Add"))
    (tmp_path / "g.pb").write_bytes(graph)
    constants = read_constants(tmp_path / "g.pb")
    assert set(constants) == {"x", "l", "y", "same"}
    np.testing.assert_array_equal(constants["x"], x)
    np.testing.assert_array_equal(constants["l"], x)
    np.testing.assert_array_equal(constants["y"], y)
    np.testing.assert_array_equal(constants["same"], np.full(4, 2.5, np.float32))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 40,
        b"\x0a\xff\xff\xff\x7f",
        part(1, part(1, b"\xff\xfe") + part(2, b"Const")),
        constant("x", part(1, 1) + part(2, part(2, part(1, 3))) + part(4, b"12345678")),
        constant("x", part(1, 1) + part(2, part(2, part(1, 3))) + part(4, b"123")),
        b"\x0b\x00",
        constant("x", part(1, 3) + part(2, part(2, part(1, 1))) + part(7, 1 << 40)),
        constant("x", part(1, 9) + part(2, part(2, part(1, 1))) + part(10, (1 << 70) - 1)),
    ],
)
def test_what_is_no_graph_is_one_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "g.pb").write_bytes(content)
    with pytest.raises(FormatError, match=r"g\.pb: is not a frozen TensorFlow graph"):
        read_constants(tmp_path / "g.pb")


def test_a_number_that_stands_for_many_takes_the_memory_of_one(tmp_path: Path) -> None:
    content = part(1, 1) + part(2, part(2, part(1, 1 << 24))) + part(4, bytes(4))
    (tmp_path / "g.pb").write_bytes(b"".join(constant(str(index), content) for index in range(3)))
    constants = read_constants(tmp_path / "g.pb")
    assert len(constants) == 3
    assert all(array.shape == (1 << 24,) and array.strides == (0,) for array in constants.values())


def test_a_graph_cut_anywhere_is_an_error_or_fewer_constants(tmp_path: Path) -> None:
    graph = constant("x", tensor(np.arange(6, dtype=np.float32))) + constant("y", tensor(np.ones(2, np.int32)))
    for end in range(len(graph)):
        (tmp_path / "g.pb").write_bytes(graph[:end])
        try:
            assert len(read_constants(tmp_path / "g.pb")) < 2
        except FormatError as error:
            assert "g.pb" in str(error)


def test_another_graph_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "g.pb").write_bytes(constant("x", tensor(np.zeros(3, np.float32))))
    with pytest.raises(FormatError, match="is not ssd_mobilenet_v2_coco_2018_03_29: it has no constant"):
        ssd.load(tmp_path / "g.pb")
    assert command.main(["--weights", str(tmp_path / "nowhere.pb"), "--out", str(tmp_path)]) == 2


def test_the_network_has_twelve_maps_whose_anchors_are_1917() -> None:
    net = ssd.SsdMobileNetV2().eval()
    with torch.inference_mode():
        outputs = net(torch.zeros(1, 3, 300, 300))
    shapes = [tuple(y.shape[1:]) for y in outputs]
    assert shapes[:4] == [(12, 19, 19), (273, 19, 19), (24, 10, 10), (546, 10, 10)]
    assert [shape[1] for shape in shapes[::2]] == [19, 10, 5, 3, 2, 1]
    assert sum(np.prod(shape) // 4 for shape in shapes[::2]) == 1917


def voc(name: str = "a.png", box: str = "11 21 30 40", label: str = "sofa", more: str = "") -> str:
    pairs = zip(("xmin", "ymin", "xmax", "ymax"), box.split(), strict=True)
    edges = "".join(f"<{edge}>{value}</{edge}>" for edge, value in pairs)
    thing = f"<object><name>{label}</name><difficult>0</difficult><bndbox>{edges}</bndbox></object>"
    return f"<annotation><filename>{name}</filename>{thing}{more}</annotation>"


def coco(box: object = (10, 20, 20, 20), category: object = 7, **changes: object) -> dict[str, object]:
    annotation = {"id": 1, "image_id": 5, "category_id": category, "bbox": box, "iscrowd": 0} | changes
    return {
        "images": [{"id": 5, "file_name": "a.png", "width": 64, "height": 48}],
        "annotations": [annotation],
        "categories": [{"id": 7, "name": "couch"}],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "Annotations").mkdir()
    Image.new("RGB", (64, 48), (90, 120, 30)).save(tmp_path / "JPEGImages" / "a.png")
    return tmp_path


def read(place: Path, *, skip: bool = False) -> tuple[list[Sample], Skips]:
    skips = Skips([] if skip else None)
    return list(open_folder(place, IDS, skips)), skips


def test_voc_counts_pixels_from_one_and_names_classes_its_own_way(folder: Path) -> None:
    (folder / "Annotations" / "a.xml").write_text(voc())
    ((sample,), _) = read(folder)
    assert sample.boxes.tolist() == [[10, 20, 30, 40]] and sample.categories.tolist() == [IDS["couch"]]
    assert sample.photo.shape == (48, 64, 3)


def test_objects_that_are_hard_to_tell_are_not_counted(folder: Path) -> None:
    (folder / "Annotations" / "a.xml").write_text(voc().replace("<difficult>0", "<difficult>1"))
    ((sample,), _) = read(folder)
    assert sample.ignored.tolist() == [True]


def test_coco_knows_categories_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "images" / "a.png")
    (tmp_path / "annotations" / "instances.json").write_text(json.dumps(coco(iscrowd=1)))
    ((sample,), _) = read(tmp_path)
    assert sample.boxes.tolist() == [[10, 20, 30, 40]] and sample.categories.tolist() == [IDS["couch"]]
    assert sample.ignored.tolist() == [True]
    ((again,), _) = read(tmp_path / "annotations" / "instances.json")
    assert again.title == sample.title


@pytest.mark.parametrize(
    ("label", "name"), [("sofa", "couch"), ("TV/Monitor", "tv"), ("potted_plant", "potted plant"), ("Dog", "dog")]
)
def test_a_class_is_known_however_a_tool_spells_it_in_files_of_either_kind(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, label: str, name: str
) -> None:
    (folder / "Annotations" / "a.xml").write_text(voc(label=label))
    ((sample,), _) = read(folder)
    assert sample.categories.tolist() == [IDS[name]]
    place = tmp_path_factory.mktemp("coco")
    Image.new("RGB", (64, 48)).save(place / "a.png")
    (place / "x.json").write_text(json.dumps(coco() | {"categories": [{"id": 7, "name": label}]}))
    ((sample,), _) = read(place)
    assert sample.categories.tolist() == [IDS[name]]


BAD_VOC = {
    "is not XML": "<annotation>",
    "declares a document type": "<!DOCTYPE x [<!ENTITY a 'b'>]>" + voc(),
    "names the photo 'b.png'": voc("b.png"),
    "names the photo '../a.png'": voc("../a.png"),
    "leaves the photo of 64 x 48": voc(box="11 21 90 40"),
    "has no area": voc(box="30 21 11 40"),
    "the class 'gnu' is unknown": voc(label="gnu"),
    "xmin is 'x', not a finite number": voc(box="x 21 30 40"),
    "ymax is 'nan', not a finite number": voc(box="11 21 30 nan"),
    "xmin is None": voc().replace("xmin", "left"),
    "is not a photo that decodes": voc("broken.jpg"),
    f"names the photo '{'b' * 300}'": voc("b" * 300),
    "4194304 are read at most": "<annotation>" + "<a/>" * (1 << 20) + "</annotation>",
}


@pytest.mark.parametrize("words", BAD_VOC)
def test_a_bad_voc_file_is_named_or_left_out_and_counted(folder: Path, words: str) -> None:
    (folder / "JPEGImages" / "broken.jpg").write_bytes(b"no photo")
    (folder / "Annotations" / "bad.xml").write_text(BAD_VOC[words])
    (folder / "Annotations" / "good.xml").write_text(voc())
    with pytest.raises(FormatError) as caught:
        read(folder)
    assert words in str(caught.value) and ("bad.xml" in str(caught.value) or "broken.jpg" in str(caught.value))
    assert "--skip-bad" in str(caught.value)
    samples, skips = read(folder, skip=True)
    assert len(samples) == 1 and skips.reasons is not None and len(skips.reasons) == 1


BAD_COCO = {
    "leaves the photo": coco(box=[10, 20, 200, 20]),
    "has no area": coco(box=[10, 20, 0, 20]),
    "bbox is left, top, width, height": coco(box=[1, 2, 3]),
    "bbox is 'a'": coco(box=["a", 2, 3, 4]),
    "has the category 9": coco(category=9),
    "belongs to the image 'five'": coco(image_id="five"),
    "belong to the image 6, which it lacks": coco(image_id=6),
    "the class 'gnu' is unknown": coco() | {"categories": [{"id": 7, "name": "gnu"}]},
    f"bbox is 1{'0' * 400}": coco(box=[10**400, 2, 3, 4]),
    "two images have the id 5": coco() | {"images": [{"id": 5, "file_name": "a.png"}] * 2},
    f"names the photo '{'b' * 300}'": coco() | {"images": [{"id": 5, "file_name": "b" * 300}]},
    "has no file_name": coco() | {"images": [{"id": 5}]},
    "is neither beside it": coco() | {"images": [{"id": 5, "file_name": "b.png"}]},
}


@pytest.mark.parametrize("words", BAD_COCO)
def test_a_bad_part_of_a_coco_file_is_named_or_left_out_and_counted(tmp_path: Path, words: str) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    (tmp_path / "x.json").write_text(json.dumps(BAD_COCO[words]))
    with pytest.raises(FormatError) as caught:
        read(tmp_path)
    assert words in str(caught.value) and "x.json" in str(caught.value)
    _, skips = read(tmp_path, skip=True)
    assert skips.reasons is not None and len(skips.reasons) == 1


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"images": 3}',
        '{"images": [], "annotations": [], "categories": [{}]}',
        json.dumps(coco() | {"categories": [{"id": 7, "name": "couch"}, {"id": 7, "name": "cat"}]}),
    ],
)
def test_a_file_that_is_not_cocos_cannot_be_left_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(FormatError, match=r"x\.json"):
        read(tmp_path, skip=True)


def test_a_folder_without_either_kind_is_told_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="holds no detection data"):
        read(tmp_path)


def drawn() -> list[CutOut]:
    pixels = np.zeros((40, 60, 4), np.uint8)
    pixels[10:30, 5:45] = 200, 30, 30, 255
    return [CutOut("square", 1, trimmed(pixels)), CutOut("bar", 3, trimmed(np.full((5, 50, 4), 255, np.uint8)))]


def test_boxes_of_composited_photos_are_where_the_cut_outs_are(tmp_path: Path) -> None:
    Image.new("RGB", (100, 100), (0, 0, 255)).save(tmp_path / "b.png")
    for sample in singles(drawn()[:1], [tmp_path / "b.png"]):
        red = (sample.photo[..., 0] > 100) & (sample.photo[..., 2] < 100)
        rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
        edges = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        np.testing.assert_allclose(sample.boxes[0], edges, atol=1)


def test_scenes_are_the_same_every_time_and_cover_nothing_much(tmp_path: Path) -> None:
    Image.new("RGB", (100, 100), (0, 0, 255)).save(tmp_path / "b.png")

    def make() -> Iterator[Sample]:
        return scenes(drawn(), [tmp_path / "b.png"], 5)

    for sample, again in zip(make(), make(), strict=True):
        np.testing.assert_array_equal(sample.photo, again.photo)
        np.testing.assert_array_equal(sample.boxes, again.boxes)
        assert 1 <= len(sample.categories) <= 4 and sample.boxes.min() >= 0 and sample.boxes[:, 2].max() <= 640


def test_scores_of_perfect_and_of_empty_answers() -> None:
    task = segment(ssd.PREPROCESS)  # only its preprocessing is asked for
    sample = Sample("x", np.zeros((100, 200, 3), np.uint8), np.array([[20.0, 10, 120, 90]]), np.array([18]))
    known = known_of(sample, task)
    perfect = Detections(np.array([[0.1, 0.1, 0.6, 0.9]]), np.array([0.9]), np.array([18]))
    assert coco_scores([known], [perfect]) == pytest.approx((1.0, 1.0))
    assert recalled([known], [perfect]) == 1
    assert coco_scores([known], [truth([], [])]) == (0.0, 0.0)
    assert recalled([known], [truth([], [])]) == 0
