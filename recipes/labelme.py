"""Three photos of VOC2011 that one package has with boxes and outlines in several forms: read whole, and damaged.

The archive (PyPI labelme, GPL-3) is fetched, never copied into the repository.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from oaq.errors import FormatError, Mismatch
from oaq.terminal import say
from oaq.terminal.table import Table
from recipes import result_file
from recipes.data.annotations import ADVICE, Skips
from recipes.data.packages import FetchError, Package, fetch
from recipes.data.registries import tar_members
from recipes.demo import RECORDED
from recipes.exit_code import exit_code
from recipes.result_file import Result, stamp

LABELME: Final = Package(
    "labelme",
    "6.3.1",
    "labelme-6.3.1.tar.gz",
    "2947e0d8341a92faa7b3ee50cf4b672f838051c6bf24892526e95b64fd3a707e",
    13_980_775,
)
PHOTOS: Final = ("2011_000003", "2011_000006", "2011_000025")
EXAMPLES: Final = "labelme-6.3.1/examples/"
COLUMNS: Final = ("form", "damage", "read / left out", "what is said")
Damage = Callable[[Path], None]
"""Damages a folder, one way."""
Row = tuple[str, str, str, str]
"""A damaged copy, by ``COLUMNS``."""


def write_members(archive: Path, names: Iterable[str], place: Path) -> None:
    """Write members of the archive into ``place``, without the path of all examples.

    Raises:
        FetchError: the archive is damaged or another one.
    """
    for name, content in tar_members(archive, list(names)).items():
        path = place / name.removeprefix(EXAMPLES)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def edit_text(name: str, old: str, new: str) -> Damage:
    """Replace the first ``old`` of a file."""

    def edit(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        if old not in text:
            raise FormatError(f"{folder / name}: does not hold {old!r}; the archive is another one")
        (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return edit


def edit_annotation(key: str, value: object) -> Damage:
    """Give the first annotation of a COCO file another value."""

    def edit(folder: Path) -> None:
        path = folder / "annotations.json"
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        document["annotations"][0][key] = value
        path.write_text(json.dumps(document), encoding="utf-8")

    return edit


def cut_photo(folder: Path) -> None:
    """Leave the first 2000 bytes of the first photo."""
    path = folder / "JPEGImages" / f"{PHOTOS[0]}.jpg"
    path.write_bytes(path.read_bytes()[:2000])


def drop_photo(folder: Path) -> None:
    """Delete the first photo."""
    (folder / "JPEGImages" / f"{PHOTOS[0]}.jpg").unlink()


def damaged_rows(
    damages: Mapping[str, Mapping[str, Damage]],
    folders: Mapping[str, Path],
    read_all: Callable[[Path, Skips], Sequence[object]],
    scratch: Path,
) -> list[Row]:
    """(form, damage, photos read of 3 and files left out, the sentence that names what is wrong), a line per damage.

    Args:
        damages: by form and name.
        folders: whole, by form.
        read_all: reads every sample of a folder.
        scratch: folder for damaged copies.

    Raises:
        Mismatch: a damaged folder was read as if it were whole.
    """
    rows = []
    for form, by_name in damages.items():
        for number, (name, damage) in enumerate(by_name.items()):
            place = scratch / f"damaged-{form.partition(' ')[0].lower()}-{number}"
            shutil.copytree(folders[form], place)
            damage(place)
            try:
                read_all(place, Skips(None))
            except FormatError as error:
                words = str(error).replace(f"{place}/", "").removesuffix(ADVICE)
            else:
                raise Mismatch(f"{place}: {name}: was read as if it were whole")
            skips = Skips([])
            photos = len(read_all(place, skips))
            rows.append((form, name, f"{photos} / {len(skips.reasons or ())}", words))
    return rows


def publish(topic: str, title: str, facts: tuple[tuple[str, str], ...], rows: Sequence[Row], *, record: bool) -> None:
    """Print what was read whole and damaged; ``record`` writes it to benchmarks/results, too.

    Args:
        topic: of the recipe, "detection" or "segmentation".
        title: of the table of ``facts``.
        facts: of the whole folders.
        rows: of the damaged ones.
        record: whether.
    """
    damaged = ("damaged copies that were named, and counted by --skip-bad", f"{len(rows)} of {len(rows)}")
    facts = (*facts, damaged)
    say.tables([Table(title, ("", "figure"), facts)])
    say.tables([Table("Damaged copies", COLUMNS, tuple(rows))])
    if record:
        table = tuple(tuple(zip(COLUMNS, row, strict=True)) for row in rows)
        command = f"python -m recipes.{topic}.folders {LABELME.file} --record"
        labels = {"detection": "boxes", "segmentation": "outlines"}[topic]
        notes = (f"Photos and {labels}: PyPI {LABELME}, examples (VOC2011).",)
        name = f"{topic}_folders"
        result_file.store(Result(name, command, stamp(), None, facts, table, notes), RECORDED, name)


def main(topic: str, description: str, run: Callable[[Path, bool], int], arguments: Sequence[str] | None) -> int:
    """Parse, find the archive, run; every refusal is one line.

    Args:
        topic: of the recipe, "detection" or "segmentation".
        description: of the command.
        run: the archive, and whether figures are recorded, to the exit code.
        arguments: of the command line.
    """
    parser = argparse.ArgumentParser(
        f"python -m recipes.{topic}.folders",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("archive", type=Path, nargs="?", metavar="FILE", help=f"{LABELME.file}, if not in the cache")
    parser.add_argument("--record", action="store_true", help=f"write benchmarks/results/{topic}_folders.json")
    flags = parser.parse_args(arguments)
    return exit_code(topic, lambda: run(flags.archive or _find_archive(topic), flags.record))


def _find_archive(topic: str) -> Path:
    """The archive in the cache.

    Raises:
        FetchError: it is not there. pip builds a source archive to learn its name, so that it is fetched by hand.
    """

    def refuse(package: Package, _folder: Path) -> None:
        raise FetchError(
            f"{package}: the source archive is needed: pip download --no-deps --no-binary labelme labelme==6.3.1, "
            f"then: python -m recipes.{topic}.folders {package.file}"
        )

    return fetch(LABELME, refuse)
