"""Layers that sum products: from integers, scales and a bias as the file has them to Conv2d or Linear.

``unit`` is the real value of one step of a sum, float32(s_x * s_w[n]); multipliers are float32(unit / s_y): ONNX
Runtime's order, so that its integers and ours are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.capture.from_onnx.draft import Draft
from oaq.capture.from_onnx.graph import OnnxNode
from oaq.capture.from_onnx.values import Meaning, Stays
from oaq.capture.from_onnx.weights import QuantizedConstant
from oaq.capture.imported import Ints, LayerSource, StoredArray
from oaq.numerics.affine import Affine
from oaq.numerics.formats import S32, WIDE_WEIGHT
from oaq.numerics.requantize import Requantize

Floats = NDArray[np.float32]
Make = Callable[[NDArray[np.int16], NDArray[np.int32], Requantize], ops.Products]
SAME_BIAS_SCALE: Final = 0.01
"""A bias whose scale agrees with s_x * s_w this well is taken integer by integer: so does every runtime that has no
scale for biases. ONNX Runtime's optimizer does it whatever the scale; as written it uses the scale, and so do we."""
ROUNDING: Final = 2.0**-20
"""Agreement beyond which nothing is said of it."""


@dataclass(frozen=True, eq=False)
class Sums:
    """A layer before its output's scale is known.

    Attributes:
        node: of the file that sums.
        axis: of its result, the batch being 0, along which the outputs lie.
        x: number of the tensor it reads.
        weight: (N, KH, KW, C) or (N, K), in the order in which ``x`` lies.
        unit: (N,) real value of one step.
        bias: (N,) integers at ``unit``.
        bias_real: (N,) float64 to be added, not yet in steps.
        make: Conv2d or Linear from weight, bias and multipliers.
        constant: the weights as the file has them.
        axes: of ``constant.values``, in the program's order.
        columns: see ``LayerSource``.
        bias_places: of bias and bias scale in the file.
        nodes: everything it is made from so far.
    """

    node: OnnxNode
    axis: int
    x: int
    weight: NDArray[np.int64]
    unit: Floats
    bias: NDArray[np.int64]
    bias_real: NDArray[np.float64]
    make: Make
    constant: QuantizedConstant
    axes: tuple[int, ...]
    columns: Ints | None
    bias_places: tuple[StoredArray | None, StoredArray | None]
    nodes: tuple[OnnxNode, ...]

    def scaled(self, factor: NDArray[np.floating], node: OnnxNode) -> Sums:
        """Times a positive number, or one per output.

        Raises:
            Stays: one is not positive.
        """
        if factor.size not in (1, len(self.unit)) or not np.all(np.isfinite(factor)) or not np.all(factor > 0):
            raise Stays("its sums are multiplied by something that is not a positive constant per output")
        factors = factor.reshape(-1).astype(np.float32)
        with np.errstate(over="ignore"):
            return replace(
                self,
                unit=self.unit * factors,
                bias_real=self.bias_real * factors.astype(np.float64),
                nodes=(*self.nodes, node),
            )

    def shifted(self, amount: NDArray[np.floating], place: StoredArray | None, node: OnnxNode) -> Sums:
        """Plus a number per output."""
        if amount.size not in (1, len(self.unit)) or not np.all(np.isfinite(amount)):
            raise Stays("something that is not a finite constant per output is added to its sums")
        first = self.bias_places == (None, None)
        return replace(
            self,
            bias_real=self.bias_real + amount.reshape(-1).astype(np.float64),
            bias_places=(place, None) if first else self.bias_places,
            nodes=(*self.nodes, node),
        )

    def steps(self) -> NDArray[np.int64]:
        """(N,) the whole bias as integers at ``unit``.

        Raises:
            Stays: it leaves 32 bits.
        """
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            added = np.rint(self.bias_real / self.unit.astype(np.float64))
        total = self.bias.astype(np.float64) + added
        if not np.all(np.isfinite(total)) or np.any(total < S32.lo) or np.any(total > S32.hi):
            raise Stays("its bias is beyond 32 bits at the scale of its sums")
        return self.bias + added.astype(np.int64)

    def is_bias_rounded(self) -> bool:
        """Whether ``steps`` had to round more than float32 does by itself."""
        steps = self.bias_real / self.unit.astype(np.float64)
        return bool(np.any(np.abs(steps - np.rint(steps)) > 1e-6 * np.maximum(np.abs(steps), 1.0)))

    def operator(self, s_y: float) -> ops.Products:
        """For an output of scale ``s_y``.

        Raises:
            Stays: a weight, the bias or a multiplier is nothing an integer kernel can hold.
        """
        low, high = int(self.weight.min(initial=0)), int(self.weight.max(initial=0))
        if low < WIDE_WEIGHT.lo or high > WIDE_WEIGHT.hi:
            raise Stays(f"its weights reach [{low}, {high}]; 8 bits less a zero point lie in [-255, 255]")
        with np.errstate(over="ignore", under="ignore"):
            multiplier = (self.unit / np.float32(s_y)).astype(np.float32)
        if not np.all(np.isfinite(multiplier)) or np.any(multiplier <= 0):
            raise Stays("its scales are so far apart that no float32 multiplier joins them")
        return self.make(self.weight.astype(np.int16), self.steps().astype(np.int32), Requantize(multiplier))

    def reach(self, draft: Draft) -> tuple[float, float]:
        """Least and greatest real value that any output can have."""
        tensor = draft.tensors[self.x]
        lo, hi = tensor.range.lo - tensor.affine.zero_point, tensor.range.hi - tensor.affine.zero_point
        flat = self.weight.reshape(len(self.weight), -1)
        positive, negative = np.maximum(flat, 0).sum(axis=1), np.minimum(flat, 0).sum(axis=1)
        unit, bias = self.unit.astype(np.float64), self.steps()
        least = (bias + positive * min(lo, 0) + negative * max(hi, 0)) * unit
        most = (bias + positive * max(hi, 0) + negative * min(lo, 0)) * unit
        return float(least.min()), float(most.max())

    def own_map(self, draft: Draft) -> Affine:
        """A map whose 8 bits cover everything the sums can reach, for results that the file leaves real."""
        least, most = self.reach(draft)
        least, most = min(least, 0.0), max(most, 0.0)
        scale = max((most - least) / 255.0, 2.0**-120)
        try:
            with np.errstate(over="ignore"):
                affine = Affine(scale, 0)
        except ValueError as error:
            raise Stays("its results reach beyond float32") from error
        return Affine(affine.scale, min(max(round(-least / affine.scale), 0), 255))

    def source(self, x: Meaning, y: Meaning | None) -> LayerSource:
        """Where the layer stands in the file; names of tensors are filled in at the end."""
        outputs = len(self.unit)
        constant = self.constant
        # Operators of integers alone have no scale of their weights: it is what their sums are multiplied by later.
        scales = constant.scale if constant.stored_scale is not None else self.unit / np.float32(x.scale)
        return LayerSource(
            nodes=tuple(dict.fromkeys(node.name for node in (*constant.nodes, *self.nodes))),
            weight=constant.stored,
            weight_scale=constant.stored_scale,
            weight_zero_point=constant.stored_zero_point,
            bias=self.bias_places[0],
            bias_scale=self.bias_places[1],
            split=constant.stored.shape,
            axes=tuple(constant.order[axis] for axis in self.axes),
            columns=self.columns,
            zero_point=np.array(np.broadcast_to(constant.zero_point, (outputs,))),
            scales=np.array(np.broadcast_to(scales, (outputs,)), np.float32),
            scale_per_output=constant.scale.size > 1,
            input="",
            x_scale=x.scale,
            x_zero_point=x.zero_point,
            output="",
            y_scale=None if y is None else y.scale,
            y_zero_point=0 if y is None else y.zero_point,
        )


