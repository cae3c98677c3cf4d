"""The segmentation recipe without its data: volumes made in the test, tiny networks, generated masks."""

from __future__ import annotations

import dataclasses
import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import oaq
from oaq.cli import main as oaq_main
from oaq.data.preprocess import Preprocess
from oaq.errors import FormatError
from oaq.tasks import Segmenter, segment
from oaq.tasks.segment import mean_iou_of
from recipes.data.annotations import Skips
from recipes.detection.composited import CutOut
from recipes.integers import export_described
from recipes.networks import WeightsError
from recipes.segmentation import __main__ as command
from recipes.segmentation import folders, heads, networks, scenes
from recipes.segmentation.deeplab import DeepLab
from recipes.segmentation.nifti import Volume, read_volume, resampled
from recipes.segmentation.samples import IGNORE, Masked
from recipes.segmentation.scoring import FLOAT, contact_sheet, score_set
from recipes.segmentation.sources import source_of
from recipes.segmentation.unet import UNet
from recipes.training import Stage

LABELS = ("background", "left", "right")
SIDE = 16


def nifti(
    voxels: np.ndarray, *, order: str = "<", origin: tuple[float, ...] = (-1, -2, -3), spacing: float = 1
) -> bytes:
    codes = {"u1": 2, "i2": 4, "f4": 16}
    header = bytearray(352)
    struct.pack_into(f"{order}i", header, 0, 348)
    struct.pack_into(f"{order}4h", header, 40, 3, *voxels.shape)
    struct.pack_into(f"{order}h", header, 70, codes[voxels.dtype.str[1:]])
    struct.pack_into(f"{order}f", header, 108, 352.0)
    for axis in range(3):
        row = [spacing * (axis == column) for column in range(3)]
        struct.pack_into(f"{order}4f", header, 280 + 16 * axis, *row, origin[axis])
    header[344:348] = b"n+1\0"
    return bytes(header) + voxels.astype(voxels.dtype.newbyteorder(order)).tobytes(order="F")


@pytest.mark.parametrize("kind", ["u1", "i2", "f4"])
@pytest.mark.parametrize("order", "<>")
def test_volumes_are_read_as_they_were_written(kind: str, order: str) -> None:
    voxels = np.arange(24).reshape(2, 3, 4).astype(kind)
    for content in (nifti(voxels, order=order), gzip.compress(nifti(voxels, order=order))):
        volume = read_volume(content, "v.nii")
        np.testing.assert_array_equal(volume.voxels, voxels)
        assert volume.origin == (-1, -2, -3) and volume.spacing == (1, 1, 1)


