"""ONNX Runtime held to AVX2 on a CPU that has more, so that the kernels of older CPUs can be run and timed here.

ONNX Runtime reads no setting for that: it asks the CPU. A copy of its library is made in which every ``cpuid``
instruction is a trap instead, and a handler answers without AVX-512 and AVX-VNNI. Needs objdump and a C compiler. The
copy is checked by what it computes: products of pairs that saturate.

    python -m benchmarks.held_onnxruntime FOLDER       makes the copy and says how to use it
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np

TRAP = r"""
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <ucontext.h>

/* After the trap, which is one byte, comes one that is skipped. */
static void answer(int signal, siginfo_t* info, void* context) {
  greg_t* registers = ((ucontext_t*)context)->uc_mcontext.gregs;
  const unsigned leaf = (unsigned)registers[REG_RAX], part = (unsigned)registers[REG_RCX];
  unsigned a, b, c, d;
  (void)signal;
  (void)info;
  __cpuid_count(leaf, part, a, b, c, d);
  if (leaf == 7 && part == 0) {
    a = 0;                                                                        /* no further parts */
    b &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 28 | 1u << 30 | 1u << 31);       /* AVX-512 F, DQ, IFMA, CD, BW, VL */
    c &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14);                    /* VBMI, VBMI2, VNNI, BITALG, ... */
    d &= ~(1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25);                   /* VP2INTERSECT, AMX, FP16 */
  } else if (leaf == 7) {
    a = b = c = d = 0;                                                            /* AVX-VNNI among them */
  }
  registers[REG_RAX] = a;
  registers[REG_RBX] = b;
  registers[REG_RCX] = c;
  registers[REG_RDX] = d;
  registers[REG_RIP] += 1;
}

__attribute__((constructor)) static void begin(void) {
  struct sigaction action = {0};
  action.sa_sigaction = answer;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGTRAP, &action, 0);
}
"""
CPUID, TRAPPED = b"\x0f\xa2", b"\xcc\x90"


def held_environment(folder: Path) -> dict[str, str]:
    """Variables under which a Python process imports the copy, which is made in ``folder``.

    Raises:
        SystemExit: a tool is missing.
    """
    import onnxruntime

    for tool in ("objdump", "cc"):
        if shutil.which(tool) is None:
            raise SystemExit(f"holding ONNX Runtime needs {tool}")
    source = Path(onnxruntime.__file__).parent
    copy = folder / "onnxruntime"
    if not (folder / "trap.so").exists():
        shutil.copytree(source, copy, dirs_exist_ok=True)
        for library in (copy / "capi").glob("onnxruntime_pybind11_state*.so"):
            content = trapped(library.read_bytes(), addresses(library))
            library.unlink()  # it may be a hard link
            library.write_bytes(content)
        (folder / "trap.c").write_text(TRAP)
        build = ["cc", "-shared", "-fPIC", "-O1", "-o", str(folder / "trap.so"), str(folder / "trap.c")]
        subprocess.run(build, check=True)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"LD_PRELOAD": str(folder / "trap.so"), "PYTHONPATH": os.pathsep.join(paths)}


def addresses(library: Path) -> list[int]:
    """Where a library has ``cpuid`` among its instructions."""
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", str(library)], check=True, capture_output=True, text=True
    ).stdout
    return [int(match[1], 16) for match in re.finditer(r"^\s*([0-9a-f]+):\s+cpuid", listing, re.MULTILINE)]


def trapped(content: bytes, places: list[int]) -> bytes:
    """An ELF library with traps in place of the instructions at these addresses.

    Raises:
        SystemExit: something else stands there.
    """
    changed = bytearray(content)
    (table,), (count,) = struct.unpack_from("<Q", content, 32), struct.unpack_from("<H", content, 56)
    segments = []
    for index in range(count):
        kind, _, offset, address, _, size, *_ = struct.unpack_from("<IIQQQQQQ", content, table + 56 * index)
        if kind == 1:
            segments.append((address, offset, size))
    for place in places:
        at = next(offset + place - address for address, offset, size in segments if address <= place < address + size)
        if changed[at : at + 2] != CPUID:
            raise SystemExit(f"no cpuid stands at {place:#x}")
        changed[at : at + 2] = TRAPPED
    return bytes(changed)


def saturates() -> bool:
    """Whether the ONNX Runtime of this process sums pairs in 16 bits."""
    import onnxruntime
    from onnx import helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["q", "w"], ["sums"])],
        "pairs",
        [helper.make_tensor_value_info("q", 2, ["rows", 4])],
        [helper.make_tensor_value_info("sums", 6, ["rows", 16])],
        [numpy_helper.from_array(np.full((4, 16), 127, np.int8), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    sums = session.run(None, {"q": np.full((8, 4), 255, np.uint8)})[0]
    return int(np.asarray(sums)[0, 0]) == 2 * 32767


if __name__ == "__main__":
    variables = held_environment(Path(sys.argv[1]).resolve())
    sys.stdout.write(" ".join(f"{name}={value}" for name, value in variables.items()) + " python ...\n")
