"""A detector with random weights, shaped like SSD-MobileNetV2: inverted residuals, two levels, boxes and scores.

It needs no data, so that other machines run one in every test.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from oaq import operators as ops
from oaq.data.preprocess import Preprocess
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.program.int_program import IntProgram
from oaq.tasks.detect import Detector, Grid, Head, Part, detect
from oaq.tasks.record import task_metadata
from tests.strategies import Builder, conv2d

SIDE, CLASSES, ANCHORS = 48, 5, 3
SEVEN = IntRange(0, 127)


def detector(name: str = "detector") -> IntProgram:
    """A network of 48 x 48 photos; tensors that layers read have 7 bits."""
    rng, builder = np.random.default_rng(11), Builder(name)

    def conv(x: str, layer: str, channels: int, side: int, *, stride: int = 1, depthwise: bool = False) -> str:
        inputs = builder.tensors[x].shape[-1]
        shape = (inputs, side, side, 1) if depthwise else (channels, side, side, inputs)
        pad = (side // 2,) * 4
        op = conv2d(rng, shape, padding=pad, stride=(stride, stride), groups=inputs if depthwise else 1)
        return builder.add(op, [x], Affine(0.05, 0), SEVEN, name=layer)

    def block(x: str, number: int, channels: int, stride: int) -> str:
        inputs = builder.tensors[x].shape[-1]
        y = conv(x, f"block{number}.expand", 6 * inputs, 1)
        y = conv(y, f"block{number}.depthwise", 6 * inputs, 3, stride=stride, depthwise=True)
        y = conv(y, f"block{number}.project", channels, 1)
        if stride > 1 or channels != inputs:
            return y
        return builder.add(ops.OPERATORS["Add"].cases("float32_half_even")[0].op, [x, y], Affine(0.05, 0), SEVEN)

    x = builder.input((SIDE, SIDE, 3), Affine(0.02, 60), SEVEN)
    x = conv(x, "stem", 16, 3, stride=2)
    for number, (channels, stride) in enumerate([(16, 1), (24, 2), (24, 1), (32, 2)]):
        x = block(x, number, channels, stride)
    levels = [x, block(x, 4, 48, 2)]
    heads, names = [], []
    for level, features in enumerate(levels):
        rows, columns, inputs = builder.tensors[features].shape
        for kind, numbers in (("boxes", 4), ("scores", CLASSES)):
            op = conv2d(rng, (ANCHORS * numbers, 3, 3, inputs), padding=(1, 1, 1, 1))
            names.append(builder.add(op, [features], Affine(0.04, 128), name=f"{kind}{level}"))
        sizes = tuple((0.2 * (level + 1), 0.15 * (anchor + 1)) for anchor in range(ANCHORS))
        heads.append(Head(Part(names[-2]), Part(names[-1]), (Grid(rows, columns, sizes),)))
    task = detect(Preprocess((SIDE, SIDE), fit="stretch"), ("nothing", "a", "b", "c", "d"), Detector(tuple(heads)))
    metadata = {**task_metadata(task), "input_layout": "NCHW"}
    return replace(builder.finish(), outputs=tuple(names), metadata=metadata)
