"""Calls of modules that say which function of one value they compute: one operator, whatever torch recorded inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import fx, nn

from oaq.capture.from_torch.builder import TorchBuilder, unsupported
from oaq.capture.from_torch.functions import apply
from oaq.capture.functions import FUNCTIONS
from oaq.capture.graph import FloatChannelFunction
from oaq.capture.polyline import HasPolyline

PROBES: Final = 257
"""Values of each channel on which a module is compared with what it says."""
CLOSE: Final = 1e-3
"""Difference allowed, in parts of the largest value."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call of such a module.

    Attributes:
        module: that was called.
        x: the value it read.
        result: the node that others read.
    """

    module: HasPolyline
    x: fx.Node
    result: fx.Node


def polyline_calls(model: nn.Module, graph: fx.Graph) -> dict[fx.Node, Call]:
    """Every node recorded inside such a call, and the call."""
    inside: dict[str, list[fx.Node]] = {}
    modules: dict[str, Any] = {}
    named = {path: module for path, module in model.named_modules() if isinstance(module, HasPolyline)}
    for node in graph.nodes:
        for key, (path, _) in (node.meta.get("nn_module_stack") or {}).items():
            if path in named and node.op == "call_function":
                inside.setdefault(key, []).append(node)
                modules[key] = named[path]
                break
    calls = {}
    for key, nodes in inside.items():
        call = _call(modules[key], nodes)
        calls.update(dict.fromkeys(nodes, call))
    return calls


def _call(module: HasPolyline, nodes: list[fx.Node]) -> Call:
    members = set(nodes)
    results = [node for node in nodes if any(user not in members for user in node.users)]
    reads = {value for node in nodes for value in node.all_input_nodes if value not in members and _is_value(value)}
    if len(results) != 1 or len(reads) != 1:
        raise unsupported(nodes[-1], f"its module says it is a polyline, and reads {len(reads)} values")
    return Call(module, reads.pop(), results[0])


def _is_value(node: fx.Node) -> bool:
    """Whether a node is no parameter or buffer of the module: those stand at the head of an exported graph by name."""
    return node.op == "call_function" or not node.name.startswith(("p_", "b_", "c_"))


def take_call(build: TorchBuilder, call: Call) -> str:
    """The operator of a call.

    Raises:
        UnsupportedOp: the module computes something else than it says, or of other channels.
    """
    node, line = call.result, call.module.polyline()
    tensor = build.read(call.x, node)
    op, channels = line.function(), build.shapes[tensor][0]
    if len(line.places) != channels or (np.diff(line.places, axis=1) < 0).any():
        raise unsupported(node, f"{len(line.places)} polylines for {channels} channels, their knees ascending")
    _compare(call, op, len(build.shapes[tensor]))
    return apply(build, node, call.x, op)


def _compare(call: Call, op: FloatChannelFunction, rank: int) -> None:
    places = np.asarray(op.parameters[2 : 2 + (len(op.parameters) - 2) // 2])
    reach = 2 * max(float(np.abs(places).max()), 1e-6)
    x = np.linspace(-reach, reach, PROBES)
    rows = [FUNCTIONS[own.name](x, *own.parameters) for own, _, _ in op.channels()]
    probes = torch.tensor(np.tile(x, (len(rows), 1)), dtype=torch.float32)
    with torch.no_grad():
        answers = call.module(probes.view(1, len(rows), PROBES, *(1,) * (rank - 2)))  # type: ignore[operator]
    difference = np.abs(answers.detach().cpu().numpy().reshape(len(rows), PROBES) - rows).max()
    if not difference <= CLOSE * max(reach, float(np.abs(rows).max())):
        raise unsupported(call.result, f"its module says it is a polyline, and differs from it by {difference:g}")


def is_inside(calls: Mapping[fx.Node, Call], node: fx.Node) -> bool:
    """Whether ``node`` is part of a call, and not its result."""
    return node in calls and calls[node].result is not node
