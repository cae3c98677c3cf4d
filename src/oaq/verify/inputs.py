"""The inputs a program is verified on besides real ones and those of its signature: corners."""

from __future__ import annotations

import numpy as np

from oaq.program.int_program import IntProgram
from oaq.seal.inputs import Inputs


def corner_inputs(program: IntProgram) -> Inputs:
    """Four samples: every integer at its least, at its most, and alternating both ways along memory."""
    arrays = []
    for name in program.inputs:
        spec = program.tensors[name]
        odd = (np.arange(int(np.prod(spec.shape))) % 2).astype(bool).reshape(spec.shape)
        lo, hi = np.full(spec.shape, spec.range.lo, np.uint8), np.full(spec.shape, spec.range.hi, np.uint8)
        arrays.append(np.stack([lo, hi, np.where(odd, hi, lo), np.where(odd, lo, hi)]))
    return tuple(arrays)
