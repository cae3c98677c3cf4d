"""Every executor of a program on the same inputs, each against the reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oaq.checker import check
from oaq.errors import AccumulatorOverflow, FormatError, NoKernel
from oaq.kernels.plan import plan
from oaq.kernels.table import KernelRow, check_isa_variable, cpu_isas, native_rows
from oaq.overflow.analyze import analyze
from oaq.overflow.certificate import PART as CERTIFICATE
from oaq.overflow.certificate import register_model, to_parts
from oaq.program.files import Part
from oaq.program.inputs import ProgramInputs
from oaq.program.int_program import IntProgram
from oaq.program.plain import fingerprint
from oaq.reference import run
from oaq.runtime import Session
from oaq.runtime.values import to_integers
from oaq.seal.inputs import Inputs, signature_inputs
from oaq.seal.parts import certificate
from oaq.seal.signature import PART as SIGNATURE
from oaq.seal.signature import SAMPLES, model_signature, stored_signature
from oaq.verify.inputs import corner_inputs
from oaq.verify.isas import isas_to_run
from oaq.verify.native import Attempt, Workload, isa_attempts, row_attempts
from oaq.verify.ort import onnxruntime_executor
from oaq.verify.report import Executor, Report, derived_again
from oaq.verify.sealed import Sealed, read_sealed

BUILT_FROM_NOTHING = "the native module is not built"


def verify(
    program: IntProgram,
    inputs: ProgramInputs | None = None,
    isas: Sequence[str] | None = None,
    *,
    witnesses: bool = True,
    threads: Sequence[int] = (1, 2),
    rows: bool = True,
    onnx: bool = True,
) -> Report:
    """Compare everything that can compute ``program`` with the reference, integer by integer.

    The reference, the plan of each instruction set at each number of threads, every kernel row forced, and the ONNX
    export in ONNX Runtime see the same inputs: yours, the corners of the input range, and fixed pseudo-random ones.
    With ``witnesses`` each layer is also driven to the ends of its proved bounds. What cannot run here is listed with
    the reason.

    Args:
        program: what to verify.
        inputs: real inputs as ``Session.run`` takes them; None is none.
        isas: instruction sets to plan for; None is all this CPU has.
        witnesses: also run the layers on their worst inputs.
        threads: numbers of threads.
        rows: also force every kernel row.
        onnx: also run the ONNX export.

    Returns:
        what ran, what did not and why, and every difference. ``report.raise_if_unsafe()`` turns it into an error.

    Raises:
        ProgramError: ``inputs`` do not fit the program.
        NoKernel: ``OAQ_ISA`` names no instruction set of this CPU. (A valid one does not limit what is verified.)
    """
    check_isa_variable()
    all_inputs, samples = _inputs(program, inputs)
    summing, modular = summing_counts(program)
    identity = fingerprint(program)
    try:
        proof = analyze(program)
        expected = run(program, all_inputs).tensors
    except AccumulatorOverflow as error:
        return Report(program.name, identity, "", samples, (0, summing), "none: not proved", (), (str(error),))
    workload = Workload(program, proof, all_inputs, expected, witnesses)
    attempts = _native(workload, isas, threads, rows)
    executors = [attempt.executor for attempt in attempts]
    if onnx:
        executors.append(onnxruntime_executor(program, all_inputs, expected))
    samples["witnesses"] = sum(attempt.witnesses for attempt in attempts)
    return Report(
        program.name,
        identity,
        model_signature(program),
        samples,
        (summing - modular, summing),
        next((f"holds: {attempt.checked}" for attempt in attempts if attempt.checked), "none: nothing was planned"),
        tuple(executors),
        tuple(attempt.unsafe for attempt in attempts if attempt.unsafe),
        modular,
    )


def verify_file(path: str | Path, isas: Sequence[str] | None = None) -> Report:
    """Prove a file again from the file alone, and recompute its signature on this CPU.

    Needs neither torch nor onnx. The certificate (or, if the file has none, one made here) is derived again by
    ``oaq.checker``, the signature by the reference and by the plan of every instruction set this CPU has. Of an ONNX
    file the checker also confirms that its graph computes the very program the certificate is about.

    Args:
        path: of an ``.oaq`` file, or of an ``.onnx`` file that ``oaq.export.onnx`` wrote.
        isas: None is all this CPU has.

    Raises:
        FormatError: the file is missing, cut off or edited, or does not hold a program of oaq.
    """
    return verify_sealed(read_sealed(path), isas)


def verify_sealed(sealed: Sealed, isas: Sequence[str] | None = None) -> Report:
    """``verify_file`` of a file that has been read."""
    check_isa_variable()
    conclusion, unsafe = _check_certificate(sealed)
    program = sealed.program
    if sealed.float_defined:
        conclusion += (
            f"; nodes that ONNX leaves to float, where others may be one step off: {len(sealed.float_defined)}"
        )
    summing, modular = summing_counts(program)
    try:
        signature = model_signature(program)
    except AccumulatorOverflow as error:  # then nothing computes it: its sums leave s32 on the fixed input itself
        unsafe.append(str(error))
        return Report(program.name, fingerprint(program), "", {}, (0, summing), conclusion, (), tuple(unsafe))
    if SIGNATURE in sealed.parts:
        stored, samples = stored_signature(sealed.parts[SIGNATURE])
        computed = signature if samples == SAMPLES else model_signature(program, None, samples)
        if stored != computed:
            unsafe.append(f"the file's signature is {stored[:12]}..., the reference computes {computed[:12]}...")
    else:
        conclusion += "; the file does not hold a signature to compare"
    executors = tuple(_signed(program, signature, isa) for isa in isas_to_run(isas)) or (
        Executor("native", False, BUILT_FROM_NOTHING),
    )
    return Report(
        program.name,
        fingerprint(program),
        signature,
        {"fixed random": SAMPLES},
        (0 if unsafe else summing - modular, summing),
        conclusion,
        executors,
        tuple(unsafe),
        0 if unsafe else modular,
    )


def summing_counts(program: IntProgram) -> tuple[int, int]:
    """Nodes that sum products, and those among them whose sums wrap by design."""
    nodes = list(program.summing_nodes())
    return len(nodes), sum(node.products.wrap_bits is not None for node in nodes)


def _inputs(program: IntProgram, inputs: ProgramInputs | None) -> tuple[Inputs, dict[str, int]]:
    parts = {"corners": corner_inputs(program), "fixed random": signature_inputs(program)}
    if inputs is not None:
        parts = {"given": to_integers(program, inputs), **parts}
    joined = tuple(np.concatenate(arrays) for arrays in zip(*parts.values(), strict=True))
    return joined, {origin: len(arrays[0]) for origin, arrays in parts.items()}


def _native(workload: Workload, isas: Sequence[str] | None, threads: Sequence[int], rows: bool) -> list[Attempt]:
    try:
        table: tuple[KernelRow, ...] = native_rows()
        have = cpu_isas()
    except NoKernel as error:
        return [Attempt(Executor("native", False, str(error).splitlines()[0]))]
    attempts = isa_attempts(workload, have if isas is None else isas, threads, table)
    return [*attempts, *(row_attempts(workload, table) if rows else [])]


def _check_certificate(sealed: Sealed) -> tuple[str, list[str]]:
    """What the checker says of the file's certificate, or, if it has none, of one made here."""
    part = sealed.parts.get(CERTIFICATE)
    stored = part is not None
    if part is None:
        try:
            part = Part(*to_parts(certificate(sealed.program)))
        except AccumulatorOverflow as error:
            return "none: not proved", [str(error)]
    if not isinstance(part.content, dict):
        raise FormatError("the certificate's header is not a JSON object")
    verdict = check(sealed.header, sealed.arrays, part.content, part.arrays, registers=_registers())
    if not verdict.safe:
        return "DOES NOT HOLD", [str(finding) for finding in verdict.findings]
    text = derived_again(verdict)
    assumed = f", assuming {'; '.join(verdict.assumed)}" if verdict.assumed else ""
    return f"{'holds' if stored else 'none in the file; proved here'}: {text}{assumed}", []


def _registers() -> dict[str, dict[str, object]] | None:
    """Register models as this build's kernel table declares them; None if there is no table."""
    try:
        rows = native_rows()
    except NoKernel:
        return None
    return {row.accumulator.name: register_model(row.accumulator) for row in rows if row.accumulator is not None}


def _signed(program: IntProgram, signature: str, isa: str) -> Executor:
    """The signature by one instruction set; its mismatches are 0 or all, a hash says no more."""
    name = f"isa {isa}, signature"
    try:
        session = Session(plan(program, isa))
    except (NoKernel, AccumulatorOverflow) as error:
        return Executor(name, False, str(error).splitlines()[0])
    count = sum(SAMPLES * int(np.prod(program.tensors[output].shape)) for output in program.outputs)
    computed = model_signature(program, session.run_integers)
    notes = () if computed == signature else (f"computes {computed[:12]}..., the reference {signature[:12]}...",)
    return Executor(name, True, "", count, 0 if computed == signature else count, None, notes)
