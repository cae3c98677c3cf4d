"""``oaq witness``: the input that drives one sum to its proved bound."""

from __future__ import annotations

import argparse
import difflib
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oaq.capture.model_file import SUFFIXES
from oaq.cli import images
from oaq.cli.model_file import HELP as MODEL_HELP
from oaq.cli.model_file import ModelFile, open_diagnosed, open_model
from oaq.cli.registers import add_registers
from oaq.doctor.diagnose import verdict
from oaq.doctor.registers import registers_named
from oaq.doctor.trigger import TRIALS, find_trigger
from oaq.errors import NoKernel, ProgramError
from oaq.escape import escape_lines
from oaq.kernels.plan import NodePlan, plan
from oaq.numerics.formats import S16
from oaq.numerics.ranges import IntRange
from oaq.overflow.analyze import analyze
from oaq.overflow.proof import Proof
from oaq.overflow.settle import settle
from oaq.overflow.witness import Witness, witness
from oaq.program.atomic import write_atomically
from oaq.program.int_program import IntProgram
from oaq.report.doctor import trigger_document, trigger_lines
from oaq.runtime.values import caller_reals, to_integers
from oaq.terminal import say
from oaq.verify.witnesses import WrapWitness, wrap_witness

HELP = "show the operands that drive a sum to its bound, or a register out of its range"
DESCRIPTION = """\
The input of one layer that drives the sum of one output to its proved bound:
the bound is tight. Every integer of it lies in its proved range. Whether some
photo drives the network there is another question, and no proof needs its
answer.

With --registers the registers of other people's kernels: an input that drives one of
them out of its range. It is an input of the whole network where the layer reads
that; for deeper layers inputs are tried, those of --data first, and whether one
was found is said. --out writes it: float32 as the network takes it, or, if none
was found, the layer's uint8 input."""
EXAMPLES = """\
examples:
  oaq witness net.oaq --at features.3.conv:37
  oaq witness net.oaq --at features.3.conv:37 --low --out worst.npy
  oaq witness model.onnx --registers avx2-acc32 --at conv1:0 --out breaks.npy
  oaq witness model.onnx --registers avx2-acc32 --at layer3.conv:17 --data photos/ --out breaks.npy"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE --at NODE:OUT --low --out."""
    parser.add_argument("file", type=Path, metavar="MODEL", help=MODEL_HELP)
    parser.add_argument(
        "--at", required=True, metavar="NODE:OUT", help="layer and output, as errors and reports name them"
    )
    parser.add_argument("--low", action="store_true", help="the least sum instead of the greatest")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.npy",
        help="also write the layer's input that does it, uint8 (but see --registers)",
    )
    add_registers(
        parser,
        'registers as oaq doctor names them, or "N bits" (for files of other tools: the first that it can leave)',
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="with --registers: photos or arrays to try first")
    parser.add_argument("--limit", type=int, default=32, metavar="N", help="at most N files of --data (default 32)")
    parser.add_argument("--trials", type=int, default=TRIALS, metavar="N", help=f"inputs to try (default {TRIALS})")
    images.add_arguments(parser)


def place(text: str, outputs_of: dict[str, int]) -> tuple[str, int]:
    """``NODE:OUT`` against the layers there are.

    Raises:
        ProgramError: no such layer or output.
    """
    node, colon, output = text.rpartition(":")
    if not colon or not output.isdecimal():
        raise ProgramError(f"--at {text!r}: write NODE:OUT, for example {next(iter(outputs_of), 'conv1')}:0")
    if node not in outputs_of:
        matches = difflib.get_close_matches(node, outputs_of, 1, 0.6)
        meant = f" (did you mean {matches[0]}?)" if matches else ""
        candidates = [name for name in outputs_of if node in name][:5] or list(outputs_of)[:5]
        raise ProgramError(f"--at {text!r}: no layer is called {node!r}{meant}; there are {', '.join(candidates)}, ...")
    if int(output) >= outputs_of[node]:
        raise ProgramError(f"--at {text!r}: {node} has the outputs 0 to {outputs_of[node] - 1}")
    return node, int(output)


def call(arguments: argparse.Namespace) -> int:
    """Find it and show it."""
    model = open_diagnosed(arguments.file) if arguments.data is None else open_model(arguments.file)
    program = model.opened.program
    if arguments.registers is None and arguments.file.suffix.lower() != SUFFIXES[0]:
        arguments.registers = _unsafe_on(model, arguments.at)
    if arguments.registers is not None:
        return _trigger(model, arguments)
    program = settle(program).program
    proof = analyze(program)
    node, output = place(arguments.at, {name: len(sums.total) for name, sums in proof.nodes.items()})
    worst = witness(program, proof, node, output, "lo" if arguments.low else "hi")
    planned, wrap = _planned(program, proof, node), wrap_witness(program, proof, worst)
    if arguments.out is not None:
        _save(arguments.out, worst.tensor)
    if arguments.json:
        say.document(_document(worst, planned, wrap))
        return 0
    say.words(escape_lines(_lines(worst, planned, wrap, arguments)))
    return 0


