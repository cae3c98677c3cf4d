r"""The loaders on three real photos of Pascal VOC, whose boxes one package has in both forms, whole and damaged.

    pip download --no-deps --no-binary labelme labelme==6.3.1
    python -m recipes.detection.folders labelme-6.3.1.tar.gz --record

The archive (GPL-3: fetched, never copied into the repository) holds VOC2011 photos with VOC's XML and with COCO's JSON.
Both are read and their boxes compared; then copies are damaged, one way each, and read as a user would: the first
reading stops and names the file, ``--skip-bad`` leaves it out and counts it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from oaq.errors import FormatError, Mismatch
from oaq.tasks.coco import COCO
from oaq.tasks.detections import overlaps
from oaq.terminal import say
from oaq.terminal.table import Table
from recipes import result_file
from recipes.data.packages import FetchError, Package, fetch
from recipes.data.registries import tar_members
from recipes.demo import RECORDED
from recipes.detection.samples import Sample, Skips, open_folder
from recipes.exit_code import exit_code
from recipes.result_file import Result, stamp

LABELME: Final = Package(
    "labelme",
    "6.3.1",
    "labelme-6.3.1.tar.gz",
    "2947e0d8341a92faa7b3ee50cf4b672f838051c6bf24892526e95b64fd3a707e",
    13_980_775,
)
EXAMPLES: Final = "labelme-6.3.1/examples/"
VOC_FOLDER, COCO_FOLDER = "bbox_detection/data_dataset_voc", "instance_segmentation/data_dataset_coco"
PHOTOS: Final = ("2011_000003", "2011_000006", "2011_000025")
LEAST_OVERLAP: Final = 0.75
"""Boxes of one form are drawn by hand, those of the other are of outlines: the same object overlaps at least so."""
Damage = Callable[[Path], None]


def members() -> list[str]:
    """Paths inside the archive."""
    voc = [f"{VOC_FOLDER}/{kind}" for name in PHOTOS for kind in (f"Annotations/{name}.xml", f"JPEGImages/{name}.jpg")]
    coco = [f"{COCO_FOLDER}/annotations.json", *(f"{COCO_FOLDER}/JPEGImages/{name}.jpg" for name in PHOTOS)]
    return [EXAMPLES + name for name in (*voc, *coco)]


def unpack_folders(archive: Path, place: Path) -> tuple[Path, Path]:
    """Write the two folders into ``place``; returns VOC's and COCO's.

    Raises:
        FetchError: the archive is damaged or another one.
    """
    for name, content in tar_members(archive, members()).items():
        path = place / name.removeprefix(EXAMPLES)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return place / VOC_FOLDER, place / COCO_FOLDER


def find_archive() -> Path:
    """The archive in the cache.

    Raises:
        FetchError: it is not there. pip builds a source archive to learn its name, so that it is fetched by hand.
    """

    def refuse(package: Package, _folder: Path) -> None:
        raise FetchError(
            f"{package}: the source archive is needed: pip download --no-deps --no-binary labelme labelme==6.3.1, "
            f"then: python -m recipes.detection.folders {package.file}"
        )

    return fetch(LABELME, refuse)


def edit_text(name: str, old: str, new: str) -> Damage:
    """Replace the first ``old`` of a file."""

    def edit(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        if old not in text:
            raise FormatError(f"{folder / name}: does not hold {old!r}; the archive is another one")
        (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return edit


def edit_box(box: Sequence[float]) -> Damage:
    """Give the first annotation of a COCO file another box."""

    def edit(folder: Path) -> None:
        path = folder / "annotations.json"
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        document["annotations"][0]["bbox"] = list(box)
        path.write_text(json.dumps(document), encoding="utf-8")

    return edit


def cut_photo(name: str) -> Damage:
    """Leave the first 2000 bytes of a photo."""

    def cut(folder: Path) -> None:
        path = folder / "JPEGImages" / f"{name}.jpg"
        path.write_bytes(path.read_bytes()[:2000])

    return cut


def drop_photo(folder: Path) -> None:
    """Delete the first photo."""
    (folder / "JPEGImages" / f"{PHOTOS[0]}.jpg").unlink()


FIRST: Final = f"Annotations/{PHOTOS[0]}.xml"
DAMAGES: Final[Mapping[str, Mapping[str, Damage]]] = {
    VOC_FOLDER: {
        "XML cut short": edit_text(FIRST, "</annotation>", ""),
        "box outside the photo": edit_text(FIRST, "<xmax>", "<xmax>1"),
        "edge that is no number": edit_text(FIRST, "<ymin>", "<ymin>top "),
        "unknown class": edit_text(FIRST, "<name>person", "<name>gnu"),
        "photo missing": drop_photo,
        "photo cut short": cut_photo(PHOTOS[0]),
    },
    COCO_FOLDER: {
        "box outside the photo": edit_box((191, 107, 900, 221)),
        "box without area": edit_box((191, 107, 0, 221)),
        "box of three numbers": edit_box((191, 107, 123)),
        "unknown class": edit_text("annotations.json", '"name": "person"', '"name": "gnu"'),
        "annotation of no image": edit_text("annotations.json", '"image_id": 0', '"image_id": 77'),
        "photo missing": drop_photo,
        "photo cut short": cut_photo(PHOTOS[0]),
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


def damaged_rows(folders: Mapping[str, Path], scratch: Path) -> list[tuple[str, str, str, str]]:
    """(form, damage, photos read of 3 and files left out, the sentence that names what is wrong), a line per damage.

    Raises:
        Mismatch: a damaged folder was read as if it were whole.
    """
    rows = []
    for form, damages in DAMAGES.items():
        for number, (name, damage) in enumerate(damages.items()):
            place = scratch / f"{form.rpartition('_')[2]}-{number}"
            shutil.copytree(folders[form], place)
            damage(place)
            try:
                read_all(place, Skips(None))
            except FormatError as error:
                words = (
                    str(error)
                    .replace(f"{place}/", "")
                    .removesuffix(". --skip-bad leaves such files out and counts them")
                )
            else:
                raise Mismatch(f"{place}: {name}: was read as if it were whole")
            skips = Skips([])
            photos = len(read_all(place, skips))
            rows.append((form.rpartition("_")[2].upper(), name, f"{photos} / {len(skips.reasons or ())}", words))
    return rows


def run(flags: argparse.Namespace) -> int:
    """Read, compare, damage, print."""
    archive = flags.archive or find_archive()
    with tempfile.TemporaryDirectory() as scratch:
        voc, coco = unpack_folders(archive, Path(scratch))
        samples = {"VOC": read_all(voc, Skips(None)), "COCO": read_all(coco, Skips(None))}
        count, worst = least_overlap(samples["VOC"], samples["COCO"])
        rows = damaged_rows({VOC_FOLDER: voc, COCO_FOLDER: coco}, Path(scratch))
    facts = (
        *((f"{form}: photos / objects / classes", _counts(read)) for form, read in samples.items()),
        (f"least overlap of VOC's {count} objects with COCO's", f"{worst:.2f}"),
        ("damaged copies that were named, and counted by --skip-bad", f"{len(rows)} of {len(rows)}"),
    )
    say.tables([Table("Three photos of VOC2011 in two forms", ("", "figure"), facts)])
    columns = ("form", "damage", "read / left out", "what is said")
    say.tables([Table("Damaged copies", columns, tuple(rows))])
    if flags.record:
        table = tuple(tuple(zip(columns, row, strict=True)) for row in rows)
        command = f"python -m recipes.detection.folders {LABELME.file} --record"
        notes = ("Photos and boxes: PyPI labelme 6.3.1, examples (VOC2011).",)
        result_file.store(
            Result("detection_folders", command, stamp(), None, facts, table, notes), RECORDED, "detection_folders"
        )
    return 0


def _counts(samples: Sequence[Sample]) -> str:
    categories = np.concatenate([sample.categories for sample in samples])
    return f"{len(samples)} / {len(categories)} / {len(np.unique(categories))}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run; every refusal is one line."""
    parser = argparse.ArgumentParser(
        "python -m recipes.detection.folders", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", type=Path, nargs="?", metavar="FILE", help=f"{LABELME.file}, if not in the cache")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/detection_folders.json")
    flags = parser.parse_args(arguments)
    return exit_code("detection", lambda: run(flags))


if __name__ == "__main__":
    sys.exit(main())
