"""Names of classes that files and flags call "coco" and "voc"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_NAMES: Final = """
    person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
    parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella,
    handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard,
    surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange,
    broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop,
    mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors,
    teddy bear, hair drier, toothbrush
"""
_UNUSED: Final = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
"""Category ids of 1..90 that no class has."""


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


COCO: Final = dict(zip((n for n in range(1, 91) if n not in _UNUSED), _names(_NAMES), strict=True))
"""COCO's 80 classes by category id, 1..90 with gaps."""
VOC: Final = _names("""
    aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse, motorbike, person,
    pottedplant, sheep, sofa, train, tvmonitor
""")
"""Pascal VOC's 20 classes."""
COCO_BY_ID: Final = ("background", *(COCO.get(number, "") for number in range(1, 91)))
"""Labels of networks whose class is COCO's category id."""
VOC_AS_COCO: Final = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}
"""VOC's names of classes that COCO calls otherwise."""


def named_labels(name: str, count: int) -> tuple[str, ...] | None:
    """The labels that ``name``, "coco" or "voc", stands for where ``count`` classes are told apart; None: another name.

    >>> len(named_labels("coco", 91)), named_labels("coco", 80)[0], named_labels("voc", 21)[0]
    (91, 'person', 'background')
    """
    if name == "coco":
        return tuple(COCO.values()) if count == len(COCO) else COCO_BY_ID[1:] if count == 90 else COCO_BY_ID
    if name == "voc":
        return VOC if count == len(VOC) else ("background", *VOC)
    return None


def category_ids(labels: Sequence[str]) -> dict[int, int]:
    """COCO's category id by index where every name is one of COCO's; empty otherwise: the index is the id then."""
    ids = {name: number for number, name in COCO.items()}
    names = {index: name for index, name in enumerate(labels) if name and name != "background"}
    return {index: ids[name] for index, name in names.items()} if names and set(names.values()) <= set(ids) else {}
