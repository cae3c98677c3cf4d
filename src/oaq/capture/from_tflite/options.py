"""Every option field, and every version, of the operators that are taken: what becomes of each.

``refusal`` is asked before any handler, so that a field that changes a result is used, or its operator stays outside
by name. Fields stand in the order of TFLite's schema, which is how a file stores them: one behind the last is of a
later schema. Versions are those of LiteRT 2.3.0; a later one may mean something that was not there to be read about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from oaq.capture.from_tflite.graph import TfliteOperator

Use = Literal["used", "declared", "harmless", "default"]
"""``used``: a handler computes by it. ``declared``: says again what shapes say, and is compared with them.
``harmless``: changes nothing of 8-bit integers. ``default``: one value, given in ``ONLY``, is taken."""
FURTHER: Final = "further fields"
"""Key of an operator's options under which the reader counts fields that are not in the table."""


@dataclass(frozen=True)
class OptionTable:
    """What one operator may say.

    Attributes:
        table: its option table in the schema; "" for none.
        fields: in the schema's order.
        versions: the last one known.
        retired: fields before those that mean nothing any more.
    """

    table: str
    fields: Mapping[str, Use]
    versions: int
    retired: int = 0

    @property
    def slots(self) -> int:
        """Fields that the schema has room for, up to the last one known."""
        return self.retired + len(self.fields)


_WINDOW: Final[Mapping[str, Use]] = {"Padding": "used", "StrideW": "used", "StrideH": "used"}
_DILATION: Final[Mapping[str, Use]] = {"DilationWFactor": "used", "DilationHFactor": "used"}
_FUSED: Final[Mapping[str, Use]] = {"FusedActivationFunction": "used"}
_POOL: Final[Mapping[str, Use]] = {**_WINDOW, "FilterWidth": "used", "FilterHeight": "used", **_FUSED}
_COORDINATES: Final[Mapping[str, Use]] = {"AlignCorners": "used", "HalfPixelCenters": "used"}
_BIAS: Final[Mapping[str, Use]] = {"QuantizedBiasType": "default"}
_SLICE: Final[Mapping[str, Use]] = dict.fromkeys(
    ("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask", "Offset"), "used"
)
ONLY: Final[Mapping[str, tuple[int, ...]]] = {"QuantizedBiasType": (0, 2)}
"""Values taken of fields of which not all are: a bias of 32 bits, said or not."""

LAYOUTS: Final[Mapping[str, OptionTable]] = {
    "CONV_2D": OptionTable("Conv2DOptions", {**_WINDOW, **_FUSED, **_DILATION, **_BIAS}, 8),
    "DEPTHWISE_CONV_2D": OptionTable(
        "DepthwiseConv2DOptions", {**_WINDOW, "DepthMultiplier": "declared", **_FUSED, **_DILATION}, 7
    ),
    "TRANSPOSE_CONV": OptionTable("TransposeConvOptions", {**_WINDOW, **_FUSED, **_BIAS}, 5),
    "FULLY_CONNECTED": OptionTable(
        "FullyConnectedOptions",
        {
            **_FUSED,
            "WeightsFormat": "used",
            "KeepNumDims": "declared",
            "AsymmetricQuantizeInputs": "harmless",  # of float inputs, which stay outside
            **_BIAS,
        },
        14,
    ),
    "AVERAGE_POOL_2D": OptionTable("Pool2DOptions", _POOL, 3),
    "MAX_POOL_2D": OptionTable("Pool2DOptions", _POOL, 3),
    "ADD": OptionTable("AddOptions", {**_FUSED, "PotScaleInt16": "harmless"}, 6),
    "SUB": OptionTable("SubOptions", {**_FUSED, "PotScaleInt16": "harmless"}, 5),
    "MUL": OptionTable("MulOptions", _FUSED, 8),
    "MAXIMUM": OptionTable("MaximumMinimumOptions", {}, 4),
    "MINIMUM": OptionTable("MaximumMinimumOptions", {}, 4),
    "CONCATENATION": OptionTable("ConcatenationOptions", {"Axis": "used", **_FUSED}, 7),
    "MEAN": OptionTable("ReducerOptions", {"KeepDims": "declared"}, 3),
    "PRELU": OptionTable("", {}, 1),
    "RELU": OptionTable("", {}, 3),
    "RELU_N1_TO_1": OptionTable("", {}, 1),
    "RELU6": OptionTable("", {}, 3),
    "LOGISTIC": OptionTable("", {}, 3),
    "TANH": OptionTable("", {}, 3),
    "ELU": OptionTable("", {}, 1),
    "HARD_SWISH": OptionTable("HardSwishOptions", {}, 1),
    "LEAKY_RELU": OptionTable("LeakyReluOptions", {"Alpha": "used"}, 2),
    "GELU": OptionTable("GeluOptions", {"Approximate": "used"}, 3),
    "QUANTIZE": OptionTable("QuantizeOptions", {}, 6),
    "RESHAPE": OptionTable("ReshapeOptions", {"NewShape": "declared"}, 1),
    "SQUEEZE": OptionTable("SqueezeOptions", {"SqueezeDims": "declared"}, 2),
    "EXPAND_DIMS": OptionTable("ExpandDimsOptions", {}, 1),
    "TRANSPOSE": OptionTable("TransposeOptions", {}, 9),
    "PAD": OptionTable("PadOptions", {}, 6),
    "PADV2": OptionTable("PadV2Options", {}, 6),
    "MIRROR_PAD": OptionTable("MirrorPadOptions", {"Mode": "used"}, 3),
    "GATHER": OptionTable("GatherOptions", {"Axis": "used", "BatchDims": "used"}, 7),
    "SLICE": OptionTable("SliceOptions", {}, 8),
    "STRIDED_SLICE": OptionTable("StridedSliceOptions", _SLICE, 8),
    "SPLIT": OptionTable("SplitOptions", {"NumSplits": "declared"}, 5),
    "SPLIT_V": OptionTable("SplitVOptions", {"NumSplits": "declared"}, 3),
    "RESIZE_NEAREST_NEIGHBOR": OptionTable("ResizeNearestNeighborOptions", _COORDINATES, 4),
    "RESIZE_BILINEAR": OptionTable("ResizeBilinearOptions", _COORDINATES, 4, retired=2),
    "DEPTH_TO_SPACE": OptionTable("DepthToSpaceOptions", {"BlockSize": "used"}, 2),
}
"""What each operator that is taken may say."""
OUTSIDE: Final[Mapping[str, OptionTable]] = {"SOFTMAX": OptionTable("SoftmaxOptions", {"Beta": "used"}, 3)}
"""What operators say that stay outside and are run in float."""


def refusal(operator: TfliteOperator) -> str:
    """Why an operator stays outside whatever its operands are; "" if its options and version are known."""
    layout = LAYOUTS.get(operator.op)
    if layout is None:
        return f"oaq has no integer operator for {operator.op}"
    if operator.version > layout.versions:
        return f"is of version {operator.version}; up to {layout.versions} is known"
    if operator.options.get(FURTHER):
        return f"its options have a field beyond {', '.join(layout.fields) or 'none'}, so of a later schema"
    for field, use in layout.fields.items():
        value = operator.options.get(field, 0)
        if use == "default" and value not in ONLY[field]:
            return f"its option {field} is {value}; {' or '.join(map(str, ONLY[field]))} is taken"
    return ""
