"""A campaign: graphs judged in processes of their own, counts kept after every chunk, defects saved and made small."""

from __future__ import annotations

import json
import multiprocessing
import re
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import onnx

from benchmarks.differential_onnx.graphs import Recipe, build, draw
from benchmarks.differential_onnx.judge import Verdict, judge
from benchmarks.harness import Result, save, stamp
from oaq.terminal import say

CHUNK: Final = 100
OPTIMIZER: Final = "(refused by ONNX Runtime's optimizer alone)"
"""Counts graphs that are judged as written only; they have a verdict besides."""
FULL: Final = 20_000
"""Graphs of a run whose result is kept in the repository."""


@dataclass
class State:
    """Everything counted so far.

    Attributes:
        done: first graphs of chunks that are finished.
        verdicts: graphs, by form and verdict.
        integers: compared, by rule.
        differ: of them not equal, by rule.
        operators: graphs in which each operator stood.
        opsets: graphs of each opset.
        reasons: of islands and refusals, numbers taken out.
        defects: index and verdict.
    """

    done: set[int] = field(default_factory=set)
    verdicts: Counter[str] = field(default_factory=Counter)
    integers: Counter[str] = field(default_factory=Counter)
    differ: Counter[str] = field(default_factory=Counter)
    operators: Counter[str] = field(default_factory=Counter)
    opsets: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    defects: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: State) -> None:
        """Add what a chunk has counted."""
        self.done |= other.done
        self.defects += other.defects
        for name in ("verdicts", "integers", "differ", "operators", "opsets", "reasons"):
            getattr(self, name).update(getattr(other, name))

    @property
    def graphs(self) -> int:
        """How many were judged."""
        return sum(count for name, count in self.verdicts.items() if name != OPTIMIZER)

    def lines(self) -> Iterator[str]:
        """What a terminal shows."""
        yield "  ".join(f"{name} {count}" for name, count in sorted(self.verdicts.items()))
        for rule, count in sorted(self.integers.items()):
            yield f"{rule}: {count} compared, {self.differ[rule]} not equal"
        yield from (f"DEFECT {index}: {detail}" for index, detail in self.defects[:20])

    def as_json(self) -> dict[str, object]:
        """For the state file."""
        fields = dict(vars(self))
        return {**fields, "done": sorted(self.done), "defects": self.defects}

    @classmethod
    def from_json(cls, values: dict[str, list | dict]) -> State:
        """Back."""
        state = cls(set(values["done"]), defects=[(index, detail) for index, detail in values["defects"]])
        for name in ("verdicts", "integers", "differ", "operators", "opsets", "reasons"):
            setattr(state, name, Counter(values[name]))
        return state


def judged(recipe: Recipe, index: int) -> tuple[onnx.ModelProto | None, Verdict]:
    """A graph and its verdict; a generator that fails is a defect too."""
    try:
        model = build(recipe)
    except Exception:
        return None, Verdict("crash", "the generator: " + traceback.format_exc()[-800:])
    return model, judge(model, recipe.form, index)


def smallest(recipe: Recipe, index: int, kind: str) -> Recipe:
    """With every step left out that the verdict does not need."""
    position = 0
    while position < len(recipe.steps):
        shorter = recipe.without(position)
        if judged(shorter, index)[1].kind == kind:
            recipe, position = shorter, 0
        else:
            position += 1
    return recipe


def chunk(job: tuple[int, int, int, str]) -> State:
    """Graphs ``first`` to ``last`` of a seed; defects go to the folder."""
    seed, first, last, folder = job
    state = State({first})
    for index in range(first, last):
        recipe = draw(seed, index)
        model, verdict = judged(recipe, index)
        state.verdicts[f"{recipe.form} {verdict.kind}"] += 1
        state.integers += verdict.integers
        state.differ += verdict.differ
        state.opsets[str(recipe.opset)] += 1
        state.operators.update({node.op_type for node in model.graph.node} if model is not None else ())
        if verdict.optimizer:
            state.verdicts[OPTIMIZER] += 1
        if verdict.kind in ("island", "refused", "rejected"):
            reason = verdict.detail.partition("net.onnx: ")[2] or verdict.detail
            state.reasons[f"{verdict.kind}: {re.sub(r'[0-9]+', '#', reason)[:120]}"] += 1
        if verdict.is_defect:
            state.defects.append((index, f"{verdict.kind}: {verdict.detail[-300:]}"))
            _save(smallest(recipe, index, verdict.kind), seed, index, Path(folder))
    return state


def _save(recipe: Recipe, seed: int, index: int, folder: Path) -> None:
    model, verdict = judged(recipe, index)
    folder.mkdir(parents=True, exist_ok=True)
    text = f"{recipe}\n{verdict.kind}: {verdict.detail}\n"
    if model is not None:
        (folder / f"{seed}-{index}.onnx").write_bytes(model.SerializeToString())
        text += onnx.printer.to_text(model)
    (folder / f"{seed}-{index}.txt").write_text(text, encoding="utf-8")


def run(graphs: int, seed: int, processes: int, out: Path) -> State:
    """Judge ``graphs`` of them, going on where an earlier run of that seed stopped."""
    kept = out / f"state-{seed}.json"
    state = State.from_json(json.loads(kept.read_text(encoding="utf-8"))) if kept.exists() else State()
    jobs = [
        (seed, first, min(first + CHUNK, graphs), str(out / "defects"))
        for first in range(0, graphs, CHUNK)
        if first not in state.done
    ]
    out.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        futures = [pool.submit(chunk, job) for job in jobs]
        for future in say.track(as_completed(futures), "chunks of drawn graphs", len(futures)):
            state.add(future.result())
            partial = kept.with_suffix(".part")
            partial.write_text(json.dumps(state.as_json()), encoding="utf-8")
            partial.replace(kept)
    return state


def write_result(state: State, seed: int, *, record: bool) -> None:
    """``results/differential_onnx.json``."""
    rows = [
        (("rule", rule), ("compared", str(count)), ("not equal", str(state.differ[rule])))
        for rule, count in sorted(state.integers.items())
    ]
    facts = [(name, str(count)) for name, count in sorted(state.verdicts.items())]
    facts += [("opsets", " ".join(f"{opset}:{count}" for opset, count in sorted(state.opsets.items())))]
    facts += [("operators", " ".join(f"{op}:{count}" for op, count in sorted(state.operators.items())))]
    notes = tuple(f"{count} x {reason}" for reason, count in state.reasons.most_common(40))
    command = f"python -m benchmarks.differential_onnx --graphs {state.graphs} --seed {seed}"
    save(
        Result("differential_onnx", command, stamp(), facts=tuple(facts), rows=tuple(rows), notes=notes),
        "differential_onnx",
        record=record,
    )
