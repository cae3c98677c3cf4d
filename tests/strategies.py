"""Hypothesis strategies for whole programs, and the inputs to run them on.

Choices that shape a program (operators, sizes, ranges, the kind of weights) are drawn, so that a failure shrinks to a
small one; bulk numbers come from a generator seeded by one drawn integer.

    @given(programs_with_inputs())            # any operators, chained
    @given(programs_with_inputs(("Conv2d",))) # one kind
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from oaq import operators as ops
from oaq.errors import ProgramError
from oaq.numerics.affine import Affine
from oaq.numerics.formats import U8
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import SEMANTICS, Requantize, Semantics
from oaq.operators import TensorSpec, output_shape
from oaq.program.int_program import IntProgram, Node
from tests.movements import draw_movement
from tests.weights import WEIGHT_KINDS, random_weight

OPERATORS: tuple[str, ...] = ("Conv2d", "Depthwise", *(name for name in ops.OPERATORS if name != "Conv2d"))
"""Every operator of the table; "Depthwise" is the Conv2d whose groups equal its channels.

An operator without a drawing of its own here is drawn from its sample cases.
"""


IMAGES = ("Conv2d", "Depthwise", "MaxPool", "AvgPool", "GlobalAvgPool", "Resize", "Pad")
"""Operators that are drawn on images only."""
Limits = tuple[int, Sequence[str]]
"""Most channels of a layer, kinds of weights."""
INPUT_KINDS = ("random", "lo", "hi", "alternating", "ends")


def random_input(
    rng: np.random.Generator, shape: tuple[int, ...], reach: IntRange, kind: str = "random"
) -> NDArray[np.uint8]:
    """Integers inside ``reach`` of one of ``INPUT_KINDS``."""
    match kind:
        case "lo":
            values = np.full(shape, reach.lo)
        case "hi":
            values = np.full(shape, reach.hi)
        case "alternating":
            values = np.where(np.arange(int(np.prod(shape))) % 2, reach.hi, reach.lo).reshape(shape)
        case "ends":
            values = rng.choice(np.array([reach.lo, reach.hi]), shape)
        case _:
            values = rng.integers(reach.lo, reach.hi + 1, shape)
    return values.astype(np.uint8)


def conv2d(
    rng: np.random.Generator,
    shape: tuple[int, int, int, int],
    *,
    kind: str = "uniform",
    semantics: Semantics = "float32_half_even",
    scales: tuple[float, float] = (0.05, 0.05),
    **geometry: object,
) -> ops.Conv2d:
    """A convolution of weight ``shape`` (N, KH, KW, C / groups) whose results use most of the output's range.

    ``scales`` are (s_x, s_y): the multipliers are float32(float32(s_x * s_w) / s_y) for some s_w.
    """
    weight = random_weight(rng, shape, kind)
    bias, requantize = _bias_and_requantize(rng, weight.reshape(shape[0], -1), semantics, scales)
    return ops.Conv2d(weight, bias, requantize, **geometry)  # type: ignore[arg-type]


def linear(
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    kind: str = "uniform",
    semantics: Semantics = "float32_half_even",
    scales: tuple[float, float] = (0.05, 0.05),
) -> ops.Linear:
    """A linear layer of weight ``shape`` (N, K) whose results use most of the output's range; see ``conv2d``."""
    weight = random_weight(rng, shape, kind)
    bias, requantize = _bias_and_requantize(rng, weight, semantics, scales)
    return ops.Linear(weight, bias, requantize)


def scale_for(rng: np.random.Generator, scale: float, low: float, high: float) -> float:
    """An output scale s_y such that ``scale / s_y`` lies in about [low, high]."""
    return float(np.float32(scale / rng.uniform(low, high)))


MOST_UNLIKE: Final = 2.0**20
"""Scales that are added: fixed point has no ratio below 2^-31."""


def ratios(scales: Sequence[float], s_y: float) -> NDArray[np.float32]:
    """Each scale divided by s_y, in float32."""
    return np.array(scales, np.float32) / np.float32(s_y)


