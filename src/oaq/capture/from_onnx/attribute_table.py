"""Every attribute of every operator that is taken from ONNX files, and what is made of it.

An attribute is *used* (every rule that takes the operator looks at it), *harmless* (it cannot change the result; the
row says why), or *refused* unless it has one of the values that mean what is computed here. An attribute without a row
for the file's opset is refused by name: it may be that of a newer operator of the same name. Both readers, the
computation of constants and the inference of shapes ask ``attribute_flaw`` first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from oaq.capture.from_onnx.graph import OnnxNode, Value

Use = Literal["used", "harmless", "refused"]
NEWEST: Final = 1 << 30
MICROSOFT: Final = "com.microsoft"
QONNX: Final = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
"""Domains under which Brevitas and QONNX have written their quantizers."""


@dataclass(frozen=True)
class Attribute:
    """One attribute of one operator over some opsets.

    Attributes:
        name: in the file.
        use: see the module.
        allowed: of a refused one: the values that mean what is computed here, the default among them.
        why: of a harmless or refused one.
        since: first opset that has it.
        until: last opset that has it.
    """

    name: str
    use: Use = "used"
    allowed: tuple[Value, ...] = ()
    why: str = ""
    since: int = 1
    until: int = NEWEST


Rows = tuple[Attribute, ...]
Key = tuple[str, str]


def attribute_flaw(node: OnnxNode, opsets: Mapping[str, int]) -> str:
    """Which attribute of a node is none that is known here, or has a value that is refused; "" if all are taken.

    Args:
        node: of any operator; of one that has no rows in ``TABLE`` nothing is said.
        opsets: version by domain.
    """
    return unknown_attribute(node, opsets) or _refused(node)


def unknown_attribute(node: OnnxNode, opsets: Mapping[str, int]) -> str:
    """Which attribute of a node has no row for the file's opset; "" if all have."""
    rows = TABLE.get((node.domain, node.op))
    opset = opsets.get(node.domain, 1)
    for name in node.attributes if rows is not None else ():
        named = [row for row in rows or () if row.name == name]
        current = any(row.since <= opset <= row.until for row in named)
        # What an older opset had and exporters go on writing is no harm where it says what is done anyway.
        idle = any(row.use == "harmless" or _is_allowed(row, node.attributes[name]) for row in named)
        if not current and not idle:
            return f"its attribute {name[:60]!r} is none that oaq knows of {node.kind} in opset {opset}"
    return ""


def _refused(node: OnnxNode) -> str:
    for row in TABLE.get((node.domain, node.op), ()):
        value = node.attributes.get(row.name)
        if row.use == "refused" and value is not None and not _is_allowed(row, value):
            allowed = " or ".join(str(item) for item in row.allowed)
            return f"its attribute {row.name} is {str(value)[:40]}, not {allowed}: {row.why}"
    return ""


def _is_allowed(row: Attribute, value: Value) -> bool:
    return isinstance(value, int | float | str) and value in row.allowed


def used(*names: str, since: int = 1, until: int = NEWEST) -> Rows:
    """Rows of attributes that every rule looks at."""
    return tuple(Attribute(name, since=since, until=until) for name in names)


def harmless(name: str, why: str, since: int = 1, until: int = NEWEST) -> Rows:
    """The row of one that changes nothing."""
    return (Attribute(name, "harmless", (), why, since, until),)


def refused(name: str, allowed: tuple[Value, ...], why: str, since: int = 1, until: int = NEWEST) -> Rows:
    """The row of one that may have some values only."""
    return (Attribute(name, "refused", allowed, why, since, until),)


WINDOW: Final = used("auto_pad", "kernel_shape", "pads", "strides")
CONVOLUTION: Final = (*WINDOW, *used("dilations", "group"))
RESIZE_11: Final = (
    *used("coordinate_transformation_mode", "nearest_mode", since=11),
    *harmless("cubic_coeff_a", "only mode 'cubic' reads it, which is refused", since=11),
    *harmless("extrapolation_value", "only 'tf_crop_and_resize' reads it, which is refused", since=11),
    *refused("exclude_outside", (0,), "weights of pixels outside count here", since=11),
    *used("axes", "keep_aspect_ratio_policy", since=18),
    *refused("antialias", (0,), "a smaller image is not smoothed first here", since=18),
)
REDUCE: Final = (*used("keepdims"), *used("noop_with_empty_axes", since=18), *used("axes", until=17))
CALLERS: Final = "the node as a whole is left to the caller, by name"
BLOCKS: Final = "one scale per tensor or per channel is known, not one per block"
EIGHT_BIT_FLOATS: Final = "only 8-bit floats read it, and those are not read"
PRECISION: Final = "scales are multiplied and divided in float32 here"

