"""Another Python process: for settings that a library reads once, from its environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def child(arguments: Sequence[str], environment: Mapping[str, str], python: Sequence[str] = (sys.executable,)) -> str:
    """What ``python -m ARGUMENTS`` prints, run beside this package.

    Args:
        arguments: a module and what it is given.
        environment: set besides that of this process.
        python: the command that runs Python.

    Raises:
        RuntimeError: it ended otherwise than well.
    """
    process = subprocess.run(
        [*python, "-m", *arguments],
        env={**os.environ, **environment},
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        raise RuntimeError(f"{arguments[0]} ended with {process.returncode}:\n{process.stderr[-2000:]}")
    return process.stdout


def held_to(isa: str) -> dict[str, str]:
    """The environment in which oneDNN, hence OpenVINO, has "AVX2" or "AVX512_CORE" at most; "": all of the CPU."""
    return {"ONEDNN_MAX_CPU_ISA": isa, "DNNL_MAX_CPU_ISA": isa} if isa else {}
