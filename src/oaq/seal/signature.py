"""One number that says a model computes the same integers here as where it was made."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oaq.errors import FormatError
from oaq.program.files import Part
from oaq.program.int_program import IntProgram
from oaq.reference import run
from oaq.seal.inputs import Inputs, signature_inputs

PART: Final = "signature"
VERSION: Final = 1
SAMPLES: Final = 2

Runner = Callable[[Inputs], Sequence[NDArray[np.uint8]]]
"""Computes the program's outputs, in order."""


def model_signature(program: IntProgram, runner: Runner | None = None, samples: int = SAMPLES) -> str:
    """sha256 (hex) of the output integers on ``signature_inputs``.

    Args:
        program: whose outputs.
        runner: who computes them; None is the reference.
        samples: how many.
    """
    inputs = signature_inputs(program, samples)
    outputs = run(program, inputs).outputs if runner is None else runner(inputs)
    digest = hashlib.sha256()
    for name, value in zip(program.outputs, outputs, strict=True):
        digest.update(f"{name}\n{value.shape}\n".encode())
        digest.update(np.ascontiguousarray(value, np.uint8).tobytes())
    return digest.hexdigest()


def signature_part(program: IntProgram) -> Part:
    """What an ``.oaq`` file stores; computed by the reference."""
    return Part({"version": VERSION, "samples": SAMPLES, "sha256": model_signature(program)})


def stored_signature(part: Part) -> tuple[str, int]:
    """The hash and the number of samples that a part holds.

    Raises:
        FormatError: it holds something else.
    """
    content: Any = part.content
    if not isinstance(content, dict) or set(content) != {"version", "samples", "sha256"}:
        raise FormatError("the part 'signature' needs exactly version, samples and sha256")
    if content["version"] != VERSION or type(content["samples"]) is not int or not 1 <= content["samples"] <= 1024:
        raise FormatError(f"the part 'signature' is of version {content['version']!r}; this oaq reads {VERSION}")
    return str(content["sha256"]), content["samples"]