NONE: Final = (
    *("MatMul", "MatMulInteger", "Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum", "GlobalAveragePool"),
    *("GlobalMaxPool", "Identity", "Relu", "Sigmoid", "Tanh", "HardSwish", "Erf", "Softplus", "Softsign", "Mish"),
    *("Sin", "Cos", "Atan", "Asinh", "Sinh", "Cosh"),
    *("Exp", "Log", "Sqrt", "Reciprocal", "Abs", "Neg", "Floor", "Ceil", "Round", "PRelu", "Size", "Expand", "Where"),
    *("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "And", "Or", "Not", "Tile", "QLinearMatMul"),
)
"""ONNX's own operators without attributes, from the smallest opset that is read on."""

TABLE: Final[Mapping[Key, Rows]] = {
    **{("", op): () for op in NONE},
    **{("", op): CONVOLUTION for op in ("Conv", "ConvInteger", "QLinearConv")},
    ("", "ConvTranspose"): (*CONVOLUTION, *used("output_padding", "output_shape")),
    ("", "Gemm"): used("alpha", "beta", "transA", "transB"),
    ("", "BatchNormalization"): (
        *used("epsilon"),
        *harmless("momentum", "only training reads it"),
        *refused(
            "training_mode",
            (0,),
            "it normalizes with the statistics of each batch; export the network in evaluation",
            since=14,
        ),
        *refused("spatial", (1,), "it would normalize every pixel by itself", until=8),
    ),
    ("", "MaxPool"): (
        *WINDOW,
        *harmless("storage_order", "it counts the second result, which is refused where something reads it", since=8),
        *used("ceil_mode", "dilations", since=10),
    ),
    ("", "AveragePool"): (
        *WINDOW,
        *used("count_include_pad", since=7),
        *used("ceil_mode", since=10),
        *used("dilations", since=19),
    ),
    **{("", op): REDUCE for op in ("ReduceMean", "ReduceProd", "ReduceMax", "ReduceMin")},
    ("", "ReduceSum"): (*used("keepdims"), *used("noop_with_empty_axes", since=13), *used("axes", until=12)),
    ("", "Transpose"): used("perm"),
    ("", "Reshape"): used("allowzero", since=14),
    ("", "Flatten"): used("axis"),
    **{("", op): used("axes", until=12) for op in ("Squeeze", "Unsqueeze")},
    ("", "Concat"): used("axis"),
    ("", "Gather"): used("axis"),
    ("", "Split"): (*used("axis"), *used("split", until=12), *used("num_outputs", since=18)),
    ("", "Slice"): used("starts", "ends", "axes", until=9),
    ("", "Pad"): (*used("mode"), *used("pads", "value", until=10)),
    ("", "DepthToSpace"): (*used("blocksize"), *used("mode", since=11)),
    ("", "Resize"): (*used("mode"), *RESIZE_11),
    ("", "Upsample"): (*used("mode", until=9), *used("scales", until=8)),
    ("", "Cast"): (
        *used("to"),
        *harmless("saturate", EIGHT_BIT_FLOATS, since=19),
        *harmless("round_mode", EIGHT_BIT_FLOATS, since=24),
    ),
    ("", "Clip"): used("min", "max", until=10),
    ("", "HardSigmoid"): used("alpha", "beta"),
    **{("", op): used("alpha") for op in ("LeakyRelu", "Elu", "Swish", "Celu")},
    ("", "Selu"): used("alpha", "gamma"),
    ("", "Shrink"): used("lambd", "bias"),
    ("", "Gelu"): used("approximate"),
    ("", "Dropout"): (
        *harmless("ratio", "only training reads it", until=11),
        *harmless("seed", "only training reads it", since=12),
    ),
    **{("", op): harmless("axis", CALLERS) for op in ("Softmax", "LogSoftmax")},
    ("", "ArgMax"): (
        *harmless("axis", CALLERS),
        *harmless("keepdims", CALLERS),
        *harmless("select_last_index", CALLERS, since=12),
    ),
    ("", "Constant"): (
        *used("value"),
        *refused("sparse_value", (), "constants are stored densely", since=11),
        *used("value_float", "value_floats", "value_int", "value_ints", since=12),
        *refused("value_string", (), "no operator here reads texts", since=12),
        *refused("value_strings", (), "no operator here reads texts", since=12),
    ),
    ("", "ConstantOfShape"): used("value"),
    ("", "Shape"): used("start", "end", since=15),
    ("", "Mod"): used("fmod"),
    ("", "Range"): refused("stash_type", (1,), "numbers are added up in float32 here", since=27),
    ("", "QuantizeLinear"): (
        *used("axis", since=13),
        *harmless("saturate", EIGHT_BIT_FLOATS, since=19),
        *refused("block_size", (0,), BLOCKS, since=21),
        *used("output_dtype", since=21),
        *refused("precision", (0, 1), PRECISION, since=23),
    ),
    ("", "DequantizeLinear"): (
        *used("axis", since=13),
        *refused("block_size", (0,), BLOCKS, since=21),
        *refused("output_dtype", (0, 1), PRECISION, since=23),
    ),
    **{(MICROSOFT, op): used("axis") for op in ("QuantizeLinear", "DequantizeLinear")},
    (MICROSOFT, "QGemm"): used("alpha", "transA", "transB"),
    **{(MICROSOFT, op): () for op in ("QLinearAdd", "QLinearMul", "QLinearSigmoid", "Gelu")},
    (MICROSOFT, "QLinearConcat"): used("axis"),
    (MICROSOFT, "QLinearAveragePool"): (*WINDOW, *used("ceil_mode", "channels_last", "count_include_pad")),
    (MICROSOFT, "QLinearGlobalAveragePool"): used("channels_last"),
    (MICROSOFT, "QLinearReduceMean"): used("axes", "keepdims"),
    **{(MICROSOFT, op): used("alpha") for op in ("QLinearLeakyRelu", "QuickGelu")},
    **{(domain, op): used("signed", "narrow", "rounding_mode") for domain in QONNX for op in ("Quant", "IntQuant")},
    **{(domain, "BipolarQuant"): () for domain in QONNX},
}
"""Rows by domain and operator."""
