"""One random graph: its file, and how an import compares with LiteRT on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from ai_edge_litert import interpreter as litert
from numpy.typing import NDArray

from benchmarks.tflite_equality import as_held, with_every_output
from benchmarks.tflite_random import elementwise, layers
from benchmarks.tflite_random.draft import ELEMENTS, Draft
from oaq.capture.from_tflite import import_tflite
from oaq.capture.imported import Imported
from oaq.errors import UnsupportedOp
from oaq.kernels.plan import plan
from oaq.overflow.settle import settle
from oaq.reference import compute
from oaq.runtime import Session

Array = NDArray[Any]
SUMS: Final = (layers.convolution, layers.depthwise, layers.transposed, layers.fully_connected)
NO_LAYER, REFUSED, CRASHED = "no layer is taken", "LiteRT refuses the file", "LiteRT crashed"


@dataclass
class Tally:
    """What was compared.

    Attributes:
        graphs: how many ended how.
        integers: compared, by operator of the program.
        explained: integers that differ, by the rule that names them; by one step each.
        outside: connected parts that stayed outside, by reason.
        unexplained: number of the graph and what differs.
    """

    graphs: Counter[str] = field(default_factory=Counter)
    integers: Counter[str] = field(default_factory=Counter)
    explained: Counter[str] = field(default_factory=Counter)
    outside: Counter[str] = field(default_factory=Counter)
    unexplained: dict[int, str] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Count what another did."""
        for name in ("graphs", "integers", "explained", "outside"):
            getattr(self, name).update(getattr(other, name))
        self.unexplained |= other.unexplained


def draw(seed: int, number: int) -> tuple[bytes, Array]:
    """Graph ``number``: the file, and four inputs of (1, ...) stored integers."""
    rng = np.random.default_rng([seed, number])
    draft = Draft(rng)
    channels = draft.whole(1, 8)
    images = [(1, draft.whole(1, 9), draft.whole(1, 9), channels) for _ in range(4)]
    shape = draft.choose(*images, (1, draft.whole(1, 9), channels), (1, channels))
    x = draft.activation(shape, float(np.float32(10.0 ** rng.uniform(-2.5, 0))))
    if draft.chance(0.7):
        x = draft.choose(*SUMS)(draft, x) or layers.fully_connected(draft, x) or x
    for _ in range(draft.whole(1, 5)):
        y = draft.choose(*layers.DRAWS, *elementwise.DRAWS)(draft, x)
        if y is not None and np.prod(y.shape) <= ELEMENTS:
            x = y if draft.chance(0.85) else draft.choose(*draft.written)
    if not any(len(operator.inputs) == 3 for operator in draft.net.graph.operators):
        layers.fully_connected(draft, x)
    photos = np.stack([draft.integers(shape) for _ in range(4)])
    photos[2], photos[3] = draft.ends[0], draft.rng.choice(draft.ends, shape)
    return draft.content(), photos.astype(draft.kind)


def judge(seed: int, number: int) -> Tally:
    """Import one graph and compare every tensor of it with LiteRT's, and a session's outputs with the law's.

    Raises:
        OaqError: the importer fails on a valid file.
    """
    tally = Tally()
    content, photos = draw(seed, number)
    try:
        imported = import_tflite(content)
    except UnsupportedOp:
        tally.graphs[NO_LAYER] += 1
        return tally
    for island in imported.islands:
        tally.outside[_kind_of(island.why) or f"{island.nodes[0][1]}, with no layer of sums before it"] += 1
    names = sorted({source.name for source in imported.tensors.values()})
    try:
        runs = litert_runs(with_every_output(content, names), names, photos)
        alone = litert_runs(content, names, photos)
    except (ValueError, RuntimeError):
        tally.graphs[REFUSED] += 1
        return tally
    rules = rules_by_tensor(imported)
    differences = [text for tensors in runs for text in compare(imported, tensors, rules, tally)]
    differences += [
        f"{name}: LiteRT's own result depends on which tensors it gives"
        for tensors, single in zip(runs, alone, strict=True)
        for name in single
        if name in tensors and name not in rules and not np.array_equal(tensors[name], single[name])
    ]
    differences += session_differences(imported, runs)
    if differences:
        tally.unexplained[number] = "; ".join(dict.fromkeys(differences))[:600]
    tally.graphs["differ" if differences else "explained" if tally.explained else "equal"] += 1
    return tally


def litert_runs(content: bytes, names: list[str], photos: Array) -> list[dict[str, Array]]:
    """Output tensors by name, for each photo; default kernels."""
    interpreter: Any = litert.Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    outputs = {details["name"]: details["index"] for details in interpreter.get_output_details()}
    outputs |= {entry["name"]: entry["index"]}
    results = []
    for photo in photos:
        interpreter.set_tensor(entry["index"], photo)
        interpreter.invoke()
        results.append({name: np.array(interpreter.get_tensor(outputs[name])) for name in names if name in outputs})
    return results


def rules_by_tensor(imported: Imported) -> dict[str, str]:
    """The rule that names a tensor of the program as one that may differ by a step."""
    rules = {}
    for note in imported.notes:
        names, _, reason = note.partition(": ")
        rules |= dict.fromkeys((name for name in names.split(", ") if name in imported.tensors), reason)
    return rules


def compare(imported: Imported, tensors: Mapping[str, Array], rules: Mapping[str, str], tally: Tally) -> list[str]:
    """Each node on what LiteRT had; returns what no rule explains."""
    program, values, differences = imported.program, as_held(imported, tensors), []
    computed = {name: values[name] for name in program.inputs}
    for node in program.nodes:
        inputs = [computed[name] for name in node.inputs]
        law, _ = compute(node, inputs, program.specs(node), program.tensors[node.output])
        kind = type(node.op).__name__
        if node.output in values:
            steps = np.abs(law.astype(np.int16) - values[node.output].astype(np.int16))
            tally.integers[kind] += steps.size
            count, most = int(np.count_nonzero(steps)), int(steps.max(initial=0))
            if count and most == 1 and node.output in rules:
                tally.explained[rules[node.output]] += count
            elif count:
                differences.append(f"{node.name} ({kind}): {count} of {steps.size} differ, by up to {most}")
        computed[node.output] = values.get(node.output, law)
    return differences


def session_differences(imported: Imported, runs: list[dict[str, Array]]) -> list[str]:
    """Where native code on LiteRT's inputs is not what the reference says."""
    program = settle(imported.program).program
    values = [as_held(imported, tensors) for tensors in runs]
    inputs = tuple(np.concatenate([value[name] for value in values]) for name in program.inputs)
    computed = dict(zip(program.inputs, inputs, strict=True))
    for node in program.nodes:
        operands = [computed[name] for name in node.inputs]
        computed[node.output], _ = compute(node, operands, program.specs(node), program.tensors[node.output])
    results = Session(plan(program)).run_integers(inputs)
    return [
        f"{name}: native code is not the reference"
        for name, result in zip(program.outputs, results, strict=True)
        if not np.array_equal(result.reshape(computed[name].shape), computed[name])
    ]


def _kind_of(reason: str) -> str:
    """A reason without its numbers and shapes."""
    words = reason.partition(" of (")[0].partition(" (")[0]
    return " ".join(word for word in words.split() if word[:1].isalpha() or word == "0")[:70]
