"""Kernels that multiply u8 less a constant: the layer as they see it, with everything that 32 bits must hold."""

from __future__ import annotations

from dataclasses import replace

from oaq.checker.sums import SummingLayer, derive, leaves_s32
from oaq.checker.verdict import Finding, Notes
from oaq.errors import FormatError


def as_multiplied(layer: SummingLayer, operand: object, notes: Notes) -> SummingLayer:
    """The layer whose integers and zero point are all ``shift`` lower, which is the same sum in other words.

    Args:
        layer: as it is on raw u8.
        operand: [shift, least, most] as the certificate states it.
        notes: where findings go: operands outside [least, most], 32-bit sums that leave 32 bits in this form.

    Raises:
        FormatError: ``operand`` is not three integers of a form that 8 bits have.
    """
    if not isinstance(operand, list) or len(operand) != 3 or any(type(number) is not int for number in operand):
        raise FormatError(f"{layer.node}: an operand form is [shift, least, most], not {str(operand)[:60]}")
    shift, least, most = operand
    if not (0 <= shift <= 255 and -shift <= least <= most <= 255 - shift):
        raise FormatError(f"{layer.node}: no u8 less {shift} makes operands of [{least}, {most}]")
    lower = replace(layer, lo=layer.lo - shift, hi=layer.hi - shift, zero=layer.zero - shift)
    low, high = int(lower.lo.min()), int(lower.hi.max())
    if low < least or high > most:
        message = f"operands less {shift} reach [{low}, {high}], its kernel takes [{least}, {most}]"
        notes.findings.append(Finding(layer.node, message))
    for sum_name, output, begin, end in leaves_s32(derive(lower))[:8] if layer.modulo is None else ():
        message = f"output {output}: with operands less {shift}, {sum_name} reaches [{begin}, {end}], outside 32 bits"
        notes.findings.append(Finding(layer.node, message))
    return lower
