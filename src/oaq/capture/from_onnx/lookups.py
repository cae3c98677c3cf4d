"""Tables looked up by integers: Cast, Gather, and before it an Add where each channel has a table of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from oaq import operators as ops
from oaq.capture.from_onnx.attributes import integer
from oaq.capture.from_onnx.draft import full, spatial
from oaq.capture.from_onnx.graph import OnnxNode
from oaq.capture.from_onnx.values import Integers, Stays, View, arranged
from oaq.capture.from_onnx.walk import Walk
from oaq.capture.layout import Layout


def index_by_channel(walk: Walk, node: OnnxNode, index: Integers) -> Integers:
    """An index to which 256 for each channel before its own is added: all tables lie one after another.

    Raises:
        Stays: something else is added.
    """
    first = walk.constant(node.input_name(1), "operand")
    channels, *positions = index.view.shape
    expected = (256 * np.arange(channels)).reshape(-1, *(1,) * len(positions))
    if index.by_channel or first.dtype.kind not in "iu" or not np.array_equal(first, expected):
        raise Stays("it adds something else than 256 for each channel to an index")
    walk.absorb([node])
    return replace(index, by_channel=True)


def _look_up_by_channel(walk: Walk, node: OnnxNode, index: Integers) -> None:
    tables, name = walk.constant(node.input_name(0), "table"), node.outputs[0]
    order = spatial(len(index.view.shape))
    if tables.shape != (256 * index.view.shape[0],) or tables.dtype != np.uint8 or index.offset:
        raise Stays("its tables do not map the 256 integers of 8 bits to 8 bits, channel by channel")
    view, meaning = arranged(walk.draft, index.view, order), walk.meanings.get(name)
    layout = Layout.in_order(view.shape, order)
    result = full(meaning.affine if meaning else walk.draft.tensors[view.tensor].affine, name, layout)
    result.is_integer, result.is_stated = True, meaning is not None
    number = walk.draft.emit(node.name, ops.ChannelLookup(tables.reshape(-1, 256)), [view.tensor], result)
    walk.values[name] = Integers(View(number, layout), 0)
    walk.absorb([node])


def look_up(walk: Walk, node: OnnxNode, index: Integers) -> None:
    """Integers of a table of 256, or of one for each channel."""
    if index.by_channel:
        _look_up_by_channel(walk, node, index)
        return
    table = walk.constant(node.input_name(0), "table")
    if table.shape != (256,) or table.dtype not in (np.uint8, np.int8) or integer(node, "axis", 0) != 0:
        raise Stays("its table does not map the 256 integers of 8 bits to 8 bits")
    if index.offset:
        raise Stays("it looks up a table by signed integers, the negative ones from its end")
    name = node.outputs[0]
    offset = 128 if table.dtype == np.int8 else 0
    values = (table.astype(np.int16) + offset).astype(np.uint8)
    source = walk.draft.tensors[index.view.tensor]
    meaning = walk.meanings.get(name)
    result = full(meaning.affine if meaning else source.affine, name, index.view.layout)
    result.offset, result.is_integer, result.is_stated = offset, True, meaning is not None
    number = walk.draft.emit(node.name, ops.Lookup(values), [index.view.tensor], result)
    walk.values[name] = Integers(View(number, index.view.layout), offset)
    walk.absorb([node])
