"""``oaq run`` and ``oaq quantize`` for tasks that are more than a class, from a small detector to boxes on a photo."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from oaq import load
from oaq.cli import answers
from oaq.cli.answers import picture_paths
from oaq.cli.tasks import read_labels
from oaq.data.preprocess import Preprocess
from oaq.errors import FormatError
from oaq.program.plain import fingerprint
from oaq.tasks.record import from_metadata

pytestmark = pytest.mark.usefixtures("native")
NETWORK = """
import torch
from torch import nn


class Finder(nn.Module):
    '''Says of each cell of 4 x 4 how much brighter than grey it is; boxes are its anchors.'''

    def __init__(self):
        super().__init__()
        self.scores = nn.Conv2d(3, 2, 8, 8)
        self.boxes = nn.Conv2d(3, 4, 8, 8)
        with torch.no_grad():
            for layer in (self.scores, self.boxes):
                layer.weight.zero_()
                layer.bias.zero_()
            self.scores.weight[1] = 6 / 192
            self.scores.bias[:] = torch.tensor([-6.0, -3.0])
            self.boxes.weight[:, 0, 0, 0] = 0.001

    def forward(self, x):
        return self.boxes(x), self.scores(x)


def make():
    return Finder().eval()
"""
TASK = {
    "task": "detect",
    "labels": ["background", "dog"],
    "decoder": {
        "heads": [
            {
                "boxes": {"output": "boxes"},
                "scores": {"output": "scores"},
                "grids": [{"rows": 4, "columns": 4, "sizes": [[0.25, 0.25]]}],
            }
        ]
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo that is white in one cell, calibration photos, the network and what it is for."""
    folder = tmp_path_factory.mktemp("detect")
    (folder / "net.py").write_text(NETWORK)
    (folder / "net.json").write_text(json.dumps(TASK))
    (folder / "photos").mkdir()
    for number in range(4):
        pixels = np.zeros((64, 128, 3), np.uint8)
        pixels[16:32, 32 * number : 32 * number + 32] = 255
        Image.fromarray(pixels).save(folder / "photos" / f"{number}.png")
    return folder


@pytest.fixture
def detector(oaq, folder: Path) -> Path:
    """The network with its task in the file."""
    path = folder / "net.oaq"
    if not path.exists():
        code, out, err = oaq(
            "quantize", f"{folder / 'net.py'}:make", "--calibrate", folder / "photos", "--size", 32, "--fit", "stretch",
            "--mean", "0,0,0", "--std", "1,1,1", "--task", folder / "net.json", "--out", path,
        )  # fmt: skip
        assert code == 0, err
        assert "mAP against float" in out and "least of 2 outputs" in out
    return path


