"""Resize and Upsample: output sizes, and which pixel or mean of pixels the numbers of the file make of each.

The file states either scales or sizes. What it states is what decides: of a scale 1.3 and an image of 5 pixels, 6 is
only the size that floor(5 * 1.3) leaves, and pixel i still shows floor(i / 1.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from oaq import operators as ops
from oaq.capture.from_onnx.attributes import described, integers, reals, text
from oaq.capture.from_onnx.graph import OnnxNode
from oaq.capture.from_onnx.inputs import Inputs, Shape
from oaq.capture.picking import Index, check_count
from oaq.errors import FormatError

LARGEST_SCALE: Final = 1e9
SAME: Final = 2.0**-18
"""Relative difference below which a scale is the quotient of two sizes: float32 holds no third nearer."""
BEFORE_11: Final = "floor, ceil where it shrinks"
"""The rule of nearest neighbours in opsets that do not state one, as ONNX Runtime has it."""
WAY_OUT: Final = (
    "nearest by any rule but tf_crop_and_resize, and linear with half_pixel, asymmetric or align_corners, are: export "
    "it so, or leave it to the float parts of a mixed file"
)
HALF_PIXEL: Final = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric")


@dataclass(frozen=True)
class Resizing:
    """What one node does to each axis.

    Attributes:
        before: sizes, all axes.
        after: sizes, all axes.
        scales: float32, one per axis, as the file states them; after / before where it states sizes.
        mode: "nearest", "linear" or "cubic".
        coordinates: the rule from places in the result to places in the input.
        rule: "floor", "ceil", "round_prefer_floor", "round_prefer_ceil" or ``BEFORE_11``, of nearest neighbours.
    """

    before: Shape
    after: Shape
    scales: tuple[np.float32, ...]
    mode: str
    coordinates: str
    rule: str

    @property
    def changed(self) -> tuple[int, ...]:
        """Axes that it does something to."""
        return tuple(
            axis
            for axis, sizes in enumerate(zip(self.before, self.after, strict=True))
            if sizes[0] != sizes[1] or self.scales[axis] != 1
        )

    def is_even(self, axes: Sequence[int]) -> bool:
        """Whether it shows the pixels floor(i * H / height) along rows and columns, ``axes``, and no others change."""
        return set(self.changed) <= set(axes) and all(map(self._is_even_along, axes))

    def _is_even_along(self, axis: int) -> bool:
        index, size, target = self.nearest(axis), self.before[axis], self.after[axis]
        return index is not None and np.array_equal(index, np.arange(target) * size // target)

    def picks(self) -> list[tuple[int, Index]] | None:
        """(axis, entries) that nearest neighbours pick of each axis that changes; None if they are by no known rule."""
        if self.mode != "nearest":
            return None
        entries = [(axis, self.nearest(axis)) for axis in self.changed]
        if any(index is None for _, index in entries):
            return None
        return [(axis, index) for axis, index in entries if index is not None]

    def flaw(self, axes: Sequence[int]) -> str:
        """Why it is neither nearest by a known rule nor our bilinear Resize on two ``axes``; "" if it is one of them.

        Args:
            axes: of height and width, the batch being axis 0.
        """
        if self.before[0] != self.after[0]:
            return "it resizes the batch"
        if self.mode == "nearest":
            if self.picks() is None:
                return f"its nearest pixels are by {self.coordinates}, {self.rule}, which is not known; {WAY_OUT}"
            return ""
        if not set(self.changed) <= set(axes):
            return (
                f"it resizes {self.before} to {self.after} by {self.mode}; rows and columns can be, and by nearest all"
            )
        if self.mode == "linear" and self.coordinates == "align_corners":
            return ""  # places follow from sizes alone
        if self.mode != "linear" or self.coordinates not in (*HALF_PIXEL, "asymmetric"):
            return f"it resizes by {self.mode}, {self.coordinates}, which is not known; {WAY_OUT}"
        for axis in axes:
            exact = self.after[axis] / self.before[axis]
            if abs(float(self.scales[axis]) - exact) > SAME * exact:
                return (
                    f"its scale {self.scales[axis]:.9g} makes {self.after[axis]} pixels of {self.before[axis]}, which "
                    f"is {exact:.9g}; bilinear pixels are known where the two agree: state sizes, or a factor that "
                    "gives a whole number"
                )
        return ""

    def alone(self, axes: Sequence[int]) -> list[tuple[int, Index]]:
        """(axis, entry) of the axes whose one bilinear result lies on the first pixel, not between two."""
        lonely = self.coordinates == "pytorch_half_pixel" and self.mode == "linear"
        return [(axis, np.zeros(1, np.int32)) for axis in axes if lonely and self.after[axis] == 1]

    @property
    def own_mode(self) -> ops.ResizeMode:
        """The mode of our Resize, where ``flaw`` finds none."""
        if self.mode == "nearest":
            return "nearest"
        others: dict[str, ops.ResizeMode] = {
            "align_corners": "bilinear_corners",
            "asymmetric": "bilinear_asymmetric",
        }
        return others.get(self.coordinates, "bilinear")

    def nearest(self, axis: int) -> Index | None:
        """Which pixel along ``axis`` each of the result shows, by ONNX's formulas in float32; None if it has none.

        Raises:
            UnsupportedOp: more than may be picked.
        """
        check_count(self.after[axis])
        size, target, scale = self.before[axis], self.after[axis], self.scales[axis]
        place = _places(self.coordinates, size, target, scale)
        if place is None:
            return None
        half = np.float32(0.5)
        rounded = {
            "floor": np.floor(place),
            "ceil": np.ceil(place),
            "round_prefer_floor": np.ceil(place - half),
            "round_prefer_ceil": np.floor(place + half),
            BEFORE_11: np.floor(place) if scale >= 1 else np.ceil(place),
        }.get(self.rule)
        return None if rounded is None else np.clip(rounded, 0, size - 1).astype(np.int32)


def _places(coordinates: str, size: int, target: int, scale: np.float32) -> np.ndarray | None:
    index, half = np.arange(target).astype(np.float32), np.float32(0.5)
    match coordinates:
        case "asymmetric":
            return index if scale == 1 else index / scale
        case "half_pixel":
            return (index + half) / scale - half
        case "pytorch_half_pixel":
            return (index + half) / scale - half if target > 1 else index * 0
        case "half_pixel_symmetric":
            adjustment = np.float32(target) / (scale * np.float32(size))
            offset = np.float32(size) / 2 * (1 - adjustment)
            return offset + (index + half) / scale - half
        case "tf_half_pixel_for_nn":
            return (index + half) / scale
        case "align_corners":
            return index * np.float32(size - 1) / np.float32(max(target - 1, 1))
    return None


def resizing(node: OnnxNode, inputs: Inputs, x: Shape) -> Resizing | None:
    """What the node does to a tensor of shape ``x``; None if its sizes or scales are computed.

    Raises:
        FormatError: it has neither, or not one for each axis.
    """
    places = (3, 2) if node.op == "Resize" and inputs.opset > 10 else (len(inputs.types), 1)
    if any(node.input_name(index) and inputs.constant(index) is None for index in places):
        return None
    sizes, scales = (inputs.constant(index) for index in places)
    axes = _axes(node, len(x))
    by_size = sizes is not None and sizes.size > 0
    stated = sizes if by_size else scales
    if (stated is None or not stated.size) and "scales" in node.attributes:
        stated = np.asarray(reals(node, "scales"), np.float32)
    if stated is None or stated.shape != (len(axes),) or stated.dtype.kind not in ("iu" if by_size else "f"):
        raise FormatError(f"{described(node)}: needs one size or scale for each of {len(axes)} axes")
    if not np.all(np.isfinite(stated)) or np.any(stated <= 0) or np.any(stated > LARGEST_SCALE):
        raise FormatError(f"{described(node)}: {stated.tolist()[:8]} are not sizes or scales")
    if any(x[axis] < 1 for axis in axes):
        raise FormatError(f"{described(node)}: a tensor of shape {x} has nothing to resize")
    old = [np.float32(x[axis]) for axis in axes]
    after, by_axis = list(x), [np.float32(1)] * len(x)
    if by_size:
        pairs = _by_sizes(text(node, "keep_aspect_ratio_policy", "stretch"), old, [int(size) for size in stated])
        if pairs is None:
            raise FormatError(f"{described(node)}: its keep_aspect_ratio_policy is none that ONNX has")
    else:
        factors = [np.float32(scale) for scale in stated]
        pairs = [(int(np.floor(size * scale)), scale) for size, scale in zip(old, factors, strict=True)]
    for axis, (size, scale) in zip(axes, pairs, strict=True):
        after[axis], by_axis[axis] = size, scale
    if tuple(after) == x:  # ONNX Runtime copies what keeps all its sizes, whatever the scales
        by_axis = [np.float32(1)] * len(x)
    old_rules = node.op == "Upsample" or inputs.opset < 11
    return Resizing(
        x,
        tuple(after),
        tuple(by_axis),
        text(node, "mode", "nearest"),
        "asymmetric" if old_rules else text(node, "coordinate_transformation_mode", "half_pixel"),
        BEFORE_11 if old_rules else text(node, "nearest_mode", "round_prefer_floor"),
    )


def _axes(node: OnnxNode, rank: int) -> tuple[int, ...]:
    axes = integers(node, "axes") or tuple(range(rank))
    if any(not -rank <= axis < rank for axis in axes) or len({axis % rank for axis in axes}) < len(axes):
        raise FormatError(f"{described(node)}: axes {axes[:8]} of a tensor of {rank} axes")
    return tuple(axis % rank for axis in axes)


def _by_sizes(policy: str, old: list[np.float32], sizes: list[int]) -> list[tuple[int, np.float32]] | None:
    """(size, scale) of each axis; None if the policy is unknown."""
    scales = [np.float32(size) / before for size, before in zip(sizes, old, strict=True)]
    if policy == "stretch":
        return list(zip(sizes, scales, strict=True))
    if policy not in ("not_larger", "not_smaller"):
        return None
    scale = min(scales) if policy == "not_larger" else max(scales)
    return [(int(np.floor(scale * before + np.float32(0.5))), scale) for before in old]
