"""Inputs at the corners: all low, all high, alternating, random, and what drives the first sums to their ends."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from benchmarks.soundness.draft import Plain
from benchmarks.soundness.laws import Step
from benchmarks.soundness.numbers import Draws
from benchmarks.soundness.oracle import SUMMING, steps_of
from benchmarks.soundness.windows import window_axes

Images = NDArray[np.uint8]
SAMPLES = 7
"""low, high, alternating, ends at random, random, and two that drive a sum down and up."""


def draw_inputs(header: Plain, arrays: Mapping[str, np.ndarray], draws: Draws) -> dict[str, Images]:
    """(SAMPLES, ...) for every input of a program."""
    tensors = {tensor["name"]: tensor for tensor in header["tensors"]}
    inputs = {name: _corners(tensors[name], draws) for name in header["inputs"]}
    for step in steps_of(header, arrays):
        if step.node["op"] in SUMMING and step.node["inputs"][0] in inputs:
            _drive(step, inputs[step.node["inputs"][0]], draws)
            break
    return inputs


def _corners(tensor: Plain, draws: Draws) -> Images:
    shape, (lo, hi) = tuple(tensor["shape"]), tensor["range"]
    x = draws.bulk.integers(lo, hi + 1, (SAMPLES, *shape), dtype=np.uint8)
    x[0], x[1] = lo, hi
    size = int(np.prod(shape))
    x[2] = np.where(np.arange(size) % 2, hi, lo).reshape(shape)
    x[3] = np.where(draws.bulk.integers(0, 2, shape) > 0, hi, lo)
    return x


def _drive(step: Step, x: Images, draws: Draws) -> None:
    """Make the last two samples drive one sum at one position down and up as far as it goes."""
    weight, (lo, hi) = step.arrays["weight"], step.inputs[0]["range"]
    output = draws.choose.randrange(len(weight))
    up = (np.where(weight[output] > 0, hi, lo), np.where(weight[output] > 0, lo, hi))
    if step.node["op"] == "Linear":
        x[-1], x[-2] = up
        return
    size, terms = x.shape[1:-1], weight.shape[-1]
    axes = window_axes(step.node, weight.shape[1:-1], size)
    places = [axis.position[draws.choose.randrange(len(axis.position))] for axis in axes]
    first = output // (len(weight) // step.node["groups"]) * terms
    for tap in np.ndindex(*weight.shape[1:-1]):
        position = tuple(int(place[index]) for place, index in zip(places, tap, strict=True))
        if all(0 <= at < length for at, length in zip(position, size, strict=True)):
            for sample, values in zip((-1, -2), up, strict=True):
                x[(sample, *position, slice(first, first + terms))] = values[tap]
