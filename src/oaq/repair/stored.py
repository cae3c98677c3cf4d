"""From new integers of a layer to the arrays its file keeps: weights, their scale, bias, its scale."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from oaq.capture.from_onnx.sums import SAME_BIAS_SCALE
from oaq.capture.imported import LayerSource, weight_to_file
from oaq.numerics.formats import S32
from oaq.repair.layer import Change

if TYPE_CHECKING:
    from oaq.repair.onnx_file import OnnxFile

Reals = NDArray[np.float64]


def write_layer(file: OnnxFile, source: LayerSource, layer_change: Change, steps: Reals) -> None:
    """Replace what a changed layer keeps in its file.

    Args:
        file: to write to.
        source: of the layer.
        layer_change: its change.
        steps: (N,) real value of one step of its sums before the change.
    """
    shape = tuple(source.split[axis] for axis in source.axes)
    weight = layer_change.weight.reshape(shape)
    file.replace(source.weight.name, _weights(source, weight, layer_change.scales), source.nodes)
    if source.weight_scale is not None:
        place = source.axes[0], len(source.split)
        _replace_some(file, source, source.weight_scale.name, layer_change, (layer_change.scales, place))
    if source.bias is not None:
        _write_bias(file, source, layer_change, steps)


def _weights(source: LayerSource, weight: NDArray[np.int64], scales: NDArray[np.float32]) -> NDArray[Any]:
    """As stored: integers, or the reals that the file rounds to them."""
    stored = weight_to_file(source, weight)
    if source.weight.form != "reals":
        return stored
    output = np.broadcast_to(np.arange(len(weight)).reshape(-1, *[1] * (weight.ndim - 1)), weight.shape)
    n = weight_to_file(replace(source, zero_point=np.zeros_like(source.zero_point)), output)
    return ((stored - source.zero_point[n]) * scales[n].astype(np.float64)).astype(np.float32)


def _write_bias(file: OnnxFile, source: LayerSource, layer_change: Change, steps: Reals) -> None:
    """A bias stays what it is in real numbers, but for the shift of its sums."""
    assert source.bias is not None
    stored = np.array(file.constant(source.bias.name))
    flat, at = stored.reshape(-1), layer_change.outputs
    if flat.size != len(steps):
        return
    scale = None if source.bias_scale is None else file.constant(source.bias_scale.name).reshape(-1)
    follows = _follows(source, scale)
    if flat.dtype.kind == "f":
        flat[at] = (flat[at].astype(np.float64) + layer_change.shift * steps[at]).astype(flat.dtype)
    elif follows or scale is None:
        flat[at] = _rounded_s32((flat[at] + layer_change.shift) / layer_change.factor, flat[at] / layer_change.factor)
    else:
        scale_per_output = np.broadcast_to(scale.astype(np.float64), flat.shape)[at]
        flat[at] = _rounded_s32(
            flat[at] + layer_change.shift * steps[at] / scale_per_output, flat[at].astype(np.float64)
        )
    file.replace(source.bias.name, flat.reshape(stored.shape), source.nodes)
    if source.bias_scale is not None and follows:
        new_scale = (np.float32(source.x_scale) * layer_change.scales).astype(np.float32)
        place = stored.shape.index(flat.size), stored.ndim
        _replace_some(file, source, source.bias_scale.name, layer_change, (new_scale, place))


def _follows(source: LayerSource, scale: NDArray[Any] | None) -> bool:
    """The scale of the bias is s_x * s_w."""
    if scale is None or scale.size not in (1, len(source.scales)):
        return False
    product = np.float64(source.x_scale) * source.scales.astype(np.float64)
    return bool(np.all(np.abs(scale.astype(np.float64) / product - 1.0) <= SAME_BIAS_SCALE))


def _rounded_s32(preferred: Reals, otherwise: Reals) -> NDArray[np.int64]:
    """Rounded; ``otherwise`` where that would leave 32 bits."""
    fits = (np.rint(preferred) >= S32.lo) & (np.rint(preferred) <= S32.hi)
    return np.rint(np.where(fits, preferred, otherwise)).astype(np.int64)


def _replace_some(
    file: OnnxFile,
    source: LayerSource,
    name: str,
    layer_change: Change,
    replacement: tuple[NDArray[np.float32], tuple[int, int]],
) -> None:
    """The scales of outputs that were rescaled; others keep every bit. One for all becomes one for each.

    With one coarser scale for the whole layer the file keeps one.
    """
    at = layer_change.outputs[layer_change.factor != 1]
    if not len(at):
        return
    values, place = replacement
    stored = np.array(file.constant(name))
    if layer_change.together:
        file.replace(name, np.full(stored.shape, values[0], stored.dtype), source.nodes)
        return
    alone = stored.size == 1 and len(values) > 1
    flat = np.repeat(stored.reshape(-1), len(values)) if alone else stored.reshape(-1)
    flat[at] = values[at]
    if alone:
        file.spread(name, flat, source.nodes, place)
    else:
        file.replace(name, flat.reshape(stored.shape), source.nodes)
