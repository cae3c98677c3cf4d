r"""The loaders on three real photos of Pascal VOC, whose masks one package has in several forms, whole and damaged.

    pip download --no-deps --no-binary labelme labelme==6.3.1
    python -m recipes.segmentation.folders labelme-6.3.1.tar.gz --record

The archive (GPL-3: fetched, never copied into the repository) holds VOC2011 photos with VOC's palette masks and with
COCO's polygons of the same outlines. Both are read and their pixels compared; masks are also written again as
COCO-stuff and as run lengths, and read back. Then copies are damaged, one way each, and read as a user would: the first
reading stops and names the file, ``--skip-bad`` leaves it out and counts it.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from oaq.errors import Mismatch
from oaq.tasks.coco import VOC
from oaq.tasks.segment import confusion, mean_iou_of, run_lengths
from recipes import labelme
from recipes.data.annotations import Skips
from recipes.labelme import EXAMPLES, PHOTOS, Damage, cut_photo, drop_photo, edit_annotation, edit_text
from recipes.segmentation.samples import IGNORE, Masked, classes_of, open_folder

VOC_FOLDER, COCO_FOLDER = "instance_segmentation/data_dataset_voc", "instance_segmentation/data_dataset_coco"
LEAST_SAME: Final = 0.97
"""Least mIoU of the two forms: both are filled outlines, and pixels on an outline belong to either side."""
FIRST: Final = f"SegmentationClass/{PHOTOS[0]}.png"
VALUE: Final = 77
"""A class that VOC does not have."""


def members() -> list[str]:
    """Paths inside the archive."""
    voc = [
        f"{VOC_FOLDER}/{kind}"
        for name in PHOTOS
        for kind in (f"SegmentationClass/{name}.png", f"JPEGImages/{name}.jpg")
    ]
    coco = [f"{COCO_FOLDER}/annotations.json", *(f"{COCO_FOLDER}/JPEGImages/{name}.jpg" for name in PHOTOS)]
    return [EXAMPLES + name for name in (*voc, f"{VOC_FOLDER}/class_names.txt", *coco)]


def unpack_folders(archive: Path, place: Path) -> dict[str, Path]:
    """Write the folders into ``place``, and two more made of them; returns all by the form of their masks.

    Raises:
        FetchError: the archive is damaged or another one.
    """
    labelme.write_members(archive, members(), place)
    folders = {"VOC": place / VOC_FOLDER, "COCO polygons": place / COCO_FOLDER}
    samples = read_all(folders["VOC"], Skips(None))
    folders["COCO run lengths"] = write_runs(samples, folders["COCO polygons"], place / "runs")
    folders["COCO-stuff"] = write_stuff(samples, place / "stuff")
    return folders


def write_runs(samples: Sequence[Masked], coco: Path, place: Path) -> Path:
    """A COCO folder with a region of run lengths per class; what is not counted is a crowd."""
    shutil.copytree(coco, place)
    document: dict[str, Any] = json.loads((place / "annotations.json").read_text(encoding="utf-8"))
    ids = {Path(item["file_name"]).name: item["id"] for item in document["images"]}
    regions = [
        (ids[Path(sample.title).name], int(index), sample.mask == index, list(sample.mask.shape))
        for sample in samples
        for index in np.unique(sample.mask)
        if index
    ]
    document["categories"] = [{"id": number, "name": name} for number, name in enumerate(("", *VOC)) if number]
    document["annotations"] = [
        {
            "id": number,
            "image_id": image,
            "category_id": 1 if index == IGNORE else index,
            "iscrowd": int(index == IGNORE),
            "segmentation": {"size": size, "counts": run_lengths(pixels)},
        }
        for number, (image, index, pixels, size) in enumerate(regions, 1)
    ]
    (place / "annotations.json").write_text(json.dumps(document), encoding="utf-8")
    return place


def write_stuff(samples: Sequence[Masked], place: Path) -> Path:
    """A COCO-stuff folder: grey masks, names in ``labels.txt`` by category id."""
    from PIL import Image

    for kind in ("images", "stuffthingmaps"):
        (place / kind).mkdir(parents=True)
    for sample in samples:
        path = Path(sample.title)
        shutil.copy(path, place / "images" / path.name)
        Image.fromarray(sample.mask.astype(np.uint8)).save(place / "stuffthingmaps" / f"{path.stem}.png")
    names = "\n".join(f"{number}: {name}" for number, name in enumerate(("unlabeled", "background", *VOC)))
    (place / "labels.txt").write_text(names, encoding="utf-8")
    return place


def read_all(place: Path, skips: Skips) -> list[Masked]:
    """Every sample of a folder, in VOC's classes."""
    return list(open_folder(place, classes_of(("background", *VOC)), skips))


