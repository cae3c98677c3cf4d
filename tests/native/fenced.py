"""Every row and operator with fences around all memory: run by test_fences.py in a process of its own.

    LD_PRELOAD=fence.so python -m tests.native.fenced end|start [misread|miswrite]

``fence.so`` is built of fence.cc. Sessions are built and run with fences on; everything else is not, so that Python and
NumPy have their own memory.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator

import numpy as np

import tests.native.conftest  # noqa: F401  the build under test
from oaq import operators as ops
from oaq.kernels.plan import Plan, plan
from oaq.numerics.affine import Affine
from oaq.numerics.requantize import Requantize
from oaq.program.int_program import IntProgram
from oaq.reference import run
from oaq.runtime.build import build
from oaq.runtime.certify import require_safe
from oaq.runtime.memory import plan_memory
from tests.native.machine import ROWS, SUMMING, layer, vector
from tests.strategies import Builder, random_input, ratios, sampled

MODES = {"end": 1, "start": 2}


def say(what: object) -> None:
    """A line that is out before anything else happens."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def fence(mode: int) -> int:
    """Switch fences; returns the number of blocks fenced so far."""
    library = ctypes.CDLL(None)
    library.fence.restype = ctypes.c_long
    return library.fence(mode)


def layers(row: str) -> Iterator[IntProgram]:
    """Tails of outputs, of steps, of positions; windows beside and inside the image; groups; both semantics."""
    gemm = ROWS[row].family == "gemm"
    for outputs, k in ((1, 1), (33, 21), (65, 5)):
        yield layer(ROWS[row], outputs, k, kind="extreme", size=(3, 7))
        yield layer(ROWS[row], outputs, k, kind="wide", kernel=(3, 3), padding=(1, 0, 1, 2), size=(5, 6))
    yield layer(ROWS[row], 17, 6, kernel=(2, 3), stride=(2, 1), dilation=(1, 2), size=(7, 9))
    yield layer(ROWS[row], 17, 6, kernel=(3, 2), semantics="fixed_point", size=(7, 5))
    if gemm:
        yield layer(ROWS[row], 33, 4, kind="extreme", kernel=(3, 3), padding=(1, 0, 0, 2), size=(5, 24))
        yield layer(ROWS[row], 17, 8, kernel=(2, 1), stride=(1, 2), size=(4, 48))
        yield layer(ROWS[row], 36, 5, groups=2, kernel=(3, 3), padding=(1, 1, 1, 1))
        yield layer(ROWS[row], 17, 5, kernel=(2, 3, 2), padding=(1, 2, 1, 0, 0, 1), stride=(2, 1, 1), size=(4, 3, 5))
        yield layer(ROWS[row], 10, 3, groups=2, kernel=(2, 1, 1), dilation=(3, 1, 1), size=(7, 2, 3))
        yield vector(1000, 37, row=ROWS[row])


def sampled_case(family: str, x: str) -> tuple[ops.Op, list[str]]:
    """A sample value of the operator that a family computes, and its inputs."""
    kind = next(name for name, rules in ops.OPERATORS.items() if rules.family == family)
    sample = sampled(kind, "float32_half_even", (5, 7, 3))
    assert sample is not None, family
    return sample[0], [x] * sample[1]


def volumes() -> dict[str, ops.Op]:
    """By family, what moves or pools a volume (4, 3, 5, 3)."""
    eighths = Requantize(np.full(8, 0.125, np.float32))
    return {
        "max_pool": ops.MaxPool((3, 2, 2), (2, 1, 1), (1, 2, 0, 1, 1, 0), (1, 1, 2)),
        "avg_pool": ops.AvgPool((2, 2, 2), (1, 2, 1), eighths, (1, 0, 0, 1, 1, 1)),
        "pad": ops.Pad((2, 0, 1, 2, 0, 3)),
        "slice": ops.Slice((1, 2, 1, 0), (4, 3, 5, 2)),
        "gather": ops.Gather(1, np.array([3, 0, 0, 2, 3], np.int32)),
    }


