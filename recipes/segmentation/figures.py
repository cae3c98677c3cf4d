"""What a run of the recipe says in figures: lines of its table, and intersection over union by class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from oaq.tasks import Task
from oaq.tasks.segment import class_iou, mean_iou_of, pixel_accuracy_of
from oaq.tasks.task import label_of
from recipes.segmentation.scoring import FLOAT, Scored

TITLES = {
    "slices": "slices of the averaged head",
    "ch2": "slices of ch2, the truth being the averaged head's map",
    "scenes": "composited scenes",
    "data": "photos of --data",
}
"""What the sets of the recipe are called in figures."""
Facts = tuple[tuple[str, str], ...]


def figures_of(sets: Mapping[str, Scored]) -> Facts:
    """(what, figure): mIoU and pixel accuracy in percent of every network, and agreement with float."""
    lines: list[tuple[str, str]] = []
    for name, scored in sets.items():
        title, networks = f"{scored.photos} {TITLES.get(name, name)}", " / ".join(scored.counts)
        for metric, measure in (("mIoU", mean_iou_of), ("pixel accuracy", pixel_accuracy_of)):
            values = " / ".join(f"{100 * measure(counts):.2f}" for counts in scored.counts.values())
            lines.append((f"{metric} on {title}: {networks}", values))
        integers = {network: counts for network, counts in scored.agreement.items() if network != FLOAT}
        values = " / ".join(f"{100 * mean_iou_of(counts):.2f}" for counts in integers.values())
        lines.append((f"mIoU with float's masks for the truth, {name}: {' / '.join(integers)}", values))
    return tuple(lines)


def class_rows(sets: Mapping[str, Scored], task: Task) -> tuple[Facts, ...]:
    """A line per set and class that occurs: intersection over union in percent, by network."""
    rows = []
    for name, scored in sets.items():
        shares = {network: class_iou(counts) for network, counts in scored.counts.items()}
        for index in np.flatnonzero(np.isfinite(shares[FLOAT])).tolist():
            values = ((network, f"{100 * share[index]:.2f}") for network, share in shares.items())
            rows.append((("set", name), ("class", label_of(task.labels, index) or str(index)), *values))
    return tuple(rows)
