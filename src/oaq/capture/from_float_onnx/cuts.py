"""Where to cut a file so that what comes before a refused node can be quantized by itself."""

from __future__ import annotations

from typing import Final

from oaq.capture.from_float_onnx.builder import Builder, View
from oaq.capture.from_onnx.graph import OnnxNode

MOST_NAMES: Final = 3
"""Tensors named in one message."""


def cut_before(build: Builder, node: OnnxNode) -> str:
    """A sentence with the call that cuts the file before ``node``; "" where nothing of worth comes before it.

    The tensors named are what the node reads, and what else has been computed by then and is still to be read: all that
    the part before it gives to the part behind it.
    """
    done = {name for name in build.values if name not in build.inputs and _is_computed(build, name)}
    behind = [name for name in done if _is_read_later(build, name)]
    read = [name for name in node.inputs if name in done]
    names = list(dict.fromkeys((*read, *sorted(behind))))
    if not read or len(names) > MOST_NAMES:
        names = read[:MOST_NAMES]
    if not names:
        return ""
    file = build.file
    return (
        f". What comes before it can be quantized by itself: onnx.utils.extract_model({file.where!r}, 'before.onnx', "
        f"{list(file.inputs)}, {names})"
    )


def _is_computed(build: Builder, name: str) -> bool:
    value = build.values[name]
    return isinstance(value, View) and value.tensor not in build.inputs


def _is_read_later(build: Builder, name: str) -> bool:
    """Whether a node that has no value yet reads the tensor, or the caller gets it."""
    users = build.file.consumers.get(name, ())
    later = any(output and output not in build.values for user in users for output in user.outputs[:1])
    return later or name in build.file.outputs
