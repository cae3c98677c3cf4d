"""Operators value by value: functions, sums, products, joins."""

from __future__ import annotations

from typing import Final

import numpy as np

from benchmarks.tflite_random.draft import ACTIVATIONS, Activation, Draft

FUNCTIONS: Final = {
    "RELU": "",
    "RELU6": "",
    "RELU_N1_TO_1": "",
    "LOGISTIC": "",
    "TANH": "",
    "HARD_SWISH": "HardSwishOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "ELU": "",
    "GELU": "GeluOptions",
    "QUANTIZE": "QuantizeOptions",
}
"""Operators of one activation, with the names of their option tables."""


def function(draft: Draft, x: Activation) -> Activation | None:
    """A function of one value."""
    code = draft.choose(*FUNCTIONS)
    options = {}
    if code == "LEAKY_RELU":
        options = {"alpha": draft.choose(0.1, 0.25, 0.5, 0.01, 1.5, -0.3, 0.001, float(draft.rng.uniform(0, 1)))}
    elif code == "GELU":
        options = {"approximate": draft.chance(0.5)}
    low = draft.ends[0]
    if code == "LOGISTIC":
        y = draft.activation(x.shape, 1 / 256, low)
    elif code == "TANH":
        y = draft.activation(x.shape, 1 / 128, low + 128)
    elif code.startswith("RELU") and draft.chance(0.5):
        y = draft.activation(x.shape, x.scale, x.zero)
    else:
        y = draft.activation(x.shape, draft.scale_from(x.scale))
    return draft.append(code, [x.index], y, FUNCTIONS[code], **options)


def sum_of_two(draft: Draft, x: Activation) -> Activation | None:
    """ADD or SUB of two activations, or of one and a number."""
    code = draft.choose("ADD", "SUB")
    other, scale = _partner(draft, x)
    inputs = [x.index, other] if draft.chance(0.7) else [other, x.index]
    y = draft.activation(x.shape, draft.scale_from(max(x.scale, scale)))
    activation = draft.choose(*ACTIVATIONS)
    return draft.append(code, inputs, y, f"{code.capitalize()}Options", fusedActivationFunction=activation)


def product_of_two(draft: Draft, x: Activation) -> Activation | None:
    """MUL of two activations, of one and a number, or of one and a constant per channel."""
    if draft.chance(0.2):
        scale = float(np.float32(10.0 ** draft.rng.uniform(-3, -1)))
        constant = draft.constant(draft.integers((x.shape[-1],)), draft.kind, scale=[scale], zero=[draft.zero()])
        y = draft.activation(x.shape, draft.scale_from(x.scale * scale * 100))
        return draft.append("MUL", [x.index, constant], y, "MulOptions", fusedActivationFunction=0)
    other, scale = _partner(draft, x)
    inputs = [x.index, other] if draft.chance(0.7) else [other, x.index]
    y = draft.activation(x.shape, draft.scale_from(x.scale * scale * 64))
    return draft.append("MUL", inputs, y, "MulOptions", fusedActivationFunction=draft.choose(*ACTIVATIONS))


def parametric_relu(draft: Draft, x: Activation) -> Activation | None:
    """PRELU by one slope, or one for each channel."""
    shape = draft.choose((x.shape[-1],), (1,) * (len(x.shape) - 2) + x.shape[-1:], (1,))
    scale = float(np.float32(10.0 ** draft.rng.uniform(-3.5, -1.5)))
    slopes = draft.constant(draft.integers(shape), draft.kind, scale=[scale], zero=[draft.zero()])
    return draft.append("PRELU", [x.index, slopes], draft.activation(x.shape, draft.scale_from(x.scale)))


def extreme(draft: Draft, x: Activation) -> Activation | None:
    """MAXIMUM or MINIMUM of two activations of one map, or of one and a number."""
    fits = [item for item in draft.written if item.shape == x.shape and (item.scale, item.zero) == (x.scale, x.zero)]
    other = draft.choose(*fits).index
    if draft.chance(0.25):
        other = draft.constant(draft.integers(()), draft.kind, scale=[x.scale], zero=[x.zero])
    elif draft.chance(0.7):  # another tensor of the same map
        y = draft.activation(x.shape, x.scale, x.zero)
        other = draft.append("RELU", [x.index], y).index
    inputs = [x.index, other] if draft.chance(0.6) else [other, x.index]
    y = draft.activation(x.shape, x.scale, x.zero)
    return draft.append(draft.choose("MAXIMUM", "MINIMUM"), inputs, y, "MaximumMinimumOptions")


def join(draft: Draft, x: Activation) -> Activation | None:
    """CONCATENATION on any axis but the batch; int8 only of one scale, which LiteRT demands."""
    rank = len(x.shape)
    axis = rank - 1 if draft.chance(0.5) else draft.whole(1, rank - 1)
    rest = (*x.shape[:axis], *x.shape[axis + 1 :])
    fits = [
        item
        for item in draft.written
        if len(item.shape) == rank
        and (*item.shape[:axis], *item.shape[axis + 1 :]) == rest
        and (draft.kind is np.uint8 or (item.scale, item.zero) == (x.scale, x.zero))
    ]
    parts = [x, *(draft.choose(*fits) for _ in range(draft.whole(1, 2)))]
    shape = (*x.shape[:axis], sum(part.shape[axis] for part in parts), *x.shape[axis + 1 :])
    same = draft.kind is np.int8 or draft.chance(0.3)
    y = draft.activation(shape, x.scale, x.zero) if same else draft.activation(shape, draft.scale_from(x.scale))
    inputs, shown = [part.index for part in parts], draft.choose(axis, axis - rank)
    return draft.append("CONCATENATION", inputs, y, "ConcatenationOptions", axis=shown, fusedActivationFunction=0)


def softmax(draft: Draft, x: Activation) -> Activation | None:
    """SOFTMAX, which stays outside."""
    y = draft.activation(x.shape, 1 / 256, draft.ends[0])
    return draft.append("SOFTMAX", [x.index], y, "SoftmaxOptions", beta=1.0)


def _partner(draft: Draft, x: Activation) -> tuple[int, float]:
    """A second operand, with its scale: an activation of that shape (x too), or a number."""
    if draft.chance(0.25):
        scale = draft.scale_from(x.scale)
        return draft.constant(draft.integers(()), draft.kind, scale=[scale], zero=[draft.zero()]), scale
    fits = [item for item in draft.written if item.shape == x.shape]
    other = draft.choose(*fits)
    return other.index, other.scale


DRAWS: Final = (
    *(function,) * 6, *(sum_of_two,) * 5, *(product_of_two,) * 3, *(join,) * 3, *(extreme,) * 2,
    *(parametric_relu,) * 2, softmax,
)  # fmt: skip
"""What operators are drawn from, as often as they stand here."""
