"""What a network computes from its parameters alone: known before any input comes."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from oaq.capture.from_torch.builder import works_in_place


def lifted(program: torch.export.ExportedProgram) -> dict[str, Any]:
    """Parameters, buffers and constants by the name of their placeholder."""
    tensors: dict[str, Any] = {}
    for spec in program.graph_signature.input_specs:
        if spec.target is None:
            continue
        value = program.state_dict.get(spec.target, program.constants.get(spec.target))
        if isinstance(value, torch.Tensor):
            tensors[spec.arg.name] = value.detach()
    return tensors


def evaluate(constants: dict[str, Any], node: fx.Node) -> None:
    """Compute ``node``, which reads no activation, and file its result under its name.

    What depends on chance is left out, so that a handler that needs it as a constant refuses it. So is what reads
    such a value.
    """
    random = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
    if random or not callable(node.target) or any(source.name not in constants for source in node.all_input_nodes):
        return
    in_place = works_in_place(node) and bool(node.all_input_nodes)

    def value_of(value: fx.Node) -> Any:  # noqa: ANN401
        constant = constants[value.name]
        return constant.clone() if in_place and isinstance(constant, torch.Tensor) else constant

    with torch.no_grad():
        result = node.target(*fx.map_arg(node.args, value_of), **fx.map_arg(node.kwargs, value_of))  # type: ignore[operator]
    constants[node.name] = result
    if in_place:
        constants[node.all_input_nodes[0].name] = result
