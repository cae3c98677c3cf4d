"""What an installed wheel is asked, alone: does every instruction set here compute what the reference computes?

Needs NumPy and oaq, nothing of the repository: ``python tests/packaging/installed.py`` in any environment.
"""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np

import oaq
from oaq import operators as ops
from oaq.kernels.table import cpu_isas, native_rows
from oaq.numerics.affine import Affine
from oaq.numerics.requantize import SEMANTICS
from oaq.operators import OPERATORS, TensorSpec
from oaq.program.int_program import IntProgram, Node
from oaq.seal import model_signature


def programs() -> list[IntProgram]:
    """A program of one node for every sample case of every operator that has native rows."""
    result = []
    for semantics in SEMANTICS:
        for name, rules in OPERATORS.items():
            for index, case in enumerate(rules.cases(semantics)):
                if rules.no_native(case.op, case.shapes):
                    continue
                inputs = tuple(f"x{place}" for place in range(len(case.shapes)))
                specs = {key: TensorSpec(key, x, Affine(0.05, 90)) for key, x in zip(inputs, case.shapes, strict=True)}
                specs["y"] = TensorSpec("y", ops.output_shape(case.op, case.shapes), Affine(0.05, 90))
                node = Node(f"{name}-{index}", case.op, inputs, "y")
                result.append(IntProgram(f"{name}-{index}", inputs, ("y",), specs, (node,), semantics))
    return result


def main() -> None:
    """Compare; the last line says where.

    Raises:
        Mismatch: an instruction set computes something else, or one of this CPU is not seen.
        FormatError: the library or its header is not installed.
    """
    flags, system = Path("/proc/cpuinfo"), (platform.system(), platform.machine())
    if system == ("Linux", "x86_64") and " avx2 " in flags.read_text() and "avx2" not in cpu_isas():
        raise oaq.Mismatch("this CPU has AVX2, and the wheel does not see it")
    isas = list(dict.fromkeys(row.isa for row in native_rows() if row.available))
    compared = 0
    for program in programs():
        expected = model_signature(program)
        for isa in isas:
            session = oaq.Session(oaq.plan(program, isa=isa))
            if model_signature(program, session.run_integers) != expected:
                raise oaq.Mismatch(f"{program.name} on {isa} differs from the reference")
            compared += 1
    assert (oaq.library_dir().is_dir(), oaq.include_dir().is_dir()) == (True, True)
    version = f"Python {platform.python_version()} {platform.machine()}, NumPy {np.__version__}"
    print(f"{version}: {compared} signatures on {'+'.join(cpu_isas())} equal the reference's")  # noqa: T201


if __name__ == "__main__":
    main()
