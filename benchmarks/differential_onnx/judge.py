"""One graph, computed by ONNX Runtime at two levels and by oaq: which rule each integer falls under, or what is wrong.

Rules, each with the largest difference it allows, in steps of the result:

* **integers**, 0: sums of products that ONNX Runtime computes in integers (QLinearConv, QLinearMatMul, QGemm);
* **moves**, 0: what only moves integers, picks the largest, or cuts them off;
* **float**, 1: what ONNX Runtime computes in float and rounds, or approximates: the last bit of a float sum or of a
  function may fall on the other side of a half;
* **bias**, 1 and half of s_x * s_w / s_y: a real bias that is no whole number of steps of s_x * s_w; three times that
  half in an optimized graph, whose bias ONNX Runtime may round by itself, to steps without Gemm's alpha;
* **bias scale**, any: an int32 bias whose stated scale is not s_x * s_w. oaq and ONNX Runtime as written use the scale
  that the file states; ONNX Runtime's optimizer takes the integers as if it were s_x * s_w;
* **4 bits**, any, in optimized graphs: what comes after a Relu or Clip that a quantizer to 4 bits reads; ONNX Runtime's
  optimizer drops such a Relu even where its zero point leaves room for negative numbers. As written it agrees.
"""

from __future__ import annotations

import tempfile
import traceback
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

import oaq
from benchmarks.import_equality import as_program, computed_by, eight_bit_tensors, is_float_kind, runs
from oaq import operators as ops
from oaq.capture.from_float_onnx import normalize
from oaq.capture.functions import GREATEST
from oaq.capture.imported import Imported
from oaq.errors import FormatError, OaqError
from oaq.operators.products import multipliers_of
from oaq.overflow.settle import settle
from oaq.program.int_program import Node
from oaq.ptq.execute import float_outputs
from oaq.reference import compute