def patched(place: int, content: bytes) -> bytes:
    whole = bytearray(nifti(np.zeros((2, 3, 4), np.uint8)))
    whole[place : place + len(content)] = content
    return bytes(whole)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a NIfTI-1 volume"),
        (b"\x1f\x8bnonsense", "is not a gzip file that opens"),
        (patched(344, b"ni1\0"), "is not a NIfTI-1 volume in one file"),
        (patched(0, b"\1\1\1\1"), "its header does not have 348 bytes"),
        (patched(40, struct.pack("<4h", 4, 2, 3, 4)), "4 axes of"),
        (patched(40, struct.pack("<4h", 3, -2, 3, 4)), "3 axes of"),
        (patched(40, struct.pack("<4h", 3, 32767, 32767, 32767)), "35181150961663 voxels of 1 bytes are announced"),
        (patched(70, struct.pack("<h", 128)), "type 128"),
        (patched(108, struct.pack("<f", float("nan"))), "axes of"),
        (patched(284, struct.pack("<f", 1.0)), "its axes are turned"),
        (patched(280, struct.pack("<f", -1.0)), "its axes are turned"),
        (nifti(np.zeros((2, 3, 4), np.uint8))[:-1], "24 voxels of 1 bytes are announced, 375 bytes are there"),
    ],
    ids=range(12),
)
def test_what_is_no_volume_is_named(content: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        read_volume(content, "v.nii")
    assert str(caught.value).startswith("v.nii: ")


def test_voxels_are_taken_at_the_same_millimetres() -> None:
    a = Volume(np.arange(27).reshape(3, 3, 3), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    b = Volume(np.zeros((2, 2, 2)), (1.0, 2.0, -1.0), (1.0, 1.0, 2.0))
    np.testing.assert_array_equal(resampled(a, b), [[[0, 16], [0, 0]], [[0, 25], [0, 0]]])


def test_no_training_slice_is_beside_a_test_slice() -> None:
    heights = np.arange(-70, 100)
    test, train = heads.parts(heights)
    assert not (test & train).any() and test.any() and train.any()
    near = np.abs(heights[train][:, None] - heights[test][None, :]).min()
    assert near == heads.GUARD + 1


def test_tissues_are_what_most_of_a_voxel_is() -> None:
    brain = np.array([0, 9, 9, 9, 9], np.uint8)
    grey, white = np.array([255, 200, 20, 60, 255], np.uint8), np.array([0, 55, 230, 60, 255], np.uint8)
    assert heads.tissues_of(brain, grey, white).tolist() == [0, 2, 3, 1, 2]


def square() -> CutOut:
    return CutOut("square", 16, np.tile(np.array([200, 30, 30, 255], np.uint8), (20, 40, 1)))


def test_masks_of_composited_photos_are_where_the_cut_outs_are(tmp_path: Path) -> None:
    Image.new("RGB", (100, 100), (0, 0, 255)).save(tmp_path / "b.png")

    def make() -> list[Masked]:
        return list(scenes.masked_scenes([square()], [tmp_path / "b.png"], 4, 3))

    for sample, again in zip(make(), make(), strict=True):
        np.testing.assert_array_equal(sample.photo, again.photo)
        np.testing.assert_array_equal(sample.mask, again.mask)
        red = (sample.photo[..., 0] > 100) & (sample.photo[..., 2] < 100)
        assert set(np.unique(sample.mask)) == {0, scenes.LABELS.index("bird")}
        assert np.mean(red == (sample.mask > 0)) > 0.998


def halves(count: int) -> list[Masked]:
    """Photos whose left is dark and whose right is bright, under a frame of grey."""
    rng, samples = np.random.default_rng(count), []
    for number in range(count):
        edge = int(rng.integers(5, 12))
        mask = np.ones((SIDE, SIDE), np.int64)
        mask[:, edge:] = 2
        mask[:3] = 0
        photo = np.array([120, 20, 230], np.uint8)[mask]
        samples.append(Masked(f"half {number}", np.repeat(photo[..., None], 3, axis=2), mask))
    return samples


def tiny_task(rows: int) -> oaq.tasks.Task:
    preprocess = Preprocess((rows, rows), mean=(0.5,), std=(0.25,), fit="stretch")
    return segment(preprocess, LABELS, Segmenter(networks.OUTPUT))


def tiny(rise: networks.Rise = "transposed") -> networks.SegmentationNetwork:
    def make() -> torch.nn.Module:
        torch.manual_seed(0)
        return UNet(len(LABELS), rise, base=4, depth=2)

    return networks.SegmentationNetwork(
        "tiny",
        make,
        tiny_task,
        rows=SIDE,
        multiple=4,
        samples=lambda count: halves(count or 24),
        tests=lambda count: {"halves": halves(max(count, 6))},
        floating=Stage(4, 4, 0.05, 1e-4),
        integers=Stage(1, 4, 1e-4, 1e-4),
        note="Photos are drawn.",
    )


@pytest.fixture
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> networks.SegmentationNetwork:
    network = tiny()
    monkeypatch.setattr(command, "NETWORKS", {"tiny": network})
    monkeypatch.setattr(command, "FIRST", "tiny")
    return network


def test_an_epoch_depends_on_its_arguments_only_and_moves_masks_with_photos() -> None:
    source = source_of(halves(6), tiny_task(SIDE).preprocess)
    batches, again = (list(source.epoch(2, 1, 3)) for _ in range(2))
    for (x, y), (x2, y2) in zip(batches, again, strict=True):
        assert torch.equal(x, x2) and torch.equal(y, y2)
    skipped = list(source.epoch(2, 1, 3, skip=1))
    assert len(skipped) == 2 and torch.equal(skipped[0][0], batches[1][0])
    ranks = [next(iter(source.epoch(2, 1, 3, share=(rank, 2))))[0] for rank in (0, 1)]
    assert torch.equal(torch.cat(ranks), batches[0][0])
    for x, y in batches:
        assert (x[:, 0][y == 1].max() < x[:, 0][y == 0].min()) and (x[:, 0][y == 0].max() < x[:, 0][y == 2].min())


def test_pixels_that_no_network_saw_are_not_counted_and_float_agrees_with_itself() -> None:
    task = segment(Preprocess((4, 4), mean=(0.0,), std=(1.0,)), LABELS, Segmenter("y"))
    mask = np.zeros((4, 8), np.int64)
    mask[:, :2], mask[:, 6:] = 2, IGNORE  # both outside the crop of the centre
    sample = Masked("wide", np.zeros((4, 8, 3), np.uint8), mask)
    logits = np.zeros((1, 3, 4, 4), np.float32)
    logits[0, 0] = 1
    wrong = logits[:, ::-1]
    scored = score_set({FLOAT: lambda x: logits, "other": lambda x: wrong}, task, [sample], "set")
    assert scored.photos == 1 and scored.counts[FLOAT].tolist() == [[16, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert mean_iou_of(scored.agreement[FLOAT]) == 1.0 and mean_iou_of(scored.agreement["other"]) == 0.0
    (sheet,) = contact_sheet(scored, task, "set")
    assert [title for title, _ in sheet.pictures] == ["truth", FLOAT, "other"]


@pytest.mark.parametrize("origin", ["torch", "onnx"])
def test_the_whole_path_on_a_tiny_network(
    tmp_path: Path, tiny_network: networks.SegmentationNetwork, origin: str
) -> None:
    arguments = ["--out", str(tmp_path), "--images", "4", "--from", origin, "--scenes", "6", "--rounding", "nearest"]
    assert command.main([*arguments, *(["--qat"] if origin == "torch" else [])]) == 0
    result = json.loads((tmp_path / "tiny" / "result.json").read_text())
    facts = dict(result["facts"])
    title = next(name for name in facts if name.startswith("mIoU on"))
    values = [float(value) for value in facts[title].split(" / ")]
    assert values[0] > 60 and min(values) > values[0] - 5 and len(values) == (3 if origin == "torch" else 2)
    assert [dict(row)["class"] for row in result["rows"]] == list(LABELS)
    assert "data:image/jpeg;base64" in (tmp_path / "tiny" / "report.html").read_text()
    program = oaq.load(str(tmp_path / "tiny" / "tiny.oaq"))
    before = (tmp_path / "tiny" / "tiny.oaq").stat().st_mtime_ns
    assert command.main([*arguments, "--resume"]) == 0
    assert oaq.load(str(tmp_path / "tiny" / "tiny.oaq")).metadata["source"] == program.metadata["source"]
    assert (tmp_path / "tiny" / "tiny.oaq").stat().st_mtime_ns != before  # evidence is written anew


def test_masks_of_a_user_are_scored_and_bad_ones_counted(
    tmp_path: Path, tiny_network: networks.SegmentationNetwork, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for kind in ("images", "masks"):
        (data / kind).mkdir(parents=True)
    (data / "labels.txt").write_text("background\nleft\nright\nmiddle\n")
    for number, sample in enumerate(halves(3)):
        Image.fromarray(sample.photo).save(data / "images" / f"{number}.png")
        Image.fromarray((sample.mask + (number == 2)).astype(np.uint8)).save(data / "masks" / f"{number}.png")
    arguments = ["--out", str(tmp_path), "--images", "2", "--epochs", "0", "--data", str(data), "--budget", "none"]
    arguments += ["--rounding", "nearest", "--resume"]
    assert command.main(arguments) == 2
    assert "2.png: has" in capsys.readouterr().err
    assert command.main([*arguments, "--skip-bad"]) == 0
    facts = dict(json.loads((tmp_path / "tiny" / "result.json").read_text())["facts"])
    assert facts["files left out"] == "1" and any(name.startswith("mIoU on 2 photos of --data") for name in facts)
    for number in (0, 1):
        (data / "masks" / f"{number}.png").write_bytes(b"no mask")
    assert command.main([*arguments, "--skip-bad"]) == 2
    assert "not a photo is left to score" in capsys.readouterr().err
    assert command.main([*arguments, "--skip-bad", "--unknown", "ignore"]) == 0


def test_refusals_are_one_line(tmp_path: Path, tiny_network: object, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path)]
    assert command.main([*out, "--size", "18"]) == 2
    assert "--size 18: rows of tiny are a multiple of 4" in capsys.readouterr().err
    assert command.main([*out, "--data", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: holds no masks" in capsys.readouterr().err and not (tmp_path / "tiny").exists()
    assert command.main([*out, "--weights", str(tmp_path / "none.pt")]) == 2
    assert "no such file" in capsys.readouterr().err
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError):
        networks.load_float(tiny(), tmp_path / "other.pt", SIDE, tmp_path, 0)


def test_oaq_quantizes_and_runs_what_the_recipe_exports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = tiny_task(SIDE)
    export_described(tiny("resize").make().eval(), task, tmp_path / "net.onnx", (networks.OUTPUT,))
    (tmp_path / "photos").mkdir()
    for sample in halves(4):
        Image.fromarray(sample.photo).save(tmp_path / "photos" / f"{sample.title}.png")
    photo = str(tmp_path / "photos" / "half 0.png")
    description = str(tmp_path / "net.task.json")
    out = str(tmp_path / "net.oaq")
    quantize = ["quantize", str(tmp_path / "net.onnx"), "--calibrate", str(tmp_path / "photos"), "--task", description]
    assert oaq_main([*quantize, "--out", out]) == 0
    capsys.readouterr()
    saved = tmp_path / "mask.png"
    assert oaq_main(["run", out, "--task", "segment", photo, "--save", str(saved), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["task"] == "segment" and document["images"][0]["width"] == SIDE
    assert all(entry["segmentation"]["size"] == [SIDE, SIDE] for entry in document["annotations"])
    with Image.open(saved) as picture:
        assert picture.size == (SIDE, SIDE)


def test_deeplab_answers_every_pixel_and_keeps_its_first_layers() -> None:
    net = DeepLab(5).train()
    before = [value.clone() for value in net.frozen.state_dict().values()]
    y = net(torch.randn(2, 3, 48, 64))
    y.mean().backward()
    assert y.shape == (2, 5, 48, 64)
    assert all(torch.equal(a, b) for a, b in zip(before, net.frozen.state_dict().values(), strict=True))
    assert all(weights.grad is None for weights in net.frozen.parameters())
    depthwise = [m for m in net.trunk.modules() if isinstance(m, torch.nn.Conv2d) and m.groups > 1]
    assert [m.dilation[0] for m in depthwise[-4:]] == [1, 2, 2, 2]


def test_forms_of_the_same_masks_are_compared_pixel_by_pixel() -> None:
    samples = [dataclasses.replace(sample, title=f"x/{sample.title}") for sample in halves(3)]
    assert folders.same_pixels(samples, samples) == 1.0
    moved = [dataclasses.replace(sample, mask=np.roll(sample.mask, 1, 1)) for sample in samples]
    assert folders.same_pixels(moved, samples) < 1.0


def test_written_forms_are_read_back_pixel_by_pixel(tmp_path: Path) -> None:
    (tmp_path / "coco").mkdir()
    samples = []
    for number, sample in enumerate(halves(2)):
        path = tmp_path / "coco" / f"{number}.png"
        Image.fromarray(sample.photo).save(path)
        sample.mask[-1] = IGNORE
        samples.append(dataclasses.replace(sample, title=str(path)))
    images = [{"id": number, "file_name": f"{number}.png", "height": SIDE, "width": SIDE} for number in range(2)]
    (tmp_path / "coco" / "annotations.json").write_text(json.dumps({"images": images}))
    for place in (
        folders.write_runs(samples, tmp_path / "coco", tmp_path / "runs"),
        folders.write_stuff(samples, tmp_path / "stuff"),
    ):
        for sample, again in zip(samples, folders.read_all(place, Skips(None)), strict=True):
            np.testing.assert_array_equal(again.mask, sample.mask)
