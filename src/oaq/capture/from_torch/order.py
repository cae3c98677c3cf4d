"""Which axis of a value torch's later calls take for its channels: (B, C, L) and (B, T, C) look alike."""

from __future__ import annotations

from torch import fx

from oaq.capture.from_torch.builder import base_name

FIRST = frozenset(
    f"{name}{rank}d"
    for name in (
        *("conv", "max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool", "conv_transpose"),
        *("upsample_nearest", "_upsample_nearest_exact"),
    )
    for rank in (1, 2, 3)
) | {"batch_norm", "instance_norm", "group_norm", "pixel_shuffle", "upsample_bilinear2d"}
"""Calls that take the first axis after the batch for channels."""
LAST = frozenset({"linear", "layer_norm", "rms_norm"})
"""Calls that take the last axis for channels."""
OTHERS = frozenset({"view", "reshape", "flatten", "squeeze", "unsqueeze", "select", "split", "chunk", "cat", "concat"})
"""Calls after which axes are no longer the ones that were asked about."""


def wants_channels_last(value: fx.Node) -> bool:
    """Whether the first call that needs to know takes the last axis of ``value`` for its channels.

    Where nothing needs to know, channels come first, as torch counts them.
    """
    rank = value.meta["val"].ndim - 1
    if rank < 2:
        return False
    pending: list[tuple[fx.Node, tuple[int, ...]]] = [(value, tuple(range(1, rank + 1)))]
    visited = {value}
    while pending:
        source, order = pending.pop(0)
        for user in sorted(set(source.users) - visited):
            visited.add(user)
            axis = _channel_axis(user, order)
            if axis is not None:
                return axis == rank
            moved = _moved(user, order)
            if moved is not None and getattr(user.meta.get("val"), "ndim", 0) == rank + 1:
                pending.append((user, moved))
    return False


def _channel_axis(user: fx.Node, order: tuple[int, ...]) -> int | None:
    """The axis of the first value that ``user`` takes for channels; None if it does not care."""
    name = base_name(user).rstrip("_")
    if name in FIRST:
        return order[0]
    if name in LAST:
        return order[-1]
    if name == "mean" and len(user.args) > 1 and isinstance(user.args[1], list | tuple):
        averaged = {int(axis) % (len(order) + 1) for axis in user.args[1]}  # type: ignore[arg-type]
        remaining = [axis for place, axis in enumerate(order, 1) if place not in averaged]
        return remaining[0] if len(remaining) == 1 else None
    return None


def _moved(user: fx.Node, order: tuple[int, ...]) -> tuple[int, ...] | None:
    """The order of axes after ``user``; None where it is lost."""
    name = base_name(user).rstrip("_")
    places = list(range(len(order) + 1))
    if name in ("transpose", "swapaxes", "swapdims"):
        first, second = (int(axis) % len(places) for axis in user.args[1:3])  # type: ignore[arg-type]
        places[first], places[second] = places[second], places[first]
    elif name == "permute":
        places = [int(axis) % len(places) for axis in user.args[1]]  # type: ignore[union-attr, arg-type]
    elif name in OTHERS:
        return None
    return None if places[0] != 0 else tuple(order[place - 1] for place in places[1:])
