r"""The loaders on three real photos of Pascal VOC, whose boxes one package has in both forms, whole and damaged.

    pip download --no-deps --no-binary labelme labelme==6.3.1
    python -m recipes.detection.folders labelme-6.3.1.tar.gz --record

The archive (GPL-3: fetched, never copied into the repository) holds VOC2011 photos with VOC's XML and with COCO's JSON.
Both are read and their boxes compared; then copies are damaged, one way each, and read as a user would: the first
reading stops and names the file, ``--skip-bad`` leaves it out and counts it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from oaq.errors import Mismatch
from oaq.tasks.coco import COCO
from oaq.tasks.detections import overlaps
from recipes import labelme
from recipes.data.annotations import Skips
from recipes.detection.samples import Sample, open_folder
from recipes.labelme import EXAMPLES, PHOTOS, Damage, cut_photo, drop_photo, edit_annotation, edit_text

VOC_FOLDER, COCO_FOLDER = "bbox_detection/data_dataset_voc", "instance_segmentation/data_dataset_coco"
LEAST_OVERLAP: Final = 0.75
"""Boxes of one form are drawn by hand, those of the other are of outlines: the same object overlaps at least so."""


def members() -> list[str]:
    """Paths inside the archive."""
    voc = [f"{VOC_FOLDER}/{kind}" for name in PHOTOS for kind in (f"Annotations/{name}.xml", f"JPEGImages/{name}.jpg")]
    coco = [f"{COCO_FOLDER}/annotations.json", *(f"{COCO_FOLDER}/JPEGImages/{name}.jpg" for name in PHOTOS)]
    return [EXAMPLES + name for name in (*voc, *coco)]


FIRST: Final = f"Annotations/{PHOTOS[0]}.xml"
DAMAGES: Final[Mapping[str, Mapping[str, Damage]]] = {
    "VOC": {
        "XML cut short": edit_text(FIRST, "</annotation>", ""),
        "box outside the photo": edit_text(FIRST, "<xmax>", "<xmax>1"),
        "edge that is no number": edit_text(FIRST, "<ymin>", "<ymin>top "),
        "unknown class": edit_text(FIRST, "<name>person", "<name>gnu"),
        "photo missing": drop_photo,
        "photo cut short": cut_photo,
    },
    "COCO": {
        "box outside the photo": edit_annotation("bbox", [191, 107, 900, 221]),
        "box without area": edit_annotation("bbox", [191, 107, 0, 221]),
        "box of three numbers": edit_annotation("bbox", [191, 107, 123]),
        "unknown class": edit_text("annotations.json", '"name": "person"', '"name": "gnu"'),
        "annotation of no image": edit_text("annotations.json", '"image_id": 0', '"image_id": 77'),
        "photo missing": drop_photo,
        "photo cut short": cut_photo,
    },
}


def read_all(place: Path, skips: Skips) -> list[Sample]:
    """Every sample of a folder."""
    return list(open_folder(place, {name: number for number, name in COCO.items()}, skips))


def least_overlap(voc: Sequence[Sample], coco: Sequence[Sample]) -> tuple[int, float]:
    """Objects of VOC's form, and the least overlap of one with its nearest of its class in COCO's form.

    Raises:
        Mismatch: an object has none, or one that is elsewhere.
    """
    by_title = {Path(sample.title).name: sample for sample in coco}
    worst, count = 1.0, 0
    for sample in voc:
        coco_sample = by_title[Path(sample.title).name]
        shares = overlaps(sample.boxes, coco_sample.boxes)
        shares[sample.categories[:, None] != coco_sample.categories[None, :]] = 0.0
        nearest = shares.max(axis=1, initial=0.0)
        worst, count = min(worst, float(nearest.min(initial=1.0))), count + len(nearest)
        if worst < LEAST_OVERLAP:
            raise Mismatch(f"{sample.title}: an object overlaps that of the other form by {worst:.2f} only")
    return count, worst


def run(archive: Path, record: bool) -> int:
    """Read, compare, damage, print."""
    with tempfile.TemporaryDirectory() as scratch:
        labelme.write_members(archive, members(), Path(scratch))
        folders = {"VOC": Path(scratch) / VOC_FOLDER, "COCO": Path(scratch) / COCO_FOLDER}
        samples = {form: read_all(place, Skips(None)) for form, place in folders.items()}
        count, worst = least_overlap(samples["VOC"], samples["COCO"])
        rows = labelme.damaged_rows(DAMAGES, folders, read_all, Path(scratch))
    facts = (
        *((f"{form}: photos / objects / classes", _counts(read)) for form, read in samples.items()),
        (f"least overlap of VOC's {count} objects with COCO's", f"{worst:.2f}"),
    )
    labelme.publish("detection", "Three photos of VOC2011 in two forms", facts, rows, record=record)
    return 0


def _counts(samples: Sequence[Sample]) -> str:
    categories = np.concatenate([sample.categories for sample in samples])
    return f"{len(samples)} / {len(categories)} / {len(np.unique(categories))}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run; every refusal is one line."""
    return labelme.main("detection", __doc__ or "", run, arguments)


if __name__ == "__main__":
    sys.exit(main())
