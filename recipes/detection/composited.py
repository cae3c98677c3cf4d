"""A composited test set: cut-outs with exact boxes on photos, the same for everyone who makes it.

Cut-outs are the stamps of Debian's tuxpaint-stamps-default (GPL-2: fetched, never copied into the repository) that show
something COCO has a class for; an opaque part has exact edges, so boxes are exact. Backgrounds are photos that
calibration never sees. What comes out is no photo that anybody took: every figure on it says "composited".
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.data.photos import read_pixels
from oaq.tasks.coco import COCO
from oaq.tasks.task import Picture
from recipes.data import photos
from recipes.data.packages import Package, fetch
from recipes.data.registries import apt_download, deb_members
from recipes.detection.samples import Sample

STAMPS: Final = Package(
    "tuxpaint-stamps-default",
    "2022.06.04-1",
    "tuxpaint-stamps-default_2022.06.04-1_all.deb",
    "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
    160_880_444,
    client="apt-get",
)
FOLDER: Final = "usr/share/tuxpaint/stamps/"
CUT_OUTS: Final = {
    "bird": """animals/birds/blackbird animals/birds/crow animals/birds/cuckoo animals/birds/drake animals/birds/duck
        animals/birds/gander animals/birds/hen animals/birds/heron_greatblue animals/birds/heron_greatblue_flying
        animals/birds/lark animals/birds/magpie animals/birds/owl animals/birds/pelican animals/birds/penguin
        animals/birds/pigeon animals/birds/rooster animals/birds/seagull animals/birds/silver-gull
        animals/birds/ostrich animals/birds/turkey""",
    "bear": "animals/mammals/bears/bear animals/mammals/bears/european-bear",
    "cow": """animals/mammals/bovines/bull animals/mammals/bovines/cow animals/mammals/bovines/cow_white
        animals/mammals/bovines/zebu""",
    "sheep": "animals/mammals/bovines/ram animals/mammals/bovines/sheep animals/mammals/bovines/sheep_lamb",
    "dog": "animals/mammals/dogs/dog",
    "horse": "animals/mammals/equines/horse",
    "zebra": "animals/mammals/equines/zebra",
    "elephant": "animals/mammals/elephant",
    "giraffe": "animals/mammals/giraffe",
    "apple": """food/fruit/apple_fuji food/fruit/apple_granny_smith food/fruit/apple_green food/fruit/apple_red
        food/fruit/apple_sierra_beauty""",
    "banana": "food/fruit/banana",
    "orange": "food/fruit/orange food/fruit/orange_seville",
    "broccoli": "food/vegetables/broccoli",
    "carrot": "food/vegetables/carrot",
    "pizza": "food/pizza",
    "cup": "household/dishes/mug",
    "toilet": "household/toilet",
    "scissors": "household/arttools/scissors_small_closed household/arttools/scissors_small_open",
    "teddy bear": "animals/mammals/bears/toys/edward_bear",
    "sports ball": "sports/basketball sports/soccer sports/tennis_ball",
    "tennis racket": "sports/tennis_racket",
    "stop sign": "town/roadsigns/stop",
    "car": "vehicles/auto/beetle vehicles/auto/sedan vehicles/emergency/sedan_police",
    "truck": "vehicles/auto/truck vehicles/emergency/firetruck",
    "airplane": "vehicles/flight/planes/747 military/vehicles/f22_raptor",
    "bus": "vehicles/masstransit/green_korean_bus",
}
"""63 stamps by COCO's name of what they show."""
HEIGHT, WIDTH = 480, 640
"""Rows and columns of every composited photo."""
OPAQUE: Final = 128


@dataclass(frozen=True, eq=False)
class CutOut:
    """One object without background.

    Attributes:
        name: of the stamp.
        category: COCO's id.
        pixels: (rows, columns, 4) uint8, cut to what is opaque.
    """

    name: str
    category: int
    pixels: NDArray[np.uint8]


def cut_outs() -> list[CutOut]:
    """All of them in the order of ``CUT_OUTS``.

    Raises:
        FetchError: the package cannot be fetched.
    """
    from PIL import Image

    ids = {name: number for number, name in COCO.items()}
    pairs = [(stem, ids[name]) for name, stems in CUT_OUTS.items() for stem in stems.split()]
    files = deb_members(fetch(STAMPS, apt_download), [f"{FOLDER}{stem}.png" for stem, _ in pairs])
    result = []
    for stem, category in pairs:
        with Image.open(io.BytesIO(files[f"{FOLDER}{stem}.png"])) as image:
            result.append(CutOut(stem, category, trimmed(np.asarray(image.convert("RGBA")))))
    return result


