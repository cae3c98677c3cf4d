"""Float outputs against integer outputs on the same inputs: evidence about precision, never about overflow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oaq.report.scores import Agreement, Score
from oaq.tasks.task import Task, score_text

Real = NDArray[np.floating]
Outputs = Mapping[str, Real]


def sqnr_db(reference: Real, approximation: Real) -> float:
    """Signal to quantization noise ratio: 10 log10(sum reference**2 / sum (reference - approximation)**2).

    Args:
        reference: any shape.
        approximation: the same shape.

    Returns:
        Decibels; inf if they are equal, -inf if the reference is zero everywhere and the approximation is not.

    Raises:
        ValueError: the shapes differ or a value is NaN.

    >>> round(sqnr_db(np.array([10.0, 0.0]), np.array([10.0, 1.0])), 6)
    20.0
    """
    if reference.shape != approximation.shape:
        raise ValueError(f"shapes differ: reference {reference.shape}, approximation {approximation.shape}")
    exact = reference.astype(np.float64)
    signal = float(np.sum(exact**2))
    noise = float(np.sum((exact - approximation.astype(np.float64)) ** 2))
    if math.isnan(signal) or math.isnan(noise):
        raise ValueError("SQNR of NaN: one of the two outputs holds NaN")
    if noise == 0:
        return math.inf
    return -math.inf if signal == 0 else 10 * math.log10(signal / noise)


def compare(
    float_outputs: Outputs,
    int_outputs: Outputs,
    task: Task | None = None,
    truths: Sequence[Any] | None = None,
    points: int = 300,
) -> Agreement:
    """Summarise two sets of outputs of the same images.

    Args:
        float_outputs: (images, ...) of the float network by output.
        int_outputs: as many, dequantized, of the integer network.
        task: what the outputs mean; None compares numbers only.
        truths: as the task's metrics take them, one per image, if known.
        points: how many (float, int) pairs to keep for a scatter plot, evenly spaced over all outputs.

    Raises:
        ValueError: the outputs do not fit each other, or not the truths.
    """
    shapes = [{name: values.shape for name, values in outputs.items()} for outputs in (float_outputs, int_outputs)]
    counts = {len(values) if values.ndim else 0 for values in float_outputs.values()}
    if shapes[0] != shapes[1] or len(counts) != 1 or counts == {0}:
        raise ValueError(f"outputs are (images, ...), alike on both sides, not {shapes[0]} and {shapes[1]}")
    (images,) = counts
    if truths is not None and len(truths) != images:
        raise ValueError(f"{len(truths)} truths for {images} images")
    sqnr = tuple((name, sqnr_db(values, int_outputs[name])) for name, values in float_outputs.items())
    flat = [np.concatenate([values.reshape(-1) for values in side.values()]) for side in (float_outputs, int_outputs)]
    scores = () if task is None else _scores(task, float_outputs, int_outputs, truths)
    return Agreement(images, "" if task is None else task.name, scores, sqnr, _sample(flat[0], flat[1], points))


def decode_all(task: Task, outputs: Outputs) -> list[Any]:
    """The task's answer for every image of a set of outputs."""
    count = len(next(iter(outputs.values())))
    return [task.decode({name: values[at] for name, values in outputs.items()}) for at in range(count)]


def _scores(task: Task, exact: Outputs, rounded: Outputs, truths: Sequence[Any] | None) -> tuple[Score, ...]:
    answers, own = decode_all(task, exact), decode_all(task, rounded)
    return tuple(
        Score(
            metric.name,
            metric.unit,
            metric.better,
            metric.agreement(answers, own),
            None if truths is None else metric.compute(answers, truths),
            None if truths is None else metric.compute(own, truths),
        )
        for metric in task.metrics
    )


def sentences(agreement: Agreement) -> list[tuple[str, str]]:
    """(what, figure) for people, in the terminal and in the page alike."""
    rows = []
    for score in agreement.scores:
        values = (
            (f"{score.metric} against float", score.agreement),
            (f"{score.metric}, float network", score.float_value),
            (f"{score.metric}, integer network", score.int_value),
        )
        rows += [(name, score_text(value, score.unit, agreement.images)) for name, value in values if value is not None]
    name = "output SQNR against float"
    if len(agreement.sqnr_db) > 1:
        name += f", least of {len(agreement.sqnr_db)} outputs"
    return [*rows, (name, f"{agreement.least_sqnr_db:.1f} dB")]


def _sample(x: Real, y: Real, count: int) -> tuple[tuple[float, float], ...]:
    """Evenly spaced by rank of ``x``, so that the tails (the logits that decide) are there."""
    order = np.argsort(x, axis=None)
    sampled = order[np.unique(np.linspace(0, order.size - 1, min(count, order.size)).round().astype(np.int64))]
    pairs = zip(x.reshape(-1)[sampled], y.reshape(-1)[sampled], strict=True)
    return tuple((round(float(a), 4), round(float(b), 4)) for a, b in pairs)
