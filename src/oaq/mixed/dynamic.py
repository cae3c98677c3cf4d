"""Files whose activations are quantized as they come: regions of dynamic layers between float regions, for any size.

Nothing here knows a shape: dynamic layers take any leading axes, float regions are run by ONNX Runtime as they stand.
So one cut serves every size of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from oaq.capture.from_dynamic_onnx import DynamicFile, decode_dynamic
from oaq.capture.from_dynamic_onnx.chains import Chain, Windows, chains_of
from oaq.capture.from_onnx.graph import OnnxNode, TensorType
from oaq.dynamic import DynamicLayer, DynamicSession, plan_layer
from oaq.dynamic.session import Allocate
from oaq.errors import AccumulatorOverflow, OaqError, ProgramError
from oaq.mixed.cut import FloatParts, Source, float_region
from oaq.mixed.fused.find import fused_steps
from oaq.mixed.fused.steps import Fused
from oaq.mixed.inferred import infer
from oaq.mixed.program import DynamicBody, DynamicPart, FusedBody, Region, Values
from oaq.mixed.schedule import DYNAMIC, FLOAT, FUSED, Step, regions_of
from oaq.mixed.windows import convolved

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, eq=False)
class _Members:
    """Chains, then float nodes that are computed together, then the other nodes; as ``steps``."""

    chains: tuple[Chain, ...]
    fused: tuple[Fused, ...]
    nodes: tuple[OnnxNode, ...]
    steps: tuple[Step, ...]


def read_layers(content: bytes, where: str, folder: Any) -> DynamicFile | None:  # noqa: ANN401 (a path or None)
    """The file, if it is one of dynamic layers only and holds one that runs here; None otherwise."""
    try:
        file = decode_dynamic(content, where, folder)
    except OaqError:
        return None  # what is wrong with it, or not read, another reader says
    return file if file.is_dynamic and chains_of(file) else None


def dynamic_regions(file: DynamicFile, model: onnx.ModelProto, source: Source) -> tuple[Region, ...]:
    """The regions of a dynamic file, in execution order.

    Args:
        file: read.
        model: the same, parsed: ONNX infers its types.
        source: of what ``file`` cannot say.
    """
    inferred = infer(model)
    members = _members(file, inferred)
    parts = FloatParts(file.parts.constants, _types(inferred), file.parts.opsets)
    groups = regions_of(members.steps)
    readers: dict[str, set[int]] = {}
    for number, group in enumerate(groups):
        for index in group:
            for key in members.steps[index].reads:
                readers.setdefault(str(key), set()).add(number)
    outputs = set(file.parts.outputs)
    regions: list[Region] = []
    for number, group in enumerate(groups):

        def is_needed(name: str, number: int = number) -> bool:
            return name in outputs or bool(readers.get(name, set()) - {number})

        if members.steps[group[0]].kind == DYNAMIC:
            written = [str(key) for index in group for key in members.steps[index].writes]
            region = _dynamic_region([members.chains[index] for index in group], tuple(filter(is_needed, written)))
        elif members.steps[group[0]].kind == FUSED:
            region = _fused_region([members.fused[index - len(members.chains)] for index in group], is_needed)
        else:
            others = len(members.chains) + len(members.fused)
            nodes = [members.nodes[index - others] for index in group]
            region = float_region(nodes, parts, source, is_needed)
        count = sum(earlier.kind == region.kind for earlier in regions) + 1
        regions.append(replace(region, name=f"{region.kind} {count}"))
    return tuple(regions)


def _members(file: DynamicFile, inferred: Sequence[onnx.ValueInfoProto]) -> _Members:
    chains = chains_of(file)
    fused = fused_steps(file, chains, inferred)
    constants = file.parts.constants
    members = {name for chain in chains for name in chain.nodes}.union(*(step.inside for step in fused))
    needed = {*file.parts.outputs, *(chain.x for chain in chains), *(name for step in fused for name in step.reads)}
    nodes = []
    for node in reversed(file.parts.nodes):
        if node.outputs and node.outputs[0] in members:
            continue
        if needed.intersection(filter(None, node.outputs)):
            nodes.append(node)
            needed.update(node.inputs)
    nodes.reverse()
    steps = [Step(DYNAMIC, (chain.x,), (chain.y,)) for chain in chains]
    steps += [Step(FUSED, step.reads, step.writes) for step in fused]
    for node in nodes:
        reads = tuple(name for name in node.inputs if name and name not in constants)
        steps.append(Step(FLOAT, reads, tuple(filter(None, node.outputs))))
    return _Members(chains, fused, tuple(nodes), tuple(steps))


def _dynamic_region(chains: Sequence[Chain], writes: tuple[str, ...]) -> Region:
    by_source: dict[tuple[str, int, Windows | None], list[Chain]] = {}
    for chain in chains:
        by_source.setdefault((chain.x, layer_of(chain).terms, chain.windows), []).append(chain)
    parts = tuple(
        DynamicPart(x, tuple(layer_of(chain) for chain in group), tuple(chain.y for chain in group), windows)
        for (x, _, windows), group in by_source.items()
    )
    nodes = tuple((chain.product.node, chain.product.kind) for chain in chains)
    reads = tuple(dict.fromkeys(part.x for part in parts))
    return Region("", DYNAMIC, nodes, reads, writes, "", DynamicBody(parts))


def _fused_region(steps: Sequence[Fused], is_needed: Callable[[str], bool]) -> Region:
    written = [name for step in steps for name in step.writes]
    reads = tuple(dict.fromkeys(name for step in steps for name in step.reads if name not in written))
    nodes = tuple(node for step in steps for node in step.nodes)
    return Region("", FLOAT, nodes, reads, tuple(filter(is_needed, written)), "", FusedBody(tuple(steps)))


def layer_of(chain: Chain) -> DynamicLayer:
    """A chain as a layer."""
    product = chain.product
    weight = product.weight.T
    if chain.windows is not None:
        weight = np.moveaxis(product.weight, 1, -1).reshape(len(product.weight), -1)
    return DynamicLayer(
        product.node,
        weight,
        chain.scale,
        product.zero.reshape(-1),
        chain.bias,
        "tensor",
    )


def _types(inferred: Sequence[onnx.ValueInfoProto]) -> dict[str, TensorType]:
    """Element types as far as ONNX infers them; sizes are left open."""
    import onnx

    types = {}
    for value in inferred:
        kind = value.type.tensor_type.elem_type
        if kind in onnx.helper.get_all_tensor_dtypes() and kind != onnx.TensorProto.STRING:
            types[value.name] = TensorType(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)))
    return types


class DynamicExecutor:
    """A region of dynamic layers, by sessions whose proofs have been derived again.

    Attributes:
        sessions: one per tensor that is quantized.
    """

    def __init__(
        self,
        region: Region,
        threads: int,
        isa: str | None,
        memory_limit: int | None = None,
        empty: Allocate | None = None,
    ) -> None:
        """Prove and pack; ``memory_limit`` is of what a convolution lays out in one run, ``empty`` makes results.

        Raises:
            AccumulatorOverflow: a layer has so many terms that 32 bits do not hold its totals.
        """
        assert isinstance(region.body, DynamicBody)
        self._region, self._limit, self._empty, parts = region, memory_limit, empty, region.body.parts
        try:
            self.sessions = tuple(
                DynamicSession([plan_layer(layer, isa) for layer in part.layers], threads) for part in parts
            )
            self._calls = tuple(
                (part.x, part.names, part.windows, session) for part, session in zip(parts, self.sessions, strict=True)
            )
        except AccumulatorOverflow as error:
            raise AccumulatorOverflow(f"{region.name}: {error}") from error

    @property
    def label(self) -> str:
        """The instruction sets of its rows."""
        isas = dict.fromkeys(plan.row.isa for session in self.sessions for plan in session.plans)
        return f"oaq {'+'.join(isas)}"

    def run(self, tensors: dict[str, Values]) -> None:
        """Compute what the region writes from what it reads, and put it there.

        Raises:
            ProgramError: an array has another shape or type, or holds NaN or infinity.
        """
        for name, results, windows, session in self._calls:
            try:
                x = tensors[name]
                y = session.run(x, self._empty) if windows is None else convolved(session, x, windows, self._limit)
            except ProgramError as error:
                raise ProgramError(f"{self._region.name}, {name!r}: {error}") from error
            tensors.update(zip(results, y, strict=True))
