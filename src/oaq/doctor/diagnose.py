"""Where a program's sums can leave the registers of other people's kernels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from oaq import operators as ops
from oaq.doctor.diagnosis import Diagnosis, LayerDiagnosis, Verdict
from oaq.doctor.observed import Observer, Samples
from oaq.doctor.registers import RegisterModel, registers_named
from oaq.doctor.sums import Laid, laid_out, reach, signed_bits, widened
from oaq.operators import TensorSpec
from oaq.program.int_program import IntProgram

Registers = Sequence[str | RegisterModel]


def diagnose(
    program: IntProgram,
    registers: Registers = (),
    data: Samples | None = None,
    *,
    unsigned: Collection[str] = (),
    islands: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Diagnosis:
    """Say for every layer, output and register model whether it is exact for every input.

    Args:
        program: any integers; nothing needs to be proved about them.
        registers: names of ``REGISTERS``, "N bits", or models of your own; none is all of ``REGISTERS``.
        data: raw u8 samples of the program's inputs, in batches: how near they come is counted besides.
        unsigned: layers whose file stores their weights as u8.
        islands: parts of the model that stay in float.
        notes: kept for the reader.

    Raises:
        ProgramError: no such register, or ``data`` do not fit the program.
    """
    models = chosen(registers)
    observer = Observer(program, models, unsigned) if data is not None else None
    if observer is not None and data is not None:
        observer.run(data)
    layers = []
    for node in program.summing_nodes():
        op, spec = node.products, program.specs(node)[0]
        verdicts = {one.name: verdict(op, spec, one, unsigned=node.name in unsigned) for one in models}
        if observer is not None:
            verdicts = {name: replace(one, seen=observer.seen(node.name, name)) for name, one in verdicts.items()}
        layers.append(LayerDiagnosis(node.name, kind(op), op.outputs, op.terms, verdicts))
    deciding = tuple(one.name for one in models if one.deployed or registers)
    samples = observer.samples if observer is not None else 0
    return Diagnosis(program.name, models, deciding, tuple(layers), samples, tuple(islands), tuple(notes))


def chosen(registers: Registers) -> tuple[RegisterModel, ...]:
    """Names and models as models; all there are if none is given."""
    if not registers:
        return registers_named()
    return tuple(one if isinstance(one, RegisterModel) else registers_named((one,))[0] for one in registers)


def verdict(op: ops.Products, spec: TensorSpec, model: RegisterModel, *, unsigned: bool = False) -> Verdict:
    """One layer on one model, for every input.

    Args:
        op: the layer.
        spec: the tensor it reads.
        model: the registers.
        unsigned: its file stores the weights as u8.
    """
    laid = laid_out(op, spec, model, unsigned=unsigned)
    found = [reach(one) for one in laid]
    lo = np.minimum.reduce([one.lo for one in found])
    hi = np.maximum.reduce([one.hi for one in found])
    safe = np.logical_and.reduce([one.safe for one in found])
    runs = np.stack([one.runs for one in found])
    why = _undefined(laid[0], model)
    return Verdict(
        laid[0].accumulator.range,
        lo,
        hi,
        np.zeros_like(safe) if why else safe,
        signed_bits(lo, hi),
        np.where((runs < 0).any(axis=0), -1, runs.max(axis=0)),
        {one.order: int(np.count_nonzero(~reached.safe)) for one, reached in zip(laid, found, strict=True)},
        why,
        widened(op, model, unsigned),
    )


def kind(op: ops.Products) -> str:
    """The operator in words."""
    if op.window is None:
        return type(op).__name__
    size = "x".join(map(str, op.window.kernel))
    if op.is_depthwise():
        return f"Depthwise {size}"
    return f"{type(op).__name__} {size}" + (f", {op.channel_groups} groups" if op.channel_groups > 1 else "")


def _undefined(laid: Laid, model: RegisterModel) -> str:
    """Why the instruction itself is not defined on these operands."""
    if laid.accumulator.is_exact:
        return ""
    real = laid.place >= 0
    lo, hi = int(laid.lo[real].min(initial=0)), int(laid.hi[real].max(initial=0))
    if lo + model.shift in model.operands and hi + model.shift in model.operands:
        return ""
    return f"operands reach {hi + model.shift}, the instruction takes {model.operands.lo}..{model.operands.hi}"