def _unsafe_on(model: ModelFile, at: str) -> str | None:
    """The first register that runtimes use unasked and that this output can leave; None if there is none."""
    program = model.opened.program
    node, output = place(at, {layer.name: layer.products.outputs for layer in program.summing_nodes()})
    layer = program.by_name[node]
    for register in registers_named():
        layer_verdict = verdict(layer.products, program.specs(layer)[0], register, unsigned=node in model.unsigned)
        if register.deployed and not layer_verdict.safe[output]:
            return register.name
    return None


def _trigger(model: ModelFile, arguments: argparse.Namespace) -> int:
    """An input that drives a register out of its range."""
    program = model.opened.program
    node, output = place(arguments.at, {layer.name: layer.products.outputs for layer in program.summing_nodes()})
    (register,) = registers_named((arguments.registers,))
    if arguments.trials < 0:
        raise ProgramError(f"--trials {arguments.trials}: a number of inputs, 0 to try none but those of --data")
    data = []
    if arguments.data is not None:
        batches = model.opened.batches(arguments.data, arguments, arguments.limit)
        data = [to_integers(program, batch)[0] for _, batch in batches]
    with say.bar("search", None) as step:
        trigger = find_trigger(
            program,
            (node, output),
            register,
            data,
            unsigned=node in model.unsigned,
            trials=arguments.trials,
            progress=lambda: step(1),
        )
    if arguments.out is not None:
        _save(arguments.out, trigger.tensor if trigger.network is None else as_floats(program, trigger.network))
    if arguments.json:
        say.document(trigger_document(trigger))
    else:
        say.words("\n".join(trigger_lines(trigger, arguments.out)))
    return 0


def as_floats(program: IntProgram, x: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Integers of the only input as the real values that a caller gives."""
    return caller_reals(program, program.inputs[0], x)


def _planned(program: IntProgram, proof: Proof, node: str) -> NodePlan | None:
    """How this machine would sum it; nothing without the native module: a witness needs no kernel."""
    try:
        return plan(program, proof=proof)[node]
    except NoKernel:
        return None


def _wrap_lines(wrap: WrapWitness) -> list[str]:
    leaves = "which leaves" if wrap.leaves else "which stays in"
    agree = "equal the reference in every integer" if not wrap.mismatches else f"{wrap.mismatches} INTEGERS DIFFER"
    return [
        f"  the layer wraps by design: its law is exact modulo 2^{wrap.bits}",
        f"  with its bias the exact sum there is {wrap.total}, {leaves} a register of {wrap.bits} bits; the register "
        f"holds {wrap.residue}",
        f"  {len(wrap.rows)} kernel rows ran this input, {agree}: {', '.join(wrap.rows) or 'none can run here'}",
    ]


def _lines(
    worst: Witness, planned: NodePlan | None, wrap: WrapWitness | None, arguments: argparse.Namespace
) -> list[str]:
    end = "least" if worst.end == "lo" else "greatest"
    bits = IntRange(min(worst.bound, 0), max(worst.bound, 0)).signed_bits
    operands = ", ".join(map(str, worst.operands[:12].tolist())) + (", ..." if len(worst.operands) > 12 else "")
    lines = [
        f"{worst.node}, output {worst.output}: the {end} sum of weight times operand as loaded is {worst.bound}",
        f"  it needs {bits} bits in one register; 16 bits end at {S16.lo if worst.end == 'lo' else S16.hi}",
        f"  reached by the operands, in packed order: {operands}",
        f"  at output position {worst.position}, the sum there is {worst.tensor_sum}",
    ]
    if wrap is not None:
        lines += _wrap_lines(wrap)
    elif planned is not None and planned.schedule is not None:
        run = planned.schedule
        lines.append(
            f"  the plan sums it by {planned.row.name} in {run.spills} runs over {run.tiles} tiles; no lane of any run "
            f"leaves [{run.bound.lo}, {run.bound.hi}]"
        )
    if arguments.out is not None:
        lines.append(f"  the layer's input that does it: {arguments.out}, uint8 {worst.tensor.shape}")
    return lines


def _document(worst: Witness, planned: NodePlan | None, wrap: WrapWitness | None) -> dict[str, object]:
    document: dict[str, object] = {
        "node": worst.node,
        "output": worst.output,
        "end": worst.end,
        "bound": worst.bound,
        "reached": worst.tensor_sum,
        "position": list(worst.position),
        "operands": worst.operands.tolist(),
    }
    if planned is not None and planned.schedule is not None:
        bound = planned.schedule.bound
        document["plan"] = {"row": planned.row.name, "lane_bound": [bound.lo, bound.hi]}
    if wrap is not None:
        document["wraps_by_design"] = {
            "modulo_bits": wrap.bits,
            "exact_sum": wrap.total,
            "leaves_register": wrap.leaves,
            "register_holds": wrap.residue,
            "rows": list(wrap.rows),
            "mismatches": wrap.mismatches,
        }
    return document


def _save(path: Path, tensor: NDArray[np.uint8] | NDArray[np.float32]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, tensor)
    write_atomically(path, [buffer.getvalue()])
