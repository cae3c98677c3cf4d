"""Weights for tests: every kind that a kernel, a schedule or a proof could treat differently."""

from __future__ import annotations

import numpy as np

from oaq.operators import Weights

NARROW_KINDS = ("uniform", "extreme", "small", "sparse", "positive", "minus-128", "blocks")
"""Kinds of int8 weights."""
WIDE_KINDS = ("wide-extreme", "wide", "wide-sparse")
"""Kinds of weights that leave int8: a u8 less a zero point. Small arrays may stay inside."""
WEIGHT_KINDS = NARROW_KINDS + WIDE_KINDS


def random_weight(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> Weights:
    """Weights of one of ``WEIGHT_KINDS``: int8, or int16 if one leaves int8."""
    match kind:
        case "extreme":
            values = rng.choice(np.array([-127, 127]), shape)
        case "small":
            values = rng.integers(-3, 4, shape)
        case "sparse":
            values = rng.integers(-127, 128, shape) * (rng.random(shape) < 0.2)
        case "blocks":  # eight operands of sixteen outputs at a time are zero
            rows, terms = shape[0], max(1, int(np.prod(shape[1:])))
            kept = rng.random((-(-rows // 16), -(-terms // 8))) < 0.5
            kept = kept.repeat(16, axis=0)[:rows].repeat(8, axis=1)[:, :terms].reshape(shape)
            values = rng.choice(np.array([-128, -127, -1, 1, 127]), shape) * kept
        case "positive":
            values = rng.integers(100, 128, shape)
        case "minus-128":
            values = rng.choice(np.array([-128, -128, 127]), shape)
        case "wide-extreme":
            values = rng.choice(np.array([-255, 255, -256 + 127, 128, -128, 127, 0]), shape)
        case "wide":
            values = rng.integers(0, 256, shape) - rng.integers(0, 256)
        case "wide-sparse":
            values = np.where(rng.random(shape) < 0.1, rng.integers(-255, 256, shape), rng.integers(-9, 10, shape))
        case _:
            values = rng.integers(-127, 128, shape)
    narrow = values.min(initial=0) >= -128 and values.max(initial=0) <= 127
    return values.astype(np.int8 if narrow else np.int16)