def test_a_detectors_file_says_what_its_outputs_mean(oaq, detector: Path, folder: Path) -> None:
    code, out, err = oaq("run", detector, folder / "photos" / "2.png", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["categories"] == [{"id": 18, "name": "dog"}]
    assert document["images"][0]["width"] == 128
    (annotation,) = document["annotations"]
    assert annotation["category_id"] == 18 and annotation["score"] > 0.9
    np.testing.assert_allclose(annotation["bbox"], [64, 16, 32, 16], atol=1)


def test_a_network_is_calibrated_with_photos_as_its_task_has_them_and_flags_hold_over_both(
    oaq, folder: Path, tmp_path: Path
) -> None:
    preparation = {"size": [32, 32], "fit": "stretch", "mean": [0, 0, 0], "std": [1, 1, 1]}
    (tmp_path / "net.task.json").write_text(json.dumps({**TASK, "preprocess": preparation}))
    start = ("quantize", f"{folder / 'net.py'}:make", "--calibrate", folder / "photos")
    flags = ("--size", 32, "--fit", "stretch", "--mean", "0,0,0", "--std", "1,1,1")
    paths = [tmp_path / f"{name}.oaq" for name in ("flags", "task", "both")]
    for path, options in zip(paths, (flags, (), ("--std", "2,2,2")), strict=True):
        task = folder / "net.json" if path.stem == "flags" else tmp_path / "net.task.json"
        code, _, err = oaq(*start, *options, "--task", task, "--name", "net", "--out", path)
        assert code == 0, err
    by_flags, by_task, by_both = map(load, paths)
    assert fingerprint(by_flags) == fingerprint(by_task) != fingerprint(by_both)
    for program, std in ((by_task, 1.0), (by_both, 2.0)):
        task = from_metadata(program.metadata)
        assert task is not None
        for recorded in (Preprocess.from_metadata(program.metadata), task.preprocess):
            assert recorded is not None
            assert (recorded.size, recorded.fit, recorded.std) == ((32, 32), "stretch", (std, std, std))


def test_the_document_is_read_by_pycocotools(oaq, detector: Path, folder: Path, tmp_path: Path) -> None:
    code, out, _ = oaq("run", detector, "--input", folder / "photos", "--json")
    assert code == 0
    coco = COCO()
    coco.dataset = json.loads(out)
    coco.createIndex()
    assert len(coco.getImgIds()) == 4 and len(coco.getAnnIds(catIds=[18])) == 4


def test_boxes_are_drawn_and_words_follow_options(oaq, detector: Path, folder: Path, tmp_path: Path) -> None:
    photo = folder / "photos" / "1.png"
    code, out, err = oaq("run", detector, "--task", "detect", "--labels", "coco", photo, "--save", tmp_path / "y.png")
    assert code == 0, err
    assert "0.9" in out and "at 32,16, 32 x 16 pixels" in out
    with Image.open(tmp_path / "y.png") as drawn, Image.open(photo) as plain:
        assert drawn.size == plain.size and drawn.tobytes() != plain.tobytes()
    code, _, err = oaq("run", detector, folder / "photos", "--save", tmp_path / "y.png")
    assert code == 2 and "is one picture, there are 4 samples; give a folder" in err
    assert oaq("run", detector, folder / "photos", "--save", tmp_path / "many")[0] == 0
    assert sorted(path.name for path in (tmp_path / "many").iterdir()) == ["0.png", "1.png", "2.png", "3.png"]


def test_pictures_of_photos_that_are_called_alike_get_names_of_their_own(tmp_path: Path) -> None:
    photos = [Path(name) for name in ("a.png", "a-2.png", "b/a.jpg", "b/a-2.jpg", "c.npy", "c.npy")]
    names = [path.name for path in picture_paths(tmp_path / "many", photos)]
    assert names == ["a.png", "a-2.png", "a-3.png", "a-2-2.png", "c.png", "c-2.png"]


def test_a_picture_is_written_before_the_next_is_drawn(
    oaq, detector: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    draw = answers.picture_of

    def counted(*arguments):
        counts.append(len(list(tmp_path.glob("many/*.png"))))
        return draw(*arguments)

    monkeypatch.setattr(answers, "picture_of", counted)
    assert oaq("run", detector, folder / "photos", "--save", tmp_path / "many")[0] == 0
    assert counts == [0, 1, 2, 3]


def test_a_classifiers_photos_are_decoded_once_unless_they_are_drawn_on(
    oaq, detector: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "classes.json").write_text('{"task": "classify", "decoder": {"output": "scores"}}')
    arguments = ("run", detector, folder / "photos" / "2.png", "--task", tmp_path / "classes.json")
    decoded = []
    look = answers.seen_photo
    monkeypatch.setattr(answers, "seen_photo", lambda *arguments: decoded.append(arguments) or look(*arguments))
    code, out, err = oaq(*arguments, "--json")
    assert code == 0 and json.loads(out)["samples"] and not decoded, err
    assert oaq(*arguments, "--save", tmp_path / "classes.png")[0] == 0
    assert len(decoded) == 1 and (tmp_path / "classes.png").is_file()
    (tmp_path / "classes.json").write_text('{"task": "classify", "decoder": {"output": "nothing"}}')
    code, _, err = oaq(*arguments)
    assert code == 2 and "the task reads the output 'nothing'" in err


def test_a_description_beside_the_file_stands_for_one_in_it(oaq, detector: Path, folder: Path, tmp_path: Path) -> None:
    onnx = tmp_path / "net.onnx"
    assert oaq("export", detector, "--out", onnx)[0] == 0
    decoder = json.loads(json.dumps(TASK).replace('"boxes"}', '"NAME0"}').replace('"scores"}', '"NAME1"}'))
    code, out, _ = oaq("run", onnx, "--input", folder / "photos" / "2.png", "--json", "--fit", "stretch")
    assert code == 0
    for at, name in enumerate(json.loads(out)["samples"][0]["outputs"]):
        decoder = json.loads(json.dumps(decoder).replace(f"NAME{at}", name))
    decoder["preprocess"] = {"size": [32, 32], "mean": [0, 0, 0], "std": [1, 1, 1], "fit": "stretch"}
    (tmp_path / "net.task.json").write_text(json.dumps(decoder))
    code, out, err = oaq("run", onnx, "--input", folder / "photos" / "2.png", "--json")
    assert code == 0, err
    assert len(json.loads(out)["annotations"]) == 1


def test_classes_of_any_output_can_still_be_looked_at(oaq, detector: Path, folder: Path) -> None:
    code, out, _ = oaq("run", detector, folder / "photos" / "2.png", "--task", "classify", "--json")
    assert code == 0 and set(json.loads(out)["samples"][0]["outputs"]) == {"boxes", "scores"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--task", "segment"], "keeps the task detect, not segment"),
        (["--task", "dream"], "is one of classify, detect, segment, upscale"),
        (["--score", "2"], "lie in 0..1"),
        (["--save", "x.jpeg2"], ""),
        (["--labels", "nowhere.txt"], "labels cannot be read"),
        (["--task", "nowhere.json"], "cannot be read"),
        (["--tsk", "detect"], "unrecognized arguments"),
    ],
)
def test_what_does_not_fit_is_refused(oaq, detector: Path, folder: Path, tmp_path: Path, flags, words) -> None:
    if flags[0] == "--save":
        flags = ["--save", tmp_path / flags[1]]
    code, _, err = oaq("run", detector, folder / "photos" / "2.png", *flags)
    assert (code, words in err) == (2 if words else 0, True), err


def test_nothing_to_run_is_said(oaq, detector: Path) -> None:
    code, _, err = oaq("run", detector)
    assert code == 2 and "give a photo, an array or a folder of them" in err


def test_a_file_called_coco_comes_before_the_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_labels("coco", 80)[0] == "person"
    (tmp_path / "coco").write_text("mine\n")
    assert read_labels("coco", 80) == ("mine",)
    with pytest.raises(FormatError, match="labels cannot be read"):
        read_labels("nothing", 80)
