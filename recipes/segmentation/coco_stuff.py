"""Names of classes that pixels of COCO-stuff's maps stand for."""

from __future__ import annotations

from typing import Final

from oaq.tasks.coco import COCO

_REMOVED: Final = {
    12: "street sign",
    26: "hat",
    29: "shoe",
    30: "eye glasses",
    45: "plate",
    66: "mirror",
    68: "window",
    69: "desk",
    71: "door",
    83: "blender",
    91: "hair brush",
}
"""Things by category id that COCO's detection set does not have."""
_STUFF: Final = """
    banner, blanket, branch, bridge, building-other, bush, cabinet, cage, cardboard, carpet, ceiling-other,
    ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff, dirt, door-stuff, fence, floor-marble,
    floor-other, floor-stone, floor-tile, floor-wood, flower, fog, food-other, fruit, furniture-other, grass, gravel,
    ground-other, hill, house, leaves, light, mat, metal, mirror-stuff, moss, mountain, mud, napkin, net, paper,
    pavement, pillow, plant-other, plastic, platform, playingfield, railing, railroad, river, road, rock, roof, rug,
    salad, sand, sea, shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw, structural-other, table,
    tent, textile-other, towel, tree, vegetable, wall-brick, wall-concrete, wall-other, wall-panel, wall-stone,
    wall-tile, wall-wood, water-other, waterdrops, window-blind, window-other, wood
"""
"""Stuff by category id from 92 on."""
_FIRST_STUFF: Final = 92
STUFF: Final = dict(enumerate((name.strip() for name in _STUFF.split(",")), _FIRST_STUFF))
"""COCO-stuff's 91 classes without shape by category id, 92..182."""
BY_PIXEL: Final = {number - 1: name for number, name in sorted({**COCO, **_REMOVED, **STUFF}.items())}
"""Names by the value of a pixel, which is the category id less 1."""