@dataclass
class Builder:
    """Grows a program node by node; ``finish`` makes every tensor nobody reads an output.

    >>> builder = Builder("tiny")
    >>> x = builder.input((4, 4, 3))
    >>> y = builder.add(conv2d(np.random.default_rng(0), (8, 1, 1, 3)), [x])
    >>> builder.finish().outputs
    ('t1',)
    """

    name: str = "random"
    semantics: Semantics = "float32_half_even"
    inputs: list[str] = field(default_factory=list)
    tensors: dict[str, TensorSpec] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def input(self, shape: tuple[int, ...], affine: Affine | None = None, reach: IntRange = U8) -> str:
        """Declare an input; returns its name."""
        name = self._tensor(shape, affine or Affine(0.05, reach.lo), reach)
        self.inputs.append(name)
        return name

    def add(
        self, op: ops.Op, inputs: Sequence[str], affine: Affine | None = None, reach: IntRange = U8, name: str = ""
    ) -> str:
        """Apply ``op``; returns the name of its result. Movement operators keep their input's map and range."""
        specs = [self.tensors[each] for each in inputs]
        if ops.rules_of(op).same_affine or getattr(op, "origin", None) is not None:
            affine, reach = specs[0].affine, specs[0].range
        shape = output_shape(op, [spec.shape for spec in specs])
        output = self._tensor(shape, affine or Affine(0.05, reach.clamp(128)), reach)
        self.nodes.append(Node(name or f"n{len(self.nodes)}", op, tuple(inputs), output))
        return output

    def finish(self, **metadata: str) -> IntProgram:
        """The program."""
        read = {each for node in self.nodes for each in node.inputs}
        outputs = tuple(node.output for node in self.nodes if node.output not in read)
        return IntProgram(
            self.name, tuple(self.inputs), outputs, self.tensors, tuple(self.nodes), self.semantics, metadata
        )

    def _tensor(self, shape: tuple[int, ...], affine: Affine, reach: IntRange) -> str:
        name = f"t{len(self.tensors)}"
        self.tensors[name] = TensorSpec(name, shape, affine, reach)
        return name


@st.composite
def ranges(draw: st.DrawFn) -> IntRange:
    """An effective range inside u8; often the whole, sometimes a single integer."""
    if draw(st.booleans()):
        return U8
    ends = sorted((draw(st.integers(0, 255)), draw(st.integers(0, 255))))
    return IntRange(ends[0], ends[1])


@st.composite
def affine_and_range(draw: st.DrawFn) -> tuple[Affine, IntRange]:
    """A range and a zero point inside it, at its ends as often as between them."""
    reach = draw(ranges())
    zero = draw(st.sampled_from((reach.lo, reach.hi)) | st.integers(reach.lo, reach.hi))
    return Affine(draw(st.sampled_from((0.003, 0.0235294122248888, 0.05, 1.0))), zero), reach


@st.composite
def programs(
    draw: st.DrawFn,
    operators: Sequence[str] = OPERATORS,
    *,
    max_nodes: int = 4,
    max_side: int = 7,
    max_channels: int = 9,
    semantics: Semantics | None = None,
    weights: Sequence[str] = WEIGHT_KINDS,
) -> IntProgram:
    """A valid program of 1 to ``max_nodes`` nodes, each one of ``operators``, chained and sometimes branching."""
    rule = semantics or draw(st.sampled_from(SEMANTICS))
    builder = Builder(semantics=rule)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    side = st.integers(1, max_side)
    channels = draw(st.integers(1, max_channels))
    flat = set(operators) <= {"Linear", "Lookup", "Add"} and draw(st.booleans())
    shape = (channels,) if flat or set(operators) == {"Linear"} else (draw(side), draw(side), channels)
    affine, reach = draw(affine_and_range())
    current = builder.input(shape, affine, reach)
    for _ in range(draw(st.integers(1, max_nodes))):
        usable = [kind for kind in operators if _fits(kind, builder.tensors[current])]
        if not usable:
            break
        current = _append(draw, builder, rng, draw(st.sampled_from(usable)), current, (max_channels, weights))
    if not builder.nodes:
        builder.add(ops.Reshape(shape), [current])
    return builder.finish()


