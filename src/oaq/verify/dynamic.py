"""Dynamic layers: their proofs derived again, and every instruction set here against the reference, bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from oaq.dynamic import DynamicLayer, DynamicSession, plan_layer, run_reference
from oaq.dynamic.certify import findings_of
from oaq.errors import AccumulatorOverflow, NoKernel
from oaq.verify.isas import isas_to_run
from oaq.verify.report import Executor, Report

ROWS: Final = 5
"""Rows that every layer multiplies."""


def verify_dynamic(
    name: str, layers: Sequence[DynamicLayer], isas: Sequence[str] | None = None, *, run: bool = True
) -> Report:
    """Prove and run layers whose operands are quantized as they come.

    Args:
        name: of what they are part of.
        layers: to prove.
        isas: instruction sets; None is all this CPU has.
        run: also compare results; False proves only.
    """
    unsafe: dict[str, None] = {}
    executors = []
    for isa in isas_to_run(isas):
        try:
            executors.append(_executor(layers, isa, unsafe, run))
        except NoKernel as error:
            executors.append(Executor(f"isa {isa}", False, str(error).splitlines()[0]))
    failing = len({text.partition(":")[0] for text in unsafe})
    digest = hashlib.sha256(b"".join(layer.weight.tobytes() for layer in layers)).hexdigest()
    proved = len(layers) - min(failing, len(layers))
    return Report(
        name,
        digest,
        "",
        {"corners": 3, "fixed random": ROWS - 3} if run else {},
        (proved if any(executor.ran for executor in executors) else 0, len(layers)),
        "DOES NOT HOLD" if unsafe else "none in the file; proved here, for operands of any scale",
        tuple(executor for executor in executors if run or not executor.ran),
        tuple(unsafe),
    )


def _executor(layers: Sequence[DynamicLayer], isa: str, unsafe: dict[str, None], run: bool) -> Executor:
    compared = wrong = 0
    notes: tuple[str, ...] = ()
    for layer in layers:
        try:
            planned = plan_layer(layer, isa)
        except AccumulatorOverflow as error:
            unsafe[f"{layer.name}: {error}"] = None
            continue
        findings = findings_of(planned)
        unsafe.update(dict.fromkeys(f"{layer.name}: {finding}" for finding in findings))
        if findings or not run:
            continue
        x = _rows(layer.terms)
        (result,), expected = DynamicSession(planned).run(x), run_reference(layer, x)
        different = int(np.sum(result.view(np.uint32) != expected.view(np.uint32)))
        compared, wrong = compared + expected.size, wrong + different
        if different and not notes:
            notes = (f"{layer.name}: {different} of {expected.size} results differ",)
    return Executor(f"isa {isa}", True, "", compared, wrong, None, notes)


def _rows(terms: int) -> NDArray[np.float32]:
    """(ROWS, K): one end everywhere, the other, both in turn, then drawn."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, terms)).astype(np.float32)
    x[0], x[1] = 1, -1
    x[2] = np.where(np.arange(terms) % 2, -1, 1)
    return x
