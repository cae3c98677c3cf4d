"""``oaq witness``: the input that drives one sum to its proved bound."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oaq.cli import say
from oaq.cli.opened import open_file
from oaq.errors import NoKernel, ProgramError
from oaq.kernels.plan import NodePlan, plan
from oaq.numerics.formats import S16
from oaq.numerics.ranges import IntRange
from oaq.overflow.analyze import analyze
from oaq.overflow.proof import Proof
from oaq.overflow.witness import Witness, witness
from oaq.program.atomic import write_atomically
from oaq.program.int_program import IntProgram

HELP = "show the operands that drive a sum to its bound"
DESCRIPTION = """\
The input of one layer that drives the sum of one output to its proved bound:
the bound is tight. Every integer of it lies in its proved range. Whether some
photo drives the network there is another question, and no proof needs its
answer."""
EXAMPLES = """\
examples:
  oaq witness net.oaq --at features.3.conv:37
  oaq witness net.oaq --at features.3.conv:37 --low --out worst.npy"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE --at NODE:OUT --low --out."""
    parser.add_argument("file", type=Path, metavar="FILE", help="an .oaq file")
    parser.add_argument(
        "--at", required=True, metavar="NODE:OUT", help="layer and output, as errors and reports name them"
    )
    parser.add_argument("--low", action="store_true", help="the least sum instead of the greatest")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.npy", help="also write the input of the layer that does it, uint8"
    )


def place(text: str, known: dict[str, int]) -> tuple[str, int]:
    """``NODE:OUT`` against the layers there are.

    Raises:
        ProgramError: no such layer or output.
    """
    node, colon, output = text.rpartition(":")
    if not colon or not output.isdecimal():
        raise ProgramError(f"--at {text!r}: write NODE:OUT, for example {next(iter(known), 'conv1')}:0")
    if node not in known:
        near = [name for name in known if node in name][:5] or list(known)[:5]
        raise ProgramError(f"--at {text!r}: no layer is called {node!r}; there are {', '.join(near)}, ...")
    if int(output) >= known[node]:
        raise ProgramError(f"--at {text!r}: {node} has the outputs 0 to {known[node] - 1}")
    return node, int(output)


def call(arguments: argparse.Namespace) -> int:
    """Find it and show it."""
    program = open_file(arguments.file).program
    proof = analyze(program)
    node, output = place(arguments.at, {name: len(sums.total) for name, sums in proof.nodes.items()})
    found = witness(program, proof, node, output, "lo" if arguments.low else "hi")
    planned = _planned(program, proof, node)
    if arguments.out is not None:
        _save(arguments.out, found.tensor)
    if arguments.json:
        say.document(_document(found, planned))
        return 0
    say.words("\n".join(_lines(found, planned, arguments)))
    return 0


def _planned(program: IntProgram, proof: Proof, node: str) -> NodePlan | None:
    """How this machine would sum it; nothing without the native module: a witness needs no kernel."""
    try:
        return plan(program, proof=proof)[node]
    except NoKernel:
        return None


def _lines(found: Witness, planned: NodePlan | None, arguments: argparse.Namespace) -> list[str]:
    end = "least" if found.end == "lo" else "greatest"
    bits = IntRange(min(found.bound, 0), max(found.bound, 0)).signed_bits
    operands = ", ".join(map(str, found.operands[:12].tolist())) + (", ..." if len(found.operands) > 12 else "")
    lines = [
        f"{found.node}, output {found.output}: the {end} sum of weight times operand as loaded is {found.bound}",
        f"  it needs {bits} bits in one register; 16 bits end at {S16.lo if found.end == 'lo' else S16.hi}",
        f"  reached by the operands, in packed order: {operands}",
        f"  at output position {found.position}, the sum there is {found.reached}",
    ]
    if planned is not None and planned.schedule is not None:
        run = planned.schedule
        lines.append(
            f"  the plan sums it by {planned.row.name} in {run.spills} runs over {run.tiles} tiles; no lane of any run "
            f"leaves [{run.bound.lo}, {run.bound.hi}]"
        )
    if arguments.out is not None:
        lines.append(f"  the layer's input that does it: {arguments.out}, uint8 {found.tensor.shape}")
    return lines


def _document(found: Witness, planned: NodePlan | None) -> dict[str, object]:
    document: dict[str, object] = {
        "node": found.node,
        "output": found.output,
        "end": found.end,
        "bound": found.bound,
        "reached": found.reached,
        "position": list(found.position),
        "operands": found.operands.tolist(),
    }
    if planned is not None and planned.schedule is not None:
        bound = planned.schedule.bound
        document["plan"] = {"row": planned.row.name, "lane_bound": [bound.lo, bound.hi]}
    return document


def _save(path: Path, tensor: NDArray[np.uint8]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, tensor)
    write_atomically(path, [buffer.getvalue()])