def same_pixels(a: Sequence[Masked], b: Sequence[Masked]) -> float:
    """The mIoU of one form with another as the truth."""
    by_name = {Path(sample.title).name: sample.mask for sample in b}
    masks = [sample.mask for sample in a]
    return mean_iou_of(confusion(masks, [by_name[Path(sample.title).name] for sample in a], IGNORE))


def change_mask(kind: str) -> Damage:
    """Damage the first mask: "cut", "crop", "value"."""

    def change(folder: Path) -> None:
        from PIL import Image

        path = folder / FIRST
        if kind == "cut":
            path.write_bytes(path.read_bytes()[:700])
            return
        with Image.open(path) as opened:
            mask = np.array(opened)
        if kind == "crop":
            mask = mask[:, :-1]
        else:
            mask[:2, :3] = VALUE
        Image.fromarray(mask).save(path)

    return change


def drop_mask(folder: Path) -> None:
    """List a photo whose mask is not there."""
    (folder / FIRST).unlink()
    (folder / "val.txt").write_text("\n".join(PHOTOS), encoding="utf-8")


DAMAGES: Final[Mapping[str, Mapping[str, Damage]]] = {
    "VOC": {
        "mask cut short": change_mask("cut"),
        "mask a column narrower": change_mask("crop"),
        "value without a class": change_mask("value"),
        "class unknown to the network": edit_text("class_names.txt", "person", "gnu"),
        "mask missing": drop_mask,
        "photo missing": drop_photo,
        "photo cut short": cut_photo,
    },
    "COCO polygons": {
        "polygon outside the photo": edit_annotation("segmentation", [[10, 10, 900, 10, 50, 50]]),
        "polygon of two corners": edit_annotation("segmentation", [[10, 10, 20, 20]]),
        "run lengths of another size": edit_annotation("segmentation", {"size": [4, 4], "counts": [16]}),
        "no region": edit_annotation("segmentation", None),
        "unknown class": edit_text("annotations.json", '"name": "person"', '"name": "gnu"'),
        "photo missing": drop_photo,
        "photo cut short": cut_photo,
    },
}


def run(archive: Path, record: bool) -> int:
    """Read, compare, damage, print.

    Raises:
        Mismatch: two forms of the same masks are different pixels.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folders = unpack_folders(archive, Path(scratch))
        samples = {form: read_all(place, Skips(None)) for form, place in folders.items()}
        likeness = {form: same_pixels(read, samples["VOC"]) for form, read in samples.items() if form != "VOC"}
        rows = labelme.damaged_rows(DAMAGES, folders, read_all, Path(scratch))
    for form, share in likeness.items():
        if share < (LEAST_SAME if form == "COCO polygons" else 1.0):
            raise Mismatch(f"{form}: the mIoU with VOC's masks is {share:.4f} only")
    facts = (
        *((f"{form}: photos / classes / pixels that count", _counts(read)) for form, read in samples.items()),
        *((f"{form}: mIoU with VOC's masks for the truth", f"{share:.4f}") for form, share in likeness.items()),
    )
    labelme.publish("segmentation", "Three photos of VOC2011 in four forms", facts, rows, record=record)
    return 0


def _counts(samples: Sequence[Masked]) -> str:
    values = np.concatenate([sample.mask.reshape(-1) for sample in samples])
    counted = values[values != IGNORE]
    return f"{len(samples)} / {len(np.unique(counted))} / {len(counted)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run; every refusal is one line."""
    return labelme.main("segmentation", __doc__ or "", run, arguments)


if __name__ == "__main__":
    sys.exit(main())
