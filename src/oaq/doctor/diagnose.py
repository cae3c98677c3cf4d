"""Where a program's sums can leave the registers of other people's kernels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from oaq import operators as ops
from oaq.doctor.diagnosis import Diagnosis, LayerDiagnosis, LayerVerdict, signed_bits
from oaq.doctor.observed import Observer, Samples
from oaq.doctor.registers import RegisterModel, registers_named
from oaq.doctor.sums import OrderedLayer, reach, registers_of, widened
from oaq.numerics.ranges import ChannelRanges
from oaq.operators import TensorSpec
from oaq.program.int_program import IntProgram

if TYPE_CHECKING:
    from oaq.robust.region import Region

Registers = Sequence[str | RegisterModel]


def diagnose(
    program: IntProgram,
    registers: Registers = (),
    data: Samples | None = None,
    *,
    unsigned: Collection[str] = (),
    islands: Sequence[str] = (),
    notes: Sequence[str] = (),
    region: Region | None = None,
) -> Diagnosis:
    """Say for every layer, output and register model whether it is exact for every input, or every input of a set.

    Args:
        program: any integers; nothing needs to be proved about them.
        registers: names of ``REGISTERS``, "N bits", or models of your own; none is all of ``REGISTERS``.
        data: raw u8 samples of the program's inputs, in batches: how near they come is counted besides.
        unsigned: layers whose file stores their weights as u8.
        islands: parts of the model that stay in float.
        notes: kept for the reader.
        region: a set of inputs: then nothing is said about others. Ranges are those of the program's own integers (a
            runtime that rounds otherwise may leave them), channel by channel over all positions.

    Raises:
        ProgramError: no such register, or ``data`` do not fit the program.
        ConfigError: with ``region``, the program has several inputs or outputs.
    """
    models = register_models(registers)
    narrower = {} if region is None else _ranges_on(program, region)
    by_design = [node.name for node in program.summing_nodes() if node.products.wrap_bits is not None]
    if by_design:
        notes = (*notes, f"wrap by design, which kernels of other runtimes know nothing of: {', '.join(by_design)}")
    observer = Observer(program, models, unsigned) if data is not None else None
    if observer is not None and data is not None:
        observer.run(data)
    layers = []
    for node in (node for node in program.summing_nodes() if node.name not in by_design):
        op, spec = node.products, program.specs(node)[0]
        within = narrower.get(spec.name)
        as_u8 = node.name in unsigned
        verdicts = {model.name: verdict(op, spec, model, unsigned=as_u8, within=within) for model in models}
        if observer is not None:
            verdicts = {
                name: replace(layer_verdict, seen=observer.observations(node.name, name))
                for name, layer_verdict in verdicts.items()
            }
        layers.append(LayerDiagnosis(node.name, layer_kind(op), op.outputs, op.terms, verdicts))
    deciding = tuple(model.name for model in models if model.deployed or registers)
    samples = observer.samples if observer is not None else 0
    condition = "" if region is None else region.words
    return Diagnosis(program.name, models, deciding, tuple(layers), samples, tuple(islands), tuple(notes), condition)


def _ranges_on(program: IntProgram, region: Region) -> Mapping[str, ChannelRanges]:
    from oaq.robust.conditional import conditional_ranges  # only here: most diagnoses are of every input

    return conditional_ranges(program, region).tensors


def register_models(registers: Registers) -> tuple[RegisterModel, ...]:
    """Names and models as models; all there are if none is given."""
    if not registers:
        return registers_named()
    return tuple(
        register if isinstance(register, RegisterModel) else registers_named((register,))[0] for register in registers
    )


def verdict(
    op: ops.Products,
    spec: TensorSpec,
    model: RegisterModel,
    *,
    unsigned: bool = False,
    within: ChannelRanges | None = None,
) -> LayerVerdict:
    """One layer on one model, for every input.

    Args:
        op: the layer.
        spec: the tensor it reads.
        model: the registers.
        unsigned: its file stores the weights as u8.
        within: what each channel of that tensor holds, if more is narrower than its effective range.
    """
    *narrow, wide = registers_of(op, spec, model, unsigned=unsigned, within=within)
    layers, total = narrow or [wide], reach(wide)
    reaches = [reach(layer) for layer in narrow] or [total]
    lo = np.minimum.reduce([layer_reach.lo for layer_reach in reaches])
    hi = np.maximum.reduce([layer_reach.hi for layer_reach in reaches])
    safe = np.logical_and.reduce([total.safe, *(layer_reach.safe for layer_reach in reaches)])
    runs = np.stack([layer_reach.runs for layer_reach in reaches])
    reason = _undefined(layers[0], model)
    return LayerVerdict(
        layers[0].accumulator.range,
        lo,
        hi,
        np.zeros_like(safe) if reason else safe,
        signed_bits(lo, hi),
        np.where((runs < 0).any(axis=0), -1, runs.max(axis=0)),
        {
            layer.order: int(np.count_nonzero(~layer_reach.safe))
            for layer, layer_reach in zip(layers, reaches, strict=True)
        },
        (total.lo, total.hi),
        reason,
        widened(op, model, unsigned),
    )


def layer_kind(op: ops.Products) -> str:
    """The operator in words."""
    if op.window is None:
        return type(op).__name__
    size = "x".join(map(str, op.window.kernel))
    if op.is_depthwise():
        return f"Depthwise {size}"
    return f"{type(op).__name__} {size}" + (f", {op.channel_groups} groups" if op.channel_groups > 1 else "")


def _undefined(layer: OrderedLayer, model: RegisterModel) -> str:
    """Why the instruction itself is not defined on these operands."""
    if layer.accumulator.is_exact:
        return ""
    real = layer.place >= 0
    lo, hi = int(layer.lo[real].min(initial=0)), int(layer.hi[real].max(initial=0))
    if lo + model.shift in model.operands and hi + model.shift in model.operands:
        return ""
    return f"operands reach {hi + model.shift}, the instruction takes {model.operands.lo}..{model.operands.hi}"