def others() -> Iterator[tuple[str, IntProgram]]:
    """The other families' rows, on tensors whose sizes no vector divides."""
    affine = Affine(0.05, 7)
    for row in sorted(set(ROWS) - set(SUMMING)):
        builder = Builder(row)
        x, y, wide = (builder.input((5, 7, channels), affine) for channels in (3, 3, 12))
        half = Requantize(ratios([0.02, 0.03], 0.05))
        cases: dict[str, tuple[ops.Op, list[str]]] = {
            "add": (ops.Add(half), [x, y]),
            "mul": (ops.Mul(Requantize(ratios([0.0025], 0.05))), [x, y]),
            "concat": (ops.Concat(half), [x, y]),
            "max_pool": (ops.MaxPool((3, 2), (2, 1), (1, 1, 1, 0)), [x]),
            "avg_pool": (ops.AvgPool((2, 2), (1, 2), Requantize(np.full(4, 0.25, np.float32)), (1, 0, 0, 1)), [x]),
            "global_avg_pool": (ops.GlobalAvgPool(Requantize(np.float32([1 / 35]))), [x]),
            "resize": (ops.Resize(9, 4, "bilinear"), [x]),
            "lookup": (ops.Lookup(np.arange(256)[::-1].astype(np.uint8)), [x]),
            "depth_to_space": (ops.DepthToSpace(2, "CRD"), [wide]),
            "copy": (ops.Reshape((105,)), [x]),
            "pad": (ops.Pad((1, 2, 0, 3)), [x]),
            "channel_lookup": (ops.ChannelLookup(np.arange(768).reshape(3, 256).astype(np.uint8)), [x]),
            "transpose": (ops.Transpose.joining((5, 7, 3), (2, 1, 0), (3, 35)), [x]),
            "slice": (ops.Slice((1, 2, 1), (4, 7, 2)), [x]),
        }
        family = ROWS[row].family
        op, names = cases[family] if family in cases else sampled_case(family, x)
        builder.add(op, names, affine)
        yield row, builder.finish()
        if family in volumes():
            builder = Builder(f"{row}, volume")
            builder.add(volumes()[family], [builder.input((4, 3, 5, 3), affine)], affine)
            yield row, builder.finish()


def run_fenced(planned: Plan, threads: int, mode: int) -> None:
    """Build, run and drop a session between fences; compare outside of them."""
    require_safe(planned)
    program, rng = planned.program, np.random.default_rng(3)
    x = [random_input(rng, (2, *program.tensors[name].shape), program.tensors[name].range) for name in program.inputs]
    wanted, arena = run(program, tuple(x)).outputs, plan_memory(program)
    y = [np.zeros_like(one) for one in wanted]
    fence(mode)
    native = build(planned, arena, threads)
    fenced_x, fenced_y = [one.copy() for one in x], [np.empty_like(one) for one in y]
    native.run(fenced_x, fenced_y)
    for one, fenced in zip(y, fenced_y, strict=True):
        one[...] = fenced
    del native, fenced_x, fenced_y
    fence(0)
    for one, other in zip(y, wanted, strict=True):
        np.testing.assert_array_equal(one, other, program.name)


def stray(how: str, mode: int) -> None:
    """Touch one byte outside a block: what the fences are there to stop."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    fence(mode)
    block = libc.malloc(ctypes.c_size_t(64))
    fence(0)
    at = ctypes.c_uint8.from_address(block + 64 if mode == MODES["end"] else block - 1)
    if how == "misread":
        say(at.value)
    else:
        at.value = 1


def main() -> None:
    """Print how many sessions ran and how many blocks were fenced."""
    mode = MODES[sys.argv[1]]
    if fence(0) < 0:
        raise SystemExit("no memory to fence")
    if len(sys.argv) > 2:
        stray(sys.argv[2], mode)
        return
    sessions = 0
    for row in SUMMING:
        say(row)  # the last line says where a process ended
        for program in layers(row):
            for threads in (1, 3):
                run_fenced(plan(program, rows=[row]), threads, mode)
                sessions += 1
    for row, program in others():
        say(row)
        for threads in (1, 3):
            run_fenced(plan(program, rows=[row]), threads, mode)
            sessions += 1
    say(f"{sessions} sessions, {fence(0)} blocks")


if __name__ == "__main__":
    main()
