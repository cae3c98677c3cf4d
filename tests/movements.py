"""Operators that only move integers, drawn for a tensor."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from oaq import operators as ops
from oaq.operators import TensorSpec


def draw_movement(draw: st.DrawFn, x: TensorSpec, kind: str) -> ops.Op:
    """A value of ``kind`` that takes ``x``."""
    shape = x.shape
    match kind:
        case "Resize":
            mode = draw(st.sampled_from(("nearest", "bilinear", "bilinear_corners")))
            return ops.Resize(draw(st.integers(1, 9)), draw(st.integers(1, 9)), mode)
        case "DepthToSpace":
            block = draw(st.sampled_from([b for b in (2, 3) if x.channels % b**2 == 0]))
            return ops.DepthToSpace(block, draw(st.sampled_from(("DCR", "CRD"))))
        case "Reshape":
            size = int(np.prod(shape))
            shapes = [(size,), (1, 1, size), *([(shape[1], shape[0], shape[2])] if len(shape) == 3 else [])]
            return ops.Reshape(draw(st.sampled_from(shapes)))
        case "Pad":
            return ops.Pad(tuple(draw(st.integers(0, 3)) for _ in range(4)))  # type: ignore[arg-type]
        case "Transpose":
            return _draw_transpose(draw, shape)
    begin = tuple(draw(st.integers(0, size - 1)) for size in shape)
    end = tuple(draw(st.integers(first + 1, size)) for first, size in zip(begin, shape, strict=True))
    return ops.Slice(begin, end)


def _draw_transpose(draw: st.DrawFn, shape: tuple[int, ...]) -> ops.Transpose:
    """Axes, some cut in two, in any order; what is a channel afterwards is drawn too."""
    split: list[int] = []
    for size in shape:
        outer = draw(st.sampled_from([part for part in range(1, size + 1) if size % part == 0]))
        split += [outer, size // outer] if draw(st.booleans()) else [size]
    order = draw(st.permutations(range(len(split))))
    sizes = [split[place] for place in order]
    first = draw(st.integers(0, len(sizes) - 1))
    positions, channels = int(np.prod(sizes[:first])), int(np.prod(sizes[first:]))
    shapes = [(positions, 1, channels), (positions, channels), *([tuple(sizes)] if len(sizes) < 4 else [])]
    return ops.Transpose.joining(tuple(split), tuple(order), draw(st.sampled_from(shapes)))