@st.composite
def inputs_for(draw: st.DrawFn, program: IntProgram, max_batch: int = 3) -> tuple[NDArray[np.uint8], ...]:
    """One array per input of ``program``: random, or one of its corners."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    batch = draw(st.integers(1, max_batch))
    kind = draw(st.sampled_from(INPUT_KINDS))
    specs = [program.tensors[name] for name in program.inputs]
    return tuple(random_input(rng, (batch, *spec.shape), spec.range, kind) for spec in specs)


@st.composite
def programs_with_inputs(
    draw: st.DrawFn, operators: Sequence[str] = OPERATORS, **limits: object
) -> tuple[IntProgram, tuple[NDArray[np.uint8], ...]]:
    """A program and something to run it on."""
    program = draw(programs(operators, **limits))  # type: ignore[arg-type]
    return program, draw(inputs_for(program))


def _fits(kind: str, x: TensorSpec) -> bool:
    if kind in ("Add", "Mul", "Lookup", "Reshape", "Slice", "Concat", "Transpose", "ChannelLookup"):
        return True
    if kind in IMAGES:
        return len(x.shape) == 3
    if kind == "Linear":
        return len(x.shape) == 1
    if kind == "DepthToSpace":
        return len(x.shape) == 3 and any(x.channels % block**2 == 0 for block in (2, 3))
    return sampled(kind, "float32_half_even", x.shape) is not None


def sampled(kind: str, semantics: Semantics, shape: tuple[int, ...]) -> tuple[ops.Op, int] | None:
    """The first sample value that takes tensors of one shape, and how many; None if there is none."""
    for case in ops.OPERATORS[kind].cases(semantics):
        try:
            output_shape(case.op, [shape] * len(case.shapes))
        except ProgramError:
            continue
        return case.op, len(case.shapes)
    return None


def _append(
    draw: st.DrawFn, builder: Builder, rng: np.random.Generator, kind: str, current: str, limits: Limits
) -> str:
    x = builder.tensors[current]
    affine, reach = draw(affine_and_range())
    rule = builder.semantics
    match kind:
        case "Conv2d" | "Depthwise":
            scales = (x.affine.scale, affine.scale)
            op = _draw_conv2d(draw, rng, x, (rule, scales), (kind, *limits))
            return builder.add(op, [current], affine, reach)
        case "Linear":
            shape = (draw(st.integers(1, limits[0])), x.shape[0])
            scales = (x.affine.scale, affine.scale)
            op = linear(rng, shape, kind=draw(st.sampled_from(limits[1])), semantics=rule, scales=scales)
            return builder.add(op, [current], affine, reach)
        case "Add" | "Mul" | "Concat":
            return _draw_joining(draw, builder, rng, kind, current)
        case "AvgPool" | "MaxPool" | "GlobalAvgPool":
            affine = Affine(scale_for(rng, x.affine.scale, 0.5, 2.0), affine.zero_point)
            return builder.add(_draw_pool(draw, x, affine, rule, kind), [current], affine, reach)
        case "Lookup":
            table = rng.integers(reach.lo, reach.hi + 1, 256).astype(np.uint8)
            return builder.add(ops.Lookup(table), [current], affine, reach)
        case "ChannelLookup":
            tables = rng.integers(reach.lo, reach.hi + 1, (x.channels, 256)).astype(np.uint8)
            return builder.add(ops.ChannelLookup(tables), [current], affine, reach)
        case "Resize" | "DepthToSpace" | "Reshape" | "Pad" | "Slice" | "Transpose":
            return builder.add(draw_movement(draw, x, kind), [current])
    sample = sampled(kind, rule, x.shape)
    assert sample is not None, kind
    op, inputs = sample[0], [current] * sample[1]
    ratio_rule = ops.rules_of(op).ratios
    if ratio_rule is None:
        return builder.add(op, inputs, affine, reach)
    affine = Affine(scale_for(rng, x.affine.scale, 0.3, 1.5), affine.zero_point)
    scales, s_y = np.array([x.affine.scale] * len(inputs), np.float32), np.float32(affine.scale)
    numbers = Requantize.from_scales(ratio_rule(op, scales, s_y, [x.shape] * len(inputs)), rule)
    return builder.add(replace(op, requantize=ops.rules_of(op).fit(numbers)), inputs, affine, reach)  # type: ignore[call-arg]


def _draw_conv2d(
    draw: st.DrawFn,
    rng: np.random.Generator,
    x: TensorSpec,
    numbers: tuple[Semantics, tuple[float, float]],
    size: tuple[str, int, Sequence[str]],
) -> ops.Conv2d:
    rule, scales = numbers
    kind, max_channels, weights = size
    height, width, channels = x.shape
    dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    padding = tuple(draw(st.integers(0, 2)) for _ in range(4))
    kernel = _window(draw, (height, width), padding, dilation)
    if kind == "Depthwise":
        groups = outputs = channels
    else:
        groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
        outputs = groups * draw(st.integers(1, max(1, max_channels // groups)))
    return conv2d(
        rng,
        (outputs, *kernel, channels // groups),
        kind=draw(st.sampled_from(weights)),
        semantics=rule,
        scales=scales,
        stride=(draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


def _draw_pool(draw: st.DrawFn, x: TensorSpec, y: Affine, rule: Semantics, kind: str) -> ops.Op:
    height, width, _ = x.shape
    ratio = ratios([x.affine.scale], y.scale)
    if kind == "GlobalAvgPool":
        return ops.GlobalAvgPool(Requantize.from_scales(ratio / np.float32(height * width), rule))
    kernel = _window(draw, (height, width), (0, 0, 0, 0), (1, 1))
    padding = tuple(draw(st.integers(0, min(2, size - 1))) for size in kernel for _ in range(2))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    if kind == "MaxPool":
        dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
        reach = [(size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True)]
        if reach[0] > height + sum(padding[:2]) or reach[1] > width + sum(padding[2:]):
            dilation = (1, 1)
        return ops.MaxPool(kernel, stride, padding, dilation)  # type: ignore[arg-type]
    origin = draw(st.sampled_from((None, None, 0, 128)))
    count = np.arange(1, kernel[0] * kernel[1] + 1).astype(np.float32)
    requantize = Requantize.from_scales((ratio if origin is None else np.ones_like(ratio)) / count, rule)
    counted = origin is None and draw(st.booleans())
    return ops.AvgPool(kernel, stride, requantize, padding, counted, origin)  # type: ignore[arg-type]


def _draw_joining(draw: st.DrawFn, builder: Builder, rng: np.random.Generator, kind: str, current: str) -> str:
    x, rule = builder.tensors[current], builder.semantics
    affine, reach = draw(affine_and_range())
    shapes = [x.shape]
    if kind == "Mul" and len(x.shape) == 3:
        shapes += [(x.channels,), (1, 1, x.channels)]
    if kind == "Concat":
        shapes = [(*x.shape[:-1], draw(st.integers(1, 4)))]
    wanted = draw(st.sampled_from(shapes))
    found = [name for name, spec in builder.tensors.items() if spec.shape == wanted]
    other = draw(st.sampled_from(found)) if found and draw(st.booleans()) else builder.input(wanted, affine, reach)
    y, out_reach = draw(affine_and_range())
    s_a, s_b = x.affine.scale, builder.tensors[other].affine.scale
    if kind != "Mul" and rule == "fixed_point" and max(s_a, s_b) > MOST_UNLIKE * min(s_a, s_b):
        other, s_b = builder.input(wanted, x.affine, x.range), s_a
    if kind == "Mul":
        product = float(np.float32(s_a) * np.float32(s_b))
        y = Affine(scale_for(rng, product, 0.001, 0.02), y.zero_point)
        requantize = Requantize.from_scales(ratios([product], y.scale), rule)
        return builder.add(ops.Mul(requantize), [current, other], y, out_reach)
    y = Affine(scale_for(rng, max(s_a, s_b), 0.3, 1.5), y.zero_point)
    if kind == "Concat":
        parts = [current, other, *([current] if draw(st.booleans()) else [])]
        scales = [builder.tensors[part].affine.scale for part in parts]
        requantize = Requantize.from_scales(ratios(scales, y.scale), rule)
        return builder.add(ops.Concat(requantize), parts, y, out_reach)
    requantize = Requantize.from_scales(ratios([s_a, s_b], y.scale), rule)
    if requantize.shift is not None:  # one common shift: the smaller, and the other multiplier shortened to it
        shift = int(requantize.shift.min())
        shorter = [int(m) >> (int(s) - shift) for m, s in zip(requantize.multiplier, requantize.shift, strict=True)]
        requantize = Requantize(np.array(shorter, np.int32), np.full(2, shift, np.int32))
    return builder.add(ops.Add(requantize), [current, other], y, out_reach)


def _window(
    draw: st.DrawFn, size: tuple[int, int], padding: Sequence[int], dilation: tuple[int, int]
) -> tuple[int, int]:
    """A kernel size of at most 4 that fits at least once."""
    room = (size[0] + padding[0] + padding[1], size[1] + padding[2] + padding[3])
    most = [min(4, (space - 1) // step + 1) for space, step in zip(room, dilation, strict=True)]
    return draw(st.integers(1, most[0])), draw(st.integers(1, most[1]))


def _bias_and_requantize(
    rng: np.random.Generator, weight: ops.Weights, semantics: Semantics, scales: tuple[float, float]
) -> tuple[NDArray[np.int32], Requantize]:
    spread = np.maximum(np.abs(weight.astype(np.int64)).sum(axis=1), 1) * 255
    bias = (rng.uniform(-0.3, 0.3, len(spread)) * spread).astype(np.int32)
    s_x, s_y = np.float32(scales)
    s_w = (rng.uniform(0.5, 4.0, len(spread)) * 255 / spread * s_y / s_x).astype(np.float32)
    return bias, Requantize.from_scales(s_x * s_w / s_y, semantics)
