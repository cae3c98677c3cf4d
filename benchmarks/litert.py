"""One set of integers, two engines: a vendor's int8 TFLite file in LiteRT with XNNPACK, and in a ``Session``.

    python -m benchmarks.litert [MODEL.tflite --threads 1 2 --rounds 20]

Both take the photo as integers. LiteRT's integers before the final softmax, which is its own, are compared with the
reference first, like ours: with its default kernels every one of them is equal. Neither side had a say in the numbers,
so this is the kernels' difference alone; weights of 8 bits at full range need a spill at almost every step, which is
hard on our 16-bit rows. Writes ``results/efficientnet-lite3-1t.json`` and ``-2t``.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.busy import Disturbance
from benchmarks.harness import Result, add_record, stamp
from benchmarks.networks import WIDE
from benchmarks.process_peer import ProcessPeer
from benchmarks.side_by_side import timed, written
from benchmarks.tflite_equality import as_held, prepared, runs, with_every_output
from oaq import reference
from oaq.capture.from_tflite import import_tflite
from oaq.capture.imported import Imported
from oaq.kernels.plan import plan
from oaq.kernels.table import cpu_isas
from oaq.overflow.settle import settle
from oaq.report.comparison import Contender, distinct_plans, session_contender
from oaq.report.data import Latency
from oaq.report.latency import pinned, turn
from oaq.runtime import Session
from recipes.data.quantized import efficientnet_lite3

Integers = NDArray[np.uint8]


def theirs(model: Path, imported: Imported, x: Integers, law: Integers, threads: int, stack: ExitStack) -> Contender:
    """LiteRT in a process of its own; the integers that are compared come from a copy with every tensor an output."""
    program = imported.program
    source = imported.tensors[program.outputs[0]].name
    integers = x.astype(np.int16) - imported.tensors[program.inputs[0]].offset
    child = stack.enter_context(ProcessPeer(model, integers.astype(_kind(model)), "litert", "int8", threads, {}))

    def outputs() -> Integers:
        content = with_every_output(model.read_bytes(), [source])
        (held_out,) = runs(content, "AUTO", [source], [integers])
        return as_held(imported, held_out)[program.outputs[0]]

    return Contender(
        name=child.name,
        ours=False,
        precision="int8",
        isa="best of the CPU",
        take=child.take,
        outputs=outputs,
        reference=law,
        least_sqnr_db=None,
        against="the integer reference",
    )


def _kind(model: Path) -> type[np.generic]:
    """Element type of the file's input."""
    from ai_edge_litert import interpreter as litert

    return litert.Interpreter(model_path=str(model)).get_input_details()[0]["dtype"]


def measure(model: Path, threads: int, rounds: int) -> tuple[Latency, Disturbance]:
    """Check and time every contender, side by side.

    Raises:
        Mismatch: the integers of a contender are not the reference's.
    """
    imported = import_tflite(model)
    program = settle(imported.program).program
    x = prepared(model, 1)[0]
    law = reference.run(program, (x,)).outputs[0]
    plans = distinct_plans(plan(program, isa) for isa in cpu_isas() if isa != "scalar")
    plans |= {name: plan(program, "avx2", rows) for name, rows in WIDE.items() if "avx2" in cpu_isas()}
    with ExitStack() as stack:
        cpus = stack.enter_context(pinned(threads))
        contenders = []
        for name, planned in plans.items():
            session = Session(planned, threads=threads)
            take = turn(lambda session=session: session.run_integers(x))
            contenders.append(session_contender(name, session, take, ((x,), (law,))))
        contenders.append(theirs(model, imported, x, law, threads, stack))
        return timed(contenders, model.stem, threads=threads, rounds=rounds, baseline=contenders[-1].name, pinned=cpus)


def main() -> int:
    """Measure and write the result files."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.litert", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, nargs="?", help="a .tflite file")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=20)
    add_record(parser)
    flags = parser.parse_args()
    model = flags.model or efficientnet_lite3()
    refused = 0
    for threads in flags.threads:
        latency, disturbance = measure(model, threads, flags.rounds)
        facts = (("network", model.name), ("weights", "the vendor's integers"))
        command = " ".join(["python -m benchmarks.litert", *sys.argv[1:]])
        result = Result("litert", command, stamp(), latency, facts, notes=(disturbance.words,))
        refused += not written(result, f"{model.stem.replace('_', '-')}-{threads}t", disturbance, record=flags.record)
    return min(refused, 1)


if __name__ == "__main__":
    sys.exit(main())
