"""``quantize``: a float network and typical inputs in, an ``IntProgram`` out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch

from oaq.capture.graph import FloatConv2d, FloatGraph, FloatLinear, LayerParams, TensorParams
from oaq.capture.lower import lower, same_affine_groups
from oaq.errors import CalibrationError
from oaq.program.int_program import IntProgram
from oaq.ptq.clip import affine_range
from oaq.ptq.execute import layers
from oaq.ptq.observe import observe
from oaq.ptq.round import best_scale, nearest, packed_rows, unpacked
from oaq.ptq.samples import chunks


def quantize(model, batches, *, example=None, name=None) -> IntProgram:
    graph, batches = _graph(model, batches, example, name)
    stats = observe(graph, chunks(graph, batches))
    tensors = {}
    for group in same_affine_groups(graph):
        params = affine_range(min(stats[t].lo.min() for t in group), max(stats[t].hi.max() for t in group), 255)
        tensors.update(dict.fromkeys(group, params))
    chosen = {}
    for node, op in layers(graph):
        rows = packed_rows(op).astype(np.float64)
        scale = best_scale(rows, np.ones_like(rows))
        bias = op.bias / (scale * tensors[node.inputs[0]].affine.scale)
        chosen[node.name] = LayerParams(
            unpacked(nearest(rows, scale), op), scale.astype(np.float32), np.rint(bias).astype(np.int32)
        )
    return lower(graph, tensors, chosen, "float32_half_even", {})


def _graph(model, batches, example, name):
    if isinstance(model, FloatGraph):
        return model, batches
    from oaq.capture.from_torch import normalize

    stream = iter(batches)
    first = next(stream, None)
    if first is None:
        raise CalibrationError("there are no calibration batches: give at least one batch of typical inputs")
    if example is None:
        example = torch.as_tensor(first)[:1]
    return normalize(model, example, name), chain([first], stream)