LEVELS: Final = {
    "as written": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "optimized": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
IN_INTEGERS: Final = ("QLinearConv", "QLinearMatMul", "QGemm")
FOUR_BITS: Final = (onnx.TensorProto.INT4, onnx.TensorProto.UINT4)
NEAR: Final = 2e-5
"""Difference that a float graph may have, in parts of its largest value: two orders of adding up float32."""
BEYOND: Final = float(np.exp(GREATEST))
"""Results of float graphs that are not compared: ``exp`` of more than 80 is ``exp(80)`` in oaq, far from any 8 bits."""
Array = NDArray[np.generic]
Feed = dict[str, Array]


@dataclass
class Verdict:
    """What became of one graph.

    Attributes:
        kind: "agrees", "island" (part of it, by name, stays in float; the rest agrees), "refused" (by name), "rejected"
            (by ONNX Runtime); or a defect: "differs", "crash", "unnamed", "damaged" (so a valid file is called).
        detail: of a refusal or a defect.
        integers: compared, by rule.
        differ: how many of them were not equal, by rule.
        optimizer: why ONNX Runtime's optimizer refuses a file that it runs as written; "" if it does not.
    """

    kind: str
    detail: str = ""
    integers: Counter[str] = field(default_factory=Counter)
    differ: Counter[str] = field(default_factory=Counter)
    optimizer: str = ""

    @property
    def is_defect(self) -> bool:
        """Whether something has to be mended."""
        return self.kind in ("differs", "crash", "unnamed", "damaged")


class Differs(Exception):
    """A difference beyond its rule; its text says which."""


def judge(model: onnx.ModelProto, form: str, seed: int) -> Verdict:
    """Run, import, compare; whatever goes wrong is in the verdict."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        path.write_bytes(model.SerializeToString())
        feeds = _feeds(model, seed)
        try:
            real = [_run(path, feed) for feed in feeds]
        except Exception as error:  # whatever ONNX Runtime says of a file
            return Verdict("rejected", str(error)[:300])
        verdict = Verdict("agrees")
        try:
            if form == "float":
                _compare_float(path, feeds, real, verdict)
            else:
                _compare_quantized(path, feeds, real, verdict)
        except FormatError as error:
            return Verdict("damaged", str(error))
        except OaqError as error:
            names = [node.name for node in model.graph.node] + [f"input {x.name!r}" for x in model.graph.input]
            named = any(name in str(error) for name in names)
            return Verdict("refused" if named else "unnamed", f"{type(error).__name__}: {error}")
        except Differs as difference:
            verdict.kind, verdict.detail = "differs", str(difference)
        except Exception:
            return Verdict("crash", traceback.format_exc()[-1500:])
        return verdict


def _feeds(model: onnx.ModelProto, seed: int) -> list[Feed]:
    rng = np.random.default_rng(seed)
    feeds: list[Feed] = []
    for spread in (1.0, 3.0, 100.0):
        feed: Feed = {}
        for value in model.graph.input:
            tensor = value.type.tensor_type
            shape = [dim.dim_value or 1 for dim in tensor.shape.dim]
            if tensor.elem_type == onnx.TensorProto.FLOAT:
                drawn = rng.choice([-spread, spread], shape) if spread > 10 else rng.normal(0, spread, shape)
                feed[value.name] = drawn.astype(np.float32)
            else:
                dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
                feed[value.name] = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1, shape).astype(dtype)
        feeds.append(feed)
    return feeds


def _run(path: Path, feed: Mapping[str, Array]) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = LEVELS["as written"]
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, dict(feed))]


def _compare_quantized(path: Path, feeds: list[Feed], real: list[list[Array]], verdict: Verdict) -> None:
    imported = oaq.import_model(path)
    model = onnx.load(path)
    names = eight_bit_tensors(model, imported)
    exact, clamped = [True] * len(feeds), _clamps_to_four_bits(model)
    for level, kind in LEVELS.items():
        with tempfile.TemporaryDirectory() as folder:
            optimized = Path(folder) / "optimized.onnx"
            try:
                computed = list(runs(model, names, feeds, kind, optimized))
            except Exception as error:  # ONNX Runtime's optimizer refuses some files that it runs as they are
                if level == "as written":
                    raise
                verdict.optimizer = str(error)[:200]
                continue
            for index, (feed, tensors) in enumerate(zip(feeds, computed, strict=True)):
                pair = Comparison(imported, computed_by(optimized), verdict, level, clamped)
                pair.compare(tensors, feed)
                if level == "as written":
                    exact[index] = pair.is_exact
    if imported.islands:
        verdict.kind = "island"
        verdict.detail = "; ".join(island.why for island in imported.islands)[:300]
    else:
        _compare_session(imported, feeds, real, exact)


def _clamps_to_four_bits(model: onnx.ModelProto) -> bool:
    """Whether a quantizer to 4 bits reads a Relu or Clip: ONNX Runtime's optimizer may drop that, whatever it cuts."""
    kinds = {constant.name: constant.data_type for constant in model.graph.initializer}
    writers = {name: node.op_type for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type == "Constant":
            kinds[node.output[0]] = node.attribute[0].t.data_type
    quantizers = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    for node in quantizers:
        stated = [attribute.i for attribute in node.attribute if attribute.name == "output_dtype"]
        kind = kinds.get(node.input[2], 0) if len(node.input) > 2 else next(iter(stated), 0)
        if kind in FOUR_BITS and writers.get(node.input[0]) in ("Relu", "Clip"):
            return True
    return False


def _compare_session(imported: Imported, feeds: list[Feed], real: list[list[Array]], exact: list[bool]) -> None:
    """What a caller gets: shapes and types always, values where every integer before them was equal."""
    session = oaq.Session(oaq.plan(settle(imported.program).program))
    for feed, expected, same in zip(feeds, real, exact, strict=True):
        ours = session.run({name: feed[name] for name in imported.program.inputs})
        ours = ours if isinstance(ours, tuple) else (ours,)
        if len(ours) != len(set(imported.program.outputs)) or len(ours) != len(expected):
            continue  # two names of one result
        for mine, theirs in zip(ours, expected, strict=True):
            if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
                raise Differs(f"session: {mine.dtype} {mine.shape}, the file {theirs.dtype} {theirs.shape}")
            if same and not np.allclose(mine, theirs, rtol=1e-5, atol=1e-6):
                raise Differs("session: every integer was equal, the results are not")


@dataclass
class Comparison:
    """One run of the file beside the law, node by node, each given what ONNX Runtime had before it.

    Attributes:
        imported: the file.
        writers: the operator that writes each tensor in the graph that ran.
        verdict: what is counted.
        level: of optimisation, for messages.
        after_narrow_clamp: see ``_clamps_to_four_bits``.
        is_exact: everything was compared, and nothing differed.
    """

    imported: Imported
    writers: Mapping[str, str]
    verdict: Verdict
    level: str
    after_narrow_clamp: bool = False
    is_exact: bool = True

    def compare(self, tensors: Mapping[str, Array], feed: Feed) -> None:
        """All nodes whose inputs are known.

        Raises:
            Differs: more than a rule allows.
        """
        program = self.imported.program
        values = {
            name: as_program(tensors[source.name], source, program.tensors[name].shape)
            for name, source in self.imported.tensors.items()
            if source.name in tensors and source.axes is not None
        }
        known = {name: values[name] for name in program.inputs if name in values}
        known |= {name: self._entered(name, feed) for name in program.inputs if name in feed and name not in known}
        slack: dict[str, tuple[str, float]] = {}  # rule and steps of tensors that the file has under no name of its own
        for node in program.nodes:
            if any(name not in known for name in node.inputs):
                self.is_exact = False
                continue
            inputs = [known[name] for name in node.inputs]
            law, _ = compute(node, inputs, program.specs(node), program.tensors[node.output])
            rule, steps = _rule(node.op, self.writers.get(self.imported.tensors[node.output].name, ""), self.level)
            inherited = [slack[name] for name in node.inputs if name in slack]
            if inherited and max(share for _, share in inherited) > 0:
                if not _carries(node.op):
                    self.is_exact = False
                    continue
                rule, steps = inherited[0][0], _carried(node.op, inherited[0][1])
            if node.output not in values:
                known[node.output], slack[node.output] = law, (rule, steps)
                self.is_exact &= not steps or node.output not in program.outputs
                continue
            known[node.output] = values[node.output]
            self._count(node, (law, values[node.output]), rule, steps)

    def _entered(self, name: str, feed: Feed) -> NDArray[np.uint8]:
        """The input's integers, where they are narrower than what ONNX Runtime hands out."""
        spec, source = self.imported.program.tensors[name], self.imported.tensors[name]
        x = feed[name].astype(np.float32)
        axes = (0, *(source.axes or range(1, x.ndim)))
        moved = x.transpose(*axes, *range(len(axes), x.ndim)).reshape(len(x), *spec.shape)
        return spec.affine.quantize(moved, spec.range)

    def _count(self, node: Node, pair: tuple[NDArray[np.uint8], NDArray[np.uint8]], rule: str, steps: float) -> None:
        distance = np.abs(pair[0].astype(np.int16) - pair[1].astype(np.int16))
        if distance.max(initial=0) > steps and self.level == "optimized":
            if self._has_own_bias_scale(node.name):
                rule, steps = "bias scale", 255
            elif self.after_narrow_clamp:
                rule, steps = "4 bits", 255
        self.verdict.integers[rule] += distance.size
        self.verdict.differ[rule] += int(np.count_nonzero(distance))
        self.is_exact &= not distance.any()
        if distance.max(initial=0) > steps:
            beyond = int(np.count_nonzero(distance > steps))
            raise Differs(
                f"{node.name} ({type(node.op).__name__}), {self.level}: {distance.max()} steps, {beyond} of "
                f"{distance.size} integers; {rule} allows {steps:.2f}"
            )

    def _has_own_bias_scale(self, name: str) -> bool:
        return any(note.startswith(f"{name}: its bias has a scale of its own") for note in self.imported.notes)


def _carries(op: ops.Op) -> bool:
    """Whether an operator's result is off by what its input is off by, or by what a table makes of that."""
    if isinstance(op, ops.Concat):
        return bool(np.all(op.requantize.multiplier == 1))
    return ops.rules_of(op).same_affine or isinstance(op, ops.Lookup)


def _carried(op: ops.Op, steps: float) -> float:
    """How far the result of a mover or a table may be off where its input may be off by ``steps``."""
    if not isinstance(op, ops.Lookup):
        return steps
    return 1 + steps * float(np.abs(np.diff(op.table.astype(np.int16))).max(initial=1))


def _rule(op: ops.Op, writer: str, level: str) -> tuple[str, float]:
    """The rule of an operator, and how many steps it allows; ``writer`` is what ONNX Runtime computes the result by."""
    if isinstance(op, ops.Products):
        if writer in IN_INTEGERS:
            return "integers", 0
        half = 0.5 * float(np.max(multipliers_of(op, "ONNX").multiplier))
        if half < 1e-3 or not np.any(op.bias):
            return "float", 1
        return "bias", 1 + half * (3 if level == "optimized" else 1)
    return ("float", 1) if is_float_kind(type(op).__name__) else ("moves", 0)


def _compare_float(path: Path, feeds: list[Feed], real: list[list[Array]], verdict: Verdict) -> None:
    graph = normalize(path)
    if "float_edge" in graph.metadata or len(graph.outputs) != len(real[0]) or len(graph.inputs) > 1:
        verdict.kind, verdict.detail = "island", graph.metadata.get("float_edge", "ends that are not compared")
        return
    for feed, expected in zip(feeds, real, strict=True):
        for result, theirs in zip(float_outputs(graph, np.asarray(feed["x"], np.float32)), expected, strict=True):
            if result.shape != theirs.shape:
                raise Differs(f"float graph: {result.shape}, the file {theirs.shape}")
            if not np.all(np.isfinite(theirs)) or float(np.abs(theirs).max(initial=0)) >= BEYOND:
                continue
            apart = float(np.abs(result - np.asarray(theirs, np.float32)).max(initial=0))
            far = apart / max(float(np.abs(theirs).max(initial=0)), 1.0)
            verdict.integers["float graphs"] += result.size
            verdict.differ["float graphs"] += int(np.count_nonzero(result != theirs))
            if far > NEAR * (1 + len(graph.nodes)):
                raise Differs(f"float graph: {far:.2e} of its largest value")
