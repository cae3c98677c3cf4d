"""Instructions of every operator without sums of products: its rows on NEON beside those for any CPU.

    python -m benchmarks.arm.steps [--record]

Each operator is one node of a size that networks have, whose integers have to be the reference's by both rows.
Instructions are counted under an emulator, which says nothing of time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final

import numpy as np

from benchmarks.arm.count import instructions
from benchmarks.arm.emulator import Case, run_cases
from benchmarks.harness import Result, add_record, save, stamp
from oaq import operators as ops
from oaq.kernels.plan import plan
from oaq.numerics.affine import Affine
from oaq.numerics.ranges import IntRange
from oaq.numerics.requantize import Requantize, Semantics
from oaq.operators import TensorSpec
from oaq.operators.tensor import Shape
from oaq.program.int_program import IntProgram, Node
from oaq.reference import run
from oaq.runtime.plan_file import proved_bytes
from oaq.terminal import say

CPU: Final = "cortex-a53"
EVERY: Final = np.arange(256, dtype=np.uint8)
NOTES: Final = (
    "one node each, one image, one thread; instructions of a run, what a session does around it included",
    "for any CPU: the loops that the compiler makes NEON of where it can",
)


def _rule(*ratios: float, semantics: Semantics = "float32_half_even") -> Requantize:
    return Requantize.from_scales(np.array(ratios, np.float32), semantics)


def _levels(channels: int) -> ops.Coarsen:
    return ops.Coarsen(
        np.full(channels, 3, np.uint8),
        np.full(channels, 1000, np.int32),
        np.full(channels, 36, np.uint8),
        np.ones(channels, np.uint8),
    )


def subjects() -> dict[str, tuple[ops.Op, tuple[Shape, ...]]]:
    """Operators by what they are, with the shapes of their inputs."""
    tables = np.random.default_rng(1).integers(0, 256, (96, 256)).astype(np.uint8)
    return {
        "Add": (ops.Add(_rule(0.7, 0.9)), ((28, 28, 32), (28, 28, 32))),
        "Mul by channel": (ops.Mul(_rule(0.01)), ((28, 28, 96), (96,))),
        "Mul by channel, fixed point": (ops.Mul(_rule(0.01, semantics="fixed_point")), ((28, 28, 96), (96,))),
        "Concat, rescaled": (ops.Concat(_rule(0.7, 0.9)), ((28, 28, 64), (28, 28, 32))),
        "Lookup": (ops.Lookup(EVERY[::-1].copy()), ((28, 28, 96),)),
        "ChannelLookup": (ops.ChannelLookup(tables), ((28, 28, 96),)),
        "Coarsen": (_levels(96), ((28, 28, 96),)),
        "MaxPool 3x3": (ops.MaxPool((3, 3), (2, 2), (1, 1, 1, 1)), ((56, 56, 64),)),
        "AvgPool 3x3": (
            ops.AvgPool((3, 3), (1, 1), _rule(*(1 / (i + 1) for i in range(9))), (1,) * 4),
            ((28, 28, 64),),
        ),
        "GlobalAvgPool": (ops.GlobalAvgPool(_rule(1 / 49)), ((7, 7, 1280),)),
        "Resize, bilinear": (ops.Resize(56, 56, "bilinear"), ((28, 28, 64),)),
        "DepthToSpace, 3 channels": (ops.DepthToSpace(2, "CRD"), ((56, 56, 12),)),
        "Transpose of planes": (ops.Transpose.joining((56, 56, 32), (2, 0, 1), (32, 56, 56)), ((56, 56, 32),)),
    }


def program_of(op: ops.Op, shapes: Sequence[Shape]) -> IntProgram:
    """One node; tensors with the same affine map."""
    affine, range_ = Affine(0.05, 3), IntRange(0, 255)
    inputs = {f"x{i}": TensorSpec(f"x{i}", shape, affine, range_) for i, shape in enumerate(shapes)}
    y = TensorSpec("y", ops.rules_of(op).shape(op, tuple(shapes)), affine, range_)
    return IntProgram("step", tuple(inputs), ("y",), {**inputs, "y": y}, (Node("step", op, tuple(inputs), "y"),))


def counted(program: IntProgram, row: str) -> int:
    """Instructions of one run by a row.

    Raises:
        RuntimeError: it failed, or an integer is not the reference's.
    """
    rng = np.random.default_rng(0)
    x = tuple(rng.integers(0, 256, (1, *program.tensors[name].shape)).astype(np.uint8) for name in program.inputs)
    (expected,) = run(program, x).outputs
    case = Case(proved_bytes(plan(program, table="neon", rows=[row])), x, (int(expected.size),))
    (answer,) = run_cases([case], CPU)
    if isinstance(answer, str) or not np.array_equal(answer[0].reshape(-1), expected.reshape(-1)):
        raise RuntimeError(f"{row}: {answer if isinstance(answer, str) else 'other integers than the reference'}")
    return instructions(case, CPU)


def main(arguments: Sequence[str] | None = None) -> int:
    """Count every operator by both rows; write the result file."""
    parser = argparse.ArgumentParser("python -m benchmarks.arm.steps", description=(__doc__ or "").splitlines()[0])
    add_record(parser)
    flags = parser.parse_args(arguments)
    rows: list[tuple[tuple[str, str], ...]] = []
    for name, (op, shapes) in subjects().items():
        program, family = program_of(op, shapes), str(ops.rules_of(op).family)
        neon, scalar = (counted(program, f"{family}_u8_{isa}") for isa in ("neon", "scalar"))
        values = int(np.prod(program.tensors["y"].shape))
        rows.append(
            (
                ("operator", name),
                ("inputs", ", ".join("x".join(map(str, shape)) for shape in shapes)),
                ("instructions per output, NEON", f"{neon / values:.2f}"),
                ("instructions per output, any CPU", f"{scalar / values:.2f}"),
                ("times fewer", f"{scalar / neon:.2f}"),
            )
        )
        say.words("  ".join(value for _, value in rows[-1]))
    command = " ".join(["python -m benchmarks.arm.steps", *sys.argv[1:]])
    path = save(Result("arm_steps", command, stamp(), rows=tuple(rows), notes=NOTES), "arm_steps", record=flags.record)
    say.words(str(path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