def trimmed(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image with alpha, cut to the rectangle of its opaque pixels.

    >>> trimmed(np.pad(np.full((2, 3, 4), 255, np.uint8), ((1, 0), (0, 4), (0, 0)))).shape
    (2, 3, 4)
    """
    opaque = pixels[..., 3] >= OPAQUE
    rows, columns = np.flatnonzero(opaque.any(axis=1)), np.flatnonzero(opaque.any(axis=0))
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def backgrounds() -> list[Path]:
    """Photos without labels that calibration never sees."""
    labelled = {photo.path for photo in photos.labelled()}
    return [path for path in photos.comparison() if path not in labelled]


def singles(objects: Sequence[CutOut], places: Sequence[Path], seed: int = 0) -> Iterator[Sample]:
    """A photo per cut-out, with nothing else on it."""
    rng = np.random.default_rng(seed)
    for number, item in enumerate(objects):
        yield _composed(f"single {number:03d} {item.name}", [item], places, rng, (0.45, 0.75))


def scenes(objects: Sequence[CutOut], places: Sequence[Path], count: int, seed: int = 1) -> Iterator[Sample]:
    """``count`` photos of one to four cut-outs each, drawn by the seed; later ones may cover earlier ones in part."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        items = [objects[index] for index in rng.integers(0, len(objects), rng.integers(1, 5))]
        yield _composed(f"scene {number:03d}", items, places, rng, (0.25, 0.6))


def plain(places: Sequence[Path]) -> Iterator[Sample]:
    """Photos as they are, of which no box is known."""
    for path in places:
        yield Sample(str(path), read_pixels(path), np.zeros((0, 4)), np.zeros(0, np.int64))


def _composed(
    title: str, items: Sequence[CutOut], places: Sequence[Path], rng: np.random.Generator, share: tuple[float, float]
) -> Sample:
    """Cut-outs on a background; one that most of a later one covers is left out before anything is drawn."""
    canvas = open_canvas(places[int(rng.integers(len(places)))])
    arranged = arrange(items, rng, share)
    for item, box in arranged:
        paste(canvas, item, box)
    boxes, categories = [box for _, box in arranged], [item.category for item, _ in arranged]
    return Sample(title, canvas, np.array(boxes, np.float64).reshape(-1, 4), np.array(categories, np.int64))


def arrange(
    items: Sequence[CutOut], rng: np.random.Generator, share: tuple[float, float]
) -> list[tuple[CutOut, tuple[int, int, int, int]]]:
    """Cut-outs with the rectangles they are drawn into, in the order of drawing; those mostly covered are left out."""
    arranged: list[tuple[CutOut, tuple[int, int, int, int]]] = []
    for item in items:
        box = _place(item, rng, share)
        if not any(covered_share(box, other_box) > 0.3 for _, other_box in arranged):
            arranged.append((item, box))
    return arranged


def open_canvas(path: Path) -> Picture:
    """A photo, cut and scaled to (HEIGHT, WIDTH)."""
    from PIL import Image, ImageOps

    return np.asarray(ImageOps.fit(Image.fromarray(read_pixels(path)), (WIDTH, HEIGHT))).copy()


def _place(item: CutOut, rng: np.random.Generator, share: tuple[float, float]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom: the longer side a share of the canvas, wholly inside."""
    rows, columns = item.pixels.shape[:2]
    scale = rng.uniform(*share) * min(HEIGHT / rows, WIDTH / columns)
    high, wide = max(1, round(rows * scale)), max(1, round(columns * scale))
    x, y = int(rng.integers(0, WIDTH - wide + 1)), int(rng.integers(0, HEIGHT - high + 1))
    return x, y, x + wide, y + high


def covered_share(box: Sequence[float], other_box: Sequence[float]) -> float:
    """The larger share of two boxes that lies in the other."""
    width = min(box[2], other_box[2]) - max(box[0], other_box[0])
    height = min(box[3], other_box[3]) - max(box[1], other_box[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(edge[2] - edge[0]) * (edge[3] - edge[1]) for edge in (box, other_box)]
    return width * height / min(areas)


def paste(canvas: Picture, item: CutOut, box: tuple[int, int, int, int]) -> None:
    """Draw a cut-out, scaled to (left, top, right, bottom), over a canvas."""
    from PIL import Image

    x0, y0, x1, y1 = box
    pixels = np.asarray(Image.fromarray(item.pixels).resize((x1 - x0, y1 - y0), Image.Resampling.LANCZOS), np.float32)
    part, alpha = canvas[y0:y1, x0:x1], pixels[..., 3:] / 255
    part[...] = (pixels[..., :3] * alpha + part * (1 - alpha)).round().clip(0, 255).astype(np.uint8)
