"""The integers of a recipe's network: how they are chosen, made under a bar, kept, and taken again by a later run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import nn

import oaq
from oaq.data.batches import Batch
from oaq.data.preprocess import KEY as PREPROCESS
from oaq.numerics.requantize import Semantics
from oaq.program.int_program import IntProgram
from oaq.ptq.options import DEFAULT_BUDGET, Options
from oaq.ptq.quantize import quantize_with_report
from oaq.ptq.rounding import Rounding
from oaq.tasks import Task, task_metadata
from oaq.tasks.record import KEY as TASK
from oaq.tasks.record import SUFFIX
from oaq.terminal import say
from recipes.float_onnx import export_float


@dataclasses.dataclass(frozen=True)
class Choices:
    """How the integers are chosen.

    Attributes:
        budget: as of ``oaq.ptq.options.Options``.
        rounding: of weights.
        informed_terms: products of the longest sums that rounding looks at data for; None: of any.
        origin: what is captured: "torch", or "onnx", the module's export.
        requantize: semantics of the program.
    """

    budget: float | None = DEFAULT_BUDGET
    rounding: Rounding = "axe"
    origin: str = "torch"
    requantize: Semantics = "float32_half_even"
    informed_terms: int | None = None

    def __str__(self) -> str:
        budget = "none" if self.budget is None else f"{self.budget:g}"
        fixed = ", in fixed point" if self.requantize == "fixed_point" else ""
        rounding = self.rounding + (f" up to {self.informed_terms} products" if self.informed_terms is not None else "")
        return f"rounding {rounding}, budget {budget}, from {self.origin}{fixed}"


def parse_budget(text: str) -> float | None:
    """The value of ``--budget``: a number, or "none".

    Raises:
        ValueError: it is neither.
    """
    return None if text == "none" else float(text)


def weights_digest(net: nn.Module) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a network's parameters and buffers, in their order."""
    digest = hashlib.sha256()
    for value in net.state_dict().values():
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def earlier_program(path: Path, source: str) -> IntProgram | None:
    """What an earlier run kept at ``path``; None if nothing, or a program that was made of something else.

    Args:
        path: of the ``.oaq`` file.
        source: weights and options, in words, as ``keep_program`` was told them.
    """
    if not path.exists():
        return None
    earlier = oaq.load(path)
    if earlier.metadata.get("source") == source:
        return earlier
    say.words(f"  {path} was made of other weights, or with other options: quantized again")
    return None


def quantize(model: nn.Module | str, batches: Sequence[Batch], choices: Choices) -> IntProgram:
    """``oaq.quantize`` by ``choices`` under a bar."""
    options = Options(
        budget=choices.budget,
        rounding=choices.rounding,
        informed_terms=choices.informed_terms,
        requantize=choices.requantize,
    )
    return quantize_by(options, model, batches)


def quantize_by(
    options: Options, model: nn.Module | str, batches: Sequence[Batch], label: str = "", name: str | None = None
) -> IntProgram:
    """``oaq.quantize`` under a bar, which has a label; ``name`` is the program's."""
    with say.stages(f"quantize {label}".strip()) as report:
        return quantize_with_report(
            model, batches, options, name=name, progress=lambda step: report(str(step), step.item, step.done)
        )[0]


def keep_program(program: IntProgram, task: Task, path: Path, source: str) -> IntProgram:
    """The program with the name of its file and its task, written at once: minutes went into it.

    Args:
        program: just quantized or trained.
        task: what it is for, outputs called as the program calls them.
        path: of the ``.oaq`` file.
        source: weights and options, in words.
    """
    metadata = {**program.metadata, **task_metadata(task), "source": source}
    program = dataclasses.replace(program, name=path.stem, metadata=metadata)
    oaq.save(program, path)
    return program


def export_described(net: nn.Module, task: Task, path: Path, outputs: Sequence[str]) -> str:
    """The float network as an ONNX file, with what it is for beside it; returns the path of the network."""
    x = np.zeros((1, len(task.preprocess.mean), *task.preprocess.size), np.float32)
    export_float(net, x, path, outputs=outputs)
    path.with_name(f"{path.stem}{SUFFIX}").write_text(task_json(task), encoding="utf-8")
    return str(path)


def task_json(task: Task) -> str:
    """The description of ``docs/how-to/tasks.md``, for a file beside a network of another tool."""
    metadata = task_metadata(task)
    return json.dumps({**json.loads(metadata[TASK]), "preprocess": json.loads(metadata[PREPROCESS])}, indent=1) + "\n"
