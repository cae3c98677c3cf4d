"""One file through every stage: loaded, planned, opened as a session, run, verified; with float parts: every verb."""

from __future__ import annotations

import signal
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import FrameType
from typing import Final

import numpy as np

import oaq
from benchmarks.fuzz import float_stages
from benchmarks.fuzz.mutants import FLOAT_KINDS, Mutant
from oaq.capture.from_onnx import decode as decode_onnx
from oaq.capture.from_onnx import import_graph
from oaq.capture.from_tflite import import_tflite
from oaq.errors import OaqError
from oaq.kernels.table import cpu_isas
from oaq.program.files import decode_archive
from oaq.program.int_program import IntProgram

SECONDS: Final = 10.0
"""CPU time for one file; unbroken ones take a hundredth of that. Wall time says nothing on a busy machine."""
STAGES: Final = ("read", "loaded", "planned", "opened", "run", "verified", "diagnosed", "repaired", "captured")
"""How far a file got: it was read, a program was loaded from it, ..."""
LARGE: Final = 1 << 24
"""Integers of all tensors of a program that is run; a larger one is opened, which needs no tensor."""
WHERE: Final = "broken"
VERIFIED: Final = 2000
"""Every so many-th file, if it was run and is small, is also verified."""
SMALL: Final = 1 << 14
"""Integers of all tensors of a program that is verified: the reference takes its time."""


class TooSlow(BaseException):
    """The limit of time is over; no ``except Exception`` on the way may keep it."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Attributes:
        stage: the last of ``STAGES`` that it reached.
        kind: "" if it went through, the class of its ``OaqError``, or "DEFECT".
        detail: of a defect: the traceback, or what is wrong.
    """

    stage: str
    kind: str = ""
    detail: str = ""


def judge(mutant: Mutant, index: int, seconds: float = SECONDS) -> Outcome:
    """Send one file through the stages under a limit of CPU time; ``index`` decides the instruction set and more."""
    signal.signal(signal.SIGVTALRM, _stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    stage = [STAGES[0]]
    try:
        _pass_through(mutant, index, stage.append)
    except OaqError as error:
        wrong = _unclear(str(error))
        return Outcome(stage[-1], "DEFECT", wrong) if wrong else Outcome(stage[-1], type(error).__name__)
    except TooSlow:
        return Outcome(stage[-1], "DEFECT", f"more than {seconds} s of CPU time\n{traceback.format_exc()}")
    except (Exception, RecursionError, MemoryError):
        return Outcome(stage[-1], "DEFECT", traceback.format_exc())
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return Outcome(stage[-1])


def _stop(signum: int, frame: FrameType | None) -> None:
    raise TooSlow


def _pass_through(mutant: Mutant, index: int, reach: Callable[[str], None]) -> None:
    if mutant.kind in FLOAT_KINDS:
        float_stages.pass_through(mutant, index, reach)
        return
    program = _load(mutant)
    if program is None:
        float_stages.pass_through(mutant, index, reach)
        return
    reach("loaded")
    isas = (*cpu_isas(), None)
    plan = oaq.plan(program, isas[index % len(isas)])
    plan.explain()
    reach("planned")
    session = oaq.Session(plan, threads=1 + index % 7 // 6)
    reach("opened")
    size = sum(prod(spec.shape) for spec in program.tensors.values())
    if size > LARGE:
        return
    session.run_integers(_inputs(program, index))
    reach("run")
    if index % VERIFIED == 0 and size < SMALL:
        oaq.verify(program, onnx=False, threads=(1,)).table()
        _verify_file(mutant)
        reach("verified")


def _load(mutant: Mutant) -> IntProgram | None:
    """The program of a file; None if float operators decide some of its integers."""
    if mutant.suffix == ".oaq":
        return decode_archive(mutant.content, WHERE).program
    if mutant.suffix == ".onnx":
        imported = import_graph(decode_onnx(mutant.content, WHERE))
    else:
        imported = import_tflite(mutant.content, where=WHERE)
    return imported.program if imported.is_whole else None


def _verify_file(mutant: Mutant) -> None:
    if mutant.suffix == ".oaq":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "broken.oaq"
            path.write_bytes(mutant.content)
            oaq.verify_file(path).table()


def _inputs(program: IntProgram, index: int) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.uint8]], ...]:
    rng = np.random.default_rng(index)
    specs = [program.tensors[name] for name in program.inputs]
    return tuple(rng.integers(s.range.lo, s.range.hi, (1, *s.shape), np.uint8, endpoint=True) for s in specs)


def _unclear(text: str) -> str:
    """What is wrong with an error's text; "" if it is one that a terminal can show."""
    if not text.strip():
        return "an error without a text"
    if len(text) > 20_000:
        return f"an error of {len(text)} characters: {text[:200]!r}"
    return ""
