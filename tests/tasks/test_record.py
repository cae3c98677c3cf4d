"""A task in a file and back; what is no task is one error that names the place."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from oaq.data.preprocess import Preprocess
from oaq.errors import FormatError
from oaq.tasks import classify, detect, from_metadata, load_task, segment, task_metadata, upscale
from oaq.tasks.coco import COCO, COCO_BY_ID, category_ids, named_labels
from oaq.tasks.detect import Detector, Grid, Head, Part

DETECTOR = Detector((Head(Part("b"), Part("s", 1, 3), (Grid(2, 3, ((0.5, 0.25),)),)),), "distances", bins=4)
SIZE = Preprocess((30, 40), fit="pad")


@pytest.mark.parametrize(
    "task",
    [classify(SIZE, ("a", "b")), detect(SIZE, ("x",), DETECTOR), segment(SIZE), upscale(SIZE)],
    ids=lambda t: t.name,
)
def test_metadata_carry_every_task(task) -> None:
    back = from_metadata(task_metadata(task))
    assert back is not None
    assert (back.name, back.labels, back.decoder, back.preprocess) == (
        task.name, task.labels, task.decoder, task.preprocess,
    )  # fmt: skip
    assert from_metadata({}) is None


def test_a_description_says_only_what_differs_from_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "net.task.json"
    head = {"boxes": {"output": "b"}, "scores": {"output": "s"}, "grids": [{"rows": 1, "columns": 2}]}
    path.write_text(json.dumps({"task": "detect", "labels": "coco", "decoder": {"heads": [head], "overlap": 0.5}}))
    task = load_task(path, SIZE)
    assert task.decoder == Detector((Head(Part("b"), Part("s"), (Grid(1, 2),)),), overlap=0.5)
    assert task.preprocess == SIZE and task.labels == COCO_BY_ID
    path.write_text(json.dumps({"task": "segment", "preprocess": {"size": [8, 9], "mean": [0.5], "std": [1]}}))
    assert load_task(path).preprocess == Preprocess((8, 9), mean=(0.5,), std=(1,))


CELL = '{"rows": 1, "columns": 1}'
HEAD = '{"boxes": {"output": "b"}, "scores": {"output": "s"}, "grids": [%s]}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "a task is an object of decoder, labels, preprocess, task"),
        ('{"task": "dream"}', "one of classify, detect, segment, upscale"),
        ('{"task": "detect"}', "where boxes lie in the outputs is not known"),
        ('{"task": "detect", "decoder": {}}', r"decoder: missing keys \['heads'\]"),
        ('{"task": "detect", "decoder": {"heads": []}}', "a detector has heads"),
        ('{"task": "detect", "decoder": {"heads": [%s]}}' % (HEAD % '{"rows": 0, "columns": 1}'), "a grid has cells"),
        ('{"task": "detect", "decoder": {"heads": [3]}}', r"heads\[0\]: is an object, not 3"),
        ('{"task": "detect", "decoder": {"heads": [%s], "coder": "magic"}}' % (HEAD % CELL), "magic"),
        ('{"task": "classify", "labels": [1]}', "labels are a list of names"),
        ('{"task": "classify", "labels": "imagenet"}', "labels are a list of names"),
        ('{"task": "classify", "preprocess": {"size": 3}}', "preprocessing is damaged"),
        ('{"task": "classify", "colour": 1}', "a task is an object"),
        ('{"task": "classify", "decoder": {"top": "five"}}', "decoder.top: is a int"),
    ],
)  # fmt: skip
def test_what_is_no_task_is_named_with_its_place(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=words) as caught:
        load_task(path)
    assert str(path) in str(caught.value) or "preprocessing" in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        load_task(tmp_path / "no.json")


def test_labels_of_sets_fit_the_number_of_classes() -> None:
    assert len(COCO) == 80 and COCO[90] == "toothbrush" and COCO[1] == "person"
    labels = named_labels("coco", 80)
    assert labels is not None and category_ids(labels)[79] == 90
    assert category_ids(COCO_BY_ID)[18] == 18
    assert named_labels("voc", 20) is not None and category_ids(named_labels("voc", 21) or ()) == {}
    assert named_labels("imagenet", 1000) is None
    assert np.unique(list(COCO)).size == 80


HEAD = {"boxes": {"output": "b"}, "scores": {"output": "s"}, "grids": [{"rows": 2, "columns": 2}]}


@pytest.mark.parametrize(
    "text",
    [
        '{"task": []}',
        '{"task": {}}',
        *(json.dumps({"task": "segment", "decoder": {"threshold": value}}) for value in (10**400, float("nan"))),
        *(json.dumps({"task": "segment", "decoder": {"background": value}}) for value in (1 << 70, -2)),
        *(json.dumps({"task": "upscale", "decoder": {"low": value}}) for value in (1, 1e308, float("-inf"))),
        json.dumps({"task": "upscale", "decoder": {"border": -1}}),
        *(
            json.dumps({"task": "detect", "decoder": {"heads": [HEAD], "scales": [value] * 4}})
            for value in (float("nan"), 0, 1e-320, float("inf"))
        ),
        *(
            json.dumps({"task": "detect", "decoder": {"heads": [{**HEAD, "grids": grids}]}})
            for grids in (
                [],
                *([{"rows": 1, "columns": 1, "sizes": [[1, side]]}] for side in (-1, 1e308, float("nan"))),
            )
        ),
    ],
)
def test_numbers_and_types_that_no_decoder_can_compute_with_are_refused_in_words(text: str, tmp_path: Path) -> None:
    (tmp_path / "net.task.json").write_text(text)
    with pytest.raises(FormatError, match=r"net\.task\.json: "):
        load_task(tmp_path / "net.task.json", SIZE)
