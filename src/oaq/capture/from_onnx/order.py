"""Which axis of an input the file's operators take for its channels: (batch, C, L) and (batch, T, C) look alike."""

from __future__ import annotations

from typing import Final

from oaq.capture.from_onnx.graph import OnnxGraph, OnnxNode

FIRST: Final = frozenset(
    {"Conv", "ConvTranspose", "BatchNormalization", "InstanceNormalization", "MaxPool", "AveragePool"}
    | {"GlobalAveragePool", "GlobalMaxPool", "Resize", "Upsample", "DepthToSpace", "PRelu", "ConvInteger"}
    | {"QLinearConv", "QLinearAveragePool", "QLinearGlobalAveragePool"}
)
"""Operators that take the first axis after the batch for channels."""
PRODUCTS: Final = ("MatMul", "QLinearMatMul", "MatMulInteger")
"""Operators that take the last axis of their first input for channels."""
LOST: Final = frozenset(
    {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Concat", "Split", "Gather", "Gemm", "QGemm", "QLinearConcat"}
)
"""Operators after which axes are no longer the ones that were asked about."""


def rotated(rank: int) -> tuple[int, ...]:
    """Which of our axes (C, ...) each axis of the file is, where that counts (..., C)."""
    return (*range(1, rank), 0)


def channel_axis(file: OnnxGraph, name: str, rank: int) -> int | None:
    """The axis of ``name``, the batch being 0, that the first operator that needs to know takes for its channels.

    None where nothing needs to know.

    Args:
        file: what is read.
        name: of a tensor.
        rank: axes of one sample of it.
    """
    pending: list[tuple[str, tuple[int, ...]]] = [(name, tuple(range(1, rank + 1)))]
    visited = {name}
    while pending:
        tensor, order = pending.pop(0)
        for user in file.consumers.get(tensor, ()):
            axis = _channel_axis(file, user, tensor, order)
            if axis is not None:
                return axis
            moved = _moved(user, order)
            for result in user.outputs[:1]:
                if moved is not None and result not in visited:
                    visited.add(result)
                    pending.append((result, moved))
    return None


def _channel_axis(file: OnnxGraph, user: OnnxNode, tensor: str, order: tuple[int, ...]) -> int | None:
    """The axis of the first tensor that ``user`` takes for channels; None if it does not care."""
    if user.op in FIRST:
        return order[0]
    if user.op == "LayerNormalization" or (user.op in PRODUCTS and user.input_name(0) == tensor):
        return order[-1]
    if user.op in ("ReduceMean", "QLinearReduceMean"):
        axes = user.attributes.get("axes")
        numbers = (
            axes
            if isinstance(axes, tuple)
            else file.constant(user.input_name(1))
            if user.op == "ReduceMean" and user.input_name(1)
            else None
        )
        averaged = set() if numbers is None else {int(axis) % (len(order) + 1) for axis in numbers}  # type: ignore[arg-type]
        channels = [axis for place, axis in enumerate(order, 1) if place not in averaged]
        return channels[0] if len(channels) == 1 else None
    return None


def _moved(user: OnnxNode, order: tuple[int, ...]) -> tuple[int, ...] | None:
    """The order of axes after ``user``; None where it is lost."""
    if user.op != "Transpose":
        return None if user.op in LOST else order
    perm = user.attributes.get("perm")
    places = tuple(map(int, perm)) if isinstance(perm, tuple) else tuple(reversed(range(len(order) + 1)))  # type: ignore[arg-type]
    return None if len(places) != len(order) + 1 or places[0] != 0 else tuple(order[at - 1] for at in places[1:])
