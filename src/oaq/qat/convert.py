"""``convert``: the program whose integers the forward pass used, and what of it meets the accumulator asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch

from oaq import operators as ops
from oaq.capture.graph import FloatNode, LayerParams
from oaq.capture.lower import lower
from oaq.choose.target import Target
from oaq.errors import AccumulatorOverflow, ProgramError
from oaq.kernels.targets import AVX2
from oaq.numerics.modular import Modular
from oaq.overflow.analyze import analyze
from oaq.overflow.certificate import PART, certify, to_parts
from oaq.overflow.dead import without_dead_units
from oaq.overflow.proof import NodeProof, Proof
from oaq.overflow.spill import Schedule, schedule
from oaq.program.files import Part
from oaq.program.int_program import IntProgram
from oaq.ptq.execute import layers
from oaq.qat.config import PROMISING
from oaq.qat.grid import Grid
from oaq.qat.network import QatNetwork

LANES: Final = Target("avx2", 16)


@dataclass(frozen=True)
class TargetVerdict:
    """Whether one layer keeps its accumulator, for every input.

    Attributes:
        layer: its name.
        target: what was asked for; None: the layer is exempt and sums in 32 bits.
        proved: the proof holds (for an exempt layer, that of the 32-bit sum); False for a layer that wraps by design,
            which was not asked of it.
        demand: what it takes, in words: bits of all of K, steps between spills.
        modulo: b where its sums count modulo 2**b, by design.
    """

    layer: str
    target: Target | None
    proved: bool
    demand: str
    modulo: int | None = None

    @property
    def promise(self) -> str:
        """What holds for every input: "proved", "modular" (exact modulo 2**b, wraps by design), or "no"."""
        return "modular" if self.modulo is not None else "proved" if self.proved else "no"


def convert(
    network: QatNetwork,
    name: str | None = None,
    *,
    metadata: Mapping[str, str] | None = None,
    remove_dead: bool = False,
) -> IntProgram:
    """The program of the network as it is now.

    Its integers are those of the forward pass in ``eval()``: nothing is rounded again.

    Args:
        network: from ``prepare``; training may go on afterwards.
        name: of the program; None keeps the graph's.
        metadata: added to the program's.
        remove_dead: leave out channels that no output depends on (``overflow.dead``): outputs keep their integers,
            tensors between them have fewer channels.

    Raises:
        AccumulatorOverflow: the method promises an accumulator and a layer does not keep it; every such layer is named
            with what it takes.
        ProgramError: parameters are no longer finite, or scales have degenerated so far that no program holds them.
    """
    _check_finite(network)
    with torch.no_grad():
        grids = network.grids()
        by_root = {root: quantizer.grid().params() for root, quantizer in network.quantizer.items()}
        tensors = {tensor: by_root[root] for tensor, root in network.roots.items()}
        layer_integers = {node.name: layer_params(network, node, grids) for node, _ in layers(network.graph)}
    notes = {"trained": network.config.method, "tier": _tier(network), **(metadata or {})}
    graph = network.graph
    if name is not None:
        graph = type(graph)(name, graph.inputs, graph.outputs, graph.shapes, graph.nodes, graph.metadata)
    program = lower(graph, tensors, layer_integers, network.config.requantize, notes)
    program = _wrapping(program, network, grids)
    if network.config.method in PROMISING:
        failed = [verdict for verdict in verdicts(program, targets(network)) if not verdict.proved]
        if failed:
            lines = "\n".join(f"{verdict.layer}: {verdict.target} asked for; {verdict.demand}" for verdict in failed)
            raise AccumulatorOverflow(f"{len(failed)} layers do not keep their accumulator:\n{lines}")
    return without_dead_units(program).program if remove_dead else program


@torch.no_grad()
def _wrapping(program: IntProgram, network: QatNetwork, grids: Mapping[str, Grid]) -> IntProgram:
    """The program with the tables of layers whose cyclic activation is on in the place of bias and multipliers."""
    nodes = []
    for node in program.nodes:
        layer = network.layer.get(node.name)
        if layer is not None and layer.wrapping is not None and bool(layer.folds):
            table = layer.table(grids[node.inputs[0]], grids[node.output]).cpu().numpy().astype(np.uint8)
            bias = np.zeros(node.products.outputs, np.int32)
            node = replace(node, op=replace(node.products, bias=bias, requantize=Modular(table)))
        nodes.append(node)
    return replace(program, nodes=tuple(nodes))


def _check_finite(network: QatNetwork) -> None:
    modules = {
        **network.layer,
        **{f"the integers of {name}": quantizer for name, quantizer in network.quantizer.items()},
    }
    wrong = [
        f"{where}.{name}"
        for where, module in modules.items()
        for name, value in (*module.named_parameters(), *module.named_buffers())
        if not bool(torch.isfinite(value).all())
    ]
    if wrong:
        raise ProgramError(
            f"training has left values that are NaN or infinite in {', '.join(wrong[:4])}; go back to a checkpoint "
            "from before, and lower the learning rate"
        )


def _tier(network: QatNetwork) -> str:
    if network.config.method in ("oaq", "oaq-clip"):
        return "observed: overflows were counted on data; a plan proves its own spills"
    if network.config.method == "wrap":
        folded = [layer for layer in network.layer.values() if layer.wrapping is not None and bool(layer.folds)]
        return f"modular: {len(folded)} layers wrap by design, exact modulo 2^b" if folded else "none asked for"
    return "none asked for" if network.config.method == "none" else "proved"


def targets(network: QatNetwork) -> dict[str, Target | None]:
    """The accumulator each layer is to keep, by name; None: exempt."""
    return {name: None if bool(layer.fallback) else layer.target for name, layer in network.layer.items()}


def layer_params(network: QatNetwork, node: FloatNode, grids: Mapping[str, Grid]) -> LayerParams:
    """The integers of one layer."""
    layer = network.layer[node.name]
    with torch.no_grad():
        numbers = network.numbers(node.name, grids)
        weight = layer.unpacked(numbers.rows)
    return LayerParams(
        weight.cpu().numpy().astype(np.int8),
        numbers.scale.cpu().numpy().astype(np.float32),
        numbers.bias.cpu().numpy().astype(np.int32),
    )


def verdicts(
    program: IntProgram, targets: Mapping[str, Target | None], proof: Proof | None = None
) -> list[TargetVerdict]:
    """Prove every layer at its accumulator, by exact integers and over every input.

    Args:
        program: what to prove.
        targets: by node name; nodes that are not named, or None, are exempt: they sum in 32 bits.
        proof: of ``program``; made here if None.

    Raises:
        AccumulatorOverflow: not even the 32-bit sums can be proved.
        ProgramError: a name is that of no layer.
    """
    unknown = set(targets) - {node.name for node in program.summing_nodes()}
    if unknown:
        raise ProgramError(f"{program.name}: no layer is called {', '.join(sorted(unknown))}")
    proof = proof if proof is not None else analyze(program)
    result = []
    for node in program.summing_nodes():
        sums, target = proof[node.name], targets.get(node.name)
        demand = f"all of K takes {sums.bits} bits"
        modulo = node.products.wrap_bits
        if modulo is not None:
            words = f"wraps by design, exact modulo 2^{modulo}; {demand}"
            result.append(TargetVerdict(node.name, None, False, words, modulo))
            continue
        if target is None:
            result.append(TargetVerdict(node.name, None, True, f"exempt, sums in 32 bits; {demand}"))
            continue
        try:
            schedule = _schedule(node.products, sums, target, node.name)
        except AccumulatorOverflow as error:
            result.append(TargetVerdict(node.name, target, False, f"{demand}; {str(error).splitlines()[0]}"))
            continue
        run = schedule.steps if target.run is None else target.run
        proved = not schedule.splits and schedule.spills <= schedule.tiles * -(-schedule.steps // run)
        spills = (
            "no spill" if schedule.spills == schedule.tiles else f"runs of {schedule.average_run:.1f} steps on average"
        )
        split = f", {schedule.splits} steps split" if schedule.splits else ""
        result.append(TargetVerdict(node.name, target, proved, f"{demand}; {spills}{split}"))
    return result


def _schedule(op: ops.Products, sums: NodeProof, target: Target, where: str) -> Schedule:
    depthwise = op.is_depthwise()
    accumulator = target.accumulator(depthwise=depthwise).counting(op.wrap_bits)
    return schedule(
        op.rows,
        sums.operands.lo,
        sums.operands.hi,
        accumulator,
        AVX2.measure("depthwise" if depthwise else "gemm").tile_n,
        groups=op.tile_groups,
        where=where,
    )


def certificate_parts(program: IntProgram, targets: Mapping[str, Target | None]) -> dict[str, Part]:
    """A certificate that also holds each layer's schedule on the accumulator it was trained for.

    Of a layer that wraps by design it holds the schedule on 16-bit lanes, whose saturating pairs are bounded.

    Give it to ``oaq.save(program, path, parts)``: ``oaq verify`` then derives those bounds again.

    Raises:
        AccumulatorOverflow: a layer cannot be summed there at all.
    """
    proof = analyze(program)
    schedules = {}
    for node in program.summing_nodes():
        target = LANES if node.products.wrap_bits is not None else targets.get(node.name)
        if target is not None:
            schedules[node.name] = [_schedule(node.products, proof[node.name], target, node.name)]
    return {PART: Part(*to_parts(certify(program, proof, schedules)))}
