"""Programs by every executor that is here: the plan of each instruction set, and ONNX Runtime on the export."""

from __future__ import annotations

from typing import Final

import numpy as np

from oaq.program.inputs import ProgramInputs
from oaq.program.int_program import IntProgram
from oaq.verify import verify
from recipes.qpan.chain import Chain, Integers, Measurement, by_reference

EXECUTORS: Final = "executors that equal the reference"
"""Head of a column of tables."""


def verified(program: IntProgram, inputs: ProgramInputs) -> int:
    """How many executors ran, each of them equal to the reference in every integer that is to be equal.

    Raises:
        Mismatch: an integer differs, or an executor that is here failed to run.
    """
    report = verify(program, inputs, threads=(1,), rows=False, witnesses=False)
    report.raise_if_unsafe()
    return sum(executor.ran for executor in report.executors)


def verified_chain(chain: Chain, measurement: Measurement) -> int:
    """``verified`` of every program of a chain on what it reads; the least count.

    Raises:
        Mismatch: as ``verified``.
    """
    counts, law = list[int](), by_reference(chain)

    def execute(number: int, x: Integers) -> Integers:
        program = chain.programs[number]
        affine = program.tensors[program.inputs[0]].affine
        counts.append(verified(program, np.moveaxis(affine.dequantize(x), -1, 1)))
        return law(number, x)

    chain.run(measurement, execute)
    return min(counts)