def bias_of(
    node: OnnxNode, value: NDArray[np.generic] | None, scale: NDArray[np.floating] | None, unit: Floats
) -> tuple[NDArray[np.int64], NDArray[np.float64], str]:
    """A bias as (integers at ``unit``, reals to be added, what to tell the user).

    Args:
        node: that has it.
        value: (N,) integers if ``scale`` is given, else reals; None if there is no bias.
        scale: of the integers.
        unit: (N,).

    Raises:
        Stays: it does not fit the layer.
    """
    none, no_reals = np.zeros(len(unit), np.int64), np.zeros(len(unit), np.float64)
    if value is None:
        return none, no_reals, ""
    if value.size not in (1, len(unit)):
        raise Stays(f"{value.size} biases do not fit {len(unit)} outputs")
    flat = np.broadcast_to(value.reshape(-1), (len(unit),))
    if scale is None:
        if flat.dtype.kind != "f" or not np.all(np.isfinite(flat)):
            raise Stays("its bias is not a finite float")
        return none, flat.astype(np.float64), ""
    if flat.dtype.kind not in "iu":
        raise Stays("its bias has a scale, but is not integers")
    scales = np.broadcast_to(scale.reshape(-1).astype(np.float64), (len(unit),))
    with np.errstate(over="ignore", divide="ignore"):
        difference = float(np.max(np.abs(scales / unit.astype(np.float64) - 1.0), initial=0.0))
    if difference > SAME_BIAS_SCALE:
        note = f"{node.name}: its bias has a scale of its own; it is rounded to steps of s_x * s_w here"
        return none, flat.astype(np.float64) * scales, note
    note = ""
    if difference > ROUNDING:
        note = (
            f"{node.name}: the scale of its bias is {difference:.1e} from s_x * s_w; its integers are taken as they are"
        )
    return flat.astype(np.int64), no_reals, note
